"""
The writing side of a QUIC stream.

Owns: what waits to be written, the application's producer, and when this side is closed.
Knows nothing of: reading, and what the connection does with the bytes.
Driven by: L{holepunch.peer.quicstream.QUICStream}.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.logger import Logger

from holepunch.peer.address import PunchedAddress
from holepunch.peer.quiccontrol import Control, ControlMessage

if TYPE_CHECKING:
    from holepunch.peer.quicstream import QUICStream

_HIGH = 1 << 16
_LOW = 1 << 14
_QUEUE = 1 << 17

_log = Logger()


class StreamConnection(Protocol):
    """
    What a stream needs of its connection.
    """

    def wake(self, stream: QUICStream) -> None:
        """
        Let the stream's L{advance<QUICStream.advance>} be called in the next turn.
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

    def tell(self, message: ControlMessage) -> None:
        """
        Tell the other side something about a stream.
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


class StreamWriter:
    """
    Moves what an application writes into the connection's queue, as there is room.

    @ivar isHeld: Did the other side ask us to hold?
    @ivar isClosing: Is this side to be closed once everything is written?
    @ivar isClosed: Does the connection know that no more will come?
    """

    def __init__(self, connection: StreamConnection, number: int) -> None:
        self.isHeld = False
        self.isClosing = False
        self.isClosed = False
        self._connection = connection
        self._number = number
        self._outgoing: deque[bytes | memoryview] = deque()
        self._size = 0
        self._sent = 0
        self._producer: IPushProducer | IPullProducer | None = None
        self._isStreaming = False
        self._isProducerPaused = False

    @property
    def isEmpty(self) -> bool:
        """
        Has everything been given to the connection?
        """
        return not self._outgoing

    @property
    def hasProducer(self) -> bool:
        """
        Is a producer registered?
        """
        return self._producer is not None

    @property
    def isBusy(self) -> bool:
        """
        Is there something to go on with once more has been sent?
        """
        return bool(self._outgoing) or self._producer is not None or self.isClosed

    def write(self, data: bytes) -> None:
        """
        Take bytes; pause the producer when there are enough.
        """
        if self.isClosed or not data or (self.isClosing and self._producer is None):
            return
        self._outgoing.append(data)
        self._size += len(data)
        producer = self._producer
        if (
            self._isStreaming
            and not self._isProducerPaused
            and producer is not None
            and self._size >= _HIGH
        ):
            self._isProducerPaused = True
            cast(IPushProducer, producer).pauseProducing()

    def advance(self) -> bool:
        """
        Queue what was written, ask the producer for more while there is room, and close this side
        when that is due.

        @return: Is there something new to be sent?
        """
        isNew = self._flush()
        while self._producer is not None and not self._outgoing and not self.isHeld:
            if self._isStreaming and not self._isProducerPaused:
                break
            if self._connection.waiting(self._number) > _LOW:
                break
            self._isProducerPaused = False
            self._producer.resumeProducing()
            if not self._flush():
                break
            isNew = True
        if self.isClosing and not self.isClosed and self._producer is None and not self._outgoing:
            self.isClosed = True
            self._connection.send(self._number, b"", True)
            self._connection.tell(ControlMessage(Control.END, self._number, self._sent))
            isNew = True
        return isNew

    def _flush(self) -> bool:
        """
        Move what was written to the connection's queue, as far as there is room.
        """
        if not self._outgoing or self.isHeld or self.isClosed:
            return False
        room = _QUEUE - self._connection.waiting(self._number)
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
            self._size -= len(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._sent += len(data)
        self._connection.send(self._number, cast(bytes, data), False)
        return True

    def drop(self) -> None:
        """
        Forget what was not sent.
        """
        self._outgoing.clear()
        self._size = 0

    def setProducer(self, producer: Any, isStreaming: bool) -> None:
        """
        Pause and resume this producer from now on.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered")
        self._producer = producer
        self._isStreaming = isStreaming
        self._isProducerPaused = False
        if not isStreaming:
            producer.resumeProducing()

    def removeProducer(self) -> None:
        """
        It has no more.
        """
        self._producer = None

    def stopProducer(self) -> None:
        """
        Nobody wants any more of it.
        """
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.stopProducing()
            except Exception:
                _log.failure("A producer could not stop")
