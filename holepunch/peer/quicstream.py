"""
One stream of a QUIC connection, as a Twisted transport.

Owns: what waits to be written or delivered, half-close, back-pressure both ways, and the reasons of
C{connectionLost}.
Knows nothing of: packets, handshakes, and the path below.
Driven by: L{holepunch.peer.quic.QUICConnection}, and the application's protocol.

Nothing here calls the application from within a call of the application: what it asks for happens
in the connection's next turn, as with Twisted's TCP.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.peer.address import PunchedAddress
from holepunch.peer.quiccodes import StreamCode, streamSentence

_HIGH = 1 << 16
_LOW = 1 << 14
_QUEUE = 1 << 17
_HOLD = 1 << 15
_LINGER = 5.0

_log = Logger()


class StreamConnection(Protocol):
    """
    What a stream needs of its connection.
    """

    def wake(self, stream: QUICStream) -> None:
        """
        Let the stream's L{QUICStream.advance} be called in the next turn.
        """

    def send(self, stream: int, data: bytes, isEnd: bool) -> None:
        """
        Queue bytes.
        """

    def waiting(self, stream: int) -> int:
        """
        How many queued bytes have not left.
        """

    def giveUp(self, stream: int, code: int, *, sending: bool, receiving: bool) -> None:
        """
        Reset the sending side, stop the receiving side, or both.
        """

    def hold(self, stream: int, isHeld: bool) -> None:
        """
        Ask the other side to hold, or to go on.
        """

    def forget(self, stream: QUICStream) -> None:
        """
        The stream has ended.
        """


class Ends(Protocol):
    """
    Tells who talks to whom, from where to where.
    """

    def getHost(self) -> PunchedAddress:
        """
        Our address on the path of the moment.
        """

    def getPeer(self) -> PunchedAddress:
        """
        The other side's.
        """

    def getPeerCertificate(self) -> object:
        """
        What the other side proved.
        """


class _Stage(enum.Enum):
    OPEN = "open"
    LOST = "lost"


@implementer(ITCPTransport, IPushProducer)
class QUICStream:
    """
    A stream to or from a peer that has proven its identity.

    @ivar application: The name by which it was opened.
    @ivar number: The stream's ID (RFC 9000 section 2.1).
    @ivar isFinished: Was everything received and acknowledged, in both directions?
    @ivar held: How many received bytes wait for the application.
    @ivar disconnecting: Was L{loseConnection} called?
    """

    disconnecting = False

    def __init__(
        self,
        clock: IReactorTime,
        connection: StreamConnection,
        ends: Ends,
        number: int,
        application: bytes,
    ) -> None:
        self.application = application
        self.number = number
        self.held = 0
        self._clock = clock
        self._connection = connection
        self._ends = ends
        self._stage = _Stage.OPEN
        self._protocol: IProtocol | None = None
        self._received: deque[bytes] = deque()
        self._isPaused = False
        self._isHolding = False
        self._isEnded = False
        self._isReadClosed = False
        self._outgoing: deque[bytes | memoryview] = deque()
        self._outgoingSize = 0
        self._isHeld = False
        self._isWriteClosing = False
        self._isWriteClosed = False
        self._producer: IPushProducer | IPullProducer | None = None
        self._isStreaming = False
        self._isProducerPaused = False
        self.isFinished = False
        self._reason: Failure | None = None
        self._lingerCall: IDelayedCall | None = None

    # --- the connection below -------------------------------------------------------------------

    def attach(self, protocol: IProtocol) -> None:
        """
        Hand the stream to the application.
        """
        self._protocol = protocol
        protocol.makeConnection(cast(ITransport, self))
        if self._stage is _Stage.LOST:
            # It was lost before anybody wanted it.
            self._deliver()
            self._tellLost()
        else:
            self._connection.wake(self)

    def refuse(self, code: StreamCode = StreamCode.UNKNOWN_APPLICATION) -> None:
        """
        Nobody wants this stream: tell the other side why.
        """
        self._reset(code)
        self._connection.wake(self)

    def received(self, data: bytes, isEnd: bool) -> None:
        """
        Bytes arrived.
        """
        if self._stage is _Stage.LOST or self._isEnded:
            return
        self._isEnded = isEnd
        if data and not self.disconnecting:
            self._received.append(data)
            self.held += len(data)

    def receivedReset(self, code: int) -> None:
        """
        The other side gave up sending.
        """
        if self.disconnecting and code == StreamCode.CLOSED:
            # The answer to our saying that we read no more.
            self._isEnded = True
        else:
            self._end(Failure(ConnectionLost(streamSentence(code))))

    def receivedStop(self, code: int) -> None:
        """
        The other side reads no more.
        """
        self._outgoing.clear()
        self._outgoingSize = 0
        self._isWriteClosing = self._isWriteClosed = True
        self._stopProducer()
        if code != StreamCode.CLOSED:
            self._end(Failure(ConnectionLost(streamSentence(code))))

    def receivedHold(self, isHeld: bool) -> None:
        """
        The other side asks us to hold, or to go on.
        """
        self._isHeld = isHeld

    @property
    def isBusy(self) -> bool:
        """
        Is there something to go on with once more has been sent?
        """
        return bool(self._outgoing) or self._producer is not None or self._isWriteClosed

    def lost(self, reason: Failure) -> None:
        """
        The whole connection has ended.
        """
        if self._stage is _Stage.LOST:
            return
        isSent = self._isWriteClosed and not self._outgoing
        self._isPaused = False
        self._deliver()
        if self._isEnded and not self._received:
            self._isReadClosed = True
        if isSent and (self._isReadClosed or self.disconnecting):
            reason = Failure(ConnectionDone())
        self._end(reason)
        self._tellLost()

    def advance(self) -> bool:
        """
        Do what there is to do: deliver, write, end.

        @return: Is there something new to be sent?
        """
        if self._stage is _Stage.OPEN and self._reason is None:
            self._deliver()
        isNew = False
        if self._stage is _Stage.OPEN and self._reason is None:
            isNew = self._produce()
            self._finishIfDone()
        if self._reason is not None:
            self._tellLost()
        return isNew

    # --- reading --------------------------------------------------------------------------------

    def _deliver(self) -> None:
        protocol = self._protocol
        received = self._received
        while received and protocol is not None and not self._isPaused and not self.disconnecting:
            data = received.popleft()
            self.held -= len(data)
            try:
                protocol.dataReceived(data)
            except Exception:
                _log.failure("A protocol could not take what it received")
                self._reset(StreamCode.ABORTED, Failure())
                return
        if self.disconnecting:
            self._received.clear()
            self.held = 0
        self._adjustHold()
        if (
            self._isEnded
            and not self._isReadClosed
            and not self._received
            and (protocol is not None or self.disconnecting)
            and not (self._isPaused and not self.disconnecting)
        ):
            self._readClosed()

    def _adjustHold(self) -> None:
        if self._isHolding:
            if self.held < _HOLD // 2 and (not self._isPaused or self.disconnecting):
                self._isHolding = False
                if not self._isEnded:
                    self._connection.hold(self.number, False)
        elif self.held >= _HOLD and not self._isEnded:
            self._isHolding = True
            self._connection.hold(self.number, True)

    def _readClosed(self) -> None:
        """
        The peer will send no more.
        """
        self._isReadClosed = True
        if self.disconnecting:
            return
        protocol = self._protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            self._call(cast(IHalfCloseableProtocol, protocol).readConnectionLost)
        else:
            # Nobody is interested in half of a connection: what was written is sent, then we close.
            self._stopProducer()
            self.loseConnection()

    def _stopProducer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.stopProducing()
            except Exception:
                _log.failure("A producer could not stop")

    # --- writing --------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """
        Send bytes.
        """
        if isinstance(data, str):
            raise TypeError("a stream carries bytes, not text")
        if self._isWriteClosed or self._reason is not None:
            return
        if (self.disconnecting or self._isWriteClosing) and self._producer is None:
            return
        if not data:
            return
        self._outgoing.append(data)
        self._outgoingSize += len(data)
        if (
            self._isStreaming
            and not self._isProducerPaused
            and self._producer is not None
            and self._outgoingSize >= _HIGH
        ):
            self._isProducerPaused = True
            self._producer.pauseProducing()  # type: ignore[union-attr]
        self._connection.wake(self)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several pieces of bytes.
        """
        self.write(b"".join(data))

    def _produce(self) -> bool:
        """
        Queue what was written, ask the producer for more while there is room, close what is to be
        closed.
        """
        isNew = self._flush()
        while self._producer is not None and not self._outgoing and not self._isHeld:
            if self._isStreaming and not self._isProducerPaused:
                break
            if self._connection.waiting(self.number) > _LOW:
                break
            self._isProducerPaused = False
            try:
                self._producer.resumeProducing()
            except Exception:
                _log.failure("A producer could not resume")
                self._reset(StreamCode.ABORTED, Failure())
                return True
            if self._reason is not None or not self._flush():
                break
            isNew = True
        if (
            (self._isWriteClosing or self.disconnecting)
            and not self._isWriteClosed
            and self._producer is None
            and not self._outgoing
        ):
            self._closeWrite()
            isNew = True
        return isNew

    def _flush(self) -> bool:
        """
        Move what was written to the connection's queue, as far as there is room.
        """
        if not self._outgoing or self._isHeld or self._isWriteClosed:
            return False
        room = _QUEUE - self._connection.waiting(self.number)
        if room <= 0:
            return False
        pieces = []
        while self._outgoing and room > 0:
            piece = self._outgoing.popleft()
            if len(piece) > room:
                view = memoryview(piece)
                self._outgoing.appendleft(view[room:])
                piece = view[:room]
            pieces.append(piece)
            room -= len(piece)
            self._outgoingSize -= len(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._connection.send(self.number, cast(bytes, data), False)
        return True

    def _closeWrite(self) -> None:
        self._isWriteClosed = True
        self._connection.send(self.number, b"", True)
        if not self.disconnecting and IHalfCloseableProtocol.providedBy(self._protocol):
            self._call(cast(IHalfCloseableProtocol, self._protocol).writeConnectionLost)

    def _call(self, method: Any) -> None:
        try:
            method()
        except Exception:
            _log.failure("A protocol failed when half of its connection was closed")
            self._reset(StreamCode.ABORTED, Failure())

    # --- the end --------------------------------------------------------------------------------

    def _finishIfDone(self) -> None:
        if not self._isWriteClosed or not (self._isReadClosed or self.disconnecting):
            return
        if self.isFinished:
            self._end(Failure(ConnectionDone()))
        elif self._lingerCall is None and self._connection.waiting(self.number) == 0:
            # It ends when all is acknowledged, for which nobody waits for ever.
            self._lingerCall = self._clock.callLater(
                _LINGER, self._lingered, Failure(ConnectionDone())
            )

    def _lingered(self, reason: Failure) -> None:
        self._reset(StreamCode.CLOSED, reason)
        self._connection.wake(self)

    def _reset(self, code: StreamCode, reason: Failure | None = None) -> None:
        if self._reason is None:
            self._connection.giveUp(self.number, code, sending=True, receiving=True)
            self._end(reason or Failure(ConnectionAborted()))

    def _end(self, reason: Failure) -> None:
        """
        From now on nothing is written or delivered; C{connectionLost} follows in the same turn.
        """
        if self._reason is not None:
            return
        self._reason = reason
        self.disconnecting = True
        self._outgoing.clear()
        self._outgoingSize = 0
        self._received.clear()
        self.held = 0
        self._connection.wake(self)

    def _tellLost(self) -> None:
        if self._stage is _Stage.OPEN:
            self._stage = _Stage.LOST
            if self._lingerCall is not None and self._lingerCall.active():
                self._lingerCall.cancel()
            self._connection.forget(self)
        self._stopProducer()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            try:
                protocol.connectionLost(self._reason or connectionDone)
            except Exception:
                _log.failure("A protocol failed when its connection was lost")

    def loseWriteConnection(self) -> None:
        """
        Send everything that was written, then tell the peer that no more will come; go on reading.
        """
        if not self._isWriteClosing and not self.disconnecting:
            self._isWriteClosing = True
            self._connection.wake(self)

    def loseConnection(self) -> None:
        """
        Send everything that was written, then close both directions.
        """
        if self.disconnecting:
            return
        self.disconnecting = True
        if not self._isEnded:
            self._connection.giveUp(self.number, StreamCode.CLOSED, sending=False, receiving=True)
        self._connection.wake(self)

    def abortConnection(self) -> None:
        """
        Close at once; what was written may be lost.
        """
        self._reset(StreamCode.ABORTED)

    def abandon(self) -> None:
        """
        Close once what was written has left, or when that takes too long.
        """
        self.loseConnection()
        if self._reason is None and self._lingerCall is None:
            self._lingerCall = self._clock.callLater(_LINGER, self.abortConnection)

    # --- what applications ask ------------------------------------------------------------------

    def getPeer(self) -> Any:
        """
        The peer's endpoint as seen from here at this moment, with its peer ID.
        """
        return self._ends.getPeer()

    def getHost(self) -> Any:
        """
        Our endpoint at this moment, with our peer ID.
        """
        return self._ends.getHost()

    def getPeerCertificate(self) -> object:
        """
        The certificate that the other side proved: a C{OpenSSL.crypto.X509}.
        """
        return self._ends.getPeerCertificate()

    def getTcpNoDelay(self) -> bool:
        """
        Yes: QUIC delays nothing that may be sent.
        """
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        There is nothing to set.
        """

    def getTcpKeepAlive(self) -> bool:
        """
        Yes: the path and the connection are kept alive.
        """
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        There is nothing to set.
        """

    # --- back-pressure --------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let C{producer} be paused and resumed as the stream fills and empties.
        """
        if self._stage is _Stage.LOST or self._reason is not None:
            producer.stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered")
        self._producer = producer
        self._isStreaming = streaming
        self._isProducerPaused = False
        if not streaming:
            producer.resumeProducing()
        self._connection.wake(self)

    def unregisterProducer(self) -> None:
        """
        The producer has no more; a close that waited for it goes on.
        """
        self._producer = None
        self._connection.wake(self)

    def pauseProducing(self) -> None:
        """
        Deliver nothing until L{resumeProducing}; the peer is asked to hold.
        """
        self._isPaused = True

    def resumeProducing(self) -> None:
        """
        Go on delivering.
        """
        self._isPaused = False
        self._connection.wake(self)

    def stopProducing(self) -> None:
        """
        The application wants no more: close.
        """
        self.loseConnection()
