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
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, NoLocalPort, NoPathFound
from holepunch.identity import Identity
from holepunch.peer.assist import AssistClient
from holepunch.peer.config import PeerConfig
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.driver import Outcome, SessionDriver
from holepunch.peer.events import Connected, Failed, Mapped, PeerEvent, Punched, Signalled
from holepunch.peer.gathering import hostCandidates, oneOfEachHost, waitingCandidates
from holepunch.peer.localports import LocalPorts
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.registration import MainConnectionState
from holepunch.punch import Candidate, PunchEvent, SessionConfig
from holepunch.punch.nomination import HeadStart
from holepunch.rendezvous.introduction import EndReason, Introduction, SessionEnd
from holepunch.tls import IdentityTLS


class Session:
    """
    A session from its introduction to its path, and the path afterwards.

    @ivar introduction: What the service told us.
    @ivar ports: The local ports that it uses.
    @ivar path: Fires with the stream or the datagram path, or fails with why there is none.
    @ivar connected: What there is to tell about the path; C{None} before there is one.
    @ivar outcome: The path.
    @ivar isForPings: Did another peer open it, and does the program know nothing of it?
    """

    _log = Logger()
    outcome: Outcome

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        introduction: Introduction,
        ports: LocalPorts,
        main: MainConnectionState,
        demultiplexer: Demultiplexer,
        config: PeerConfig,
        *,
        applications: Sequence[bytes],
        startedAt: float,
        timeout: float,
        observe: Callable[[PeerEvent], None],
        ended: Callable[[Session], None],
    ) -> None:
        """
        @param applications: What the stream may be used for (ALPN), the preferred one first.
        @param startedAt: When it was asked for.
        @param timeout: Seconds that are left for finding a path.
        @param ended: Called once, when nothing of the session is left, its path included.
        """
        self._reactor = reactor
        self.introduction = introduction
        self.ports = ports
        self.connected: Connected | None = None
        self.isForPings = False
        self._main = main
        self._startedAt = startedAt
        self._observe = observe
        self._ended = ended
        self._tls = IdentityTLS(identity, introduction.remote, applications)
        self._driver = SessionDriver(
            reactor,
            SessionConfig(
                isControlling=introduction.isControlling,
                localCredentials=introduction.local,
                remoteCredentials=introduction.remoteCredentials,
                randomBytes=os.urandom,
                transports=frozenset(introduction.transports),
                tcpFlow=introduction.flow,
                isRequester=introduction.isRequester,
                nomination=HeadStart(config.headStart),
                retryDelay=config.retryDelay,
                connectTries=config.connectTries,
                keepaliveInterval=config.keepaliveInterval,
                timeout=timeout,
            ),
            ports,
            demultiplexer,
            self._newTLS,
            (identity.peerID, introduction.remote),
            observe=self._punched,
            sayReady=self._sayReady,
            openWaitingPort=self._openWaitingPort,
            ended=self._driverEnded,
        )
        self._assists: list[AssistClient] = []
        self._demultiplexer = demultiplexer
        self.path: Deferred[Outcome] = self._driver.result
        self.path.addCallbacks(self._succeeded, self._failed)

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
        if self._driver.isOver:
            return
        # Two listeners show whether the NAT maps by destination.
        self._ask(self.ports, listeners=2)
        transports = self.introduction.transports
        self._driver.addLocalCandidates(hostCandidates(self.ports, transports))
        self._driver.addRemoteCandidates(self.introduction.remoteCandidates)

    def _ask(self, ports: LocalPorts, listeners: int) -> None:
        assist = AssistClient(
            self._reactor,
            ports,
            oneOfEachHost(self._main.registered.assist, limit=listeners),
            self.introduction.ticket,
            os.urandom,
            self._mapped,
        )
        self._assists.append(assist)
        if Transport.UDP in self.introduction.transports:
            assist.askByUDP()
        if Transport.TCP in self.introduction.transports:
            assist.askByTCP()

    def candidatesReceived(self, candidates: Sequence[Candidate]) -> None:
        """
        The other peer may be reached there, too.
        """
        self._signalled("candidates", isOutgoing=False)
        self._driver.addRemoteCandidates(candidates)

    def remoteReady(self) -> None:
        """
        The other peer listens now.
        """
        self._signalled("ready", isOutgoing=False)
        self._driver.remoteReady()

    def endedRemotely(self, end: SessionEnd) -> None:
        """
        The other side, or the service, says that the session is over; a path that is up stays up.
        """
        self._signalled("end", isOutgoing=False)
        if end.reason is not EndReason.DONE and self._driver.selected is None:
            self._driver.end(end.asError())

    def end(self, reason: Exception) -> None:
        """
        End the session, or close its path.
        """
        self._driver.end(reason)

    # --- the driver -----------------------------------------------------------------------------

    def _newTLS(self, isClient: bool) -> SSL.Connection:
        return self._tls.newConnection(isClient)

    def _sayReady(self) -> None:
        self._signalled("ready", isOutgoing=True)
        self._main.client.sendReady(self.introduction.sessionID).addErrback(_ignore)

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

    def _succeeded(self, outcome: Outcome) -> Outcome:
        path = self._driver.selected
        assert path is not None
        self.outcome = outcome
        self.connected = Connected(
            at=self._reactor.seconds(),
            session=self.introduction.sessionID,
            remotePeer=self.introduction.remote,
            remoteName=self.introduction.remoteName,
            path="relay" if path.isRelayed else "direct",
            transport=path.transport,
            local=path.local,
            remote=path.remote,
            candidate=path.remoteCandidate.type.value,
            seconds=self._driver.selectedAt - self._startedAt,
        )
        self._finish(SessionEnd(EndReason.DONE))
        self._observe(self.connected)
        return outcome

    def _failed(self, failure: Failure) -> Failure:
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
            )
        )
        return failure

    def _finish(self, end: SessionEnd) -> None:
        """
        The punching is over, with or without a path.
        """
        for assist in self._assists:
            assist.stop()
        self._main.client.endSession(self.introduction.sessionID, end).addErrback(_ignore)

    def _driverEnded(self, driver: SessionDriver) -> None:
        self._ended(self)


def _ignore(failure: Failure) -> None:
    """
    The main connection is gone: what was to be said over it matters no longer.
    """
    failure.trap(HolepunchError)
