"""
The program C{holepunch} as processes, with the real service, over loopback.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from holepunch.address import TransportAddress
from holepunch.cli.trace import readTrace
from holepunch.identity import Identity
from holepunch.peer.events import Connected
from holepunch.peer.together import together
from holepunch.rendezvous.service import RendezvousService

reactor: Any = installedReactor
ROOT = Path(__file__).parents[2]


class Program(ProcessProtocol):
    """
    A running command.

    @ivar ended: Fires with its exit status.
    """

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.ended: Deferred[int] = Deferred()
        self._wanted: tuple[Callable[[], bool], Deferred[None]] | None = None

    @property
    def process(self) -> Any:
        return self.transport

    def outReceived(self, data: bytes) -> None:
        self.stdout += data
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.stderr += data
        self._look()

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        self.ended.callback(status.exitCode)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """
        Wait for what it says.
        """
        waiting: Deferred[None] = Deferred()
        self._wanted = (condition, waiting)
        self._look()
        return waiting

    def untilSaid(self, words: bytes) -> Deferred[None]:
        return self.until(lambda: self.stdout == words)

    def untilTold(self, event: str) -> Deferred[None]:
        return self.until(lambda: any(each["event"] == event for each in self.events))

    def _look(self) -> None:
        if self._wanted is not None and self._wanted[0]():
            (_, waiting), self._wanted = self._wanted, None
            waiting.callback(None)

    @property
    def events(self) -> list[dict[str, Any]]:
        """
        What it told on stderr, with C{--json}.
        """
        complete = self.stderr[: self.stderr.rfind(b"\n") + 1]
        return [json.loads(line) for line in complete.splitlines()]

    def named(self, name: str) -> dict[str, Any]:
        """
        The only event of that name.
        """
        (event,) = [event for event in self.events if event["event"] == name]
        return event


class ProgramTestCase(TestCase):
    """
    A service, and a directory for each peer.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        service = RendezvousService(
            reactor,
            Identity.generate(),
            main=["tcp:0:interface=127.0.0.1"],
            assist=[TransportAddress("127.0.0.1", 0)],
        )
        service.startService()
        self.addCleanup(service.stopService)
        self.service = service
        self.rendezvous = str(service.mainAddresses[0])

    def file(self, name: str) -> Path:
        return self.directory / name

    def start(self, peer: str, *arguments: str, **files: Any) -> Program:
        """
        Start a command; C{files} are what Twisted calls childFDs, by name.
        """
        program = Program()
        self.file(peer).mkdir(exist_ok=True)
        descriptors = {
            0: files.get("stdin", "w"),
            1: files.get("stdout", "r"),
            2: "r",
        }
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOLEPUNCH_RENDEZVOUS": self.rendezvous,
            "HOLEPUNCH_IDENTITY": str(self.file(f"{peer}/identity.pem")),
        }
        reactor.spawnProcess(
            program,
            sys.executable,
            [sys.executable, "-m", "holepunch", *arguments],
            env=environment,
            childFDs=descriptors,
        )
        self.addCleanup(self._stop, program)
        return program

    async def _stop(self, program: Program) -> None:
        if program.process.pid is not None:
            program.process.signalProcess("KILL")
        if not program.ended.called:
            await program.ended

    async def listen(self, *arguments: str, **files: Any) -> Program:
        program = self.start("bob", "listen", "--name", "bob", "--json", *arguments, **files)
        await program.untilTold("listening")
        return program


