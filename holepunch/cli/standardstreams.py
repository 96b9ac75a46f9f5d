"""
Standard input and output as the two ends of a Twisted stream, with back-pressure both ways.

Owns: one thread that reads and one that writes. Threads, because nothing else reads a terminal, a
pipe, a regular file and a Windows console alike: epoll refuses regular files, and a descriptor
made non-blocking stays so for the program that shares it with us.
Knows nothing of: connections.
Driven by: L{holepunch.cli.join}.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorFromThreads,
    IReactorTime,
)
from zope.interface import implementer

_CHUNK = 2**17
_CHUNKS_AHEAD = 4
_HIGH_WATER = 2**20
_LOW_WATER = 2**18
_PAUSE = 0.004


class OutputReactor(IReactorFromThreads, IReactorTime):
    """
    What the output needs of a reactor.
    """


@implementer(IPushProducer)
class StandardInput:
    """
    What the person, a file or another program gives us.

    It may be attached to one taker after the other; who comes after the end is told so at once.
    """

    def __init__(self, reactor: IReactorFromThreads, descriptor: int = 0) -> None:
        """
        @param descriptor: It stays open, and it stays blocking.
        """
        self._reactor = reactor
        self._descriptor = _binary(descriptor)
        self._credits = threading.Semaphore(_CHUNKS_AHEAD)
        # The pieces in order; what is no bytes is the end, and stays.
        self._waiting: deque[bytes | OSError | None] = deque()
        self._take: Callable[[bytes], None] | None = None
        self._ended: Callable[[OSError | None], None] | None = None
        self._isPaused = False
        self._isStarted = False

    def attach(
        self, take: Callable[[bytes], None], ended: Callable[[OSError | None], None]
    ) -> None:
        """
        Begin to read, or go on.

        @param take: Called with each piece; may pause us.
        @param ended: Called once when there is no more, with the reason if it is no good one.
        """
        self._take, self._ended = take, ended
        self._isPaused = False
        if not self._isStarted:
            self._isStarted = True
            # A daemon: nothing can wake it from reading a terminal.
            threading.Thread(target=self._read, daemon=True).start()
        self._deliver()

    def detach(self) -> None:
        """
        Keep what is still to come for the next taker.
        """
        self._take = self._ended = None

    def pauseProducing(self) -> None:
        """
        Deliver nothing for now; the reading stops a few pieces later.
        """
        self._isPaused = True

    def resumeProducing(self) -> None:
        """
        Go on delivering.
        """
        self._isPaused = False
        self._deliver()

    def stopProducing(self) -> None:
        """
        The taker is gone.
        """
        self.detach()

    def _read(self) -> None:
        piece: bytes | OSError | None = b""
        while isinstance(piece, bytes):
            self._credits.acquire()
            try:
                piece = _readSome(self._descriptor) or None
            except OSError as error:
                # A program may be started with its input closed.
                piece = None if error.errno == errno.EBADF else error
            self._reactor.callFromThread(self._received, piece)

    def _received(self, piece: bytes | OSError | None) -> None:
        self._waiting.append(piece)
        self._deliver()

    def _deliver(self) -> None:
        while self._waiting and self._take is not None and not self._isPaused:
            piece = self._waiting[0]
            if not isinstance(piece, bytes):
                ended, self._ended = self._ended, None
                if ended is not None:
                    ended(piece)
                return
            self._waiting.popleft()
            self._credits.release()
            self._take(piece)


class StandardOutput:
    """
    What we give to the person, a file or another program.

    A piece after a pause is written at once; those that follow closely are gathered for a moment.
    """

    def __init__(self, reactor: OutputReactor, descriptor: int = 1) -> None:
        """
        @param descriptor: Ours from now on: L{finish} closes it.
        """
        self._reactor = reactor
        self._descriptor = _binary(descriptor)
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._size = 0
        self._gathered: list[bytes] = []
        self._gatheredSize = 0
        self._handedOverAt = reactor.seconds() - _PAUSE
        self._call: IDelayedCall | None = None
        self._isFinishing = False
        self._error: OSError | None = None
        self._producer: IPushProducer | None = None
        self._broken: Callable[[OSError], None] | None = None
        self._isProducerPaused = False
        self._flushed: list[Deferred[None]] = []
        threading.Thread(target=self._write, daemon=True).start()

    def attach(self, producer: IPushProducer, broken: Callable[[OSError], None]) -> None:
        """
        Name who writes.

        @param producer: Paused while more waits than should be kept in memory.
        @param broken: Called once when nothing can be written any more.
        """
        self._producer, self._broken = producer, broken
        self._isProducerPaused = False
        if self._error is not None:
            broken(self._error)

    def detach(self) -> None:
        """
        The writer is gone.
        """
        self._producer = self._broken = None

    def write(self, data: bytes) -> None:
        """
        Write, in the order of the calls.
        """
        if self._error is not None or self._isFinishing:
            return
        self._size += len(data)
        self._gathered.append(data)
        self._gatheredSize += len(data)
        # To wake the thread for each packet would cost more than all else.
        wait = self._handedOverAt + _PAUSE - self._reactor.seconds()
        if wait <= 0.0 or self._gatheredSize >= _CHUNK:
            self._handOver()
        elif self._call is None:
            self._call = self._reactor.callLater(wait, self._handOver)
        if self._size > _HIGH_WATER and self._producer is not None and not self._isProducerPaused:
            self._isProducerPaused = True
            self._producer.pauseProducing()

    def flush(self) -> Deferred[None]:
        """
        Wait until everything is written, or cannot be.
        """
        if self._size == 0:
            return succeed(None)
        self._handOver()
        done: Deferred[None] = Deferred()
        self._flushed.append(done)
        return done

    def finish(self) -> Deferred[None]:
        """
        Write everything, then close: who reads our output sees its end.
        """
        if not self._isFinishing:
            self._isFinishing = True
            self._handOver()
            self._queue.put(None)
        return self.flush()

    def _handOver(self) -> None:
        """
        Give the thread what has gathered.
        """
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        if self._gathered:
            pieces, self._gathered, self._gatheredSize = self._gathered, [], 0
            self._handedOverAt = self._reactor.seconds()
            self._queue.put(b"".join(pieces))

    def _write(self) -> None:
        error: OSError | None = None
        while (data := self._queue.get()) is not None:
            if error is None:
                try:
                    _writeAll(self._descriptor, data)
                except OSError as caught:
                    error = caught
            self._reactor.callFromThread(self._written, len(data), error)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _written(self, size: int, error: OSError | None) -> None:
        self._size -= size
        if error is not None and self._error is None:
            self._error = error
            if self._broken is not None:
                self._broken(error)
        if self._isProducerPaused and self._size <= _LOW_WATER:
            self._isProducerPaused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        if self._size == 0:
            flushed, self._flushed = self._flushed, []
            for done in flushed:
                done.callback(None)


def takeStandardOutput() -> int:
    """
    Take the program's standard output for data alone: what anybody prints goes to stderr from now.

    @return: The descriptor that leads where standard output led.
    """
    try:
        descriptor = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        # Closed from the start: the first write will say so.
        return -1
    return descriptor


def _binary(descriptor: int) -> int:
    if sys.platform == "win32":
        import msvcrt

        with contextlib.suppress(OSError):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return descriptor


def _readSome(descriptor: int) -> bytes:
    """
    Read what is there, at least one byte; nothing at the end.
    """
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        # Another program made the descriptor that we share non-blocking.
        select.select([descriptor], [], [])
        return _readSome(descriptor)


def _writeSome(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        select.select([], [descriptor], [])
        return _writeSome(descriptor, data)


def _writeAll(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[_writeSome(descriptor, rest) :]
