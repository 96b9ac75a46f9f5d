"""
QUIC over a punched path: many streams and datagrams with one proven peer (RFC 9000, RFC 9221).

Owns: the rhythm (take what arrived, process events, advance the streams, transmit, set the timer),
which streams there are, and why the connection ended.
Knows nothing of: how the path came to be, and where its datagrams go at the moment.
Driven by: the path, the clock, and the streams; L{holepunch.peer} opens streams.

All work is done in turns of its own, one for all datagrams that the reactor read at once. The path
may change below as it likes: for QUIC it is one and the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cryptography import x509
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.errors import LocalProtocolError, PathLost, PeerClosed, PeerMisbehaved, WrongPeer
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IDatagramPath
from holepunch.peer.address import PunchedAddress
from holepunch.peer.quiccodes import ConnectionCode, isIdentityAlert
from holepunch.peer.quiccore import QUICCore, QUICSettings
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.quicstreams import StreamTable

_INCOMING_LIMIT = 4096
_WAITING_DATAGRAMS = 256
_EARLY_DATAGRAMS = 16
_DATAGRAM_OVERHEAD = 40
_ROUNDS = 16
_PROBE_INTERVAL = 2.0
_HANDSHAKE_INTERVAL = 0.5

_log = Logger()


class QUICConnection:
    """
    One connection with one peer, whose identity is proven before any stream is opened.

    @ivar dropped: How many datagrams were of no use: garbage, repeated, or too many at once.
    """

    def __init__(
        self,
        clock: IReactorTime,
        path: IDatagramPath,
        identity: Identity,
        remote: PeerID,
        *,
        isClient: bool,
        streamOpened: Callable[[QUICStream, bytes], None],
        settings: QUICSettings | None = None,
    ) -> None:
        """
        @param isClient: The controlling side is; the two must differ.
        @param streamOpened: Called with each stream that the other side opens and the name of its
            application; call its L{attach<QUICStream.attach>} or L{refuse<QUICStream.refuse>}.
        """
        self._clock = clock
        self._path = path
        self._settings = settings = settings or QUICSettings()
        self._core = QUICCore(
            identity, remote, isClient=isClient, settings=settings, now=clock.seconds()
        )
        self._streams = StreamTable(
            clock,
            self._core,
            self,
            isClient=isClient,
            streamOpened=streamOpened,
            wakeUp=self._scheduleTurn,
        )
        self._incoming: list[bytes] = []
        self._overflowed = 0
        self._datagrams: deque[bytes] = deque(maxlen=_WAITING_DATAGRAMS)
        self._datagramReceiver: Callable[[bytes], None] | None = None
        self._earlyDatagrams: deque[bytes] = deque(maxlen=_EARLY_DATAGRAMS)
        self._isConnected = False
        self._reason: Failure | None = None
        self._connectedWaiters: list[Deferred[None]] = []
        self._lostWaiters: list[Deferred[None]] = []
        self._turnCall: IDelayedCall | None = None
        self._isInTurn = False
        self._isStopped = self._isClosedHere = False
        self._timerCall: IDelayedCall | None = None
        self._triedAt = clock.seconds()
        self._keepaliveCall: IDelayedCall | None = clock.callLater(
            settings.idleTimeout / 3, self._keepAlive
        )
        self._handlers: dict[str, Callable[..., None]] = {
            "connected": self._connected,
            "failed": self._failed,
            "stream_data": self._streams.dataReceived,
            "stream_reset": self._streams.resetReceived,
            "stop_sending": self._streams.stopReceived,
            "stream_finished": self._streams.finished,
            "datagram": self._datagramReceived,
            "peer_closed": self._peerClosed,
            "protocol_error": self._protocolError,
            "connection_terminated": self._terminated,
        }
        # Some paths can send several datagrams at once.
        self._send: Callable[[list[bytes]], None] = getattr(path, "sendMany", self._sendEach)
        path.setReceiver(self._pathReceived)
        self._pathLost = path.whenLost()
        self._pathLost.addErrback(self._pathEnded)
        self._scheduleTurn()

    # --- the program above ----------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """
        How many packets were of no use: garbage, repeated, or too many at once.
        """
        return self._core.dropped + self._overflowed

    @property
    def isConnected(self) -> bool:
        """
        Is the peer proven, and the connection there?
        """
        return self._isConnected and self._reason is None

    @property
    def roundTrip(self) -> float | None:
        """
        The round trip in seconds, smoothed; C{None} before the first.
        """
        return self._core.roundTrip

    @property
    def streamCount(self) -> int:
        """
        How many streams are open.
        """
        return len(self._streams)

    def whenConnected(self) -> Deferred[None]:
        """
        Fires when the other side has proven its identity; fails with the reason if that is not to
        be, L{WrongPeer} above all.
        """
        waiter: Deferred[None] = Deferred(self._forgetConnectedWaiter)
        if self._reason is not None:
            waiter.errback(self._reason)
        elif self._isConnected:
            waiter.callback(None)
        else:
            self._connectedWaiters.append(waiter)
        return waiter

    def whenLost(self) -> Deferred[None]:
        """
        Fails with the reason when the connection has ended: L{PathLost}, L{PeerClosed},
        L{WrongPeer} or L{PeerMisbehaved}.
        """
        waiter: Deferred[None] = Deferred(self._forgetLostWaiter)
        if self._reason is not None:
            waiter.errback(self._reason)
        else:
            self._lostWaiters.append(waiter)
        return waiter

    def openStream(self, application: bytes) -> QUICStream:
        """
        Open a stream for an application of the other side; then L{QUICStream.attach} a protocol.

        @raise LocalProtocolError: The connection is not there yet or any more, or as many streams
            are open as the other side allows.
        """
        if not self.isConnected:
            raise LocalProtocolError("the connection is not there")
        stream = self._streams.open(application)
        self._scheduleTurn()
        return stream

    @property
    def maxDatagramSize(self) -> int:
        """
        How many bytes L{sendDatagram} takes.
        """
        return self._settings.maxDatagramSize - _DATAGRAM_OVERHEAD

    def sendDatagram(self, data: bytes) -> None:
        """
        Send one datagram, encrypted; it may be lost, and the oldest are when there are too many.

        @raise ValueError: It is longer than L{maxDatagramSize}.
        """
        if len(data) > self.maxDatagramSize:
            raise ValueError(f"a datagram has at most {self.maxDatagramSize} bytes")
        if self.isConnected:
            self._datagrams.append(data)
            self._scheduleTurn()

    def setDatagramReceiver(self, receiver: Callable[[bytes], None]) -> None:
        """
        Call C{receiver} with each datagram that arrives, those that came before included.
        """
        self._datagramReceiver = receiver
        while self._earlyDatagrams:
            receiver(self._earlyDatagrams.popleft())

    def pathMoved(self) -> None:
        """
        The path leads another way now: send again at once what may have been lost on the old one.
        """
        if self._reason is None:
            self._guard(self._core.hurry)
            if self.isConnected:
                self._guard(self._core.ping)
            self._scheduleTurn()

    def close(self) -> None:
        """
        End the connection and tell the other side; the path below stays as it is.
        """
        self._closeWith(
            ConnectionCode.CLOSED, Failure(PeerClosed("the connection was closed")), "closed"
        )

    # --- what a stream tells of its ends ---------------------------------------------------------

    def getHost(self) -> PunchedAddress:
        """
        Our address on the path of the moment.
        """
        address: PunchedAddress = self._path.getHost()
        return address

    def getPeer(self) -> PunchedAddress:
        """
        The other side's.
        """
        address: PunchedAddress = self._path.getPeer()
        return address

    def getPeerCertificate(self) -> object:
        """
        What the other side proved.
        """
        data = self._core.peerCertificate
        if data is None:
            return None
        return X509.from_cryptography(x509.load_der_x509_certificate(data))

    # --- turns ----------------------------------------------------------------------------------

    def _pathReceived(self, data: bytes) -> None:
        if len(self._incoming) >= _INCOMING_LIMIT:
            self._overflowed += 1
        else:
            self._incoming.append(data)
            self._scheduleTurn()

    def _scheduleTurn(self) -> None:
        if self._turnCall is None and not self._isInTurn and not self._isStopped:
            self._turnCall = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turnCall = None
        self._isInTurn = True
        try:
            self._work()
        except Exception:
            _log.failure("A QUIC connection failed")
            self._closeWith(ConnectionCode.INTERNAL, Failure(), "internal error")
        finally:
            self._isInTurn = False
        if self._incoming or self._streams.woken:
            self._scheduleTurn()

    def _work(self) -> None:
        now = self._clock.seconds()
        core, streams = self._core, self._streams
        if self._incoming:
            incoming, self._incoming = self._incoming, []
            core.receive(incoming, now)
        self._passTime(now)
        if self._isStopped:
            return
        for _ in range(_ROUNDS):
            isNew = self._takeEvents()
            if self._reason is None:
                # What was acknowledged or sent makes room for more.
                streams.wakeBusy()
                woken, streams.woken = streams.woken, {}
                for stream in woken:
                    isNew = stream.advance() or isNew
            if not self._transmit(now) and not isNew and not streams.woken:
                break
        if not self._isStopped:
            self._setTimer(now)

    def _takeEvents(self) -> bool:
        core = self._core
        room = self._streams.room()
        isNew = False
        # What nobody reads stays in the core, and closes QUIC's windows.
        while room > 0 or core.isEnding:
            event = core.nextEvent()
            if event is None:
                break
            isNew = True
            handler = self._handlers.get(event[0])
            if handler is not None:
                handler(*event[1:])
                if event[0] == "stream_data":
                    room -= len(event[2])
        return isNew

    def _transmit(self, now: float) -> bool:
        """
        Send what may be sent now.

        @return: Was there anything?
        """
        core = self._core
        datagrams = core.transmit(now)
        isAny = bool(datagrams)
        if datagrams:
            self._send(datagrams)
        while self._datagrams and self._reason is None and core.hasRoom:
            core.sendDatagram(self._datagrams.popleft())
            self._send(core.transmit(now))
        return isAny

    def _sendEach(self, datagrams: list[bytes]) -> None:
        for data in datagrams:
            self._path.send(data)

    # --- time -----------------------------------------------------------------------------------

    def _passTime(self, now: float) -> None:
        core = self._core
        deadline = core.nextTimeout()
        if self._reason is None and now >= core.heardAt + core.idleTimeout:
            seconds = f"{core.idleTimeout:g}"
            self._end(
                Failure(PathLost(f"nothing was heard from the other side for {seconds} seconds"))
            )
            self._stop()
        elif deadline is not None and deadline <= now:
            self._triedAt = now
            core.handleTimeout(now)
        elif now - self._triedAt >= self._probeInterval:
            # The core waits ever longer between its attempts; a path that returns is not to wait.
            self._triedAt = now
            core.hurry()

    @property
    def _probeInterval(self) -> float:
        return _PROBE_INTERVAL if self._isConnected else _HANDSHAKE_INTERVAL

    def _setTimer(self, now: float) -> None:
        deadline = self._core.nextTimeout()
        call = self._timerCall
        if self._reason is None:
            idle = self._core.heardAt + self._core.idleTimeout
            deadline = idle if deadline is None else min(deadline, idle, now + self._probeInterval)
        if deadline is None:
            if call is not None:
                call.cancel()
                self._timerCall = None
            return
        if call is None:
            self._timerCall = self._clock.callLater(max(deadline - now, 0.0), self._timeOut)
        elif deadline < call.getTime():
            call.reset(max(deadline - now, 0.0))
        # A call that comes too early sets itself anew: that is cheaper than moving it each time.

    def _timeOut(self) -> None:
        self._timerCall = None
        self._scheduleTurn()

    def _keepAlive(self) -> None:
        interval = self._core.idleTimeout / 3
        self._keepaliveCall = self._clock.callLater(interval, self._keepAlive)
        if self.isConnected and self._clock.seconds() - self._core.heardAt >= interval / 2:
            self._guard(self._core.ping)
            self._scheduleTurn()

    def _guard(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (ValueError, RuntimeError):
            # The core is closing by itself; its event says why.
            self._scheduleTurn()

    # --- events ---------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._isConnected = True
        while self._connectedWaiters:
            self._connectedWaiters.pop(0).callback(None)

    def _failed(self, error: Exception) -> None:
        self._end(Failure(error))

    def _datagramReceived(self, data: bytes) -> None:
        if self._datagramReceiver is None:
            self._earlyDatagrams.append(data)
            return
        try:
            self._datagramReceiver(data)
        except Exception:
            _log.failure("A datagram could not be taken")

    # --- the end --------------------------------------------------------------------------------

    def _peerClosed(self, isApplication: bool, code: int, frame: int | None, reason: bytes) -> None:
        text = reason.decode("utf-8", "replace")[:200]
        error: Exception
        if isApplication and code == ConnectionCode.CLOSED:
            error = PeerClosed("the other side closed the connection")
        elif not isApplication and isIdentityAlert(code):
            error = WrongPeer(f"the other side does not believe our identity: {text}")
        else:
            error = PathLost(f"the other side broke the connection off: {text or code}")
        self._end(Failure(error))

    def _protocolError(self, code: int, frame: int | None, reason: str) -> None:
        self._end(Failure(PeerMisbehaved(f"the other side broke the rules of QUIC: {reason}")))

    def _terminated(self, code: int, frame: int | None, reason: bytes) -> None:
        text = reason.decode("utf-8", "replace")[:200]
        self._end(Failure(PathLost(f"the connection was lost: {text}")))
        self._stop()

    def _pathEnded(self, failure: Failure) -> None:
        self._end(failure)
        self._stop()

    def _closeWith(self, code: ConnectionCode, reason: Failure, text: str) -> None:
        if self._reason is not None:
            return
        if not self._isInTurn:
            # What was written before goes out first, as far as the network takes it now.
            self._turn()
        if self._reason is None:
            self._isClosedHere = True
            self._guard(lambda: self._core.close(code, text))
            self._guard(lambda: self._transmit(self._clock.seconds()))
            self._end(reason)
            self._scheduleTurn()

    def _end(self, reason: Failure) -> None:
        """
        Tell everybody, once.
        """
        if self._reason is not None:
            return
        self._reason = reason
        if self._keepaliveCall is not None:
            self._keepaliveCall.cancel()
            self._keepaliveCall = None
        self._datagrams.clear()
        # Who ends the connection from within a call of a stream is not called back in it.
        self._clock.callLater(0, self._tellEnd, reason)

    def _tellEnd(self, reason: Failure) -> None:
        error: Exception = ConnectionLost(reason.getErrorMessage())
        if self._isClosedHere:
            error = ConnectionAborted()
        self._streams.close(Failure(error))
        # One at a time: whoever hears of it may cancel the others.
        while self._connectedWaiters:
            self._connectedWaiters.pop(0).errback(reason)
        while self._lostWaiters:
            self._lostWaiters.pop(0).errback(reason)

    def _stop(self) -> None:
        """
        Nothing more is to be said to the other side.
        """
        self._isStopped = True
        self._path.setReceiver(lambda data: None)
        for call in (self._turnCall, self._timerCall):
            if call is not None and call.active():
                call.cancel()
        self._turnCall = self._timerCall = None
        self._incoming.clear()
        self._pathLost.cancel()

    def _forgetConnectedWaiter(self, waiter: Deferred[None]) -> None:
        self._connectedWaiters.remove(waiter)

    def _forgetLostWaiter(self, waiter: Deferred[None]) -> None:
        self._lostWaiters.remove(waiter)
