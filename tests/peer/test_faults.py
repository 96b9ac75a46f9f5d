"""
What goes wrong around sessions, and how it ends: in one clear sentence, or survived.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from holepunch.errors import (
    BadAddress,
    BadPeerID,
    HolepunchError,
    NameTaken,
    PeerClosed,
    PeerIsSelf,
    PeerNotListening,
    PeerReplaced,
    RendezvousUnreachable,
    SessionTimedOut,
    UnknownPeer,
    UsageError,
    WrongPeer,
)
from holepunch.identity import Identity
from holepunch.peer import FixedHostAddresses, Peer, PeerConfig, SessionOptions
from holepunch.peer.events import Disconnected, Registered
from holepunch.punch import TCPFlow
from holepunch.rendezvous import MemoryRegistry
from holepunch.rendezvous.introduction import Use
from tests.peer.network import EchoFactory, Network, RecorderFactory
from tests.peer.test_scenarios import ScenarioTestCase

PAIR = "port-restricted/port-restricted"
STEPS = [step * 0.01 for step in range(20)]


class FaultTestCase(ScenarioTestCase):
    """
    Two peers that could reach each other.
    """

    def start(self, topology: str = PAIR) -> Network:
        network = self.build(topology)
        self.bob, self.alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        network.listen(self.bob, EchoFactory())
        network.waitFor(self.alice.whenRegistered())
        network.internet.advance(0.5)
        return network

    def connect(self, target: str = "bob", options: SessionOptions | None = None) -> Deferred[Any]:
        if options is None:
            options = SessionOptions(timeout=10.0)
        return self.alice.connectEndpoint(target, options).connect(RecorderFactory())


class RefusalTests(FaultTestCase):
    """
    Requests that cannot be met.
    """

    def test_unknown(self) -> None:
        """
        A peer that nobody knows is not found, and the sentence names it.
        """
        network = self.start()
        error = self.assertRaises(UnknownPeer, network.waitFor, self.connect("carol"))
        self.assertIn("carol", str(error))

    def test_offline(self) -> None:
        """
        A peer that has left is not found either.
        """
        network = self.start()
        network.waitFor(self.bob.stopService())
        network.internet.advance(1.0)
        self.assertRaises(UnknownPeer, network.waitFor, self.connect())

    def test_self(self) -> None:
        """
        A peer cannot connect to itself, by name or by ID.
        """
        network = self.start()
        for target in ("alice", self.alice.peerID.text):
            self.assertRaises(PeerIsSelf, network.waitFor, self.connect(target))

    def test_sameIdentity(self) -> None:
        """
        Who asks, with a listener's own identity, for the listener learns that he displaced it.
        """
        network = self.build(PAIR)
        identity = Identity.generate()
        network.listen(network.peer("bob", "bob", identity=identity), EchoFactory())
        self.alice = network.peer("alice", identity=identity)
        error = self.assertRaises(PeerIsSelf, network.waitFor, self.connect())
        self.assertIn("an identity of its own", str(error))

    def test_notListening(self) -> None:
        """
        A peer that is online but accepts nothing says so.
        """
        network = self.start()
        carol = network.peer("bob", "carol")
        network.waitFor(carol.whenRegistered())
        self.assertRaises(PeerNotListening, network.waitFor, self.connect("carol"))

    def test_stoppedListening(self) -> None:
        """
        After stopListening nobody gets through any more; the peer stays online.
        """
        network = self.build(PAIR)
        self.bob, self.alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        port = network.listen(self.bob, EchoFactory())
        self.assertEqual(port.getHost().name, "bob")
        network.waitFor(port.stopListening())
        self.assertRaises(PeerNotListening, network.waitFor, self.connect())

    def test_nameTaken(self) -> None:
        """
        A name that somebody has is refused at once, though the peer would wait for a service.
        """
        network = self.start()
        impostor = network.peer("alice", "bob")
        self.assertRaises(NameTaken, network.waitFor, impostor.whenRegistered())

    def test_transports(self) -> None:
        """
        Datagrams need UDP, and a stream is asked for as one.
        """
        self.start()
        datagrams = SessionOptions(use=Use.DATAGRAMS)
        self.assertRaises(UsageError, self.alice.openStream, "bob", datagrams)
        self.assertRaises(UsageError, self.alice.openDatagrams, "bob", SessionOptions())

    def test_options(self) -> None:
        """
        Times that make no sense are refused.
        """
        self.assertRaises(ValueError, SessionOptions, timeout=0)
        self.assertRaises(ValueError, PeerConfig, retryDelay=-1.0)


class ServiceTests(FaultTestCase):
    """
    Trouble with the rendezvous service.
    """

    def peerOf(self, network: Network, location: str) -> Peer:
        host = network.internet.host("alice")
        reactor: Any = host.reactor
        peer = Peer(
            reactor,
            Identity.generate(),
            location,
            hostAddresses=FixedHostAddresses(host.addresses),
        )
        self.addCleanup(peer.stopService)
        return peer

    def test_nonsense(self) -> None:
        """
        A location that is none is refused at once.
        """
        network = self.start()
        self.assertRaises(BadAddress, self.peerOf, network, "host:port:more")
        self.assertRaises(BadPeerID, self.peerOf, network, "someone@5.1.0.1")

    def test_nobodyThere(self) -> None:
        """
        An impatient program learns at once that nobody listens there, a patient one waits.
        """
        network = self.start()
        peer = self.peerOf(network, "31.2.0.1:4461")
        self.assertRaises(RendezvousUnreachable, network.waitFor, peer.whenRegistered(False))
        waiting = peer.whenRegistered()
        network.internet.advance(20.0)
        self.assertFalse(waiting.called)
        waiting.addErrback(lambda failure: failure.trap(CancelledError, PeerClosed))
        waiting.cancel()

    def test_unresolvable(self) -> None:
        """
        A host name that does not resolve is told so.
        """
        network = self.start()
        peer = self.peerOf(network, "nowhere.invalid")
        error = self.assertRaises(
            RendezvousUnreachable, network.waitFor, peer.whenRegistered(False)
        )
        self.assertIn("nowhere.invalid", str(error))

    def test_wrongService(self) -> None:
        """
        A service that cannot prove the expected identity is not spoken to.
        """
        network = self.start()
        address = network.location.partition("@")[2]
        peer = self.peerOf(network, f"{Identity.generate().peerID}@{address}")
        self.assertRaises(WrongPeer, network.waitFor, peer.whenRegistered())

    def test_sessionWithoutService(self) -> None:
        """
        A session that cannot even be asked for ends with its time, in a sentence about the service.
        """
        network = self.start()
        peer = self.peerOf(network, "31.2.0.1:4461")
        connecting = peer.connectEndpoint("bob", SessionOptions(timeout=5.0)).connect(
            RecorderFactory()
        )
        error = self.assertRaises(SessionTimedOut, network.waitFor, connecting)
        self.assertIn("rendezvous service", str(error))

    def test_restart(self) -> None:
        """
        When the service comes back, all peers register again by themselves, and sessions work.
        """
        network = self.start()
        network.waitFor(network.service.stopService())
        network.internet.advance(5.0)
        self.assertIsInstance(network.events["alice"][-1], Disconnected)
        network.startService()
        del network.events["alice"][:]
        network.internet.advance(40.0)
        self.assertIn(Registered, [type(event) for event in network.events["alice"]])
        protocol: Any = network.waitFor(self.connect())
        protocol.transport.write(b"again")
        network.waitFor(protocol.whenReceived(5))

    def test_silentDeath(self) -> None:
        """
        A service whose host dies without a word is noticed within 35 seconds.
        """
        network = self.start()
        network.internet.host("rendezvous").crash()
        network.internet.advance(35.0)
        self.assertIsInstance(network.events["alice"][-1], Disconnected)
        network.internet.host("rendezvous").boot()
        network.startService()

    def test_restartAtEveryStep(self) -> None:
        """
        A service that restarts in the middle of a session breaks it in a sentence, or not at all; a
        path that is up stays up.
        """
        outcomes = set()
        for step in STEPS:
            network = self.start()
            connecting = self.connect()
            network.internet.advance(step)
            network.waitFor(network.service.stopService())
            network.startService()
            outcomes.add(self.settle(network, connecting))
        self.assertIn("connected", outcomes)

    def settle(self, network: Network, connecting: Deferred[Any]) -> str:
        """
        How did a session end, within its time?
        """
        settled: list[Any] = []
        connecting.addBoth(settled.append)
        network.internet.advance(30.0)
        self.assertTrue(settled, "it neither connected nor failed")
        if isinstance(settled[0], Failure):
            self.assertIsInstance(settled[0].value, HolepunchError)
            self.assertTrue(str(settled[0].value))
            return type(settled[0].value).__name__
        settled[0].transport.write(b"up")
        network.waitFor(settled[0].whenReceived(2))
        return "connected"


class VanishingTests(FaultTestCase):
    """
    Peers that stop, or vanish, or change their mind, at every step.
    """

    def test_cancelAtEveryStep(self) -> None:
        """
        Cancelling a connect at any moment fails it with CancelledError, and lets go of everything.
        """
        for flow in TCPFlow:
            for step in STEPS:
                network = self.start()
                connecting = self.connect(options=SessionOptions(tcpFlow=flow))
                network.internet.advance(step)
                connecting.cancel()
                try:
                    protocol: Any = network.waitFor(connecting)
                except CancelledError:
                    continue
                protocol.transport.abortConnection()

    def test_bobVanishesAtEveryStep(self) -> None:
        """
        When the other peer dies without a word, the session fails in a sentence.
        """
        for step in STEPS[:12]:
            network = self.start()
            connecting = self.connect()
            network.internet.advance(step)
            network.internet.host("bob").crash()
            settled: list[Any] = []
            connecting.addBoth(settled.append)
            network.internet.advance(60.0)
            self.assertTrue(settled)
            if isinstance(settled[0], Failure):
                self.assertIsInstance(settled[0].value, HolepunchError)

    def test_bobStopsAtEveryStep(self) -> None:
        """
        When the other peer stops in an orderly way, the session fails in a sentence, or connects
        and is closed.
        """
        for step in STEPS:
            network = self.start()
            connecting = self.connect()
            network.internet.advance(step)
            network.waitFor(self.bob.stopService())
            settled: list[Any] = []
            connecting.addBoth(settled.append)
            network.internet.advance(30.0)
            self.assertTrue(settled)
            if isinstance(settled[0], Failure):
                self.assertIsInstance(settled[0].value, HolepunchError)
            else:
                network.waitFor(settled[0].lost)

    def test_aliceStopsAtEveryStep(self) -> None:
        """
        When the asking peer stops, its connect fails with a sentence about that.
        """
        for step in STEPS:
            network = self.start()
            connecting = self.connect()
            network.internet.advance(step)
            network.waitFor(self.alice.stopService())
            try:
                network.waitFor(connecting)
            except PeerClosed:
                continue


class LyingServiceTests(FaultTestCase):
    """
    A service that does not tell the truth.
    """

    def test_otherPeer(self) -> None:
        """
        A peer that was asked for by its ID is not replaced by whom the service likes.
        """
        network = self.start()
        carol = network.peer("bob", "carol")
        network.listen(carol, EchoFactory())

        class Lying(MemoryRegistry):
            def find(registry, target: str) -> Any:
                return super().find("carol")

        lying = Lying()
        network.waitFor(network.service.stopService())
        network.startService(registry=lying)
        network.internet.advance(10.0)
        connecting = self.connect(self.bob.peerID.text)
        self.assertRaises(WrongPeer, network.waitFor, connecting)


class StoppingTests(FaultTestCase):
    """
    Peers that are stopped, or replaced, in the middle of something.
    """

    def test_stopInErrback(self) -> None:
        """
        A peer that is stopped because its registration failed tries no more.
        """
        network = self.start()
        impostor = network.peer("alice", "bob")
        stopped: list[Any] = []

        def stop(failure: Failure) -> Deferred[None]:
            failure.trap(NameTaken)
            return impostor.stopService().addCallback(stopped.append)

        impostor.whenRegistered().addErrback(stop)
        network.internet.advance(20.0)
        self.assertEqual(stopped, [None])
        tries = len(network.events["bob"])
        network.internet.advance(60.0)
        self.assertNotIn(Disconnected, [type(each) for each in network.events["bob"][tries:]])

    def test_stopListeningAfterStop(self) -> None:
        """
        A port that is closed after its peer was stopped does not start the peer again.
        """
        network = self.build(PAIR)
        bob = network.peer("bob", "bob")
        port = network.listen(bob, EchoFactory())
        network.waitFor(bob.stopService())
        network.waitFor(port.stopListening())
        self.assertFalse(bob.running)

    def test_restart(self) -> None:
        """
        A peer that was stopped can be started again.
        """
        network = self.start()
        network.waitFor(self.bob.stopService())
        self.bob.startService()
        network.waitFor(self.bob.whenRegistered())
        network.waitFor(self.connect())

    def test_replaced(self) -> None:
        """
        A peer whose identity registers from elsewhere is replaced, and does not come back to
        replace the other one in turn.
        """
        network = self.build(PAIR)
        identity = Identity.generate()
        first = network.peer("alice", "first", identity=identity)
        network.waitFor(first.whenRegistered())
        second = network.peer("bob", "second", identity=identity)
        network.waitFor(second.whenRegistered())
        network.internet.advance(60.0)
        self.assertRaises(PeerReplaced, network.waitFor, first.whenRegistered())
        kinds = [type(event) for event in network.events["second"]]
        self.assertEqual(kinds.count(Registered), 1)
        self.assertNotIn(Disconnected, kinds)
