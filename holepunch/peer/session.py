"""
One session of a peer with all that belongs to it: its driver, its assist requests, its end.

Owns: putting the parts of a session together from an introduction, and taking them apart again.
Knows nothing of: which other sessions there are.
Driven by: L{holepunch.peer.sessions.Sessions}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, NoLocalPort, NoPathFound
from holepunch.identity import Identity
from holepunch.interfaces import ISignalling
from holepunch.peer.assist import AssistRequests, MappedCallback
from holepunch.peer.config import PeerConfig
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.driver import Outcome, SessionDriver
from holepunch.peer.events import (
    Connected,
    Failed,
    Mapped,
    PairNews,
    PeerEvent,
    Punched,
    RelayPair,
    Signalled,
)
from holepunch.peer.framedpath import FramedPath
from holepunch.peer.gathering import hostCandidates, preferringUDP, waitingCandidates
from holepunch.peer.localports import LocalPorts
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.relayallocation import RelayAllocation
from holepunch.peer.relayedpath import RelayedPath, relayedCandidate
from holepunch.peer.securestream import SecureStream
from holepunch.peer.signalling import MoreCandidates, Ready, SignallingMessage
from holepunch.punch import Candidate, CandidateType, Path, PunchEvent, SessionConfig
from holepunch.punch.nomination import HeadStart
from holepunch.punch.pairproof import PairProofConfig
from holepunch.rendezvous.introduction import EndReason, Introduction, RelayPolicy, SessionEnd
from holepunch.tls import IdentityTLS

SessionPath = SecureStream | DatagramPath | FramedPath | RelayedPath

NewAssist = Callable[[LocalPorts, int, MappedCallback], AssistRequests]


class Session:
    """
    A session from its introduction to its path, and the path afterwards.

    With a relay it may find two: the one through the relay, and a direct one later.

    @ivar introduction: What the service told us.
    @ivar ports: The local ports that it uses.
    @ivar startedAt: When it was asked for.
    @ivar path: Fires with the first path, or fails with why there is none.
    @ivar connected: What there is to tell about that path; C{None} before there is one.
    @ivar isForPings: Did another peer open it, and does the program know nothing of it?
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        introduction: Introduction,
        ports: LocalPorts,
        signalling: ISignalling,
        newAssist: NewAssist,
        demultiplexer: Demultiplexer,
        config: PeerConfig,
        *,
        relay: RelayAllocation | None = None,
        forwarded: Sequence[tuple[LocalPorts, Sequence[Candidate]]] = (),
        applications: Sequence[bytes],
        startedAt: float,
        timeout: float,
        observe: Callable[[PeerEvent], None],
        found: Callable[[Session, DatagramPath | FramedPath | RelayedPath, Connected], None],
        ended: Callable[[Session], None],
    ) -> None:
        """
        @param signalling: Reaches the other side before there is a path.
        @param newAssist: Makes what tells the mapped addresses of local ports; it is called with
            these, how many servers are to be asked, and what to call with each address.
        @param relay: Our allocation at the relay, where the session may use one.
        @param forwarded: Other ports at which we may be reached, with their candidates.
        @param applications: What the stream may be used for (ALPN), the preferred one first.
        @param startedAt: When it was asked for.
        @param timeout: Seconds that are left for finding a path.
        @param found: Called with each path for datagrams, before C{path} fires.
        @param ended: Called once, when nothing of the session is left, its path included.
        """
        self._reactor = reactor
        self.introduction = introduction
        self.ports = ports
        self.connected: Connected | None = None
        self.isForPings = False
        self._signalling = signalling
        self._newAssist = newAssist
        self._forwarded = forwarded
        self.startedAt = startedAt
        self._observe = observe
        self._found = found
        self._ended: Callable[[Session], None] | None = ended
        self._tls = IdentityTLS(identity, introduction.remote, applications)
        self._driver = SessionDriver(
            reactor,
            SessionConfig(
                isControlling=introduction.isControlling,
                localCredentials=introduction.local,
                remoteCredentials=introduction.remoteCredentials,
                randomBytes=os.urandom,
                transports=frozenset(introduction.transports),
                preferredTransport=Transport.UDP if introduction.isMovable else Transport.TCP,
                tcpFlow=introduction.flow,
                isRequester=introduction.isRequester,
                nomination=config.nomination or HeadStart(config.headStart),
                checkPacing=config.checkPacing,
                retryDelay=config.retryDelay,
                connectTries=config.connectTries,
                keepaliveInterval=config.keepaliveInterval,
                timeout=timeout,
            ),
            ports,
            demultiplexer,
            self._newTLS,
            (identity.peerID, introduction.remote),
            isMovable=introduction.isMovable,
            observe=self._punched,
            sayReady=self._sayReady,
            openWaitingPort=self._openWaitingPort,
            ended=self._driverEnded,
        )
        self._assists: list[AssistRequests] = []
        self._demultiplexer = demultiplexer
        self.path: Deferred[SessionPath] = Deferred(lambda _: self.end(CancelledError()))
        self._waiting: Deferred[SessionPath] | None = self.path
        self._failure: Failure | None = None
        self._isFinished = False
        self._relayed: RelayedPath | None = None
        if relay is not None and introduction.isMovable:
            self._relayed = self._makeRelayed(relay, identity, config, timeout)
        self._driver.result.addCallbacks(self._succeeded, self._failed)
        signalling.setReceiver(self._heard)

    @property
    def isUnderWay(self) -> bool:
        """
        Is a path still being looked for?
        """
        return self.connected is None

    def start(self) -> None:
        """
        Punch, unless the session has ended already.
        """
        if self._relayed is not None:
            self._relayed.start()
        if self.introduction.relay is RelayPolicy.ONLY:
            self._driver.end(NoPathFound("only the relay may be used, and it could not be"))
        elif not self._driver.isOver:
            self._startPunching()
        self._takeRelayed(self.introduction.remoteCandidates)

    def _startPunching(self) -> None:
        # Two listeners show whether the NAT maps by destination.
        self._ask(self.ports, listeners=2)
        transports = self.introduction.transports
        self._driver.addLocalCandidates(self._ranked(hostCandidates(self.ports, transports)))
        for ports, candidates in self._forwarded:
            self._driver.addWaitingPorts(ports, self._ranked(candidates))
        self._addRemote(self.introduction.remoteCandidates)

    def _ranked(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return preferringUDP(candidates) if self.introduction.isMovable else candidates

    def _addRemote(self, candidates: Sequence[Candidate]) -> None:
        direct = [each for each in candidates if each.type is not CandidateType.RELAYED]
        self._driver.addRemoteCandidates(self._ranked(direct))

    def _ask(self, ports: LocalPorts, listeners: int) -> None:
        assist = self._newAssist(ports, listeners, self._mapped)
        self._assists.append(assist)
        if Transport.UDP in self.introduction.transports:
            assist.askByUDP()
        if Transport.TCP in self.introduction.transports:
            assist.askByTCP()

    def _heard(self, message: SignallingMessage) -> None:
        """
        The other side, or the service, has something to say about the session.
        """
        if isinstance(message, MoreCandidates):
            self._signalled("candidates", isOutgoing=False)
            self._addRemote(message.candidates)
            self._takeRelayed(message.candidates)
        elif isinstance(message, Ready):
            self._signalled("ready", isOutgoing=False)
            self._driver.remoteReady()
        elif isinstance(message, SessionEnd):
            self._signalled("end", isOutgoing=False)
            self._endedRemotely(message)

    def _endedRemotely(self, end: SessionEnd) -> None:
        """
        The session is over for the other side; a path that is up stays up.
        """
        if end.reason is EndReason.DONE:
            return
        error = end.asError()
        if self._driver.selected is None:
            self._driver.end(error)
        if self._relayed is not None and not self._relayed.isProven:
            self._relayed.close()

    def end(self, reason: Exception) -> None:
        """
        End the session, or close its path.
        """
        self._driver.end(reason)
        if self._relayed is not None:
            self._relayed.close()

    # --- the relay ------------------------------------------------------------------------------

    def _makeRelayed(
        self, relay: RelayAllocation, identity: Identity, config: PeerConfig, timeout: float
    ) -> RelayedPath | None:
        introduction = self.introduction
        if introduction.relayLocal is None or introduction.relayRemote is None:
            return None
        return RelayedPath(
            self._reactor,
            relay,
            (identity.peerID, introduction.remote),
            PairProofConfig(
                isControlling=introduction.isControlling,
                local=introduction.relayLocal,
                remote=introduction.relayRemote,
                candidate=relayedCandidate(),
                randomBytes=os.urandom,
                patience=timeout,
                keepaliveInterval=config.keepaliveInterval,
            ),
            introduction.continues or introduction.sessionID,
            allocated=self._allocated,
            checked=lambda relayed: self._tellRelayed(relayed, PairNews.CHECKED),
            proven=self._relayProven,
            ended=self._relayEnded,
        )

    def _takeRelayed(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            if candidate.type is CandidateType.RELAYED and self._relayed is not None:
                self._relayed.addRemote(candidate.address)

    def _allocated(self, candidate: Candidate) -> None:
        # A relay that is not the service's own tells nobody but us.
        self._signalling.send(MoreCandidates((candidate,)))

    def _tellRelayed(self, relayed: RelayedPath, news: PairNews, reason: str = "") -> None:
        local, remote = relayed.ends
        self._observe(
            RelayPair(
                at=self._reactor.seconds(),
                session=self.introduction.sessionID,
                news=news,
                local=local,
                remote=remote,
                reason=reason,
            )
        )

    def _relayProven(self, relayed: RelayedPath) -> None:
        self._tellRelayed(relayed, PairNews.PROVEN)
        self._use(relayed, relayed.path, self._reactor.seconds())
        if self._driver.isOver:
            self._finish(SessionEnd(EndReason.DONE))

    def _relayEnded(self, relayed: RelayedPath, reason: str) -> None:
        self._tellRelayed(relayed, PairNews.LOST, reason)
        self._relayed = None
        if self._failure is not None:
            self._giveUp(self._failure)
        self._endIfOver()

    # --- the driver -----------------------------------------------------------------------------

    def _newTLS(self, isClient: bool) -> SSL.Connection:
        return self._tls.newConnection(isClient)

    def _sayReady(self) -> None:
        self._signalled("ready", isOutgoing=True)
        self._signalling.send(Ready())

    def _openWaitingPort(self) -> None:
        hosts = [base.host for base in self.ports.bases(Transport.UDP)]
        try:
            ports = LocalPorts.open(self._reactor, hosts, self._demultiplexer)
        except NoLocalPort as error:
            self._log.debug("no port to wait on: {error}", error=error)
            return
        candidates = waitingCandidates(ports, self.introduction.transports)
        self._driver.addWaitingPorts(ports, candidates)
        if not self._driver.isOver:
            self._ask(ports, listeners=1)

    def _punched(self, event: PunchEvent) -> None:
        self._observe(Punched(at=event.at, session=self.introduction.sessionID, event=event))

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
                session=self.introduction.sessionID,
                transport=transport,
                local=local,
                mapped=mapped,
                server=server,
            )
        )
        self._driver.mappedAddressSeen(transport, local, mapped)

    def _signalled(self, kind: str, *, isOutgoing: bool) -> None:
        self._observe(
            Signalled(
                at=self._reactor.seconds(),
                session=self.introduction.sessionID,
                kind=kind,
                isOutgoing=isOutgoing,
            )
        )

    # --- what comes of it -----------------------------------------------------------------------

    def _succeeded(self, outcome: Outcome) -> None:
        path = self._driver.selected
        assert path is not None
        if self._relayed is not None and not self._relayed.isProven:
            self._relayed.close()
        self._finish(SessionEnd(EndReason.DONE))
        self._use(outcome, path, self._driver.selectedAt)

    def _failed(self, failure: Failure) -> None:
        self._failure = failure
        self._stopAsking()
        if self._relayed is None:
            self._giveUp(failure)
        elif self._relayed.isProven:
            self._finish(SessionEnd(EndReason.DONE))

    def _use(self, outcome: SessionPath, path: Path, selectedAt: float) -> None:
        connected = Connected(
            at=self._reactor.seconds(),
            session=self.introduction.sessionID,
            remotePeer=self.introduction.remote,
            remoteName=self.introduction.remoteName,
            path="relay" if path.isRelayed else "direct",
            transport=path.transport,
            local=path.local,
            remote=path.remote,
            candidate=path.remoteCandidate.type.value,
            seconds=selectedAt - self.startedAt,
        )
        if self.connected is None:
            self.connected = connected
        if isinstance(outcome, SecureStream):
            self._observe(connected)
        else:
            self._found(self, outcome, connected)
        waiting, self._waiting = self._waiting, None
        # Whoever heard of the path may have given up.
        if waiting is not None and not waiting.called:
            waiting.callback(outcome)

    def _giveUp(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        text = failure.getErrorMessage()
        isCancelled = not isinstance(failure.value, HolepunchError)
        self._finish(SessionEnd(EndReason.CANCELLED if isCancelled else EndReason.FAILED, text))
        self._observe(
            Failed(
                at=self._reactor.seconds(),
                session=self.introduction.sessionID,
                reason="the session was cancelled" if isCancelled else text,
                error="" if isCancelled else type(failure.value).__name__,
                fates=failure.value.fates if isinstance(failure.value, NoPathFound) else (),
                continues=self.introduction.continues,
            )
        )
        if not waiting.called:
            waiting.errback(failure)

    def _finish(self, end: SessionEnd) -> None:
        """
        The punching is over, with or without a path.
        """
        if self._isFinished:
            return
        self._isFinished = True
        self._stopAsking()
        self._signalling.send(end)

    def _stopAsking(self) -> None:
        for assist in self._assists:
            assist.stop()

    def _driverEnded(self, driver: SessionDriver) -> None:
        self._endIfOver()

    def _endIfOver(self) -> None:
        if self._relayed is None and self._driver.isOver:
            ended, self._ended = self._ended, None
            if ended is not None:
                ended(self)
