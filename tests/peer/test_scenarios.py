"""
Whole sessions between peers, on every kind of network, through the real service: simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.errors import NoPathFound, PathLost
from holepunch.lab import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Filtering
from holepunch.peer import Peer, PeerConfig, SecureStream, SessionOptions
from holepunch.peer.events import Connected
from holepunch.peer.openpath import OpenPath
from holepunch.punch import TCPFlow
from tests.peer.network import EchoFactory, Network, Recorder, RecorderFactory

CONES = ("full-cone", "address-restricted", "port-restricted", "linux-masquerade")
SYMMETRIC = ("symmetric", "symmetric-random")
TCP = SessionOptions()
SEQUENTIAL = SessionOptions(tcpFlow=TCPFlow.SEQUENTIAL)
UDP = SessionOptions(transports=frozenset({Transport.UDP}))


class ScenarioTestCase(SynchronousTestCase):
    """
    Bob listens, alice connects.
    """

    def build(self, topology: Topology | str, seed: int = 0) -> Network:
        network = Network(topology, seed)
        self.addCleanup(self.assertNothingLeft, network)
        return network

    def assertNothingLeft(self, network: Network) -> None:
        """
        A stopped peer holds no socket, and no timer runs any more.
        """
        network.stop()
        for name in network.hostNames:
            reactor = network.internet.host(name).reactor
            self.assertEqual((reactor.getReaders(), reactor.getDelayedCalls()), ([], []))

    def connected(self, network: Network, name: str = "alice") -> Connected:
        return [each for each in network.events[name] if isinstance(each, Connected)][-1]

    def assertEchoes(
        self,
        network: Network,
        options: SessionOptions = TCP,
        prepare: Callable[[], None] = lambda: None,
        size: int = 20_000,
    ) -> Recorder:
        """
        Alice reaches bob by TCP, and what she sends comes back.
        """
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        network.listen(bob, EchoFactory())
        self._warmUp(network, alice)
        prepare()
        endpoint = alice.connectEndpoint("bob", options)
        protocol = cast(Recorder, network.waitFor(endpoint.connect(RecorderFactory())))
        transport = cast(SecureStream, protocol.transport)
        self.assertEqual(transport.getPeer().peerID, bob.peerID)
        transport.write(b"hole" * (size // 4))
        self.assertEqual(len(network.waitFor(protocol.whenReceived(size))), size)
        there = self.connected(network, "bob")
        self.assertEqual((there.remotePeer, there.transport), (alice.peerID, Transport.TCP))
        return protocol

    def _warmUp(self, network: Network, alice: Peer) -> None:
        network.waitFor(alice.whenRegistered())
        network.internet.advance(0.5)

    def openDatagrams(
        self, network: Network, prepare: Callable[[], None] = lambda: None
    ) -> tuple[OpenPath, OpenPath]:
        """
        Alice reaches bob by UDP.
        """
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        accepted: Deferred[OpenPath] = Deferred()
        network.waitFor(Deferred.fromCoroutine(bob.acceptDatagrams(accepted.callback)))
        self._warmUp(network, alice)
        prepare()
        near = network.waitFor(alice.openDatagrams("bob"))
        far = network.waitFor(accepted)
        return near, far

    def assertDatagramsEcho(
        self, network: Network, prepare: Callable[[], None] = lambda: None
    ) -> None:
        """
        Alice reaches bob by UDP, and what she sends comes back.
        """
        near, far = self.openDatagrams(network, prepare)
        far.setReceiver(far.send)
        arrived: Deferred[bytes] = Deferred()
        near.setReceiver(lambda data: None if arrived.called else arrived.callback(data))
        for _ in range(20):
            # Datagrams may be lost like any other packet.
            near.send(b"hole")
            network.internet.advance(0.5)
            if arrived.called:
                break
        self.assertEqual(network.waitFor(arrived), b"hole")
        for path in (near, far):
            path.whenLost().addErrback(lambda failure: None)


class NATPairTests(ScenarioTestCase):
    """
    Pairs of NATs.
    """

    def _pairs(self) -> list[str]:
        kinds = ("none", *CONES)
        pairs = [f"{alice}/{bob}" for alice in kinds for bob in kinds]
        # A symmetric NAT meets whoever does not filter by port.
        for symmetric in SYMMETRIC:
            for open in ("none", "full-cone", "address-restricted"):
                pairs += [f"{symmetric}/{open}", f"{open}/{symmetric}"]
        return pairs

    def test_simultaneous(self) -> None:
        """
        TCP connects through every pair that is possible without guessing ports, both at once.
        """
        for pair in self._pairs():
            with self.subTest(pair):
                self.assertEchoes(self.build(pair))

    def test_sequential(self) -> None:
        """
        TCP connects through every such pair, one after the other.
        """
        for pair in self._pairs():
            with self.subTest(pair):
                self.assertEchoes(self.build(pair), SEQUENTIAL)

    def test_datagrams(self) -> None:
        """
        UDP connects through every such pair.
        """
        for pair in self._pairs():
            with self.subTest(pair):
                self.assertDatagramsEcho(self.build(pair))

    def test_openMapping(self) -> None:
        """
        A NAT that uses another port for each destination, and lets everybody in at each, meets one
        that keeps its port and lets in only who was sent to: at once, whichever side asks.
        """
        opened = attrs.evolve(
            NAMED_BEHAVIOURS["symmetric-random"], filtering=Filtering.ENDPOINT_INDEPENDENT
        )
        for kind in ("address-restricted", "port-restricted-rst", "linux-masquerade"):
            strict = NAMED_BEHAVIOURS[kind]
            for pair in ((opened, strict), (strict, opened)):
                for options in (TCP, SEQUENTIAL, UDP):
                    with self.subTest(f"{kind} {options}"):
                        network = self.build(Topology.twoNATs(*pair))
                        if options is UDP:
                            self.assertDatagramsEcho(network)
                        else:
                            self.assertEchoes(network, options)
                        self.assertLess(self.connected(network).seconds, 1.9)

    def test_rudeNATs(self) -> None:
        """
        NATs that answer strangers' SYNs by RST or ICMP, or that forget a mapping with the
        connection that made it, are no obstacle for either flow.
        """
        for kind in ("port-restricted-rst", "port-restricted-icmp", "port-restricted-forgetful"):
            for options in (TCP, SEQUENTIAL):
                with self.subTest(f"{kind} {options.tcpFlow.value}"):
                    self.assertEchoes(self.build(f"{kind}/{kind}"), options)

    def test_rudeRequester(self) -> None:
        """
        One side after the other, a NAT that refuses the hole-opening connect, before a side whose
        own NAT watches sequence numbers, does not cost another turn, however far the two are.
        """
        for kind in ("port-restricted-rst", "port-restricted-icmp"):
            topology = Topology.parse(f"{kind}/linux-masquerade")
            for seed in range(8):
                random = Random(seed)
                nats = tuple(
                    attrs.evolve(nat, link=LinkSpec(latency=random.uniform(0.004, 0.06)))
                    for nat in topology.nats
                )
                with self.subTest(f"{kind} {seed}"):
                    network = self.build(attrs.evolve(topology, nats=nats), seed)
                    self.assertEchoes(network, SEQUENTIAL)
                    self.assertLess(self.connected(network).seconds, 1.0)

    def test_hopeless(self) -> None:
        """
        Two symmetric NATs with random ports: no path, and each pair's fate is told.
        """
        network = self.build("symmetric-random/symmetric-random")
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        network.listen(bob, EchoFactory())
        connecting = alice.connectEndpoint("bob", SessionOptions(timeout=10.0)).connect(
            RecorderFactory()
        )
        error = self.assertRaises(NoPathFound, network.waitFor, connecting)
        self.assertIn("choose ports for each destination", str(error))
        self.assertTrue(any("got no answer" in fate for fate in error.fates))

    def test_loss(self) -> None:
        """
        Sessions survive a tenth of all packets being lost, and others late or doubled.
        """
        link = LinkSpec(latency=0.02, jitter=0.01, loss=0.03, duplicate=0.05)
        topology = Topology.parse("port-restricted/port-restricted", link)
        for seed in range(10):
            with self.subTest(f"seed {seed}"):
                self.assertEchoes(self.build(topology, seed))
                self.assertDatagramsEcho(self.build(topology, seed))


class PrivatePathTests(ScenarioTestCase):
    """
    Private before public, and never a stranger.
    """

    def test_sameLAN(self) -> None:
        """
        Two peers on one LAN take the private path, by TCP and by UDP.
        """
        network = self.build("port-restricted")
        self.assertEchoes(network)
        self.assertTrue(self.connected(network).remote.isPrivate)
        self.assertEqual(self.connected(network).candidate, "host")
        network = self.build("port-restricted")
        self.assertDatagramsEcho(network)
        self.assertTrue(self.connected(network).remote.isPrivate)

    def test_quickLAN(self) -> None:
        """
        The private path is taken even where the way by the NAT's hairpin is just as quick.
        """
        topology = Topology.parse("full-cone", LinkSpec(latency=0.025))
        quick = LinkSpec(latency=0.0)
        hosts = tuple(
            host if host.behind is None else attrs.evolve(host, link=quick)
            for host in topology.hosts
        )
        for seed in range(5):
            for options in (TCP, SEQUENTIAL):
                network = self.build(attrs.evolve(topology, hosts=hosts), seed)
                self.assertEchoes(network, options)
                self.assertTrue(self.connected(network).remote.isPrivate)

    def test_twoLevelHairpin(self) -> None:
        """
        Behind a carrier's NAT, two homes meet by its hairpin.
        """
        self.assertEchoes(self.build("port-restricted/port-restricted/full-cone"))
        self.assertDatagramsEcho(self.build("port-restricted/port-restricted/full-cone"))

    def test_decoys(self) -> None:
        """
        Strangers at the peer's private address, who accept every connection and answer every
        datagram, are never taken for the peer.
        """
        cone = NAMED_BEHAVIOURS["port-restricted"]
        for options in (TCP, SEQUENTIAL, UDP):
            network = self.build(Topology.sameSubnet(cone, cone))
            if options is UDP:
                self.assertDatagramsEcho(network, prepare=network.startDecoys)
            else:
                self.assertEchoes(network, options, prepare=network.startDecoys)
            self.assertFalse(self.connected(network).remote.isPrivate)


class ReverseConnectionTests(ScenarioTestCase):
    """
    One side is public.
    """

    def test_bothWays(self) -> None:
        """
        The side behind the NAT connects out, whichever side asked, in either flow.
        """
        for topology in ("none/symmetric-random", "symmetric-random/none"):
            for options in (TCP, SEQUENTIAL):
                with self.subTest(f"{topology} {options.tcpFlow.value}"):
                    self.assertEchoes(self.build(topology), options)


class RoundTripTests(ScenarioTestCase):
    """
    How many round trips a session takes.
    """

    def _roundTrips(self, isUDP: bool, options: SessionOptions = TCP) -> float:
        """
        From the request to the first echoed byte, between two port-restricted NATs.
        """
        # 25 ms from each host to the core: 100 ms a round trip between any two.
        topology = Topology.parse("port-restricted/port-restricted", LinkSpec(latency=0.025))
        quick = LinkSpec(latency=0.0)
        nats = tuple(attrs.evolve(nat, link=quick) for nat in topology.nats)
        network = self.build(attrs.evolve(topology, nats=nats))
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        network.listen(bob, EchoFactory())
        network.waitFor(
            Deferred.fromCoroutine(bob.acceptDatagrams(lambda path: path.setReceiver(path.send)))
        )
        network.waitFor(alice.whenRegistered())
        network.internet.advance(1.0)
        startedAt = network.internet.clock.seconds()
        if isUDP:
            path = network.waitFor(alice.openDatagrams("bob"))
            arrived: Deferred[bytes] = Deferred()
            path.setReceiver(arrived.callback)
            path.send(b"x")
            network.waitFor(arrived)
        else:
            endpoint = alice.connectEndpoint("bob", options)
            protocol: Any = network.waitFor(endpoint.connect(RecorderFactory()))
            protocol.transport.write(b"x")
            network.waitFor(protocol.whenReceived(1))
        return (network.internet.clock.seconds() - startedAt) / 0.1

    def test_datagrams(self) -> None:
        """
        By UDP the first echoed byte is there after three round trips.
        """
        self.assertLess(self._roundTrips(isUDP=True), 3.2)

    def test_streams(self) -> None:
        """
        By TCP, TLS included, it is there after four.
        """
        self.assertLess(self._roundTrips(isUDP=False), 4.2)


class StayingTests(ScenarioTestCase):
    """
    A path that is up stays up.
    """

    def test_serviceStops(self) -> None:
        """
        The service is stopped, and data still flows.
        """
        network = self.build("port-restricted/port-restricted")
        protocol: Any = self.assertEchoes(network)
        before = len(protocol.received)
        network.waitFor(network.service.stopService())
        network.internet.advance(5.0)
        protocol.transport.write(b"still here")
        network.waitFor(protocol.whenReceived(before + 10))

    def test_silence(self) -> None:
        """
        A UDP path survives an hour of silence on NATs that forget after 20 seconds.
        """
        network = self.build("port-restricted-impatient/port-restricted-impatient")
        near, far = self.openDatagrams(network)
        network.internet.advance(3600.0)
        arrived: Deferred[bytes] = Deferred()
        far.setReceiver(arrived.callback)
        near.send(b"still here")
        self.assertEqual(network.waitFor(arrived), b"still here")
        for path in (near, far):
            path.whenLost().addErrback(lambda failure: None)

    def test_consentLost(self) -> None:
        """
        A UDP path tells within about 30 seconds that the other side is gone.
        """
        network = self.build("port-restricted/port-restricted")
        near, _ = self.openDatagrams(network)
        lost = near.whenLost()
        network.internet.host("bob").crash()
        self.assertRaises(PathLost, network.waitFor, lost, 40.0)

    def test_keepaliveInterval(self) -> None:
        """
        The interval between checks can be set, but not above 15 seconds.
        """
        PeerConfig(keepaliveInterval=15.0)
        self.assertRaises(ValueError, PeerConfig, keepaliveInterval=16.0)
        self.assertRaises(ValueError, PeerConfig, warmInterval=20.0)

    def test_natLifetime(self) -> None:
        """
        Where it is known when the NAT forgets, the intervals follow, within what consent and the
        service bear; but what is said explicitly holds.
        """
        for lifetime, keepalive, warm in (
            (None, 5.0, 12.0),
            (1.5, 1.0, 1.0),
            (6.0, 2.0, 2.0),
            (30.0, 10.0, 10.0),
            (60.0, 15.0, 20.0),
            (300.0, 15.0, 25.0),
        ):
            config = PeerConfig(natLifetime=lifetime)
            self.assertEqual((config.keepaliveInterval, config.warmInterval), (keepalive, warm))
        config = PeerConfig(natLifetime=300.0, keepaliveInterval=2.0, warmInterval=7.0)
        self.assertEqual((config.keepaliveInterval, config.warmInterval), (2.0, 7.0))
        for wrong in ({"natLifetime": 0.0}, {"natLifetime": 300.0, "warmInterval": 26.0}):
            self.assertRaises(ValueError, PeerConfig, **wrong)


class SeveralSessionsTests(ScenarioTestCase):
    """
    One peer, many sessions.
    """

    def test_sameMoment(self) -> None:
        """
        Two peers that ask for each other in the same moment get two connections.
        """
        network = self.build("port-restricted/port-restricted")
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        for peer in (bob, alice):
            network.listen(peer, EchoFactory())
        network.internet.advance(1.0)
        pending = [
            alice.connectEndpoint("bob").connect(RecorderFactory()),
            bob.connectEndpoint("alice").connect(RecorderFactory()),
        ]
        for connecting in pending:
            protocol: Any = network.waitFor(connecting)
            protocol.transport.write(b"each")
            network.waitFor(protocol.whenReceived(4))

    def test_manyToOne(self) -> None:
        """
        Eight connections between the same two peers are made at once, as a web browser does.
        """
        network = self.build("port-restricted/port-restricted")
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        network.listen(bob, EchoFactory())
        network.waitFor(alice.whenRegistered())
        pending = [alice.connectEndpoint("bob").connect(RecorderFactory()) for _ in range(8)]
        for connecting in pending:
            protocol: Any = network.waitFor(connecting)
            protocol.transport.write(b"each")
            network.waitFor(protocol.whenReceived(4))

    def test_factoryThatDeclines(self) -> None:
        """
        A factory that builds no protocol closes the connection, and the peer goes on.
        """
        network = self.build("full-cone/full-cone")
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")

        class Declining(Factory):
            def buildProtocol(factory, addr: Any) -> None:
                return None

        network.listen(bob, Declining())
        protocol: Any = network.waitFor(alice.connectEndpoint("bob").connect(RecorderFactory()))
        self.assertIsInstance(network.waitFor(protocol.lost), ConnectionLost)
