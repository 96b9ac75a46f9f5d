"""
Tests for L{holepunch.lab.fabric}.
"""

from __future__ import annotations

from functools import partial
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import BadTopology
from holepunch.lab import Fabric, Fate, HostSpec, LinkSpec, NATSpec, Topology
from holepunch.lab.clock import SimulatedClock
from holepunch.lab.fabric import CORE_ROUTER
from holepunch.nat import NAMED_BEHAVIOURS, ICMPType, Packet, Protocol, UnreachableCode
from holepunch.nat.device import NATDevice
from tests.lab.programs import Trace

_CONE = NAMED_BEHAVIOURS["full-cone"]
_RENDEZVOUS = TransportAddress("5.1.0.1", 3478)
_ALICE = TransportAddress("192.168.1.10", 5000)
_BOB = TransportAddress("192.168.2.10", 5000)


def _datagram(source: TransportAddress, destination: TransportAddress, payload: object) -> Packet:
    return Packet(Protocol.UDP, source, destination, payload=payload)


class _Network:
    """
    A fabric with every host attached, and what each got and when.
    """

    def __init__(self, topology: Topology, seed: int = 0, answersUnroutable: bool = False) -> None:
        self.clock = SimulatedClock()
        self.fabric = Fabric(self.clock, topology, seed, answersUnroutable)
        self.trace = Trace(self.fabric)
        self.received: dict[str, list[tuple[float, Packet]]] = {}
        for host in topology.hosts:
            self.received[host.name] = []
            self.fabric.attach(host.name, partial(self._got, host.name))

    def _got(self, name: str, packet: Packet) -> None:
        self.received[name].append((self.clock.seconds(), packet))

    def payloads(self, name: str) -> list[object]:
        return [packet.payload for _, packet in self.received[name]]

    def numbers(self, name: str) -> list[int]:
        return [int.from_bytes(packet.payload, "big") for _, packet in self.received[name]]

    def send(self, host: str, source: TransportAddress, destination: TransportAddress) -> None:
        self.fabric.send(host, _datagram(source, destination, b"x"))


