"""
Answering connections by echo or by a command, over real TCP.
"""

from __future__ import annotations

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
