"""
Which streams a QUIC connection has, and what happens to each.

Owns: opening and accepting streams, their prefix, the control streams, and how much received data
waits for applications in all.
Knows nothing of: time, datagrams and the path; what an application does with a stream.
Driven by: L{holepunch.peer.quic.QUICConnection}, with the core's events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.errors import LocalProtocolError
from holepunch.peer.quiccodes import StreamCode
from holepunch.peer.quiccontrol import CONTROL, Control, ControlMessage, ControlReader
from holepunch.peer.quiccore import MAX_STREAMS, QUICCore
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.quicwriting import Ends

_HELD_BASE = 1 << 20
_HELD_A_STREAM = 1 << 18
_SERVERS = 1
_UNIDIRECTIONAL = 2

_log = Logger()


class StreamTable:
    """
    All streams of one connection, by number (RFC 9000 section 2.1).

    @ivar woken: The streams that have something to do in the next turn.
    """

    def __init__(
        self,
        clock: IReactorTime,
        core: QUICCore,
        ends: Ends,
        *,
        isClient: bool,
        streamOpened: Callable[[QUICStream, bytes], None],
        wakeUp: Callable[[], None],
    ) -> None:
        self.woken: dict[QUICStream, None] = {}
        self._clock = clock
        self._core = core
        self._ends = ends
        self._ours = 0 if isClient else _SERVERS
        self._streamOpened = streamOpened
        self._wakeUp = wakeUp
        self._isClosed = False
        self._streams: dict[int, QUICStream] = {}
        self._openings: dict[int, bytes] = {}
        self._endings: dict[int, int] = {}
        self._forgotten: set[int] = set()
        self._controls: dict[int, ControlReader] = {}
        self._ourControl: int | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[QUICStream]:
        return iter(self._streams.values())

    def room(self) -> int:
        """
        How many more bytes may wait for applications that do not read.
        """
        held = sum(stream.held for stream in self._streams.values())
        return _HELD_BASE + _HELD_A_STREAM * len(self._streams) - held

    def wakeBusy(self) -> None:
        """
        Wake the streams that may go on now that something was sent.
        """
        for stream in self._streams.values():
            if stream.isBusy:
                self.woken[stream] = None

    def open(self, application: bytes) -> QUICStream:
        """
        Open a stream and name its application.

        @raise LocalProtocolError: As many are open as the other side allows.
        """
        if not 1 <= len(application) <= 255:
            raise LocalProtocolError("an application's name has 1 to 255 bytes")
        number = self._core.openStream()
        if number is None:
            raise LocalProtocolError("too many streams are open on this connection")
        self._core.send(number, bytes([len(application)]) + application)
        return self._add(number, application)

    def close(self, reason: Failure) -> None:
        """
        The connection has ended, and with it each stream.
        """
        self._isClosed = True
        self._openings.clear()
        self._endings.clear()
        self._forgotten.clear()
        for stream in list(self._streams.values()):
            stream.lost(reason)
        self.woken.clear()

    def _add(self, number: int, application: bytes) -> QUICStream:
        stream = QUICStream(self._clock, self, self._ends, number, application)
        self._streams[number] = stream
        return stream

    # --- what a stream needs (StreamConnection) -------------------------------------------------

    def wake(self, stream: QUICStream) -> None:
        """
        Let the stream advance in the next turn.
        """
        if not self._isClosed:
            self.woken[stream] = None
            self._wakeUp()

    def send(self, stream: int, data: bytes, isEnd: bool) -> None:
        """
        Queue bytes of a stream.
        """
        try:
            self._core.send(stream, data, isEnd)
        except (ValueError, RuntimeError):
            # The other side stopped it, or everything; the event that says so comes next.
            return

    def waiting(self, stream: int) -> int:
        """
        How many queued bytes of a stream have not left.
        """
        return self._core.waiting(stream)

    def giveUp(self, stream: int, code: int, *, sending: bool, receiving: bool) -> None:
        """
        Reset the sending side of a stream, stop its receiving side, or both.
        """
        for isWanted, action in ((sending, self._core.reset), (receiving, self._core.stop)):
            if isWanted and not self._isClosed:
                try:
                    action(stream, code)
                except (ValueError, RuntimeError):
                    # That side has ended already.
                    continue

    def tell(self, message: ControlMessage) -> None:
        """
        Tell the other side something about a stream.
        """
        if self._isClosed:
            return
        if self._ourControl is None:
            self._ourControl = self._core.openStream(isUnidirectional=True)
            if self._ourControl is None:
                # A peer that allows no such stream has to do with what QUIC itself says.
                return
            self.send(self._ourControl, bytes([len(CONTROL)]) + CONTROL, False)
        self.send(self._ourControl, message.encode(), False)

    def forget(self, stream: QUICStream) -> None:
        """
        A stream has ended.
        """
        if self._streams.pop(stream.number, None) is not None and not stream.isFinished:
            # Its last packets may still arrive.
            self._forgotten.add(stream.number)

    # --- events ---------------------------------------------------------------------------------

    def dataReceived(self, number: int, data: bytes, isEnd: bool) -> None:
        """
        Bytes of a stream, in order.
        """
        stream = self._streams.get(number)
        if stream is not None:
            stream.received(data, isEnd)
            self.woken[stream] = None
        elif number & _SERVERS == self._ours or number in self._forgotten:
            return
        elif number & _UNIDIRECTIONAL:
            self._controlReceived(number, data)
        else:
            self._openingReceived(number, data, isEnd)

    def _openingReceived(self, number: int, data: bytes, isEnd: bool) -> None:
        data = self._openings.pop(number, b"") + data
        length = data[0] if data else 0
        if len(data) <= length or not data:
            if not isEnd:
                self._openings[number] = data
                return
            length = 0
        if not length:
            self._forgotten.add(number)
            self.giveUp(number, StreamCode.MALFORMED, sending=True, receiving=not isEnd)
            return
        application = data[1 : 1 + length]
        stream = self._add(number, application)
        stream.received(data[1 + length :], isEnd)
        if number in self._endings:
            stream.receivedEnd(self._endings.pop(number))
        self.woken[stream] = None
        try:
            self._streamOpened(stream, application)
        except Exception:
            _log.failure("A stream could not be handed to its application")
            stream.abortConnection()

    def _controlReceived(self, number: int, data: bytes) -> None:
        reader = self._controls.get(number)
        if reader is None:
            if not data:
                return
            if data[0] != len(CONTROL) or self._controls:
                self._forgotten.add(number)
                self.giveUp(number, StreamCode.UNKNOWN_APPLICATION, sending=False, receiving=True)
                return
            reader = self._controls[number] = ControlReader()
            data = data[1:]
        for message in reader.feed(data):
            self._messageReceived(message)

    def _messageReceived(self, message: ControlMessage) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            if message.control is Control.END:
                # It may have overtaken the stream's first packet.
                self._endings[message.stream] = message.size
                while len(self._endings) > 2 * MAX_STREAMS:
                    del self._endings[next(iter(self._endings))]
            return
        if message.control is Control.END:
            stream.receivedEnd(message.size)
        else:
            stream.receivedHold(message.control is Control.HOLD)
        self.woken[stream] = None

    def resetReceived(self, number: int, code: int, size: int) -> None:
        """
        The other side gave up sending.
        """
        self._openings.pop(number, None)
        stream = self._streams.get(number)
        if stream is not None:
            stream.receivedReset(code)
            self.woken[stream] = None
        elif number & _SERVERS != self._ours and not number & _UNIDIRECTIONAL:
            # It never began, so there is nothing to say in the other direction either.
            self.giveUp(number, StreamCode.CLOSED, sending=True, receiving=False)

    def stopReceived(self, number: int, code: int) -> None:
        """
        The other side reads no more.
        """
        stream = self._streams.get(number)
        if stream is not None:
            stream.receivedStop(code)
            self.woken[stream] = None

    def finished(self, number: int) -> None:
        """
        Everything was received and acknowledged, in both directions.
        """
        self._forgotten.discard(number)
        self._controls.pop(number, None)
        stream = self._streams.get(number)
        if stream is not None:
            stream.isFinished = True
            self.woken[stream] = None