class RoutingTests(SynchronousTestCase):
    """
    Tests for where packets go.
    """

    def test_throughNAT(self) -> None:
        """
        A packet leaves a LAN with the NAT's address, and takes the latency of all links on the way.
        """
        network = _Network(Topology.parse("full-cone/full-cone", LinkSpec(latency=0.01)))
        network.send("alice", _ALICE, _RENDEZVOUS)
        network.clock.advance(1.0)
        [(at, packet)] = network.received["rendezvous"]
        self.assertAlmostEqual(at, 0.03)
        self.assertEqual(packet.source.host, "31.1.0.1")
        network.send("rendezvous", _RENDEZVOUS, packet.source)
        network.clock.advance(1.0)
        self.assertEqual(network.received["alice"][0][1].destination, _ALICE)

    def test_lan(self) -> None:
        """
        Hosts of one LAN reach each other without their NAT.
        """
        network = _Network(Topology.parse("symmetric"))
        bob = TransportAddress("192.168.1.20", 5000)
        network.send("alice", _ALICE, bob)
        network.clock.advance(1.0)
        [(at, packet)] = network.received["bob"]
        self.assertAlmostEqual(at, 0.01)
        self.assertEqual(packet.source, _ALICE)
        self.assertEqual(network.fabric.nat("nat").mappings(1.0), ())

    def test_samePrivateAddress(self) -> None:
        """
        A private address means another host in each LAN.
        """
        network = _Network(Topology.sameSubnet(_CONE, _CONE))
        network.send("alice", _ALICE, TransportAddress("192.168.1.20", 5000))
        network.clock.advance(1.0)
        self.assertEqual(len(network.received["decoy-bob"]), 1)
        self.assertEqual(network.received["bob"], [])

    def test_hairpin(self) -> None:
        """
        A packet to the own NAT's mapped address comes back in, if that NAT has hairpin.
        """
        for name, count in (("full-cone", 1), ("symmetric", 0)):
            network = _Network(Topology.parse(name))
            bob = TransportAddress("192.168.1.20", 5000)
            network.send("bob", bob, _RENDEZVOUS)
            network.clock.advance(1.0)
            mapped = network.received["rendezvous"][0][1].source
            network.send("alice", _ALICE, mapped)
            network.clock.advance(1.0)
            self.assertEqual(len(network.received["bob"]), count, name)

    def test_twoLevels(self) -> None:
        """
        Behind two NATs the outer one's hairpin joins the LANs.
        """
        network = _Network(Topology.parse("full-cone/full-cone/full-cone"))
        network.send("bob", _BOB, _RENDEZVOUS)
        network.clock.advance(1.0)
        mapped = network.received["rendezvous"][0][1].source
        self.assertEqual(mapped.host, "31.3.0.1")
        network.send("alice", _ALICE, mapped)
        network.clock.advance(1.0)
        self.assertEqual(network.received["bob"][0][1].source.host, "31.3.0.1")

    def test_unroutable(self) -> None:
        """
        Packets to addresses that nobody has vanish, and so do those to another LAN's private ones.
        """
        network = _Network(Topology.parse("full-cone/full-cone"))
        network.send("alice", _ALICE, TransportAddress("9.9.9.9", 1))
        network.send("alice", _ALICE, _BOB)
        network.clock.advance(1.0)
        self.assertEqual([fate for _, _, fate in network.trace.fates].count(Fate.UNROUTABLE), 2)
        self.assertFalse(any(network.received.values()))

    def test_answersUnroutable(self) -> None:
        """
        With that option the sender gets an ICMP error, through its NAT.
        """
        network = _Network(Topology.parse("symmetric/none"), answersUnroutable=True)
        network.send("alice", _ALICE, TransportAddress("9.9.9.9", 1))
        network.clock.advance(1.0)
        [(_, packet)] = network.received["alice"]
        self.assertEqual(packet.source, CORE_ROUTER)
        assert packet.icmp is not None
        self.assertEqual(packet.icmp.type, ICMPType.DESTINATION_UNREACHABLE)
        self.assertEqual(packet.icmp.code, UnreachableCode.HOST)
        self.assertEqual(packet.icmp.original.source, _ALICE)

    def test_gateway(self) -> None:
        """
        The NAT itself can take part in the LAN, with the gateway's address.
        """
        network = _Network(Topology.parse("symmetric/none"))
        gateway = TransportAddress("192.168.1.1", 5351)
        got: list[Packet] = []
        network.fabric.attach("nat-alice", got.append)
        network.send("alice", _ALICE, gateway)
        network.clock.advance(1.0)
        self.assertEqual([packet.destination for packet in got], [gateway])
        network.send("nat-alice", gateway, _ALICE)
        network.clock.advance(1.0)
        self.assertEqual(network.received["alice"][0][1].source, gateway)

    def test_unattached(self) -> None:
        """
        Packets to a host that is down vanish.
        """
        network = _Network(Topology.parse("none/none"))
        network.fabric.attach("rendezvous", None)
        network.send("alice", TransportAddress("31.1.0.10", 1), _RENDEZVOUS)
        network.clock.advance(1.0)
        self.assertEqual(network.trace.fates[-1][2], Fate.UNATTACHED)
        self.assertEqual(network.received["rendezvous"], [])

    def test_unknownNames(self) -> None:
        """
        What is not in the topology cannot be addressed.
        """
        fabric = _Network(Topology.parse("symmetric/none")).fabric
        self.assertRaises(BadTopology, fabric.attach, "carol", None)
        self.assertRaises(BadTopology, fabric.nat, "alice")
        self.assertRaises(BadTopology, fabric.counters, "carol")


class ChangeTests(SynchronousTestCase):
    """
    Tests for changing the network as it runs.
    """

    def setUp(self) -> None:
        self.network = _Network(Topology.parse("full-cone/none"))
        self.network.send("alice", _ALICE, _RENDEZVOUS)
        self.network.clock.advance(1.0)
        self.mapped = self.network.received["rendezvous"][0][1].source

    def sendBack(self) -> None:
        """
        Send to alice's mapped address.
        """
        self.network.send("rendezvous", _RENDEZVOUS, self.mapped)
        self.network.clock.advance(1.0)

    def test_flush(self) -> None:
        """
        A flushed NAT lets nothing in.
        """
        self.network.fabric.flushNAT("nat-alice")
        self.sendBack()
        self.assertEqual(self.network.received["alice"], [])
        self.assertEqual(self.network.trace.fates[-1][2], Fate.DROPPED)

    def test_rebind(self) -> None:
        """
        A NAT that was given another address uses it, and no longer has the old one.
        """
        self.network.fabric.rebindNAT("nat-alice", ["31.1.0.99"])
        self.sendBack()
        self.assertEqual(self.network.trace.fates[-1][2], Fate.UNROUTABLE)
        self.network.send("alice", _ALICE, _RENDEZVOUS)
        self.network.clock.advance(1.0)
        self.assertEqual(self.network.received["rendezvous"][-1][1].source.host, "31.1.0.99")

    def test_rebindToTaken(self) -> None:
        """
        A NAT cannot take the address of another.
        """
        self.assertRaises(BadTopology, self.network.fabric.rebindNAT, "nat-alice", ["5.1.0.1"])
        self.sendBack()
        self.assertEqual(len(self.network.received["alice"]), 1)

    def test_move(self) -> None:
        """
        A host that moves is reached in its new network only.
        """
        self.network.fabric.moveHost("alice", ["31.1.0.77"], None)
        self.sendBack()
        self.assertEqual(self.network.received["alice"], [])
        self.network.send("rendezvous", _RENDEZVOUS, TransportAddress("31.1.0.77", 5000))
        self.network.clock.advance(1.0)
        self.assertEqual(len(self.network.received["alice"]), 1)

    def test_install(self) -> None:
        """
        Another device can take a NAT's place, and say by itself what is to be done.
        """
        device = NATDevice(_CONE, ["31.1.0.1"], Random(1))
        self.network.fabric.install("nat-alice", device)
        self.assertIs(self.network.fabric.nat("nat-alice"), device)
        device.receiveInside(_datagram(_ALICE, _RENDEZVOUS, b"own"), self.network.clock.seconds())
        self.network.fabric.passOn("nat-alice")
        self.network.clock.advance(1.0)
        self.assertEqual(self.network.payloads("rendezvous"), [b"x", b"own"])

    def test_setLink(self) -> None:
        """
        A link can be cut.
        """
        self.network.fabric.setLink("alice", LinkSpec(loss=1.0))
        self.sendBack()
        self.assertEqual(self.network.received["alice"], [])
        self.assertEqual(self.network.fabric.counters("alice").lost, 1)


