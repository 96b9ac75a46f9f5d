"""
Drives one punching session: carries out what the core decides, and tells it what happens.

The rhythm is always the same: an input goes to the core, its effects are carried out, the one timer
is re-armed if it moved.

Owns: the sockets' side of a session, from its introduction to its path or failure, and the UDP path
afterwards.
Knows nothing of: how a session came to be; what is done with its path.
Driven by: L{holepunch.peer.peer.Peer}, the local ports, the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, PathLost, SessionError, WrongPeer
from holepunch.identity import PeerID
from holepunch.peer import connecterrors
from holepunch.peer.address import PunchedAddress
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.framedpath import FramedPath
from holepunch.peer.localports import LocalPorts
from holepunch.peer.punchingconnection import PunchingConnection
from holepunch.peer.securestream import SecureStream
from holepunch.peer.sessionconnection import SessionConnection
from holepunch.punch import (
    Candidate,
    CloseConnection,
    DatagramReceived,
    Effect,
    OpenConnection,
    OpenWaitingPort,
    Path,
    PathSelected,
    ProbeAnswered,
    PunchEvent,
    PunchSession,
    SayReady,
    SendDatagram,
    SendStream,
    SessionConfig,
    SessionFailed,
    StartStream,
    StreamData,
    Trace,
)
from holepunch.punch import PathLost as PathLostEffect

Outcome: TypeAlias = SecureStream | DatagramPath | FramedPath


class SessionDriver:
    """
    One session of this peer.

    @ivar result: Fires with the stream or the datagram path, or fails with why there is none.
        Cancelling it ends the session.
    @ivar selected: The path in use; C{None} before one was selected.
    @ivar selectedAt: When that was.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        config: SessionConfig,
        ports: LocalPorts,
        demultiplexer: Demultiplexer,
        newTLS: Callable[[bool], SSL.Connection],
        addresses: tuple[PeerID, PeerID],
        *,
        isMovable: bool = False,
        observe: Callable[[PunchEvent], None],
        sayReady: Callable[[], None],
        openWaitingPort: Callable[[], None],
        ended: Callable[[SessionDriver], None],
    ) -> None:
        """
        @param newTLS: Makes an OpenSSL connection that accepts the other peer only; the argument
            says whether this side is the TLS client.
        @param addresses: Our peer ID and the other side's.
        @param isMovable: Is a TCP connection, too, to carry datagrams, and not TLS?
        @param observe: Called for each step of the session.
        @param sayReady: Called when the other peer is to be told that we listen.
        @param openWaitingPort: Called when L{addWaitingPorts} is wanted.
        @param ended: Called once, when the session holds nothing any more.
        """
        self._clock = clock
        self._config = config
        self._ports = [ports]
        self._demultiplexer = demultiplexer
        self._newTLS = newTLS
        self._localID, self._remoteID = addresses
        self._isMovable = isMovable
        self._observe = observe
        self._sayReady = sayReady
        self._openWaitingPort = openWaitingPort
        self._ended: Callable[[SessionDriver], None] | None = ended
        self._session = PunchSession(config, clock.seconds())
        self._connections: dict[int, SessionConnection] = {}
        self._timer: IDelayedCall | None = None
        self._handshakeTimer: IDelayedCall | None = None
        self._isPumping = False
        self._datagramPath: DatagramPath | None = None
        self._framedPath: FramedPath | None = None
        self.selected: Path | None = None
        self.selectedAt = 0.0
        self.result: Deferred[Outcome] = Deferred(lambda _: self.end(CancelledError()))
        self._waiting: Deferred[Outcome] | None = self.result
        ports.retain()
        demultiplexer.enter(config.localCredentials.ufrag, self)

    @property
    def isOver(self) -> bool:
        """
        Has the session let go of everything?
        """
        return self._ended is None

    # --- from the peer --------------------------------------------------------------------------

    def addLocalCandidates(self, candidates: Iterable[Candidate]) -> None:
        """
        We can be reached there.
        """
        for candidate in candidates:
            self._session.addLocalCandidate(candidate, self._clock.seconds())
        self._pump()

    def addWaitingPorts(self, ports: LocalPorts, candidates: Iterable[Candidate]) -> None:
        """
        We can be reached there, too, and send nothing to the other side before it has called.
        """
        self._ports.append(ports.retain())
        self.addLocalCandidates(candidates)

    def mappedAddressSeen(
        self, transport: Transport, local: TransportAddress, mapped: TransportAddress
    ) -> None:
        """
        An assist listener saw us at C{mapped}.
        """
        self._session.mappedAddressSeen(transport, local, mapped, self._clock.seconds())
        self._pump()

    def addRemoteCandidates(self, candidates: Iterable[Candidate]) -> None:
        """
        The other peer may be reached there.
        """
        for candidate in candidates:
            self._session.addRemoteCandidate(candidate, self._clock.seconds())
        self._pump()

    def remoteReady(self) -> None:
        """
        The other peer listens now (sequential flow).
        """
        self._session.remoteReady(self._clock.seconds())
        self._pump()

    def end(self, reason: Exception) -> None:
        """
        End the session, or close its path.

        @param reason: Why there will be no path, if none was handed over yet.
        """
        if self._datagramPath is not None and not self.isOver:
            self._datagramPath.sayGoodbye()
        self._close(reason)

    def _close(self, reason: Exception) -> None:
        self._session.close(str(reason), self._clock.seconds())
        self._pump()
        self._finish(Failure(reason))

    # --- from the sockets -----------------------------------------------------------------------

    def datagramReceived(
        self, local: TransportAddress, remote: TransportAddress, data: bytes
    ) -> None:
        """
        A datagram came in on one of our UDP sockets.
        """
        path = self._datagramPath
        if path is not None and path.takes(local, remote, data):
            return
        if path is not None and path.isGoodbye(data):
            self._close(PathLost("the other side closed the path"))
            return
        self._session.receiveDatagram(local, remote, data, self._clock.seconds())
        self._pump()

    def connectionAccepted(self, connection: PunchingConnection, data: bytes) -> None:
        """
        A connection came in on our punching port, and begins with C{data}.
        """
        now = self._clock.seconds()
        number = self._session.connectionAccepted(connection.local, connection.remote, now)
        accepted = SessionConnection(self, number)
        accepted.punching = connection
        connection.setOwner(accepted)
        self._connections[number] = accepted
        self._session.receiveStream(number, data, now)
        self._pump()

    def connectionMade(self, connection: SessionConnection) -> None:
        """
        One of our connects succeeded.
        """
        assert connection.punching is not None
        self._session.connectionMade(
            connection.number, connection.punching.local, self._clock.seconds()
        )
        self._pump()

    def connectFailed(self, connection: SessionConnection, reason: Failure) -> None:
        """
        One of our connects came to nothing.
        """
        if self._connections.pop(connection.number, None) is not None:
            self._session.connectFailed(
                connection.number, connecterrors.classify(reason), self._clock.seconds()
            )
            self._pump()

    def streamReceived(self, connection: SessionConnection, data: bytes) -> None:
        """
        Bytes came in on a connection that still carries checks.
        """
        self._session.receiveStream(connection.number, data, self._clock.seconds())
        self._pump()

    def connectionLost(self, connection: SessionConnection, reason: Failure) -> None:
        """
        A connection is gone.
        """
        if self._connections.pop(connection.number, None) is None:
            return
        if self.selected is not None and self.selected.connection == connection.number:
            self._finish(Failure(PathLost()))
        else:
            self._session.connectionLost(connection.number, self._clock.seconds())
            self._pump()

    # --- effects --------------------------------------------------------------------------------

    def _pump(self) -> None:
        """
        Carry out what the core decided, and re-arm the timer.
        """
        if self._isPumping:
            # An effect was answered on the spot; the loop below goes on until nothing is left.
            return
        self._isPumping = True
        try:
            while effects := self._session.takeEffects():
                for effect in effects:
                    # Whoever hears of one may end the session, and what follows with it.
                    if not self.isOver or isinstance(effect, Trace):
                        self._carryOut(effect)
        finally:
            self._isPumping = False
        self._rearm()

    def _carryOut(self, effect: Effect) -> None:
        method = self._ACTIONS[type(effect)]
        method(self, effect)

    def _rearm(self) -> None:
        at = None if self.isOver else self._session.nextTimeout()
        timer = self._timer
        if timer is not None and timer.active():
            if at is not None and abs(timer.getTime() - at) < 1e-6:
                return
            timer.cancel()
        self._timer = None
        if at is not None:
            self._timer = self._clock.callLater(
                max(0.0, at - self._clock.seconds()), self._timedOut
            )

    def _timedOut(self) -> None:
        self._session.handleTimeout(self._clock.seconds())
        self._pump()

    def _sendDatagram(self, effect: SendDatagram) -> None:
        port = self._portsOf(Transport.UDP, effect.local).datagramPort(effect.local)
        if not effect.isAnswer:
            # The other side may check from as many addresses as it likes; we do not.
            port.addRoute(effect.remote, self)
        port.send(effect.remote, effect.data)

    def _portsOf(self, transport: Transport, base: TransportAddress) -> LocalPorts:
        return next(ports for ports in self._ports if base in ports.bases(transport))

    def _openConnection(self, effect: OpenConnection) -> None:
        connection = SessionConnection(self, effect.connection)
        self._connections[effect.connection] = connection
        port = self._portsOf(Transport.TCP, effect.local).streamPort(effect.local.family)
        if port is None:
            raise AssertionError("the core paired a candidate of a family that we lack")
        connection.connector = port.connect(
            effect.local,
            effect.remote,
            connection,
            connection.connectFailed,
            self._config.connectTimeout,
            effect.ttl,
        )

    def _sendStream(self, effect: SendStream) -> None:
        connection = self._connections.get(effect.connection)
        if connection is not None and connection.punching is not None:
            connection.punching.send(effect.data)

    def _closeConnection(self, effect: CloseConnection) -> None:
        connection = self._connections.pop(effect.connection, None)
        if connection is not None:
            connection.close()

    def _ready(self, effect: SayReady) -> None:
        self._sayReady()

    def _openWaiting(self, effect: OpenWaitingPort) -> None:
        self._openWaitingPort()

    def _startStream(self, effect: StartStream) -> None:
        connection = self._connections.get(effect.connection)
        if connection is not None and connection.stream is None and not self._isMovable:
            self._secure(connection)

    def _secure(self, connection: SessionConnection) -> None:
        punching = connection.punching
        assert punching is not None
        stream = SecureStream(
            self._clock,
            # The repair of a role conflict may have changed what the service said.
            self._newTLS(self._session.isControlling),
            PunchedAddress.of(Transport.TCP, punching.local, self._localID),
            PunchedAddress.of(Transport.TCP, punching.remote, self._remoteID),
            lambda stream, failure: self._secured(connection, failure),
        )
        connection.stream = stream
        punching.startStream(stream)

    def _pathSelected(self, effect: PathSelected) -> None:
        path = self.selected = effect.path
        self.selectedAt = self._clock.seconds()
        if path.connection is None:
            self._datagramsSelected(path)
            return
        connection = self._connections[path.connection]
        if self._isMovable:
            self._frame(connection, path)
            return
        if connection.stream is None:
            self._secure(connection)
        assert connection.punching is not None
        connection.punching.handOver()
        self._handshakeTimer = self._clock.callLater(
            self._config.timeout,
            lambda: self.end(SessionError("the TLS handshake on the punched path took too long")),
        )

    def _frame(self, connection: SessionConnection, path: Path) -> None:
        assert connection.punching is not None
        framed = self._framedPath = connection.stream = FramedPath(
            self._clock, path, (self._localID, self._remoteID), self._config, self
        )
        connection.punching.startStream(framed)
        connection.punching.handOver()
        self._succeed(framed)

    def _secured(self, connection: SessionConnection, failure: Failure | None) -> None:
        """
        The TLS handshake on a connection has ended.
        """
        if self.selected is None or self.selected.connection != connection.number:
            # It was started in hope, and another connection won; or this one came to nothing.
            return
        self._cancelTimer(self._handshakeTimer)
        assert connection.stream is not None
        if failure is None:
            self._succeed(connection.stream)
        elif failure.check(SSL.Error):
            self.end(WrongPeer("the other side broke off the TLS handshake"))
        elif isinstance(failure.value, HolepunchError):
            self.end(failure.value)
        else:
            self.end(SessionError(f"the punched path broke: {failure.getErrorMessage()}"))

    def _datagramsSelected(self, path: Path) -> None:
        if self._datagramPath is not None:
            self._datagramPath.moved(path)
            return
        ends = (self._localID, self._remoteID)
        port = self._portsOf(Transport.UDP, path.local).datagramPort(path.local)
        self._datagramPath = DatagramPath(self._clock, port, path, ends, self._config, self)
        self._succeed(self._datagramPath)

    def _succeed(self, outcome: Outcome) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(outcome)

    def _streamData(self, effect: StreamData) -> None:
        connection = self._connections.get(effect.connection)
        if connection is not None and connection.stream is not None:
            connection.stream.dataReceived(effect.data)

    def probe(self) -> None:
        """
        Send a check on the UDP path at once; L{DatagramPath.answered} hears of the answer.
        """
        self._session.probe(self._clock.seconds())
        self._pump()

    def _probeAnswered(self, effect: ProbeAnswered) -> None:
        if self._datagramPath is not None:
            self._datagramPath.answered(effect.seconds)

    def _datagram(self, effect: DatagramReceived) -> None:
        if self._datagramPath is not None:
            self._datagramPath.deliver(effect.data)

    def _pathLost(self, effect: PathLostEffect) -> None:
        self._finish(Failure(PathLost(effect.reason)))

    def _failed(self, effect: SessionFailed) -> None:
        self._finish(Failure(effect.reason))

    def _trace(self, effect: Trace) -> None:
        self._observe(effect.event)

    _ACTIONS: dict[type, Callable[[SessionDriver, Any], None]] = {
        SendDatagram: _sendDatagram,
        OpenConnection: _openConnection,
        SendStream: _sendStream,
        CloseConnection: _closeConnection,
        SayReady: _ready,
        OpenWaitingPort: _openWaiting,
        StartStream: _startStream,
        PathSelected: _pathSelected,
        StreamData: _streamData,
        DatagramReceived: _datagram,
        ProbeAnswered: _probeAnswered,
        PathLostEffect: _pathLost,
        SessionFailed: _failed,
        Trace: _trace,
    }

    # --- the end --------------------------------------------------------------------------------

    def _cancelTimer(self, timer: IDelayedCall | None) -> None:
        if timer is not None and timer.active():
            timer.cancel()

    def _finish(self, reason: Failure) -> None:
        """
        Let go of everything, once.
        """
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._cancelTimer(self._timer)
        self._cancelTimer(self._handshakeTimer)
        self._demultiplexer.leave(self._config.localCredentials.ufrag)
        for ports in self._ports:
            for port in ports.datagramPorts():
                port.removeRoutes(self)
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close()
        for ports in self._ports:
            ports.release()
        ended(self)
        for path in (self._datagramPath, self._framedPath):
            if path is not None:
                path.lost(reason)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(reason)
