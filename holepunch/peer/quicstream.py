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
from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.peer.quiccodes import StreamCode, streamSentence
from holepunch.peer.quiccontrol import Control, ControlMessage
from holepunch.peer.quicwriting import Ends, StreamConnection, StreamWriter

_HOLD = 1 << 15
_PIECE = 1 << 16
_PATIENCE = 0.5
_LINGER = 5.0

_log = Logger()


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
        self._count = 0
        self._size: int | None = None
        self._isEnded = False
        self._isWhole = False
        self._isReadClosed = False
        self._isStopped = False
        self._writer = StreamWriter(connection, number)
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
        if self._stage is _Stage.LOST:
            return
        self._isWhole = self._isWhole or isEnd
        if self._isEnded:
            return
        self._count += len(data)
        self._isEnded = isEnd or self._count == self._size
        if not data:
            return
        if self.disconnecting:
            self._readNoMore()
        else:
            self._received.append(data)
            self.held += len(data)

    def receivedEnd(self, size: int) -> None:
        """
        The other side has ended the stream after so many bytes.
        """
        self._size = size
        self.received(b"", False)

    def _readNoMore(self) -> None:
        """
        Tell the other side that nobody reads any more. Most end by themselves when we have closed.
        """
        if not self._isWhole and not self._isStopped:
            self._isStopped = True
            self._connection.giveUp(self.number, StreamCode.CLOSED, sending=False, receiving=True)

    def receivedReset(self, code: int) -> None:
        """
        The other side gave up sending.
        """
        if self.disconnecting and code == StreamCode.CLOSED:
            # The answer to our saying that we read no more.
            self._isEnded = self._isWhole = True
        else:
            self._connection.giveUp(self.number, code, sending=True, receiving=False)
            self._end(Failure(ConnectionLost(streamSentence(code))))

    def receivedStop(self, code: int) -> None:
        """
        The other side reads no more.
        """
        writer = self._writer
        writer.drop()
        writer.isClosing = writer.isClosed = True
        writer.stopProducer()
        if code != StreamCode.CLOSED:
            self._connection.giveUp(self.number, code, sending=False, receiving=True)
            self._end(Failure(ConnectionLost(streamSentence(code))))

    def receivedHold(self, isHeld: bool) -> None:
        """
        The other side asks us to hold, or to go on.
        """
        self._writer.isHeld = isHeld

    @property
    def isBusy(self) -> bool:
        """
        Is there something to go on with once more has been sent?
        """
        return self._writer.isBusy

    def lost(self, reason: Failure) -> None:
        """
        The whole connection has ended.
        """
        if self._stage is _Stage.LOST:
            return
        isSent = self._writer.isClosed and self._writer.isEmpty
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
            data = self._nextPiece()
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

    def _nextPiece(self) -> bytes:
        """
        What arrived in several packets, as one piece: every call of the application has its price.
        """
        received = self._received
        pieces, size = [], 0
        while received and size < _PIECE:
            piece = received.popleft()
            size += len(piece)
            pieces.append(piece)
        self.held -= size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _adjustHold(self) -> None:
        if self._isHolding:
            if self.held < _HOLD // 2 and (not self._isPaused or self.disconnecting):
                self._isHolding = False
                if not self._isEnded:
                    self._connection.tell(ControlMessage(Control.GO_ON, self.number))
        elif self.held >= _HOLD and not self._isEnded:
            self._isHolding = True
            self._connection.tell(ControlMessage(Control.HOLD, self.number))

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
            self._writer.stopProducer()
            self.loseConnection()

    # --- writing --------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """
        Send bytes.
        """
        if isinstance(data, str):
            raise TypeError("a stream carries bytes, not text")
        if self._reason is not None or (self.disconnecting and not self._writer.hasProducer):
            return
        self._writer.write(data)
        self._connection.wake(self)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several pieces of bytes.
        """
        self.write(b"".join(data))

    def _produce(self) -> bool:
        """
        Write what there is to write.

        @return: Is there something new to be sent?
        """
        writer, wasClosed = self._writer, self._writer.isClosed
        if self.disconnecting:
            writer.isClosing = True
        try:
            isNew = writer.advance()
        except Exception:
            _log.failure("A producer could not resume")
            self._reset(StreamCode.ABORTED, Failure())
            return True
        if (
            writer.isClosed
            and not wasClosed
            and not self.disconnecting
            and IHalfCloseableProtocol.providedBy(self._protocol)
        ):
            self._call(cast(IHalfCloseableProtocol, self._protocol).writeConnectionLost)
        return isNew

    def _call(self, method: Callable[[], object]) -> None:
        try:
            method()
        except Exception:
            _log.failure("A protocol failed when half of its connection was closed")
            self._reset(StreamCode.ABORTED, Failure())

    # --- the end --------------------------------------------------------------------------------

    def _finishIfDone(self) -> None:
        if not self._writer.isClosed or not (self._isReadClosed or self.disconnecting):
            return
        if self.isFinished:
            self._end(Failure(ConnectionDone()))
        elif self._lingerCall is None and self._connection.waiting(self.number) == 0:
            # It ends when all is acknowledged and the other side has closed, too.
            self._lingerCall = self._clock.callLater(_PATIENCE, self._lingered)

    def _lingered(self) -> None:
        if self._isWhole or self._isStopped:
            # What may still be on its way is sent again until it has arrived.
            self._end(Failure(ConnectionDone()))
            return
        self._readNoMore()
        self._lingerCall = self._clock.callLater(_LINGER, self._lingered)
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
        self._writer.drop()
        self._received.clear()
        self.held = 0
        self._connection.wake(self)

    def _tellLost(self) -> None:
        if self._stage is _Stage.OPEN:
            self._stage = _Stage.LOST
            if self._lingerCall is not None and self._lingerCall.active():
                self._lingerCall.cancel()
            self._connection.forget(self)
        self._writer.stopProducer()
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
        if not self._writer.isClosing and not self.disconnecting:
            self._writer.isClosing = True
            self._connection.wake(self)

    def loseConnection(self) -> None:
        """
        Send everything that was written, then close both directions.
        """
        if self.disconnecting:
            return
        self.disconnecting = True
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
        self._writer.setProducer(producer, streaming)
        self._connection.wake(self)

    def unregisterProducer(self) -> None:
        """
        The producer has no more; a close that waited for it goes on.
        """
        self._writer.removeProducer()
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
