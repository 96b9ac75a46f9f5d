"""
The examples, run for real: as programs of their own, over loopback, with a real service.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from holepunch import Identity, Peer
from holepunch.address import Transport
from holepunch.errors import NameTaken, RendezvousError, SessionRefused
from holepunch.peer import SessionOptions
from tests.program import PATIENCE, Program, ProgramTestCase, reactor

EXAMPLES = Path(__file__).parents[1] / "examples"


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


class RunExamples(ProgramTestCase):
    """
    Each example does what its docstring says.
    """

    def run_(self, name: str, *arguments: str) -> Program:
        return self.start(str(EXAMPLES / name), *arguments)

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

    async def connect(self, peer: Peer, target: str, *transports: Transport) -> Recorder:
        options = SessionOptions(transports=frozenset(transports or Transport))
        endpoint = peer.connectEndpoint(target, options)
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

    async def test_asyncioStream(self) -> None:
        """
        An asyncio program reads and writes a peer's stream, line by line, and ends with its input.
        """
        echo = self.run_("echo_peer.py", self.rendezvous, "echo")
        await echo.says("echo is ready: ")
        program = self.run_("asyncio_stream.py", self.rendezvous, "echo")
        for line in ("is anybody there?", "yes, twice"):
            program.types(line)
            await program.says(line)
        program.closesInput()
        self.assertEqual(await program.exits(), 0, program.said)

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
            # Over UDP, a later stream would need no session of its own.
            protocol = await self.connect(connecting, "alice", Transport.TCP)
            assert protocol.transport is not None
            protocol.transport.loseConnection()
        with self.assertRaisesRegex(SessionRefused, "three sessions a minute"):
            await self.connect(connecting, "alice", Transport.TCP)
        self.assertNotIn("mallory", program.said)

    async def test_byFile(self) -> None:
        """
        Two programs greet each other by what they told each other in files.
        """
        stun = str(self.service.assistAddresses[0])
        ids = {}
        for name in ("a", "b"):
            asked = self.run_("by_file.py", f"{name}.pem")
            self.assertEqual(await asked.exits(), 0, asked.said)
            ids[name] = asked.said.strip()
        sides = [
            self.run_("by_file.py", f"{one}.pem", ids[two], f"{one}.txt", f"{two}.txt", stun)
            for one, two in (("a", "b"), ("b", "a"))
        ]
        for side, other in zip(sides, ("b", "a"), strict=True):
            self.assertEqual(await side.exits(), 0, side.said)
            self.assertIn(f"the other side says: hello, I am {ids[other][:8]}", side.said)

    async def test_reservedNames(self) -> None:
        """
        A name is for the peer that the operator gave it to, and for nobody else.
        """
        alice, bob = Identity.generate(), Identity.generate()
        names = Path(self.mktemp())
        names.write_text(f"Alice {alice.peerID}\n")
        program = self.run_("reserved_names.py", str(names.absolute()), "127.0.0.1", "0", "0")
        rendezvous = (await program.says("the service listens: ")).split()[-1]
        for identity, name in ((bob, "alice"), (alice, "bob")):
            with self.assertRaisesRegex(NameTaken, f"the name {name} is not yours"):
                await self.peer(rendezvous, identity, name).whenRegistered()
        listening = self.peer(rendezvous, alice, "alice")
        await listening.listenEndpoint().listen(Factory.forProtocol(Recorder))
        protocol = await self.connect(self.peer(rendezvous, bob), "alice")
        assert protocol.transport is not None
        protocol.transport.loseConnection()

    async def test_askMe(self) -> None:
        """
        Who is let in, and who is not, is typed.
        """
        program = self.run_("ask_me.py", self.rendezvous, "door")
        await program.says("door is ready")
        peer = self.peer(self.rendezvous, name="visitor")
        refused = Deferred.fromCoroutine(self.connect(peer, "door"))
        await program.says(f"{peer.peerID.short}, who says visitor, wants to connect")
        program.types("n")
        with self.assertRaisesRegex(SessionRefused, "does not let you in"):
            await refused
        admitted = Deferred.fromCoroutine(self.connect(peer, "door"))
        while program.said.count("wants to connect") < 2:
            await deferLater(reactor, 0.05)
        program.types("y")
        protocol = await admitted
        assert protocol.transport is not None
        protocol.transport.write(b"thank you")
        await protocol.hears(b"thank you")
        protocol.transport.loseConnection()

    async def test_dynamicForward(self) -> None:
        """
        The endpoint in the file is told to others, and is where they connect to.
        """
        port = reactor.listenTCP(0, Factory())
        number = port.getHost().port
        await port.stopListening()
        file = Path(self.mktemp()).absolute()
        file.write_text(f"127.0.0.1:{number}\n")
        program = self.run_("dynamic_forward.py", self.rendezvous, "home", str(file), str(number))
        await program.says(f"reachable at 127.0.0.1:{number}")
        await program.says("home is ready")
        protocol = await self.connect(self.peer(self.rendezvous), "home")
        assert protocol.transport is not None
        protocol.transport.write(b"is anybody home?")
        await protocol.hears(b"is anybody home?")
        protocol.transport.loseConnection()
        file.unlink()
        protocol = await self.connect(self.peer(self.rendezvous), "home")
        assert protocol.transport is not None
        protocol.transport.loseConnection()
        self.assertIn("no forwarded port: ", program.said)

    async def test_stayPut(self) -> None:
        """
        What is typed comes back, over a path that the program's own chooser has taken.
        """
        echo = self.run_("echo_peer.py", self.rendezvous, "echo")
        await echo.says("echo is ready: ")
        program = self.run_("stay_put.py", self.rendezvous, "echo")
        program.types("is anybody there?")
        await program.says("taking a direct path")
        await program.says("is anybody there?")
        program.closesInput()
        self.assertEqual(await program.exits(), 0, program.said)
        self.assertEqual(program.said.count("taking a"), 1)

    async def test_natCheck(self) -> None:
        """
        On loopback, where there is no NAT, the NAT check finds none.
        """
        program = self.run_("nat_check.py", str(self.service.assistAddresses[0]))
        self.assertEqual(await program.exits(), 0)
        for transport in ("UDP", "TCP"):
            found = re.search(rf"^{transport}: (\S+) is seen as (\S+)$", program.said, re.M)
            assert found is not None, program.said
            self.assertEqual(found[1], found[2])
        self.assertNotIn("mapping", program.said)

    async def test_natCheckWithoutServer(self) -> None:
        """
        Where no server answers, the NAT check says so, and ends with status 1.
        """
        await self.service.stopService()
        program = self.run_("nat_check.py", str(self.service.assistAddresses[0]))
        self.assertEqual(await program.exits(), 1)
        self.assertIn("no STUN server answered", program.said)

    async def test_aioicePair(self) -> None:
        """
        Two sides with aioice meet over loopback, and tell what they heard and how long it took.
        """
        meeting = self.start("-m", "holepunch.lab.matrixmeeting", "127.0.0.1", "0")
        signal = (await meeting.says("ready: ")).split()[-1]
        stun = str(self.service.assistAddresses[0])
        sides = [
            self.run_("aioice_pair.py", role, "a session", signal, stun)
            for role in ("alice", "bob")
        ]
        for side, other in zip(sides, ("bob", "alice"), strict=True):
            self.assertEqual(await side.exits(), 0, side.said)
            self.assertIn(f'"heard": "{other}"', side.said)
            self.assertIn('"seconds": ', side.said)

    async def test_aioicePairAlone(self) -> None:
        """
        One side without the other says that there is no path, and ends with status 1.
        """
        stun = str(self.service.assistAddresses[0])
        side = self.run_("aioice_pair.py", "alice", "a session", "127.0.0.1:1", stun)
        self.assertEqual(await side.exits(), 1)
        self.assertIn("no path: ", side.said)


class AllExamples(SynchronousTestCase):
    """
    No example goes without a test and a docstring.
    """

    TESTS = {
        "aioice_pair.py": RunExamples.test_aioicePair,
        "ask_me.py": RunExamples.test_askMe,
        "asyncio_stream.py": RunExamples.test_asyncioStream,
        "by_file.py": RunExamples.test_byFile,
        "chat.py": RunExamples.test_chat,
        "dynamic_forward.py": RunExamples.test_dynamicForward,
        "echo_peer.py": RunExamples.test_echoPeer,
        "nat_check.py": RunExamples.test_natCheck,
        "private_service.py": RunExamples.test_privateService,
        "reserved_names.py": RunExamples.test_reservedNames,
        "stay_put.py": RunExamples.test_stayPut,
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
