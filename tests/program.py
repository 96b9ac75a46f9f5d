"""
Programs of their own, run by the tests that show that examples and documents are true.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as imported
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

import holepunch
from holepunch import Identity
from holepunch.address import TransportAddress
from holepunch.rendezvous import RendezvousService

reactor: Any = imported

PATIENCE = 30.0


class Program(ProcessProtocol):
    """
    One program that runs.

    @ivar said: Everything that it printed, and its complaints.
    @ivar status: Fires with its exit status; L{None} where a signal ended it.
    """

    transport: Any

    def __init__(self, directory: str, *arguments: str) -> None:
        """
        @param directory: Where it runs.
        @param arguments: Of the Python interpreter.
        """
        self.said = ""
        self.status: Deferred[int | None] = Deferred()
        self._expected: list[tuple[str, Deferred[str]]] = []
        # The package that is being tested, wherever the program runs.
        home = str(Path(holepunch.__file__).parents[1])
        reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": home},
            path=directory,
        )

    def says(self, text: str) -> Deferred[str]:
        """
        Wait until C{text} was printed; gives the whole line.
        """
        said: Deferred[str] = Deferred()
        self._expected.append((text, said))
        self._look()
        return said.addTimeout(PATIENCE, reactor, self._tooLate(text))

    def types(self, line: str) -> None:
        """
        A person types a line.
        """
        self.transport.write(line.encode() + b"\n")

    def closesInput(self) -> None:
        """
        A person types Ctrl-D.
        """
        self.transport.closeStdin()

    def exits(self) -> Deferred[int | None]:
        """
        Wait for the end of the program.
        """
        return self.status.addTimeout(PATIENCE, reactor, self._tooLate("its end"))

    async def end(self) -> None:
        """
        End the program, if it has not ended.
        """
        if not self.status.called:
            try:
                self.transport.signalProcess("TERM")
            except ProcessExitedAlready:
                return
            await self.exits()

    def outReceived(self, data: bytes) -> None:
        self.said += data.decode()
        self._look()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        error = reason.value
        assert isinstance(error, (ProcessDone, ProcessTerminated))
        self.status.callback(error.exitCode)

    def _look(self) -> None:
        waiting, self._expected = self._expected, []
        lines = self.said.split("\n")[:-1]
        for text, said in waiting:
            found = [line for line in lines if text in line]
            if found:
                said.callback(found[0])
            else:
                self._expected.append((text, said))

    def _tooLate(self, text: str) -> Any:
        def fail(result: object, seconds: float) -> Any:
            raise AssertionError(f"{text!r} did not come; the program said:\n{self.said}")

        return fail


class ProgramTestCase(TestCase):
    """
    Has a rendezvous service on loopback, and ends the programs that it started.

    @ivar rendezvous: Where the service is.
    """

    timeout = 120.0

    def setUp(self) -> None:
        self.service = RendezvousService(
            reactor,
            Identity.generate(),
            main=["tcp:0:interface=127.0.0.1"],
            assist=[TransportAddress("127.0.0.1", 0)],
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.rendezvous = str(self.service.mainAddresses[0])
        self.directory = self.mktemp()
        os.makedirs(self.directory)

    def start(self, *arguments: str) -> Program:
        """
        Run Python with these arguments.
        """
        program = Program(self.directory, *arguments)
        self.addCleanup(lambda: Deferred.fromCoroutine(program.end()))
        return program