class ConnectionTests(ProgramTestCase):
    """
    C{listen} and C{connect}.
    """

    async def test_files(self) -> None:
        """
        Twenty megabytes go from file to file in both directions, byte for byte.
        """
        data = [os.urandom(20_000_000) for _ in range(2)]
        descriptors = []
        for index in range(2):
            self.file(f"in{index}").write_bytes(data[index])
            ends = {
                "stdin": os.open(self.file(f"in{index}"), os.O_RDONLY),
                "stdout": os.open(self.file(f"out{index}"), os.O_WRONLY | os.O_CREAT, 0o600),
            }
            descriptors.append(ends)
            for descriptor in ends.values():
                self.addCleanup(os.close, descriptor)
        bob = await self.listen(**descriptors[1])
        alice = self.start("alice", "connect", "bob", "--json", **descriptors[0])
        self.assertEqual((await alice.ended, await bob.ended), (0, 0), alice.stderr + bob.stderr)
        for index in range(2):
            self.assertTrue(self.file(f"out{index}").read_bytes() == data[1 - index])

    async def test_halfClose(self) -> None:
        """
        Who has said everything still hears the answer; both tell of the path, and trace it.
        """
        bob = await self.listen("--exec", "sort")
        alice = self.start("alice", "connect", "bob", "--json", "--trace", str(self.file("trace")))
        alice.process.write(b"b\na\n")
        alice.process.closeStdin()
        self.assertEqual((await alice.ended, await bob.ended), (0, 0), alice.stderr + bob.stderr)
        self.assertEqual(alice.stdout, b"a\nb\n")
        ours, theirs = alice.named("connected"), bob.named("connected")
        self.assertEqual(ours["peer"], bob.named("registered")["peer"])
        self.assertEqual((ours["local"], ours["remote"]), (theirs["remote"], theirs["local"]))
        self.assertEqual(
            {key: ours[key] for key in ("path", "transport", "candidate")},
            {"path": "direct", "transport": "tcp", "candidate": "host"},
        )
        self.assertLess(ours["seconds"], 30.0)
        trace = readTrace(self.file("trace"))
        self.assertEqual(sum(isinstance(event, Connected) for event in trace.events), 1)

    async def test_conversation(self) -> None:
        """
        What is typed on one side appears on the other, at once, and interrupting one side tells
        the other that the connection was lost.
        """
        bob = await self.listen()
        alice = self.start("alice", "connect", "bob", "--json")
        for speaker, listener in ((alice, bob), (bob, alice)):
            speaker.process.write(b"hello\n")
            await listener.untilSaid(b"hello\n")
        alice.process.signalProcess("INT")
        self.assertEqual((await alice.ended, await bob.ended), (128 + signal.SIGINT, 1))
        self.assertIn("lost", bob.named("failed")["reason"])

    async def test_closedOutput(self) -> None:
        """
        When nobody reads standard output any more, the command fails and says so.
        """
        reader, writer = os.pipe()
        os.close(reader)
        bob = await self.listen(stdout=writer)
        os.close(writer)
        alice = self.start("alice", "connect", "bob")
        alice.process.write(b"hello\n")
        self.assertEqual((await bob.ended, await alice.ended), (1, 1))
        self.assertIn("standard output", bob.named("failed")["reason"])

    async def test_pings(self) -> None:
        """
        A listening peer answers pings, one after the other, and ends by a signal.
        """
        bob = await self.listen("--echo", "--keep")
        pings = [
            self.start(
                transport, "ping", "bob", "-c", "2", "--interval", "0.05", *options, "--json"
            )
            for transport, *options in (
                ("udp", "--transport", "udp"),
                ("tcp", "--transport", "tcp"),
            )
        ]
        for ping, transport in zip(pings, ("udp", "tcp"), strict=True):
            self.assertEqual(await ping.ended, 0, ping.stderr)
            *replies, summary = [json.loads(line) for line in ping.stdout.splitlines()]
            self.assertEqual([reply["seq"] for reply in replies], [1, 2])
            self.assertEqual({reply["transport"] for reply in replies}, {transport})
            self.assertEqual((summary["sent"], summary["received"]), (2, 2))
        bob.process.signalProcess("TERM")
        self.assertEqual(await bob.ended, 128 + signal.SIGTERM)


class FailureTests(ProgramTestCase):
    """
    What cannot work ends with one sentence.
    """

    async def test_failures(self) -> None:
        """
        Each failure has status 1, one line on stderr that says why, and nothing on stdout.
        """
        nowhere = ("--timeout", "1", "--rendezvous")
        failing = []
        for arguments, sentence in (
            (("connect", "carol"), "carol"),
            (("ping", "bob", *nowhere, "127.0.0.1:1"), "cannot reach the rendezvous service"),
            (("check", "--stun", "nowhere.invalid"), "no host is named 'nowhere.invalid'"),
            (("check", "--stun", "127.0.0.1:1", "--timeout", "0.1"), "no STUN server answered"),
        ):
            failing.append(self.assertFails(1, arguments, sentence))
        await together(*map(Deferred.fromCoroutine, failing))

    async def test_noCommand(self) -> None:
        """
        A command that is not there is told at the start, and not when somebody connects.
        """
        await self.assertFails(2, ("listen", "--exec", "nosuchcmd -x"), "no command nosuchcmd")

    async def test_badFiles(self) -> None:
        """
        A file that cannot be used is wrong usage.
        """
        self.file("bad").mkdir(exist_ok=True)
        self.file("bad/identity.pem").write_text("no key")
        self.file("bad/identity.pem").chmod(0o600)
        failing = (
            self.assertFails(2, ("connect", "bob"), "does not hold a private key", "bad"),
            self.assertFails(
                2, ("connect", "bob", "--trace", str(self.file("none/trace"))), "there is no folder"
            ),
        )
        await together(*map(Deferred.fromCoroutine, failing))

    async def assertFails(
        self, status: int, arguments: tuple[str, ...], sentence: str, peer: str = "alice"
    ) -> None:
        program = self.start(peer, *arguments)
        self.assertEqual((await program.ended, program.stdout), (status, b""), arguments)
        lines = program.stderr.decode().splitlines()
        self.assertIn(sentence, lines[-1])
        self.assertTrue(lines[-1].startswith("Error: "), lines)


class CheckTests(ProgramTestCase):
    """
    C{check} with the service as STUN server.
    """

    async def test_check(self) -> None:
        """
        There is no NAT between this machine and itself.
        """
        server = str(self.service.assistAddresses[0])
        checks = [self.start("x", "check", "--stun", server, *more) for more in ((), ("--json",))]
        for check in checks:
            self.assertEqual(await check.ended, 0, check.stderr)
        report = json.loads(checks[1].stdout)
        for protocol in (report["udp"], report["tcp"]):
            self.assertEqual((protocol["blocked"], protocol["nat"]), (False, False))
            self.assertEqual(protocol["mapped"], protocol["local"])
            self.assertEqual(protocol["mapping"], "endpoint-independent")
        self.assertIn(report["meaning"], checks[0].stdout.decode())
