"""
Answering connections without a person: by echo, or by a command.

Owns: the two protocols, with half-close and back-pressure both ways; how a command is started and
ended.
Knows nothing of: how connections come to be; what the shell makes of the command
(L{holepunch.cli.shell}).
Driven by: C{holepunch listen --echo} and C{holepunch listen --exec}.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import cast

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IPushProducer, IReactorProcess
from twisted.internet.process import Process
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.cli.connection import ConnectionProtocol, IConnection
from holepunch.cli.shell import shellOf
from holepunch.peer.address import PunchedAddress


class Echo(ConnectionProtocol):
    """
    Sends back what it receives.
    """

    def connectionMade(self) -> None:
        """
        Read no faster than the peer takes the echo.
        """
        self.connection.registerProducer(self.connection, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.connection.write(data)

    def readConnectionLost(self) -> None:
        """
        Send what is left, then close.
        """
        self.connection.unregisterProducer()
        self.connection.loseConnection()


@implementer(IPushProducer)
class _Source:
    """
    A producer whose taker may go away without anything being closed: what comes is dropped then.
    """

    def __init__(self, producer: IPushProducer) -> None:
        self.pauseProducing = producer.pauseProducing
        self.resumeProducing = producer.resumeProducing
        self.stopProducing = producer.resumeProducing


class _Command(ProcessProtocol):
    """
    The command's side: its output goes to the peer.
    """

    def __init__(self, connection: IConnection) -> None:
        self._connection = connection
        self._isHungUp = False
        self._isOver = False

    def connectionMade(self) -> None:
        """
        It was started.
        """
        # Where the first process ends before others of its group, Twisted forgets its number.
        pid = cast(Process, self.transport).pid
        assert pid
        self._group = pid

    def outReceived(self, data: bytes) -> None:
        """
        From the command to the peer.
        """
        self._connection.write(data)

    def outConnectionLost(self) -> None:
        """
        The command says no more.
        """
        if not self._isHungUp:
            self._connection.unregisterProducer()
            self._connection.loseWriteConnection()

    def processEnded(self, reason: Failure) -> None:
        """
        Nobody is there any more to read what the peer says.
        """
        self._isOver = True
        if not self._isHungUp:
            self._connection.loseConnection()

    def hangUp(self) -> None:
        """
        The connection has ended; the command learns it as from a terminal, with all that it has
        started.
        """
        self._isHungUp = True
        process = cast(Process, self.transport)
        process.loseConnection()
        if self._isOver:
            return
        try:
            # One that is stopped must go on to learn it.
            for number in (signal.SIGHUP, signal.SIGCONT):
                os.killpg(self._group, number)
        except (AttributeError, ProcessLookupError, PermissionError):
            # It leads no group: not yet, no longer, or because this is Windows.
            with contextlib.suppress(ProcessExitedAlready):
                process.signalProcess("HUP")


class Execute(ConnectionProtocol):
    """
    Joins the connection to the standard input and output of a command of its own.

    The command finds the peer's ID in the environment, as C{HOLEPUNCH_PEER}.
    """

    def __init__(self, reactor: IReactorProcess, line: str) -> None:
        """
        @param line: The command, for the shell.
        """
        super().__init__()
        self._reactor = reactor
        self._line = line

    def connectionMade(self) -> None:
        """
        Start the command.
        """
        address = self.connection.getPeer()
        environment = dict(os.environ)
        if isinstance(address, PunchedAddress):
            environment["HOLEPUNCH_PEER"] = str(address.peerID)
        arguments = shellOf(self._line)
        self._command = _Command(self.connection)
        self._reactor.spawnProcess(
            self._command,
            arguments[0],
            arguments,
            env=environment,
            childFDs={0: "w", 1: "r", 2: 2},
        )
        self._process = cast(Process, self._command.transport)
        self.connection.registerProducer(_Source(cast(IPushProducer, self._process)), True)
        self._process.registerProducer(_Source(self.connection), True)

    def dataReceived(self, data: bytes) -> None:
        """
        From the peer to the command.
        """
        self._process.write(data)

    def readConnectionLost(self) -> None:
        """
        The command sees the end of its input.
        """
        self._process.unregisterProducer()
        self._process.closeStdin()

    def ended(self) -> None:
        """
        Leave no command behind.
        """
        self._command.hangUp()
        super().ended()