class LinkTests(SynchronousTestCase):
    """
    Tests for what links do to packets.
    """

    def sendMany(self, link: LinkSpec, seed: int = 1, count: int = 2000) -> _Network:
        """
        Send numbered packets from alice to bob over one such link, a millisecond apart.
        """
        topology = Topology(
            (
                HostSpec(name="alice", addresses="31.1.0.10", link=link),
                HostSpec(name="bob", addresses="31.2.0.10", link=LinkSpec(latency=0.0)),
            )
        )
        network = _Network(topology, seed)
        alice, bob = TransportAddress("31.1.0.10", 1), TransportAddress("31.2.0.10", 1)
        for number in range(count):
            network.fabric.send("alice", _datagram(alice, bob, number.to_bytes(2, "big")))
            network.clock.advance(0.001)
        network.clock.advance(1.0)
        return network

    def test_regular(self) -> None:
        """
        An even link delivers everything, in order.
        """
        self.assertEqual(self.sendMany(LinkSpec()).numbers("bob"), list(range(2000)))

    def test_loss(self) -> None:
        """
        The given share of packets is lost, and counted.
        """
        network = self.sendMany(LinkSpec(loss=0.2))
        received = network.numbers("bob")
        self.assertTrue(1500 < len(received) < 1700, len(received))
        counters = network.fabric.counters("alice")
        self.assertEqual((counters.sent, counters.lost), (2000, 2000 - len(received)))
        lost = [fate for _, _, fate in network.trace.fates if fate is Fate.LOST]
        self.assertEqual(len(lost), counters.lost)

    def test_jitter(self) -> None:
        """
        Jitter spreads arrivals, but keeps the order.
        """
        network = self.sendMany(LinkSpec(latency=0.01, jitter=0.02))
        self.assertEqual(network.numbers("bob"), list(range(2000)))
        delays = [at - 0.001 * number for number, (at, _) in enumerate(network.received["bob"])]
        self.assertGreater(min(delays), 0.0099)
        self.assertTrue(0.025 < max(delays) < 0.0301)

    def test_reorder(self) -> None:
        """
        Reordering lets later packets overtake the given share, and loses none.
        """
        network = self.sendMany(LinkSpec(latency=0.01, reorder=0.1))
        received = network.numbers("bob")
        self.assertNotEqual(received, list(range(2000)))
        self.assertEqual(sorted(received, key=str), sorted(range(2000), key=str))
        self.assertTrue(150 < network.fabric.counters("alice").heldBack < 250)

    def test_duplicate(self) -> None:
        """
        The given share of packets arrives twice.
        """
        network = self.sendMany(LinkSpec(duplicate=0.1))
        duplicated = network.fabric.counters("alice").duplicated
        self.assertTrue(150 < duplicated < 250, duplicated)
        self.assertEqual(len(network.numbers("bob")), 2000 + duplicated)

    def test_seed(self) -> None:
        """
        The same seed does the same to the same packets; another does not.
        """
        link = LinkSpec(jitter=0.01, loss=0.1, reorder=0.1, duplicate=0.1)
        traces = [self.sendMany(link, seed, 200).trace.lines for seed in (1, 1, 2)]
        self.assertEqual(traces[0], traces[1])
        self.assertNotEqual(traces[0], traces[2])


