"""
Standard input and output, with real descriptors of every kind.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from holepunch.cli.standardstreams import StandardInput, StandardOutput
from tests.cli.descriptors import InputFile, InputPipe, OutputFile, OutputPipe, Taker

reactor: Any = installedReactor
CHUNK = 2**16


@implementer(IPushProducer)
class RecordedProducer:
    """
    Counts how often it is paused and resumed.

    @ivar resumed: Fires at the first resumption.
    """

    def __init__(self) -> None:
        self.pauses = 0
        self.resumed: Deferred[None] = Deferred()

    def pauseProducing(self) -> None:
        self.pauses += 1

    def resumeProducing(self) -> None:
        self.resumed.callback(None)

    def stopProducing(self) -> None:
        raise AssertionError("nobody stops producers here")


class StandardInputTests(TestCase):
    """
    L{StandardInput}.
    """

    def file(self, data: bytes) -> InputFile:
        path = Path(self.mktemp())
        path.write_bytes(data)
        return InputFile(self, path)

    def test_interface(self) -> None:
        """
        It is a producer that a transport can pause.
        """
        verifyObject(IPushProducer, StandardInput(reactor))

    async def test_pipe(self) -> None:
        """
        What comes through a pipe is delivered as it comes, then the end.
        """
        pipe = InputPipe(self)
        taker = Taker(pipe.input)
        pipe.write(b"first")
        await taker.first
        self.assertEqual(taker.data, b"first")
        pipe.write(b"second")
        pipe.end()
        self.assertIsNone(await taker.ended)
        self.assertEqual(taker.data, b"firstsecond")

    async def test_file(self) -> None:
        """
        A regular file is read whole.
        """
        data = os.urandom(3_000_000)
        taker = Taker(self.file(data).input)
        self.assertIsNone(await taker.ended)
        self.assertEqual(taker.data, data)

    async def test_closed(self) -> None:
        """
        A program that is started without standard input reads nothing.
        """
        self.assertIsNone(await Taker(StandardInput(reactor, -1)).ended)

    async def test_error(self) -> None:
        """
        What cannot be read is no ordinary end.
        """
        error = await Taker(InputFile(self, ".").input).ended
        assert error is not None
        self.assertEqual(error.errno, errno.EISDIR)

    async def test_paused(self) -> None:
        """
        While paused it delivers nothing, and soon reads nothing; afterwards nothing is missing.
        """
        file = self.file(bytes(5_000_000))
        taker = Taker(file.input)
        file.input.pauseProducing()
        # Waits for the other thread: it goes on for a few pieces, then stops.
        position, before = 0, -1
        while position != before or not position:
            before = position
            await deferLater(reactor, 0.02)
            position = os.lseek(file.descriptor, 0, os.SEEK_CUR)
        self.assertLess(position, 2_000_000)
        self.assertEqual(taker.pieces, [])
        file.input.resumeProducing()
        await taker.ended
        self.assertEqual(len(taker.data), 5_000_000)

    async def test_pausedWithin(self) -> None:
        """
        Who takes a piece may pause from within, and gets no other one.
        """
        file = self.file(bytes(1_000_000))
        taker = Taker(file.input)

        def take(data: bytes) -> None:
            file.input.pauseProducing()
            taker.take(data)

        file.input.attach(take, taker.ended.callback)
        await taker.first
        while not taker.ended.called:
            before = len(taker.pieces)
            file.input.resumeProducing()
            self.assertLessEqual(len(taker.pieces), before + 1)
            await deferLater(reactor, 0)
        self.assertEqual(len(taker.data), 1_000_000)

    async def test_takers(self) -> None:
        """
        The next taker gets what the first one left, and who comes after the end is told so.
        """
        pipe = InputPipe(self)
        first = Taker(pipe.input)
        pipe.write(b"one")
        await first.first
        pipe.input.stopProducing()
        pipe.write(b"two")
        pipe.end()
        second = Taker(pipe.input)
        await second.ended
        third = Taker(pipe.input)
        self.successResultOf(third.ended)
        self.assertEqual([each.data for each in (first, second, third)], [b"one", b"two", b""])
        self.assertFalse(first.ended.called)

    async def test_nonBlocking(self) -> None:
        """
        Another program may have made the descriptor non-blocking.
        """
        pipe = InputPipe(self, isBlocking=False)
        taker = Taker(pipe.input)
        await deferLater(reactor, 0.01)
        pipe.write(b"late")
        await taker.first
        pipe.end()
        await taker.ended
        self.assertEqual(taker.data, b"late")


class StandardOutputTests(TestCase):
    """
    L{StandardOutput}.
    """

    def broken(self, error: OSError) -> None:
        raise error

    async def test_file(self) -> None:
        """
        Everything is written in order.
        """
        file = OutputFile(self)
        pieces = [os.urandom(CHUNK) for _ in range(10)]
        for piece in pieces:
            file.output.write(piece)
        await file.output.finish()
        self.assertEqual(file.data, b"".join(pieces))

    async def test_end(self) -> None:
        """
        Who reads a pipe sees the end when the output is finished, and not before.
        """
        pipe = OutputPipe(self)
        pipe.output.write(b"data")
        await pipe.output.flush()
        self.assertEqual(os.read(pipe.reader, 100), b"data")
        await pipe.output.finish()
        self.assertEqual(os.read(pipe.reader, 100), b"")
        pipe.output.write(b"too late")
        await pipe.output.flush()

    async def test_backPressure(self) -> None:
        """
        A reader that is slow pauses the producer; when it has caught up, the producer goes on.
        """
        pipe, producer = OutputPipe(self), RecordedProducer()
        verifyObject(IPushProducer, producer)
        pipe.output.attach(producer, self.broken)
        size = 0
        while not producer.pauses:
            pipe.output.write(bytes(CHUNK))
            size += CHUNK
        self.assertLess(size, 2_000_000)
        received = bytearray()

        def read() -> None:
            while data := os.read(pipe.reader, CHUNK):
                received.extend(data)

        thread = threading.Thread(target=read)
        thread.start()
        await producer.resumed
        pipe.output.detach()
        await pipe.output.finish()
        thread.join(5.0)
        self.assertEqual((len(received), producer.pauses), (size, 1))

    async def test_closelyFollowing(self) -> None:
        """
        Small pieces that follow each other closely are written without being asked for, in order.
        """
        pipe = OutputPipe(self)
        pieces = [b"%4d" % number for number in range(1000)]
        for piece in pieces:
            pipe.output.write(piece)
        received = bytearray()
        while len(received) < 4000:
            received += await deferToThread(os.read, pipe.reader, CHUNK)
        self.assertEqual(bytes(received), b"".join(pieces))

    async def test_broken(self) -> None:
        """
        When nobody reads any more, the writer is told once, and nothing waits for ever.
        """
        pipe = OutputPipe(self)
        pipe.closeReader()
        errors: list[OSError] = []
        pipe.output.attach(RecordedProducer(), errors.append)
        pipe.output.write(b"one")
        pipe.output.write(b"two")
        await pipe.output.flush()
        self.assertEqual([error.errno for error in errors], [errno.EPIPE])
        pipe.output.attach(RecordedProducer(), errors.append)
        self.assertEqual(len(errors), 2)

    async def test_closed(self) -> None:
        """
        A program that is started without standard output is told at the first write.
        """
        output = StandardOutput(reactor, -1)
        errors: list[OSError] = []
        output.attach(RecordedProducer(), errors.append)
        output.write(b"data")
        await output.finish()
        self.assertEqual([error.errno for error in errors], [errno.EBADF])

    async def test_nonBlocking(self) -> None:
        """
        Another program may have made the descriptor non-blocking.
        """
        pipe = OutputPipe(self, isBlocking=False)
        pipe.output.write(bytes(300_000))
        written: Deferred[None] = pipe.output.flush()
        size = 0
        while size < 300_000:
            size += len(os.read(pipe.reader, CHUNK))
        await written
