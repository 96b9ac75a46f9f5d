"""
A peer: a program that others can reach, and that can reach others, through NATs.

Owns: the public methods; what it accepts.
Knows nothing of: sockets and checks.
Driven by: programs. It is a C{twisted.application.service.Service}, so it also starts and stops
with an application.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, PeerClosed, RendezvousError, UsageError
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IAuthoriser, ICandidateSource, IHostAddresses, IKnownPeers
from holepunch.peer.access import Access
from holepunch.peer.candidatesource import CandidateSources
from holepunch.peer.config import PeerConfig, SessionOptions
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.events import Disconnected, InterfacesChanged, Mapped, PeerEvent, Registered
from holepunch.peer.hosts import SystemHostAddresses
from holepunch.peer.invitation import Acquaintance, Inviting
from holepunch.peer.openpath import OpenPath
from holepunch.peer.ping import PING, PingAnswerer, PingPath
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.registration import MainConnectionState, RegistrationKeeper, Unregistered
from holepunch.peer.request import Reached
from holepunch.peer.securestream import SecureStream
from holepunch.peer.sessions import Sessions
from holepunch.peer.streamendpoints import (
    PeerClientEndpoint,
    PeerServerEndpoint,
    attachProtocol,
)
from holepunch.rendezvous.authenticationclient import LoginCredentials
from holepunch.rendezvous.introduction import IntroductionPolicy, RelayPolicy, Use
from holepunch.rendezvous.invitation import Greeting, InvitationCode
from holepunch.rendezvous.knownservices import KnownServices, KnownServicesFile
from holepunch.rendezvous.location import ServiceLocation
from holepunch.rendezvous.registry import checkName

STREAM = b"holepunch"
"""
The application (ALPN) of ordinary streams.
"""

_DEFAULT_OPTIONS = SessionOptions(transports=frozenset(Transport))
_DATAGRAMS = SessionOptions(transports=frozenset({Transport.UDP}), use=Use.DATAGRAMS)


class Peer(Service):
    """
    One identity on the network.

    @ivar knownPeers: Whom names mean to it.

    It registers with the rendezvous service when it is started, or when it is first used, and stays
    registered until it is stopped.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        rendezvous: str,
        *,
        name: str | None = None,
        config: PeerConfig | None = None,
        knownServices: str | os.PathLike[str] | None = None,
        knownPeers: IKnownPeers | None = None,
        authoriser: IAuthoriser | None = None,
        credentials: LoginCredentials | None = None,
        hostAddresses: IHostAddresses | None = None,
        candidateSources: Sequence[ICandidateSource] | None = None,
        observer: Callable[[PeerEvent], None] | None = None,
    ) -> None:
        """
        @param rendezvous: Where the service is: C{[ID@]HOST[:PORT]}.
        @param name: A name to be found by; without one, others need our peer ID.
        @param knownServices: The file that remembers the keys of services; without one, they are
            remembered as long as the program runs.
        @param knownPeers: Whom names mean; by default the peers that this program has reached by
            them.
        @param authoriser: Decides who may connect; by default everybody.
        @param credentials: Who logs in, at a service that has users.
        @param hostAddresses: Tells this machine's addresses; asks the system by default.
        @param candidateSources: Say where we may be reached; by default at those addresses,
            L{HostCandidates<holepunch.peer.candidatesource.HostCandidates>}.
        @param observer: Called with each event; must not raise.
        @raise BadAddress: C{rendezvous} makes no sense.
        @raise BadPeerID: The ID in C{rendezvous} is none.
        """
        self._reactor = reactor
        self._identity = identity
        self.name = name
        self._observer = observer
        hosts = hostAddresses if hostAddresses is not None else SystemHostAddresses()
        config = config if config is not None else PeerConfig()
        demultiplexer = Demultiplexer()
        access = Access(knownPeers, authoriser)
        self.knownPeers = access.known
        sources = CandidateSources(reactor, demultiplexer, candidateSources)
        self._sessions = Sessions(
            reactor, identity, config, hosts, demultiplexer, self._observe, sources, access
        )
        self._keeper = self._sessions.keeper = RegistrationKeeper(
            reactor,
            identity,
            ServiceLocation.parse(rendezvous),
            self._sessions,
            name=name,
            config=config,
            policy=(
                IntroductionPolicy.AT_ONCE
                if access.authoriser.isOpen and config.relay is not RelayPolicy.ONLY
                else IntroductionPolicy.ASK
            ),
            credentials=credentials,
            known=KnownServices() if knownServices is None else KnownServicesFile(knownServices),
            hosts=hosts,
            sources=sources,
            demultiplexer=demultiplexer,
            mapped=self._mapped,
            changed=self._registrationChanged,
            interfacesChanged=self._interfacesChanged,
        )

    @property
    def peerID(self) -> PeerID:
        """
        Who we are.
        """
        return self._identity.peerID

    # --- the service ----------------------------------------------------------------------------

    def startService(self) -> None:
        """
        Begin to register.
        """
        super().startService()
        self._keeper.start()

    def stopService(self) -> Deferred[None]:
        """
        Close all sessions, paths and sockets.
        """
        super().stopService()
        self._sessions.endAll(PeerClosed("the peer was stopped"))
        return Deferred.fromCoroutine(self._keeper.stop())

    def whenRegistered(self, isPatient: bool = True) -> Deferred[Registered]:
        """
        Fires when the service knows us, at once if it does.

        @param isPatient: Go on waiting while the service cannot be reached; otherwise the first
            failed attempt fails the Deferred, as what another attempt cannot mend always does.
        """
        self._ensureRunning()
        return self._keeper.whenRegistered(isPatient).addCallback(self._registeredEvent)

    def _ensureRunning(self) -> None:
        if not self.running:
            self.startService()

    # --- reaching others ------------------------------------------------------------------------

    def connectEndpoint(
        self, target: str, options: SessionOptions = _DEFAULT_OPTIONS
    ) -> IStreamClientEndpoint:
        """
        An endpoint that connects to the peer with this name or peer ID.
        """
        return PeerClientEndpoint(self, target, options)

    def openStream(
        self, target: str, options: SessionOptions = _DEFAULT_OPTIONS
    ) -> Deferred[SecureStream | QUICStream]:
        """
        Connect; the caller attaches its protocol to the stream that the Deferred fires with.

        Where there is a connection with the peer that carries many streams, this is one more.
        """
        if options.use is not Use.STREAMS:
            raise UsageError("a stream needs use=Use.STREAMS")
        return self._open(target, options)

    def openDatagrams(
        self, target: str, options: SessionOptions = _DATAGRAMS
    ) -> Deferred[OpenPath]:
        """
        Connect by a path for datagrams.
        """
        if Transport.UDP not in options.transports:
            raise UsageError("datagrams need UDP: give transports={Transport.UDP}")
        transports = frozenset({Transport.UDP})
        return self._open(target, attrs.evolve(options, transports=transports, use=Use.DATAGRAMS))

    def openPingPath(self, target: str, options: SessionOptions) -> Deferred[PingPath]:
        """
        Punch a path to measure round trips over, by whichever transports the options say.
        """
        self._ensureRunning()
        options = attrs.evolve(options, use=Use.DATAGRAMS)
        return self._sessions.request(target, options, PING).addCallback(self._pingPath)

    def _open(self, target: str, options: SessionOptions) -> Deferred[Any]:
        self._ensureRunning()
        return self._sessions.request(target, options, STREAM).addCallback(
            lambda reached: reached.outcome
        )

    def _pingPath(self, reached: Reached) -> PingPath:
        return PingPath(self._reactor, reached.connected, reached.outcome)

    # --- invitations ----------------------------------------------------------------------------

    def invite(
        self,
        tell: Callable[[InvitationCode, float], None],
        *,
        calledHere: str | None = None,
        calledThere: str | None = None,
        isConnecting: bool = True,
    ) -> Deferred[Acquaintance]:
        """
        Invite somebody by a code: afterwards each side knows the other one's key.

        @param tell: Called with the code, to be handed to that person, and how many seconds it is
            good for.
        @param calledHere: What the other one will be called here; by default what it suggests.
        @param calledThere: What we suggest to be called there; by default our name.
        @param isConnecting: Do we want to be connected at once?
        @return: Fires with whom it was; fails with L{InvitationFailed}. Cancelling it makes the
            code void.
        """
        inviting = self._inviting(calledHere, calledThere, isConnecting)
        return inviting.addCallback(lambda each: Deferred.fromCoroutine(each.invite(tell)))

    def acceptInvitation(
        self,
        code: str,
        *,
        calledHere: str | None = None,
        calledThere: str | None = None,
        isConnecting: bool = True,
    ) -> Deferred[Acquaintance]:
        """
        Accept an invitation; the parameters are those of L{invite}.

        @raise BadInvitation: C{code} is none.
        """
        parsed = InvitationCode.parse(code)
        inviting = self._inviting(calledHere, calledThere, isConnecting)
        return inviting.addCallback(lambda each: Deferred.fromCoroutine(each.accept(parsed)))

    def _inviting(
        self, calledHere: str | None, calledThere: str | None, isConnecting: bool
    ) -> Deferred[Inviting]:
        self._ensureRunning()
        suggested = calledThere if calledThere is not None else self.name
        greeting = Greeting(
            peerID=self.peerID,
            name=None if suggested is None else checkName(suggested),
            isConnecting=isConnecting,
        )
        return self._keeper.whenRegistered().addCallback(
            lambda state: Inviting(
                clock=self._reactor,
                client=state.client,
                known=self.knownPeers,
                greeting=greeting,
                name=calledHere,
            )
        )

    # --- being reached --------------------------------------------------------------------------

    def listenEndpoint(self) -> IStreamServerEndpoint:
        """
        An endpoint that lets other peers connect to us.
        """
        return PeerServerEndpoint(self)

    @property
    def isListening(self) -> bool:
        """
        Does something accept streams?
        """
        return STREAM in self._sessions.streamAcceptors

    async def acceptStreams(
        self, acceptor: Callable[[SecureStream | QUICStream], None] | None
    ) -> None:
        """
        Give each stream that others open to C{acceptor}; C{None} accepts no more.

        Comes back when the service knows.
        """
        acceptors = self._sessions.streamAcceptors
        if acceptor is None:
            acceptors.pop(STREAM, None)
        else:
            acceptors[STREAM] = acceptor
        try:
            await self._announce()
        except BaseException:
            acceptors.pop(STREAM, None)
            self._withdraw()
            raise

    async def acceptDatagrams(self, acceptor: Callable[[OpenPath], None] | None) -> None:
        """
        Give each datagram path that others open to C{acceptor}; C{None} accepts no more.

        Comes back when the service knows.
        """
        self._sessions.datagramAcceptor = acceptor
        try:
            await self._announce()
        except BaseException:
            self._sessions.datagramAcceptor = None
            self._withdraw()
            raise

    async def _announce(self) -> None:
        isAccepting = self._answerPingsToo()
        if isAccepting:
            self._ensureRunning()
        try:
            await self._keeper.setAccepting(isAccepting)
        except RendezvousError:
            # To accept no more, nobody is needed: the next registration says so.
            if isAccepting:
                raise
        if self.running and isAccepting:
            await self._keeper.whenRegistered()

    def _answerPingsToo(self) -> bool:
        """
        Whoever accepts anything answers pings. Does this peer accept anything?
        """
        acceptors = self._sessions.streamAcceptors
        acceptors.pop(PING, None)
        isAccepting = self._sessions.isAccepting
        if isAccepting:
            acceptors[PING] = self._answerPings
        return isAccepting

    def _withdraw(self) -> None:
        """
        It came to nothing: let the service know, if it can be told.
        """
        withdrawn = Deferred.fromCoroutine(self._keeper.setAccepting(self._answerPingsToo()))
        withdrawn.addErrback(self._notWithdrawn)

    def _notWithdrawn(self, failure: Failure) -> None:
        failure.trap(HolepunchError)

    def _answerPings(self, stream: SecureStream | QUICStream) -> None:
        attachProtocol(stream, Factory.forProtocol(PingAnswerer))

    # --- telling --------------------------------------------------------------------------------

    def _observe(self, event: PeerEvent) -> None:
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception:
            self._log.failure("bug: the observer of a peer raised")

    def _registrationChanged(self, change: MainConnectionState | Unregistered) -> None:
        if isinstance(change, MainConnectionState):
            self._sessions.registered(change)
            self._observe(self._registeredEvent(change))
        else:
            self._sessions.unregistered()
            self._observe(
                Disconnected(
                    at=self._reactor.seconds(),
                    reason=str(change.error),
                    error=type(change.error).__name__,
                    isMendable=change.isMendable,
                )
            )

    def _interfacesChanged(self, hosts: tuple[str, ...]) -> None:
        self._observe(InterfacesChanged(at=self._reactor.seconds(), hosts=hosts))
        if hosts:
            self._sessions.links.networkChanged()

    def _registeredEvent(self, state: MainConnectionState) -> Registered:
        return Registered(
            at=self._reactor.seconds(),
            peerID=self.peerID,
            name=state.registered.name,
            observed=state.registered.observed,
            isBehindNAT=state.registered.isBehindNAT,
            relays=() if state.registered.relay is None else state.registered.relay.servers,
        )

    def _mapped(
        self,
        transport: Transport,
        local: TransportAddress,
        mapped: TransportAddress,
        server: TransportAddress,
    ) -> None:
        self._observe(
            Mapped(
                at=self._reactor.seconds(),
                session=None,
                transport=transport,
                local=local,
                mapped=mapped,
                server=server,
            )
        )