class TimingTests(SynchronousTestCase):
    """
    Tests for how the fabric uses its clock.
    """

    def test_noLatency(self) -> None:
        """
        Without latency, packets arrive before C{send} returns, and the clock is not used.
        """
        network = _Network(Topology.parse("full-cone/full-cone", LinkSpec(latency=0.0)))
        network.send("alice", _ALICE, _RENDEZVOUS)
        self.assertEqual(len(network.received["rendezvous"]), 1)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_answerWithoutLatency(self) -> None:
        """
        Hosts that answer each other at once do not recurse.
        """
        network = _Network(Topology.parse("none/none", LinkSpec(latency=0.0)))
        alice, bob = TransportAddress("31.1.0.10", 1), TransportAddress("31.2.0.10", 1)
        counts = [0]

        def answer(host: str, packet: Packet) -> None:
            counts[0] += 1
            if counts[0] < 5000:
                network.fabric.send(host, _datagram(packet.destination, packet.source, b""))

        network.fabric.attach("alice", lambda packet: answer("alice", packet))
        network.fabric.attach("bob", lambda packet: answer("bob", packet))
        network.send("alice", alice, bob)
        self.assertEqual(counts, [5000])

    def test_oneTimer(self) -> None:
        """
        However much is in flight, the clock holds one call.
        """
        network = _Network(Topology.parse("full-cone/full-cone"))
        for _ in range(100):
            network.send("alice", _ALICE, _RENDEZVOUS)
            network.send("bob", _BOB, _RENDEZVOUS)
        self.assertEqual(len(network.clock.getDelayedCalls()), 1)
        network.clock.advance(1.0)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_coarseClock(self) -> None:
        """
        A clock that comes late delivers everything that was due.
        """
        clock = Clock()
        fabric = Fabric(clock, Topology.parse("none/none"))
        got: list[Packet] = []
        fabric.attach("bob", got.append)
        alice, bob = TransportAddress("31.1.0.10", 1), TransportAddress("31.2.0.10", 1)
        fabric.send("alice", _datagram(alice, bob, b"x"))
        clock.advance(1.0)
        clock.advance(1.0)
        self.assertEqual(len(got), 1)

    def test_failingHost(self) -> None:
        """
        A host whose program fails does not stop the network.
        """
        network = _Network(Topology.parse("none/none"))

        def fail(packet: Packet) -> None:
            raise ZeroDivisionError

        network.fabric.attach("bob", fail)
        alice, bob = TransportAddress("31.1.0.10", 1), TransportAddress("31.2.0.10", 1)
        network.send("alice", alice, bob)
        network.send("alice", alice, _RENDEZVOUS)
        self.assertRaises(ZeroDivisionError, network.clock.advance, 1.0)
        network.clock.advance(1.0)
        self.assertEqual(len(network.received["rendezvous"]), 1)

    def test_observer(self) -> None:
        """
        An observer hears nothing more once it is removed.
        """
        network = _Network(Topology.parse("none/none"))
        heard: list[object] = []

        def observe(*event: object) -> None:
            heard.append(event)

        network.fabric.addObserver(observe)
        alice = TransportAddress("31.1.0.10", 1)
        network.send("alice", alice, _RENDEZVOUS)
        self.assertEqual(len(heard), 1)
        network.fabric.removeObserver(observe)
        network.clock.advance(1.0)
        self.assertEqual(len(heard), 1)


class PresetTests(SynchronousTestCase):
    """
    Tests for every kind of NAT.
    """

    def test_questionAndAnswer(self) -> None:
        """
        Behind every named NAT, an answer to a question comes back.
        """
        for name in NAMED_BEHAVIOURS:
            network = _Network(Topology.parse(f"{name}/none"))
            network.send("alice", _ALICE, _RENDEZVOUS)
            network.clock.advance(1.0)
            network.send("rendezvous", _RENDEZVOUS, network.received["rendezvous"][0][1].source)
            network.clock.advance(1.0)
            self.assertEqual(len(network.received["alice"]), 1, name)

    def test_customTopology(self) -> None:
        """
        A NAT may stand behind any number of others.
        """
        nats = [
            NATSpec(
                name=f"nat-{level}",
                behaviour=_CONE,
                addresses="31.9.0.1" if level == 0 else f"10.{level - 1}.0.2",
                inside=f"10.{level}.0.0/16",
                behind=None if level == 0 else f"nat-{level - 1}",
            )
            for level in range(5)
        ]
        hosts = (
            HostSpec(name="deep", addresses="10.4.0.9", behind="nat-4"),
            HostSpec(name="shore", addresses="5.1.0.1"),
        )
        network = _Network(Topology(hosts, tuple(reversed(nats))))
        deep = TransportAddress("10.4.0.9", 7)
        network.send("deep", deep, _RENDEZVOUS)
        network.clock.advance(1.0)
        [(at, packet)] = network.received["shore"]
        self.assertAlmostEqual(at, 7 * 0.005)
        network.send("shore", _RENDEZVOUS, packet.source)
        network.clock.advance(1.0)
        self.assertEqual(network.received["deep"][0][1].destination, deep)
