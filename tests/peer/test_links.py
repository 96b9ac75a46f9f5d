"""
Streams over paths for datagrams, simulated: links without a relay.
"""

from __future__ import annotations

import random
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.lab import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.peer import Peer, PeerConfig, SessionOptions
from holepunch.peer.events import Connected, Introduced, Moved, Suspected
from tests.peer.network import EchoFactory, Network, Recorder, RecorderFactory

UDP = SessionOptions(transports=frozenset({Transport.UDP}))
AUTO = SessionOptions(transports=frozenset(Transport))


class LinkTestCase(SynchronousTestCase):
    """
    Bob echoes, alice connects.
    """

    config: PeerConfig | None = None

    def build(self, topology: Topology | str, seed: int = 0, **options: Any) -> Network:
        self.network = Network(topology, seed, **options)
        self.addCleanup(self.assertNothingLeft, self.network)
        self.bob = self.network.peer("bob", "bob", self.config)
        self.alice = self.network.peer("alice", "alice", self.config)
        self.echo = EchoFactory()
        self.network.listen(self.bob, self.echo)
        self.network.waitFor(self.alice.whenRegistered())
        self.network.internet.advance(0.5)
        return self.network

    def assertNothingLeft(self, network: Network) -> None:
        """
        A stopped peer holds no socket, and no timer runs any more.
        """
        network.stop()
        for name in network.hostNames:
            reactor = network.internet.host(name).reactor
            self.assertEqual((reactor.getReaders(), reactor.getDelayedCalls()), ([], []), name)

    def connect(self, options: SessionOptions = UDP, peer: Peer | None = None) -> Recorder:
        endpoint = (peer or self.alice).connectEndpoint("bob", options)
        return cast(Recorder, self.network.waitFor(endpoint.connect(RecorderFactory())))

    def assertEchoes(self, protocol: Recorder, size: int = 50_000, limit: float = 60.0) -> None:
        """
        What is sent comes back, byte for byte.
        """
        before = len(protocol.received)
        data = random.Random(size).randbytes(size)
        transport: Any = protocol.transport
        transport.write(data)
        self.network.waitFor(protocol.whenReceived(before + size), limit)
        self.assertEqual(protocol.received[before:], data)

    def told(self, kind: type, name: str = "alice") -> list[Any]:
        return [each for each in self.network.events[name] if isinstance(each, kind)]

    def moves(self, name: str = "alice") -> list[str | None]:
        """
        The ways that the connection went, one after the other.
        """
        return [
            each.path for each in self.network.events[name] if isinstance(each, (Connected, Moved))
        ]


