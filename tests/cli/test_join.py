"""
Joining connections to input and output, over real TCP.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from holepunch.cli.connection import ConnectionProtocol
from holepunch.cli.join import Join
from holepunch.errors import LocalStreamFailed, PathLost
from tests.cli.descriptors import InputFile, InputPipe, OutputFile, OutputPipe

reactor: Any = installedReactor
DATA = os.urandom(4_000_000)


class Caller(ConnectionProtocol):
    """
    The other side: sends and keeps what it hears; ends its direction when told to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""
        self.heardEnd: Deferred[None] = Deferred()
        self.heardSomething: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if not self.heardSomething.called:
            self.heardSomething.callback(None)

    def readConnectionLost(self) -> None:
        self.heardEnd.callback(None)

    def say(self, words: bytes) -> None:
        """
        Say everything, and end.
        """
        self.connection.write(words)
        self.connection.loseWriteConnection()


class ConnectionTestCase(TestCase):
    """
    Connects a caller to a protocol.
    """

    async def call(self, makeProtocol: Callable[[], Protocol]) -> Caller:
        (caller,) = await self.callSeveral(makeProtocol, 1)
        return caller

    async def callSeveral(self, makeProtocol: Callable[[], Protocol], count: int) -> list[Caller]:
        factory = Factory.forProtocol(makeProtocol)
        factory.noisy = False
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        callerFactory = Factory.forProtocol(Caller)
        callerFactory.noisy = False
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        callers: list[Any] = []
        for _ in range(count):
            callers.append(await endpoint.connect(callerFactory))
            self.addCleanup(self._stop, callers[-1])
        return callers

    async def _stop(self, caller: Caller) -> None:
        caller.abort()
        ended = caller.finished.addErrback(lambda failure: None)
        if not ended.called:
            await ended

    async def failing(self, protocol: ConnectionProtocol, kind: type[BaseException]) -> str:
        """
        The sentence with which a connection ends.
        """
        try:
            await protocol.finished
        except kind as error:
            return str(error)
        raise AssertionError("the connection ended well")


class JoinTests(ConnectionTestCase):
    """
    L{Join}.
    """

    def setUp(self) -> None:
        self.input = InputPipe(self)
        self.output = OutputFile(self)
        self.join = Join(self.input.input, self.output.output)

    async def test_bothDirections(self) -> None:
        """
        Megabytes go both ways at once, and both ends see the end.
        """
        path = Path(self.mktemp())
        path.write_bytes(DATA)
        join = Join(InputFile(self, path).input, self.output.output)
        caller = await self.call(lambda: join)
        caller.say(DATA)
        await caller.heardEnd
        await join.finished
        self.assertEqual(caller.heard, DATA)
        self.assertEqual(self.output.data, DATA)

    async def test_peerEndsFirst(self) -> None:
        """
        When the peer ends its direction, the output is closed, and the input still goes out.
        """
        pipe = OutputPipe(self)
        join = Join(self.input.input, pipe.output)
        caller = await self.call(lambda: join)
        caller.say(b"")
        end = await deferToThread(os.read, pipe.reader, 100)
        self.assertEqual((end, join.finished.called), (b"", False))
        self.input.write(b"one more word")
        self.input.end()
        await caller.heardEnd
        await join.finished
        self.assertEqual(caller.heard, b"one more word")

    async def test_inputEndsFirst(self) -> None:
        """
        When the input ends, the peer sees it, and what it still says arrives.
        """
        caller = await self.call(lambda: self.join)
        self.input.end()
        await caller.heardEnd
        caller.say(b"answer")
        await self.join.finished
        self.assertEqual(self.output.data, b"answer")

    async def test_lost(self) -> None:
        """
        A connection that is lost is an error.
        """
        caller = await self.call(lambda: self.join)
        self.input.write(b"hello")
        await caller.heardSomething
        caller.abort()
        sentence = await self.failing(self.join, PathLost)
        self.assertIn("the connection to the peer was lost", sentence)

    async def test_outputBroken(self) -> None:
        """
        When the output cannot be written, the connection is aborted, and the sentence says why.
        """
        pipe = OutputPipe(self)
        pipe.closeReader()
        join = Join(self.input.input, pipe.output)
        caller = await self.call(lambda: join)
        caller.connection.write(b"data")
        sentence = await self.failing(join, LocalStreamFailed)
        self.assertEqual(sentence, "cannot write to standard output: Broken pipe")
        await self.failing(caller, PathLost)

    async def test_inputBroken(self) -> None:
        """
        When the input cannot be read, the connection is aborted: a part must not look whole.
        """
        join = Join(InputFile(self, ".").input, self.output.output)
        caller = await self.call(lambda: join)
        sentence = await self.failing(join, LocalStreamFailed)
        self.assertEqual(sentence, "cannot read standard input: Is a directory")
        await self.failing(caller, PathLost)

    async def test_oneAfterTheOther(self) -> None:
        """
        Where several are to be joined, each waits for its turn, and nothing is mixed or lost.
        """
        turn = DeferredLock()
        joins: list[Join] = []

        def make() -> Join:
            joins.append(Join(self.input.input, self.output.output, turn))
            return joins[-1]

        first, second, third = await self.callSeveral(make, 3)
        third.say(b"third")
        second.say(b"second,")
        first.connection.write(b"first,")
        self.input.write(b"for the first")
        await first.heardSomething
        self.input.end()
        await first.heardEnd
        first.say(b"and last,")
        for join in joins:
            await join.finished
        self.assertEqual(self.output.data, b"first,and last,second,third")
        self.assertEqual([each.heard for each in (first, second)], [b"for the first", b""])

    async def test_cancelled(self) -> None:
        """
        Cancelling the wait aborts the connection.
        """
        caller = await self.call(lambda: self.join)
        self.join.finished.cancel()
        await self.failing(self.join, CancelledError)
        await self.failing(caller, PathLost)
