"""
The peer's end of the main connection.

Owns: the commands as methods, and whether the service showed the right key.
Knows nothing of: how the connection is made (L{connectRendezvous}), nor when it is made again.
Driven by: L{holepunch.peer}; what the service says goes to its
L{IRendezvousEvents<holepunch.interfaces.IRendezvousEvents>}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress, isUsableHost
from holepunch.errors import (
    HolepunchError,
    PeerReplaced,
    RendezvousError,
    RendezvousUnreachable,
    ServiceIdentityChanged,
)
from holepunch.identity import PeerID
from holepunch.interfaces import IKnownServices, IRendezvousEvents
from holepunch.punch.candidate import Candidate
from holepunch.punch.config import TCPFlow
from holepunch.rendezvous.arguments import MAX_CANDIDATES, printable
from holepunch.rendezvous.commands import (
    Candidates,
    EndSession,
    Goodbye,
    Offer,
    Ping,
    Ready,
    Register,
    RequestSession,
)
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
from holepunch.rendezvous.line import shortened
from holepunch.rendezvous.location import ServiceLocation
from holepunch.rendezvous.mailboxclient import MailboxClient
from holepunch.tls import peerIDOf


@implementer(IHandshakeListener)
class RendezvousClient(MailboxClient):
    """
    A main connection, seen from the peer. L{connectRendezvous} makes it.

    Every Deferred that it gives fails with a L{RendezvousError} or another L{HolepunchError}.

    @ivar serviceID: The peer ID that the service proved; C{None} if it showed a certificate for its
        host name instead.
    @ivar isRegistered: Has the service accepted the registration, and is the connection up?
    """

    serviceID: PeerID | None = None
    isRegistered = False

    def __init__(
        self,
        clock: IReactorTime,
        location: ServiceLocation,
        events: IRendezvousEvents,
        known: IKnownServices | None,
    ) -> None:
        super().__init__()
        self.clock = clock
        self._location = location
        self._events = events
        self._known = known
        self._isSecured = False
        self.secured: Deferred[RendezvousClient] = Deferred(lambda secured: self._abort())

    # --- what a peer says ---

    def register(
        self,
        *,
        name: str | None = None,
        accepts: bool = True,
        policy: IntroductionPolicy = IntroductionPolicy.AT_ONCE,
        candidates: Sequence[Candidate] = (),
    ) -> Deferred[Registered]:
        """
        Register, or change what was registered.

        @param accepts: May other peers ask for this one?
        @param candidates: Host candidates, as the peer itself sees them; a TCP one that equals the
            main connection's own end says that the connection was made from the punching port.
        @raise NameTaken: Another peer has the name.
        @raise BadName: It is no name.
        """
        return Deferred.fromCoroutine(self._register(name, accepts, policy, candidates))

    def requestSession(
        self,
        target: str,
        *,
        transports: Sequence[Transport],
        flow: TCPFlow = TCPFlow.SIMULTANEOUS,
        candidates: Sequence[Candidate] = (),
        use: Use = Use.STREAMS,
        relay: RelayPolicy = RelayPolicy.NEVER,
        continues: str | None = None,
        expected: PeerID | None = None,
        application: str | None = None,
    ) -> Deferred[Introduction]:
        """
        Ask to be introduced to the peer with this name or ID.

        Cancelling the Deferred also ends the session, if the service opened one.

        @param candidates: Those of the local ports to be used; none if these are the registered
            ones, whose mapped addresses the service knows already.
        @param continues: An earlier session with that peer, whose streams are to go on.
        @param expected: Who is meant by the name, where that is known.
        @param application: What a stream is wanted for.
        @raise PeerIdentityChanged: Another peer than the expected one has the name; the sentence is
            its peer ID.
        @raise UnknownPeer: Nobody is registered so.
        @raise PeerNotListening: That peer accepts no sessions.
        @raise PeerIsSelf: It is this peer.
        @raise SessionRefused: The peer, or the service's policy, refused.
        """
        asked = self.request(
            RequestSession,
            target=target,
            transports=tuple(transports),
            flow=flow,
            candidates=tuple(candidates),
            use=use,
            relay=relay,
            continues=continues,
            expected=expected,
            application=application,
        )
        introduced: Deferred[Introduction] = Deferred()

        def answered(fields: dict[str, Any]) -> None:
            introduction = _introduction(fields)
            if introduced.called:
                self._cancelled(introduction)
            else:
                introduced.callback(introduction)

        def failed(failure: Failure) -> None:
            if not introduced.called:
                introduced.errback(failure)

        asked.addCallbacks(answered, failed)
        return introduced

    def sendCandidates(self, sessionID: str, candidates: Sequence[Candidate]) -> Deferred[None]:
        """
        Trickle further candidates to the other peer of a session.

        @raise UnknownSession: The session is over.
        """
        return Deferred.fromCoroutine(self._sendCandidates(sessionID, candidates))

    def sendReady(self, sessionID: str) -> Deferred[None]:
        """
        Tell the other peer of a session that this one listens.

        @raise UnknownSession: The session is over.
        """
        return self.tell(Ready, sessionID=sessionID)

    def endSession(self, sessionID: str, end: SessionEnd) -> Deferred[None]:
        """
        Tell the service, and through it the other peer, that a session is over.
        """
        return self.tell(
            EndSession, sessionID=sessionID, reason=end.reason, text=shortened(end.text)
        )

    def ping(self) -> Deferred[float]:
        """
        Measure the round trip to the service, in seconds.
        """
        startedAt = self.clock.seconds()
        return self.request(Ping).addCallback(lambda fields: self.clock.seconds() - startedAt)

    def goodbye(self, text: str = "the peer stops") -> None:
        """
        Leave. L{IRendezvousEvents.mainConnectionLost} follows.
        """
        self.hangUp(text)

    # --- what the service says ---

    @Offer.responder
    def _offered(self, **fields: Any) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self._answer(_introduction(fields)))

    @Candidates.responder
    def _candidatesReceived(
        self, sessionID: str, candidates: tuple[Candidate, ...]
    ) -> dict[str, Any]:
        self._events.candidatesReceived(sessionID, candidates)
        return {}

    @Ready.responder
    def _readyReceived(self, sessionID: str) -> dict[str, Any]:
        self._events.remoteReady(sessionID)
        return {}

    @EndSession.responder
    def _sessionEnded(self, sessionID: str, reason: EndReason, text: str) -> dict[str, Any]:
        self._events.sessionEnded(sessionID, SessionEnd(reason, printable(text)))
        return {}

    @Goodbye.responder
    def _goodbyeReceived(self, text: str, isReplaced: bool) -> dict[str, Any]:
        self.reason = PeerReplaced() if isReplaced else RendezvousError(printable(text))
        self.close()
        return {}

    # --- the connection ---

    def handshakeCompleted(self) -> None:
        """
        The service proved a key: is it the right one?
        """
        if self.secured.called:
            return
        try:
            self.serviceID = peerIDOf(self.transport)
            self._checkService()
        except HolepunchError as error:
            self._abort()
            self.secured.errback(error)
        else:
            self._isSecured = True
            self.secured.callback(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the peer, unless it has not heard of this connection yet.
        """
        super().connectionLost(reason)
        self.isRegistered = False
        if self._isSecured:
            self._events.mainConnectionLost(self.lossFor(reason))
        elif not self.secured.called:
            self.secured.errback(reason)

    def fellSilent(self, seconds: float) -> None:
        """
        The service is gone without a word.
        """
        self.reason = RendezvousUnreachable(
            f"the rendezvous service did not answer for {seconds:g} seconds"
        )

    def _checkService(self) -> None:
        if self.serviceID is None or self._known is None or self._location.expected is not None:
            return
        remembered = self._known.recall(self._location)
        if remembered is None:
            self._known.remember(self._location, self.serviceID)
        elif remembered != self.serviceID:
            raise ServiceIdentityChanged(
                f"the rendezvous service {self._location.address} shows the key {self.serviceID}, "
                f"but earlier it was {remembered}: somebody may be impersonating it"
            )

    # --- commands ---

    async def _register(
        self,
        name: str | None,
        accepts: bool,
        policy: IntroductionPolicy,
        candidates: Sequence[Candidate],
    ) -> Registered:
        if self.transport is None:
            raise RendezvousUnreachable("the main connection is closed")
        host = cast(IPv4Address, self.transport.getHost())
        fields = await self.request(
            Register,
            version=VERSION,
            name=name,
            accepts=accepts,
            policy=policy,
            local=TransportAddress(host.host, host.port),
            candidates=tuple(candidates),
        )
        remote = cast(IPv4Address, self.transport.getPeer())
        fields["assist"] = tuple(_assistAt(remote.host, each) for each in fields["assist"])
        fields["version"] = printable(fields["version"])
        registered = Registered(**fields)
        if not 0.1 <= registered.keepaliveInterval <= 3600.0:
            raise RendezvousError("the rendezvous service asks for a senseless keepalive")
        self.isRegistered = True
        self.startKeepalive(registered.keepaliveInterval)
        return registered

    async def _sendCandidates(self, sessionID: str, candidates: Sequence[Candidate]) -> None:
        for start in range(0, len(candidates), MAX_CANDIDATES):
            few = tuple(candidates[start : start + MAX_CANDIDATES])
            await self.request(Candidates, sessionID=sessionID, candidates=few)

    async def _answer(self, introduction: Introduction) -> dict[str, Any]:
        try:
            answer = await maybeDeferred(self._events.sessionOffered, introduction)
        except HolepunchError as error:
            answer = Answer(False, text=str(error))
        except Exception:
            self.log.failure("bug: an offered session could not be answered")
            answer = Answer(False, text="the peer could not answer")
        if not isinstance(answer, Answer):
            answer = Answer(bool(answer))
        later = answer.candidates[MAX_CANDIDATES:]
        if later:
            self.sendCandidates(introduction.sessionID, later).addErrback(lambda failure: None)
        return {
            "isAccepted": answer.isAccepted,
            "candidates": answer.candidates[:MAX_CANDIDATES],
            "text": shortened(answer.text),
        }

    def _cancelled(self, introduction: Introduction) -> None:
        ended = self.endSession(introduction.sessionID, SessionEnd(EndReason.CANCELLED))
        ended.addErrback(lambda failure: None)


def _introduction(fields: dict[str, Any]) -> Introduction:
    introduction = Introduction(**fields)
    if introduction.remoteName is None:
        return introduction
    return attrs.evolve(introduction, remoteName=printable(introduction.remoteName))


def _assistAt(host: str, listener: TransportAddress) -> TransportAddress:
    """
    A service that listens on all its addresses is reached where its main connection was.
    """
    return listener if isUsableHost(listener.host) else TransportAddress(host, listener.port)