class StreamTests(LinkTestCase):
    """
    Streams over a hole for UDP.
    """

    def test_udp(self) -> None:
        """
        A stream goes over UDP, and tells the peer whose identity was proven.
        """
        self.build("port-restricted/port-restricted")
        protocol = self.connect()
        transport: Any = protocol.transport
        self.assertEqual(transport.getPeer().peerID, self.bob.peerID)
        self.assertEqual(transport.getPeer().type, "UDP")
        self.assertEchoes(protocol)
        [connected] = self.told(Connected)
        self.assertEqual((connected.transport, connected.path), (Transport.UDP, "direct"))
        [there] = self.told(Connected, "bob")
        self.assertEqual(there.remotePeer, self.alice.peerID)
        transport.loseConnection()
        self.assertIsInstance(self.network.waitFor(protocol.lost), ConnectionDone)
        self.assertIsInstance(self.network.waitFor(self.echo.built[0].lost), ConnectionDone)

    def test_tcpFirst(self) -> None:
        """
        With both transports and no relay, TCP is taken where it works, and UDP where it does not.
        """
        for topology, transport in (
            ("port-restricted/port-restricted", Transport.TCP),
            ("none/port-restricted", Transport.TCP),
        ):
            self.build(topology)
            self.assertEchoes(self.connect(AUTO))
            self.assertEqual(self.told(Connected)[0].transport, transport)
            self.doCleanups()

    def test_shared(self) -> None:
        """
        Streams to one peer share one connection, those that are opened in the same moment, too.
        """
        self.build("port-restricted/port-restricted")
        endpoint = self.alice.connectEndpoint("bob", UDP)
        opening = gatherResults([endpoint.connect(RecorderFactory()) for _ in range(5)])
        protocols = cast(list[Recorder], self.network.waitFor(opening))
        byID = SessionOptions(transports=UDP.transports)
        another = self.alice.connectEndpoint(self.bob.peerID.text, byID).connect(RecorderFactory())
        protocols.append(cast(Recorder, self.network.waitFor(another)))
        for protocol in protocols:
            self.assertEchoes(protocol)
        self.assertEqual(len(self.told(Introduced)), 1)
        self.assertEqual(len(self.echo.built), 6)

    def test_bothWays(self) -> None:
        """
        The other side opens streams on the same connection.
        """
        self.build("port-restricted/port-restricted")
        echo = EchoFactory()
        self.network.listen(self.alice, echo)
        self.assertEchoes(self.connect())
        endpoint = self.bob.connectEndpoint(self.alice.peerID.text, UDP)
        protocol = cast(Recorder, self.network.waitFor(endpoint.connect(RecorderFactory())))
        self.assertEchoes(protocol)
        self.assertEqual(len(self.told(Introduced, "bob")), 1)
        self.assertEqual(len(echo.built), 1)

    def test_idle(self) -> None:
        """
        A connection that nobody uses any more is closed, on both sides, and made anew when it is
        wanted.
        """
        self.build("port-restricted/port-restricted")
        protocol = self.connect()
        cast(Any, protocol.transport).loseConnection()
        self.network.waitFor(protocol.lost)
        self.network.internet.advance(40)
        for name in ("alice", "bob"):
            self.assertEqual(self.moves(name), ["direct"])
        self.assertEchoes(self.connect())
        self.assertEqual(len(self.told(Introduced)), 2)

    def test_impatientNAT(self) -> None:
        """
        Behind NATs that forget after seconds, an idle connection stays where that is known, and
        what is sent then finds its way at once.
        """
        behaviour = attrs.evolve(NAMED_BEHAVIOURS["port-restricted"], udpTimeout=2.0)
        plain = Topology.parse("port-restricted/port-restricted")
        nats = tuple(attrs.evolve(nat, behaviour=behaviour) for nat in plain.nats)
        self.config = PeerConfig(natLifetime=2.0)
        self.build(attrs.evolve(plain, nats=nats))
        protocol = self.connect()
        for _ in range(10):
            self.network.internet.advance(20.0)
            self.assertEchoes(protocol, 100, limit=1.0)
        for name in ("alice", "bob"):
            self.assertEqual(self.moves(name), ["direct"])
            self.assertEqual(self.told(Suspected, name), [])

    def test_refused(self) -> None:
        """
        A stream for something that nobody takes any more ends, and nothing else with it.
        """
        self.build("port-restricted/port-restricted")
        protocol = self.connect()
        self.assertEchoes(protocol, 10_000)
        self.network.waitFor(Deferred.fromCoroutine(self.bob.acceptStreams(None)))
        refused = self.connect()
        self.assertEqual(len(self.told(Introduced)), 1)
        self.network.waitFor(refused.lost)
        self.assertEchoes(protocol)

    def test_cancelled(self) -> None:
        """
        A connection that is given up at any moment leaves nothing.
        """
        for steps in range(0, 60, 4):
            self.build("port-restricted/port-restricted")
            opening = self.alice.connectEndpoint("bob", UDP).connect(RecorderFactory())
            failures: list[Any] = []
            opening.addErrback(failures.append)
            self.network.internet.advance(steps * 0.01)
            opening.cancel()
            self.network.internet.advance(5)
            self.doCleanups()

    def test_loss(self) -> None:
        """
        Not a byte is lost, doubled or out of order where the network does all that to packets.
        """
        link = LinkSpec(latency=0.02, jitter=0.01, loss=0.03, duplicate=0.05)
        for seed in range(5):
            self.build(Topology.parse("port-restricted/port-restricted", link), seed)
            self.assertEchoes(self.connect(), size=200_000)
            self.doCleanups()
