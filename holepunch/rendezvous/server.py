"""
The service's end of the main connection, made to be subclassed.

Owns: the commands' responders, the time that a peer has to register, and the hooks.
Knows nothing of: which sessions there are (L{Switchboard}), how names are kept (L{IRegistry}).
Driven by: the TLS transport, and the L{Exchange}, which delivers the switchboard's effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch._version import __version__
from holepunch.address import Transport, TransportAddress
from holepunch.errors import (
    NotRegistered,
    PeerIdentityChanged,
    PeerIsSelf,
    PeerNotListening,
    RendezvousError,
    UnknownPeer,
    WrongPeer,
)
from holepunch.identity import PeerID
from holepunch.punch.candidate import Candidate
from holepunch.punch.config import TCPFlow
from holepunch.rendezvous.commands import (
    Candidates,
    EndSession,
    Goodbye,
    Offer,
    Ready,
    Register,
    RequestSession,
)
from holepunch.rendezvous.exchange import Exchange
from holepunch.rendezvous.introduction import (
    VERSION,
    Answer,
    EndReason,
    Introduction,
    IntroductionPolicy,
    Registered,
    RelayPolicy,
    SessionEnd,
    Use,
)
from holepunch.rendezvous.mailboxline import MailboxLine
from holepunch.rendezvous.registry import Registration, checkName
from holepunch.rendezvous.switchboard import (
    Effect,
    Introduce,
    OfferSession,
    PassCandidates,
    PassEnd,
    PassReady,
)
from holepunch.tls import peerIDOf


@attrs.frozen(kw_only=True)
class RegistrationRequest:
    """
    What a peer asks for when it registers.

    @ivar peerID: Proven by TLS.
    @ivar observed: Where its main connection comes from.
    @ivar user: Who has logged in, where the service has users.
    """

    peerID: PeerID
    name: str | None
    accepts: bool
    policy: IntroductionPolicy
    local: TransportAddress
    observed: TransportAddress
    candidates: tuple[Candidate, ...]
    user: str | None = None


@implementer(IHandshakeListener)
class MainConnection(MailboxLine):
    """
    A main connection, seen from the service.

    Subclass it, and set it as C{protocol} of a L{RendezvousFactory}, to decide who may do what, and
    to hear what happens. A hook that decides may return a Deferred; it refuses by raising a
    L{RendezvousError}, whose sentence the peer's user will read.

    @ivar registration: What the peer registered, once it has.
    """

    registration: Registration | None = None
    _displacedName: str | None = None

    # --- hooks ---

    def authoriseRegistration(self, request: RegistrationRequest) -> Any:
        """
        May the peer register?
        """

    def chooseName(self, request: RegistrationRequest) -> Any:
        """
        The name that the peer is registered under, or C{None}; by default what it asked for.
        """
        return request.name

    def authoriseSession(self, target: Registration, transports: Sequence[Transport]) -> Any:
        """
        May this peer ask for C{target}?
        """

    def registered(self, registration: Registration) -> None:
        """
        The peer has registered, or changed its registration.
        """

    def sessionRequested(self, introduction: Introduction) -> None:
        """
        This peer asked for a session, and has been introduced.
        """

    def sessionEnded(self, sessionID: str, end: SessionEnd) -> None:
        """
        A session of this peer has ended, whichever side ended it.
        """

    def lost(self, reason: Failure) -> None:
        """
        The main connection is gone.
        """

    # --- the connection ---

    def connectionMade(self) -> None:
        """
        Somebody is there; who it is, TLS has yet to prove.
        """
        self._number = self.exchange.attach(self)
        self._waiting: dict[str, Deferred[Introduction]] = {}
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        """
        TLS has proved who the peer is.
        """
        self.peerID = peerIDOf(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell those who are concerned.
        """
        super().connectionLost(reason)
        self.exchange.addresses.leave(self.observed.host)
        if self.peerID is None and reason.check(SSL.Error, WrongPeer) is not None:
            self.misbehaved("what arrived is not TLS 1.3 with an Ed25519 certificate")
        waiting, self._waiting = self._waiting, {}
        registration, self.registration = self.registration, None
        self.exchange.detach(self._number, registration)
        for introduced in waiting.values():
            introduced.errback(NotRegistered())
        self.lost(reason)

    # --- what the peer says ---

    @Register.responder
    def _registerReceived(self, version: int, **fields: Any) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self._register(version, fields))

    async def _register(self, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        if version != VERSION:
            raise RendezvousError(
                f"the service speaks version {VERSION} of the protocol, and the peer {version}"
            )
        if self.peerID is None:
            raise NotRegistered
        self.mustBeLoggedIn()
        if fields["name"] is not None:
            checkName(fields["name"])
        request = RegistrationRequest(
            peerID=self.peerID, observed=self.observed, user=self.user, **fields
        )
        registration = await self._enter(request)
        self.inTime()
        self.startKeepalive(self.exchange.keepaliveInterval)
        self.log.info(
            "peer {peerID} registered{asName} from {observed}",
            peerID=registration.peerID.text,
            asName=f" as {registration.name}" if registration.name is not None else "",
            observed=str(registration.observed),
        )
        self.registered(registration)
        return attrs.asdict(self._registeredOf(registration), recurse=False)

    async def _enter(self, request: RegistrationRequest) -> Registration:
        await maybeDeferred(self.authoriseRegistration, request)
        name = await maybeDeferred(self.chooseName, request)
        registration = Registration(
            peerID=request.peerID,
            connection=self._number,
            name=name,
            accepts=request.accepts,
            policy=request.policy,
            local=request.local,
            observed=request.observed,
            candidates=request.candidates,
            owner=request.user,
            observations=self.registration.observations if self.registration else (),
        )
        replaced = await maybeDeferred(self.exchange.registry.register, registration)
        if replaced is not None and replaced.connection != self._number:
            self._displacedName = replaced.name
            self.exchange.replace(replaced.connection)
        if self.transport is None:
            # Lost while a hook or the registry was busy.
            await maybeDeferred(self.exchange.registry.unregister, registration)
            raise NotRegistered
        self.registration = registration
        return registration

    def _registeredOf(self, registration: Registration) -> Registered:
        return Registered(
            peerID=registration.peerID,
            name=registration.name,
            observed=registration.observed,
            isBehindNAT=registration.isBehindNAT,
            ticket=self.exchange.switchboard.ticketFor(self._number, self.clock.seconds()),
            assist=self.exchange.assist,
            keepaliveInterval=self.exchange.keepaliveInterval,
            version=__version__,
            relay=self.exchange.relayGrantFor(registration),
        )

    @RequestSession.responder
    def _requestReceived(self, **fields: Any) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self._request(**fields))

    async def _request(
        self,
        target: str,
        transports: tuple[Transport, ...],
        flow: TCPFlow,
        candidates: tuple[Candidate, ...],
        use: Use,
        relay: RelayPolicy,
        continues: str | None,
        expected: PeerID | None,
        application: str | None,
    ) -> dict[str, Any]:
        found = await self._find(target, expected)
        registration = self.mustBeRegistered()
        if found is None and self._displacedName is not None and target == self._displacedName:
            raise PeerIsSelf(
                f"{target[:80]} had this very identity, and this program has displaced it: give"
                " each program an identity of its own"
            )
        if found is None:
            raise UnknownPeer(f"no peer {target[:80]} is registered: it is offline, or misspelt")
        if found.peerID == registration.peerID:
            raise PeerIsSelf
        if not found.accepts and continues is None:
            raise PeerNotListening(f"the peer {target[:80]} is online, but accepts no connections")
        await maybeDeferred(self.authoriseSession, found, transports)
        sessionID = self.exchange.switchboard.request(
            self.mustBeRegistered(),
            found,
            transports=transports,
            flow=flow,
            candidates=candidates,
            use=use,
            relay=relay,
            continues=continues,
            application=application,
            now=self.clock.seconds(),
        )
        introduced = self._waiting[sessionID] = Deferred()
        self.log.info(
            "session {sessionID}: {requester} asks for {target}",
            sessionID=sessionID,
            requester=registration.peerID.text,
            target=found.peerID.text,
        )
        self.exchange.flush()
        introduction = await introduced
        self.sessionRequested(introduction)
        return attrs.asdict(introduction, recurse=False)

    async def _find(self, target: str, expected: PeerID | None) -> Registration | None:
        find = self.exchange.registry.find
        if expected is None:
            return cast("Registration | None", await maybeDeferred(find, target))
        found = cast("Registration | None", await maybeDeferred(find, expected.text))
        if found is not None:
            return found
        other = await maybeDeferred(find, target)
        if other is not None:
            raise PeerIdentityChanged(other.peerID.text)
        return None

    @Candidates.responder
    def _candidatesReceived(
        self, sessionID: str, candidates: tuple[Candidate, ...]
    ) -> dict[str, Any]:
        self.mustBeRegistered()
        self.exchange.switchboard.addCandidates(sessionID, self._number, candidates)
        self.exchange.flush()
        return {}

    @Ready.responder
    def _readyReceived(self, sessionID: str) -> dict[str, Any]:
        self.mustBeRegistered()
        self.exchange.switchboard.ready(sessionID, self._number)
        self.exchange.flush()
        return {}

    @EndSession.responder
    def _endReceived(self, sessionID: str, reason: EndReason, text: str) -> dict[str, Any]:
        self.mustBeRegistered()
        end = SessionEnd(reason, text)
        self.exchange.switchboard.endSession(sessionID, self._number, end)
        self.exchange.flush()
        self.sessionEnded(sessionID, end)
        return {}

    @Goodbye.responder
    def _goodbyeReceived(self, text: str, isReplaced: bool) -> dict[str, Any]:
        self.close()
        return {}

    def mustBeRegistered(self) -> Registration:
        """
        Go on only with a registered peer.

        @raise NotRegistered: It is not.
        """
        if self.registration is None:
            raise NotRegistered
        return self.registration

    # --- what the switchboard wants the peer to be told ---

    def deliver(self, effect: Effect) -> None:
        """
        Carry out an effect that is meant for this connection.
        """
        if isinstance(effect, Introduce):
            self._waiting.pop(effect.introduction.sessionID).callback(effect.introduction)
        elif isinstance(effect, OfferSession):
            self._offer(effect.introduction)
        elif isinstance(effect, PassCandidates):
            self._tell(Candidates, sessionID=effect.sessionID, candidates=effect.candidates)
        elif isinstance(effect, PassReady):
            self._tell(Ready, sessionID=effect.sessionID)
        elif isinstance(effect, PassEnd):
            self._passEnd(effect.sessionID, effect.end)

    def _offer(self, introduction: Introduction) -> None:
        def answered(fields: dict[str, Any]) -> None:
            self._answered(introduction.sessionID, Answer(**fields))

        def failed(failure: Failure) -> None:
            # A peer that vanished has not refused: see connectionLost.
            if not self.isClosing:
                self._answered(
                    introduction.sessionID, Answer(False, text="the peer did not answer")
                )

        fields = attrs.asdict(introduction, recurse=False)
        offered: Deferred[dict[str, Any]] = self.callRemote(Offer, **fields)
        offered.addCallbacks(answered, failed)

    def _answered(self, sessionID: str, answer: Answer) -> None:
        self.exchange.switchboard.answer(sessionID, self._number, answer)
        self.exchange.flush()

    def _passEnd(self, sessionID: str, end: SessionEnd) -> None:
        introduced = self._waiting.pop(sessionID, None)
        if introduced is not None:
            introduced.errback(end.asError())
        else:
            self._tell(EndSession, sessionID=sessionID, reason=end.reason, text=end.text)
        self.sessionEnded(sessionID, end)

    def _tell(self, command: Any, **fields: Any) -> None:
        if not self.paused:
            told: Deferred[object] = self.callRemote(command, **fields)
            # The peer may have left, or ended the session, in the same moment.
            told.addErrback(lambda failure: None)


class RendezvousFactory(Factory):
    """
    Makes the service's ends of main connections; goes under TLS.

    @cvar protocol: L{MainConnection}, or a subclass of it.
    """

    protocol: type[MainConnection] = MainConnection
    noisy = False

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> MainConnection | None:
        """
        Make the protocol of one connection, unless its address has too many.
        """
        remote = cast(IPv4Address, addr)
        observed = TransportAddress(remote.host, remote.port)
        if not self.exchange.addresses.enter(observed.host):
            self.exchange.complaints.complain(observed, "too many main connections")
            return None
        connection = self.protocol()
        connection.factory = self
        connection.clock = self.exchange.clock
        connection.messageLimit = self.exchange.limits.messageSize
        connection.observed = observed
        return connection
