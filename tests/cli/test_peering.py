"""
A peer for the length of one command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from holepunch.cli.trace import readTrace
from holepunch.errors import BadTrace, HolepunchError, NameTaken, RendezvousUnreachable, WrongPeer
from holepunch.identity import Identity
from holepunch.peer import Peer
from holepunch.peer.events import Registered
from tests.cli.network import CommandTestCase, Told


async def ask(peer: Peer) -> Peer:
    """
    A command that only returns its peer.
    """
    return peer


class WithPeerTests(CommandTestCase):
    """
    L{holepunch.cli.peering.withPeer}.
    """

    def test_registered(self) -> None:
        """
        The command gets a registered peer, which is stopped when the command is done.
        """
        self.build()
        told, options = Told(), self.options()
        peer = self.network.waitFor(self.start("alice", ask, told, name="alice", options=options))
        self.assertFalse(peer.running)
        self.assertEqual([each["event"] for each in told.events], ["identity", "registered"])
        registered = told.named("registered")
        self.assertEqual(registered["peer"], self.identityOf(options))
        self.assertEqual((registered["name"], registered["nat"]), ("alice", True))

    def test_unreachable(self) -> None:
        """
        When the service cannot be reached, each reason is told once, and the last one ends the
        command within ten seconds.
        """
        self.build()
        self.network.waitFor(self.network.service.stopService())
        told, clock = Told(), self.network.internet.clock
        begunAt = clock.seconds()
        with self.assertRaisesRegex(RendezvousUnreachable, "cannot reach .*: does it run"):
            self.network.waitFor(self.start("alice", ask, told))
        self.assertLessEqual(clock.seconds() - begunAt, 10.1)
        self.assertIn("cannot reach", told.named("disconnected")["reason"])

    def test_fatal(self) -> None:
        """
        What another attempt cannot mend ends the command at once.
        """
        self.build()
        forever: Deferred[None] = Deferred()

        async def stay(peer: Peer) -> None:
            await forever

        staying = self.start("bob", stay, Told(), name="bob")
        self.network.internet.advance(1.0)
        told = Told()
        with self.assertRaisesRegex(NameTaken, "choose another name"):
            self.network.waitFor(self.start("alice", ask, told, name="bob"))
        # Nothing is tried again, so nobody is told so.
        self.assertNotIn("disconnected", [event["event"] for event in told.events])
        staying.addErrback(lambda failure: failure.trap(CancelledError))
        staying.cancel()
        self.network.internet.advance(1.0)
        self.successResultOf(staying)

    def test_wrongService(self) -> None:
        """
        A service with another key than the pinned one is what the sentence is about.
        """
        self.build()
        address = self.network.location.partition("@")[2]
        wrong = Identity.generate().peerID
        options = self.options(rendezvous=f"{wrong}@{address}")
        right = self.network.serviceIdentity.peerID
        with self.assertRaisesRegex(
            WrongPeer, f"^the rendezvous service {address}:4460 is {right}, and not {wrong}$"
        ):
            self.network.waitFor(self.start("alice", ask, Told(), options=options))

    def test_failingCommand(self) -> None:
        """
        The peer is stopped when the command fails, too.
        """
        self.build()
        made: list[Peer] = []

        async def fail(peer: Peer) -> None:
            made.append(peer)
            raise HolepunchError("no")

        with self.assertRaisesRegex(HolepunchError, "no"):
            self.network.waitFor(self.start("alice", fail, Told()))
        self.assertFalse(made[0].running)

    def test_trace(self) -> None:
        """
        With C{--trace}, every event is in the file, and the header says whose they are.
        """
        self.build()
        path = Path(self.mktemp())
        options = self.options(trace=path)
        self.network.waitFor(self.start("alice", ask, Told(), name="alice", options=options))
        trace = readTrace(path)
        self.assertEqual((str(trace.peer), trace.name), (self.identityOf(options), "alice"))
        self.assertIsInstance(trace.events[0], Registered)

    def test_badTrace(self) -> None:
        """
        A trace file that cannot be written is told before anything is connected.
        """
        self.build()
        options = self.options(trace=Path(self.mktemp(), "missing", "trace"))
        told = Told()
        with self.assertRaises(BadTrace):
            self.network.waitFor(self.start("alice", ask, told, options=options))
        self.assertNotIn("registered", [event["event"] for event in told.events])

    def test_identityKept(self) -> None:
        """
        The same file is the same peer.
        """
        self.build()
        options = self.options()
        peers: list[Any] = [
            self.network.waitFor(self.start("alice", ask, Told(), options=options))
            for _ in range(2)
        ]
        self.assertEqual(peers[0].peerID, peers[1].peerID)
        self.assertTrue(options.knownServices.parent.exists())
