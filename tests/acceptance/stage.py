"""
A stage for acceptance tests: a lab, the service in it, and commands on its hosts.

Owns: starting and ending processes, and reading what they say.
Knows nothing of: what a test expects.
Driven by: the tests beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from holepunch.address import joinHostPort
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import Topology

reactor: Any = installedReactor
ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class Program(ProcessProtocol):
    """
    A running command.

    @ivar output: What it wrote to its standard output.
    @ivar errors: What it wrote to its standard error.
    @ivar ended: Fires with its exit status.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.output = b""
        self.errors = b""
        self.status: int | None = None
        self.ended: Deferred[int] = Deferred()
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def outReceived(self, data: bytes) -> None:
        self.output += data
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.errors += data
        self._look()

    def processEnded(self, reason: Failure) -> None:
        status = getattr(reason.value, "exitCode", None)
        self.status = -1 if status is None else status
        self._look()
        self.ended.callback(self.status)

    @property
    def events(self) -> list[dict[str, Any]]:
        """
        The JSON lines on its standard error.
        """
        return [json.loads(line) for line in self.errors.splitlines() if line.startswith(b"{")]

    def event(self, kind: str) -> dict[str, Any]:
        """
        The first event of a kind.
        """
        for event in self.events:
            if event["event"] == kind:
                return event
        raise AssertionError(f"{self.name} told of no {kind!r}: {self.errors!r}")

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """
        Wait until C{condition} holds, looking whenever the program says something.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        self._look()
        try:
            await waiting.addTimeout(patience, reactor)
        except Exception:
            raise AssertionError(
                f"{self.name}: waited in vain; {self.output[-500:]!r} {self.errors[-2000:]!r}"
            ) from None

    async def untilOutput(self, text: bytes) -> None:
        """
        Wait until it has written C{text}.
        """
        await self.until(lambda: text in self.output)

    async def untilEvent(self, kind: str) -> dict[str, Any]:
        """
        Wait for an event.
        """
        await self.until(lambda: any(event["event"] == kind for event in self.events))
        return self.event(kind)

    async def end(self, patience: float = PATIENCE) -> int:
        """
        Wait until it ends by itself.
        """
        await self.until(lambda: self.status is not None, patience)
        assert self.status is not None
        return self.status

    async def kill(self) -> None:
        """
        End it.
        """
        if self.status is None:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
            await self.ended

    def write(self, data: bytes) -> None:
        """
        Write to its standard input.
        """
        self.transport.write(data)  # type: ignore[union-attr]

    def closeInput(self) -> None:
        """
        Close its standard input.
        """
        self.transport.closeStdin()  # type: ignore[union-attr]

    def _look(self) -> None:
        for each in tuple(self._waiting):
            condition, waiting = each
            if condition() or self.status is not None:
                self._waiting.remove(each)
                if condition():
                    waiting.callback(None)
                else:
                    waiting.errback(AssertionError("it ended"))


class StageTestCase(TestCase):
    """
    A test with a lab of its own.
    """

    timeout = 200
    twistd = os.path.join(os.path.dirname(sys.executable), "twistd")

    @property
    def location(self) -> str:
        """
        Where peers find the service.
        """
        return self.serviceHosts[0]

    async def build(self, topology: Topology | str) -> None:
        """
        Start the lab and the service in it.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology)
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.programs: list[Program] = []
        self.lab = NamespaceLab(reactor, topology)
        await self.lab.start()
        self.addCleanup(self._clear)
        self.serviceHosts = topology.host("rendezvous").addresses
        await self.startService()

    async def startService(self) -> None:
        """
        Run C{twistd holepunch} on the host C{rendezvous}.
        """
        # One port for each of its addresses of an IP version.
        listeners = [
            joinHostPort(host, 3478 + number % 2) for number, host in enumerate(self.serviceHosts)
        ]
        self.service = self.spawn(
            "rendezvous",
            self.twistd,
            "-n",
            "--pidfile=",
            "holepunch",
            "--identity",
            str((self.folder / "service.pem").resolve()),
            *(f"--assist={listener}" for listener in listeners),
        )
        await self.service.untilOutput(b"assist listener")

    def spawn(self, host: str, *arguments: str) -> Program:
        """
        Start a command on a host.
        """
        program = Program(f"{os.path.basename(arguments[0])} on {host}")
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOLEPUNCH_RENDEZVOUS": self.location,
            "HOLEPUNCH_IDENTITY": str((self.folder / f"{host}.pem").resolve()),
            "XDG_CONFIG_HOME": str((self.folder / host).resolve()),
        }
        self.lab.spawn(program, host, arguments, env=environment)
        self.programs.append(program)
        return program

    def holepunch(self, host: str, *arguments: str) -> Program:
        """
        Start a command of ours on a host.
        """
        command, *rest = arguments
        return self.spawn(host, sys.executable, "-m", "holepunch", command, "--json", *rest)

    async def listen(self, *arguments: str) -> Program:
        """
        Let bob listen.
        """
        program = self.holepunch("bob", "listen", "--name", "bob", *arguments)
        await program.untilEvent("listening")
        return program

    async def ping(self, *arguments: str) -> dict[str, Any]:
        """
        Let alice ping bob.

        @return: The event that tells of the path.
        """
        program = self.holepunch("alice", "ping", "bob", "-c", "1", *arguments)
        self.assertEqual(await program.end(), 0, program.errors)
        return program.event("connected")

    async def exchange(self, data: bytes, *arguments: str) -> dict[str, Any]:
        """
        Let alice connect to bob, who echoes; compare what comes back.

        @return: The event that tells of the path.
        """
        program = self.holepunch("alice", "connect", "bob", *arguments)
        program.write(data)
        program.closeInput()
        self.assertEqual(await program.end(), 0, program.errors)
        self.assertEqual(program.output, data)
        return program.event("connected")

    async def _clear(self) -> None:
        for program in self.programs:
            await program.kill()
        await self.lab.stop()
