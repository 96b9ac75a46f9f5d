"""
Answering connections by echo or by a command, over real TCP.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.answering import Echo, Execute
from holepunch.errors import PathLost
from tests.cli.test_join import DATA, ConnectionTestCase

reactor: Any = installedReactor


def _same(execute: Execute) -> Execute:
    return execute


class EchoTests(ConnectionTestCase):
    """
    L{Echo}.
    """

    async def test_echo(self) -> None:
        """
        Everything comes back, and then the end.
        """
        echo = Echo()
        caller = await self.call(lambda: echo)
        caller.say(DATA)
        await caller.heardEnd
        await echo.finished
        self.assertEqual(caller.heard, DATA)


class EchoBackPressureTests(SynchronousTestCase):
    """
    L{Echo} and a peer that does not listen.
    """

    def test_backPressure(self) -> None:
        """
        When the transport is full, it pauses itself: nothing is read that could not be sent back.
        """
        transport = StringTransport()
        Echo().makeConnection(transport)
        self.assertIs(transport.producer, transport)
        self.assertTrue(transport.streaming)


class ExecuteTests(ConnectionTestCase):
    """
    L{Execute}.
    """

    async def test_filter(self) -> None:
        """
        A command reads what the peer says, to the end, and what it writes goes to the peer.
        """
        execute = Execute(reactor, "cat; echo done")
        caller = await self.call(lambda: execute)
        caller.say(DATA)
        await caller.heardEnd
        await execute.finished
        self.assertEqual(caller.heard, DATA + b"done\n")

    async def test_noReader(self) -> None:
        """
        A command that reads nothing still says everything.
        """
        execute = Execute(reactor, "exec <&-; head -c 1000000 /dev/zero")
        caller = await self.call(lambda: execute)
        caller.say(DATA)
        await caller.heardEnd
        self.assertEqual(len(caller.heard), 1_000_000)
        await execute.finished

    async def test_hangUp(self) -> None:
        """
        When the connection is lost, the command is hung up on.
        """
        path = self.mktemp()
        os.mkfifo(path)
        execute = Execute(reactor, f"exec 3>{path}; echo ready; exec sleep 600")
        caller = await self.call(lambda: execute)
        with await deferToThread(open, path, "rb") as fifo:
            await caller.heardSomething
            caller.abort()
            await self.failing(execute, PathLost)
            # The command held the other end.
            self.assertEqual(await deferToThread(fifo.read), b"")

    async def test_hangUpGroup(self) -> None:
        """
        What the command has started is hung up on with it: in a pipeline, in the background, and
        when the command itself is gone already.
        """
        for line in (
            "exec 3>{0}; echo ready; sleep 600 | cat",
            "exec 3>{0}; echo ready; sleep 600 & wait",
            "exec 3>{0}; echo ready; sleep 600 & exit",
            "exec 3>{0}; echo ready; kill -STOP $$",
        ):
            path = self.mktemp()
            os.mkfifo(path)
            execute = Execute(reactor, line.format(path))
            caller = await self.call(functools.partial(_same, execute))
            with await deferToThread(open, path, "rb") as fifo:
                await caller.heardSomething
                caller.abort()
                await self.failing(execute, PathLost)
                self.assertEqual(await deferToThread(fifo.read), b"")

    async def test_signals(self) -> None:
        """
        A command ends when nobody reads its pipe, as commands do.
        """
        execute = Execute(reactor, "(yes; echo $? >&2) 2>&1 | (exec head -n 1)")
        caller = await self.call(lambda: execute)
        await caller.heardEnd
        await execute.finished
        self.assertEqual(caller.heard, b"y\n")
