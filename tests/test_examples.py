"""
The examples, run for real: as programs of their own, over loopback, with a real service.
"""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as imported
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

import holepunch
from holepunch import Identity, Peer
from holepunch.address import TransportAddress
from holepunch.errors import RendezvousError, SessionRefused
from holepunch.rendezvous import RendezvousService

reactor: Any = imported

EXAMPLES = Path(__file__).parents[1] / "examples"
PATIENCE = 30.0


class Program(ProcessProtocol):
    """
    One example that runs.

    @ivar said: Everything that it printed, and its complaints.
    @ivar status: Fires with its exit status; L{None} where a signal ended it.
    """

    transport: Any

    def __init__(self, directory: str, name: str, *arguments: str) -> None:
        self.said = ""
        self.status: Deferred[int | None] = Deferred()
        self._expected: list[tuple[str, Deferred[str]]] = []
        os.makedirs(directory, exist_ok=True)
        # The package that is being tested, wherever the example runs.
        home = str(Path(holepunch.__file__).parents[1])
        reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, str(EXAMPLES / name), *arguments],
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


class Recorder(Protocol):
    """
    Keeps what arrives.
    """

    def __init__(self) -> None:
        self.received = b""
        self._expected: tuple[bytes, Deferred[None]] | None = None

    def hears(self, data: bytes) -> Deferred[None]:
        heard: Deferred[None] = Deferred()
        self._expected = (data, heard)
        self.dataReceived(b"")
        return heard.addTimeout(PATIENCE, reactor)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._expected is not None and self._expected[0] in self.received:
            (_, heard), self._expected = self._expected, None
            heard.callback(None)


class RunExamples(TestCase):
    """
    Each example does what its docstring says.
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

    def run_(self, name: str, *arguments: str) -> Program:
        program = Program(self.mktemp(), name, *arguments)
        self.addCleanup(lambda: Deferred.fromCoroutine(program.end()))
        return program

    def peer(
        self, rendezvous: str, identity: Identity | None = None, name: str | None = None
    ) -> Peer:
        peer = Peer(
            reactor,
            identity if identity is not None else Identity.generate(),
            rendezvous,
            name=name,
        )
        self.addCleanup(peer.stopService)
        return peer

    async def connect(self, peer: Peer, target: str) -> Recorder:
        endpoint = peer.connectEndpoint(target)
        protocol = await endpoint.connect(Factory.forProtocol(Recorder))
        assert isinstance(protocol, Recorder)
        return protocol

    async def test_echoPeer(self) -> None:
        """
        The echo peer tells its ID, counts the connections, and sends back what each one says.
        """
        program = self.run_("echo_peer.py", self.rendezvous, "echo")
        peerID = (await program.says("echo is ready: ")).split()[-1]
        peer = self.peer(self.rendezvous)
        for number in (1, 2):
            protocol = await self.connect(peer, peerID)
            who = await program.says(f"connection {number}: ")
            self.assertIn(peer.peerID.short, who)
            assert protocol.transport is not None
            protocol.transport.write(b"is anybody there?")
            await protocol.hears(b"is anybody there?")
            protocol.transport.loseConnection()

    async def test_chat(self) -> None:
        """
        What one side types, the other one reads, until one of them leaves.
        """
        listening = self.run_("chat.py", self.rendezvous, "listen", "alice")
        await listening.says("alice waits")
        connecting = self.run_("chat.py", self.rendezvous, "connect", "alice")
        for program in (listening, connecting):
            await program.says("connected to ")
        connecting.types("hello")
        await listening.says("> hello")
        listening.types("good evening")
        await connecting.says("> good evening")
        connecting.closesInput()
        for program in (listening, connecting):
            await program.says("the chat is over")
            self.assertEqual(await program.exits(), 0)

    async def test_privateService(self) -> None:
        """
        Only members may register at the private service, and have three sessions a minute.
        """
        alice, bob = Identity.generate(), Identity.generate()
        members = Path(self.mktemp())
        members.write_text(f"{alice.peerID}\n{bob.peerID}\n")
        program = self.run_("private_service.py", str(members.absolute()), "127.0.0.1", "0", "0")
        rendezvous = (await program.says("the service listens: ")).split()[-1]
        stranger = self.peer(rendezvous, name="mallory")
        with self.assertRaisesRegex(RendezvousError, "for members only"):
            await stranger.whenRegistered()
        listening = self.peer(rendezvous, alice, "alice")
        await listening.listenEndpoint().listen(Factory.forProtocol(Recorder))
        await program.says(f"{alice.peerID.short} registered as alice")
        connecting = self.peer(rendezvous, bob)
        for _ in range(3):
            protocol = await self.connect(connecting, "alice")
            assert protocol.transport is not None
            protocol.transport.loseConnection()
        with self.assertRaisesRegex(SessionRefused, "three sessions a minute"):
            await self.connect(connecting, "alice")
        self.assertNotIn("mallory", program.said)

    async def test_natCheck(self) -> None:
        """
        On loopback, where there is no NAT, the NAT check finds none.
        """
        server = str(self.service.assistAddresses[0])
        program = self.run_("nat_check.py", server, server)
        self.assertEqual(await program.exits(), 0)
        self.assertIn(f"{server} sees port ", program.said)
        self.assertIn("no NAT", program.said)


class AllExamples(SynchronousTestCase):
    """
    No example goes without a test and a docstring.
    """

    TESTS = {
        "chat.py": RunExamples.test_chat,
        "echo_peer.py": RunExamples.test_echoPeer,
        "nat_check.py": RunExamples.test_natCheck,
        "private_service.py": RunExamples.test_privateService,
    }

    def test_covered(self) -> None:
        """
        Every example is run by a test here, and is in the table of examples/README.md.
        """
        names = {path.name for path in EXAMPLES.glob("*.py")}
        self.assertEqual(names, set(self.TESTS))
        table = (EXAMPLES / "README.md").read_text("utf-8")
        for name in names:
            self.assertIn(f"]({name})", table)

    def test_small(self) -> None:
        """
        Every example has less than 80 lines, and its docstring says how to run it.
        """
        for path in EXAMPLES.glob("*.py"):
            text = path.read_text("utf-8")
            self.assertLess(len(text.splitlines()), 80, path.name)
            docstring = ast.get_docstring(ast.parse(text)) or ""
            self.assertIn(f"python examples/{path.name} ", docstring)
