"""
Tests for IPv6, firewalls, several interfaces and echoes in the simulated internet.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import TimeoutError
from twisted.internet.endpoints import TCP6ClientEndpoint, TCP6ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadTopology
from holepunch.lab import HostSpec, LinkSpec, NATSpec, SimulatedInternet, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Filtering, Fragments, Protocol
from tests.lab.programs import Accepting, Datagrams, Recorder

SERVICE = "5.1.0.1"
SERVICE_6 = "2001:db8:5:1::1"
ALICE_6 = "2001:db8:1::10"
BOB_6 = "2001:db8:2::10"
PORT = 3478


class DualStackTestCase(SynchronousTestCase):
    """
    What the tests have in common.
    """

    def build(self, topology: Topology | str) -> None:
        """
        Begin anew.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology)
        self.internet = SimulatedInternet(topology)

    def program(self, host: str, interface: str, port: int = PORT) -> Any:
        """
        Open a UDP port.
        """
        program = Datagrams()
        reactor: Any = self.internet.host(host).reactor
        reactor.listenUDP(port, program, interface=interface)
        return program

    def send(self, program: Any, remote: tuple[str, int], data: bytes = b"hello") -> None:
        """
        Send a datagram, and let it arrive.
        """
        program.transport.write(data, remote)
        self.internet.advance(1.0)

    def isReached(self, host: str, remote: str, **options: Any) -> bool:
        """
        Does an echo come back?
        """
        try:
            self.internet.waitFor(self.internet.host(host).ping(remote, **options))
        except TimeoutError:
            return False
        return True


class FirewallTests(DualStackTestCase):
    """
    Firewalls, which translate nothing.
    """

    def test_untranslated(self) -> None:
        """
        Over IPv6 a host is seen by its own address, over IPv4 by that of its NAT.
        """
        self.build("dual-stack:port-restricted/port-restricted")
        for service, interface, seen in (
            (SERVICE_6, "::", ALICE_6),
            (SERVICE, "0.0.0.0", "31.1.0.1"),
        ):
            server = self.program("rendezvous", interface)
            self.send(self.program("alice", interface), (service, PORT))
            self.assertEqual(server.received[0][1][0], seen)

    def test_stateful(self) -> None:
        """
        Strangers are kept out, those whom the inside sent to may answer.
        """
        self.build("dual-stack:port-restricted/port-restricted")
        alice, bob = self.program("alice", "::"), self.program("bob", "::")
        self.send(bob, (ALICE_6, PORT))
        self.assertEqual(alice.received, [])
        # Bob's firewall has seen him send, so it lets alice in.
        self.send(alice, (BOB_6, PORT))
        self.assertEqual(len(bob.received), 1)
        self.send(bob, (ALICE_6, PORT))
        self.assertEqual(len(alice.received), 1)
        self.send(self.program("rendezvous", "::"), (ALICE_6, PORT))
        self.assertEqual(len(alice.received), 1)

    def test_endpointIndependent(self) -> None:
        """
        A firewall that filters nothing lets strangers in, over IPv6 and IPv4.
        """
        self.build("firewalls:no-nat/firewall")
        alice, bob = self.program("alice", "::"), self.program("bob", "::")
        self.send(bob, (ALICE_6, PORT))
        self.assertEqual(len(alice.received), 1)
        self.send(alice, (BOB_6, PORT))
        self.assertEqual(len(bob.received), 1)
        four = self.program("alice", "0.0.0.0", 4000)
        self.send(self.program("bob", "0.0.0.0", 4000), ("31.11.0.10", 4000))
        self.assertEqual(four.received[0][1], ("31.12.0.10", 4000))

    def test_nested(self) -> None:
        """
        A firewall behind a firewall is found from the core, and both keep their state.
        """
        outer = NATSpec(
            name="provider",
            behaviour=NAMED_BEHAVIOURS["port-restricted"],
            addresses=("31.1.0.1", "2001:db8:31::1"),
            inside=("100.64.0.0/10", "2001:db8:100::/64"),
        )
        inner = NATSpec(
            name="home",
            behaviour=NAMED_BEHAVIOURS["port-restricted"],
            addresses=("100.64.0.9", "2001:db8:100::9"),
            inside=("192.168.1.0/24", "2001:db8:1::/64"),
            behind="provider",
        )
        alice = HostSpec(name="alice", addresses=("192.168.1.10", ALICE_6), behind="home")
        server = HostSpec(name="rendezvous", addresses=(SERVICE, SERVICE_6))
        self.build(Topology((alice, server), (inner, outer)))
        self.assertTrue(self.isReached("alice", SERVICE_6))
        self.assertTrue(self.isReached("alice", SERVICE))
        self.assertFalse(self.isReached("rendezvous", ALICE_6))

    def test_blocked(self) -> None:
        """
        Blocking a protocol at a router blocks it over both IP versions.
        """
        self.build("dual-stack:port-restricted/port-restricted")
        router = self.internet.fabric.nat("nat-alice")
        router.block(Protocol.ICMP)
        self.assertFalse(self.isReached("alice", SERVICE) or self.isReached("alice", SERVICE_6))
        router.unblock(Protocol.ICMP)
        self.assertTrue(self.isReached("alice", SERVICE) and self.isReached("alice", SERVICE_6))

    def test_mappings(self) -> None:
        """
        The mappings of a router are those of both, and it forgets them together.
        """
        self.build("dual-stack:port-restricted/port-restricted")
        for service, interface in ((SERVICE_6, "::"), (SERVICE, "0.0.0.0")):
            self.send(self.program("alice", interface), (service, PORT))
        router = self.internet.fabric.nat("nat-alice")
        externals = {view.external.host for view in router.mappings(1.0)}
        self.assertEqual(externals, {"31.1.0.1", ALICE_6})
        self.internet.fabric.rebindNAT("nat-alice", ["31.1.0.9", "2001:db8:31:1::9"])
        self.assertEqual(router.mappings(1.0), ())
        self.assertTrue(self.isReached("alice", SERVICE) and self.isReached("alice", SERVICE_6))

    def test_stream(self) -> None:
        """
        TCP crosses a short link over IPv6, as its sender is told of it.
        """
        topology = Topology.parse("dual-stack:full-cone/full-cone")
        link = LinkSpec(mtu=1280)
        self.build(
            attrs.evolve(topology, nats=tuple(attrs.evolve(n, link=link) for n in topology.nats))
        )
        reactor: Any = self.internet.host("rendezvous").reactor
        server = Accepting()
        self.internet.waitFor(TCP6ServerEndpoint(reactor, 80).listen(server))
        alice: Any = self.internet.host("alice").reactor
        endpoint = TCP6ClientEndpoint(alice, SERVICE_6, 80)
        client: Any = self.internet.waitFor(endpoint.connect(Accepting(Recorder)))
        client.transport.write(bytes(100_000))
        self.internet.advance(10.0)
        self.assertEqual(len(server.built[0].received), 100_000)

    def test_fragments(self) -> None:
        """
        Only the sender cuts a packet of IPv6; a firewall forwards the fragments, or does not.
        """
        for fragments in Fragments:
            topology = Topology.parse("dual-stack:full-cone/full-cone")
            firewall = attrs.evolve(NAMED_BEHAVIOURS["firewall"], fragments=fragments)
            nats = (
                attrs.evolve(nat, firewall=firewall, link=LinkSpec(mtu=1400))
                for nat in topology.nats
            )
            self.build(attrs.evolve(topology, nats=tuple(nats)))
            self.assertTrue(self.isReached("alice", SERVICE_6, size=1300))
            # The first one is lost, and its sender told to make shorter fragments; then the reply.
            for _ in range(2):
                self.assertFalse(self.isReached("alice", SERVICE_6, size=5000))
            passes = fragments is Fragments.FORWARD
            self.assertEqual(self.isReached("alice", SERVICE_6, size=5000), passes)


class EchoTests(DualStackTestCase):
    """
    Echoes through NATs (RFC 5508).
    """

    def test_everyKind(self) -> None:
        """
        Every NAT maps queries, also with an identifier that it may not keep.
        """
        for name in ("full-cone", "symmetric-random", "carrier-grade", "one-to-one", "pf"):
            self.build(f"{name}/none")
            self.assertTrue(self.isReached("alice", SERVICE), name)
            (view,) = self.internet.fabric.nat("nat-alice").mappings(1.0)
            self.assertIs(view.protocol, Protocol.ICMP)
            self.assertTrue(self.isReached("alice", SERVICE, size=3000), name)
            self.assertEqual(self.isReached("bob", "31.1.0.1"), name == "one-to-one")

    def test_gateway(self) -> None:
        """
        A NAT answers at its addresses inside.
        """
        self.build("dual-stack:full-cone/none")
        self.assertTrue(self.isReached("alice", "192.168.1.1"))
        self.assertTrue(self.isReached("alice", "2001:db8:1::1"))
        self.assertFalse(self.isReached("alice", "192.168.1.2"))

    def test_forgotten(self) -> None:
        """
        The mapping lasts a minute (RFC 5508 REQ-2).
        """
        self.build("full-cone/none")
        self.assertTrue(self.isReached("alice", SERVICE))
        now = self.internet.clock.seconds()
        router = self.internet.fabric.nat("nat-alice")
        self.assertEqual(len(router.mappings(now + 59.0)), 1)
        self.assertEqual(router.mappings(now + 61.0), ())

    def test_notPermitted(self) -> None:
        """
        A corporate firewall that lets only TLS out lets no echo out.
        """
        self.build("corporate-firewall/none")
        self.assertFalse(self.isReached("alice", SERVICE))


class InterfaceTests(DualStackTestCase):
    """
    A host with two interfaces.
    """

    def test_byAddress(self) -> None:
        """
        What is bound to an address leaves by its interface, all else by the first.
        """
        self.build("two-interfaces:full-cone/none/full-cone")
        server = self.program("rendezvous", "0.0.0.0")
        for number, (interface, seen) in enumerate(
            (
                ("192.168.1.10", "31.1.0.1"),
                ("10.64.0.10", "31.4.0.1"),
                ("0.0.0.0", "31.1.0.1"),
            )
        ):
            program = self.program("alice", interface, 4000 + number)
            self.send(program, (SERVICE, PORT))
            self.assertEqual(server.received[-1][1][0], seen)
            self.send(server, server.received[-1][1])
            self.assertEqual(len(program.received), 1)

    def test_links(self) -> None:
        """
        Each interface has a link of its own.
        """
        self.build("two-interfaces:full-cone/none/full-cone")
        self.internet.fabric.setLink("alice", LinkSpec(loss=1.0))
        self.assertFalse(self.isReached("alice", SERVICE))
        self.assertTrue(self.isReached("alice", SERVICE, local="10.64.0.10"))
        self.assertEqual(self.internet.fabric.counters("alice-mobile").sent, 2)
        self.internet.fabric.setLink("alice-mobile", LinkSpec(mtu=600))
        kernel = self.internet.host("alice").reactor.kernel
        self.assertEqual(kernel.pathMTUs.of("10.64.0.10", SERVICE), 600)
        self.assertEqual(kernel.pathMTUs.of("192.168.1.10", SERVICE), 1500)

    def test_moves(self) -> None:
        """
        One interface can go to another network, while the other stays.
        """
        self.build("two-interfaces:full-cone/none/full-cone")
        alice = self.internet.host("alice")
        alice.move("31.4.0.77", behind=None, interface="alice-mobile")
        self.assertEqual(alice.addresses, ("192.168.1.10", "31.4.0.77"))
        self.assertTrue(self.isReached("rendezvous", "31.4.0.77"))
        self.assertTrue(self.isReached("alice", SERVICE))
        alice.crash()
        self.assertFalse(self.isReached("rendezvous", "31.4.0.77"))


class FittingTests(SynchronousTestCase):
    """
    What of IPv6, firewalls and interfaces does not fit together.
    """

    def refuses(self, sentence: str, *parts: HostSpec | NATSpec) -> None:
        """
        Check that such a topology is refused, with that in the message.
        """
        hosts = tuple(part for part in parts if isinstance(part, HostSpec))
        nats = tuple(part for part in parts if isinstance(part, NATSpec))
        error = self.assertRaises(BadTopology, Topology, hosts, nats)
        self.assertIn(sentence, str(error))

    def nat(self, **values: Any) -> NATSpec:
        """
        A router of both IP versions.
        """
        usual: dict[str, Any] = {
            "name": "home",
            "behaviour": NAMED_BEHAVIOURS["full-cone"],
            "addresses": ("31.1.0.1", "2001:db8:31::1"),
            "inside": ("192.168.1.0/24", "2001:db8:1::/64"),
        }
        return NATSpec(**{**usual, **values})

    def test_addresses(self) -> None:
        """
        An address is in a subnet of its IP version, and is no router's.
        """
        for address, sentence in (
            ("2001:db8:7::1", "is not in 192.168.1.0/24 or 2001:db8:1::/64"),
            ("2001:db8:1::1", "needs for itself"),
        ):
            host = HostSpec(name="alice", addresses=address, behind="home")
            self.refuses(sentence, host, self.nat())

    def test_routes(self) -> None:
        """
        One way alone leads to what is not translated.
        """
        other = self.nat(name="office", addresses="31.2.0.1", inside="2001:db8:1::/80")
        self.refuses("both lead to", self.nat(), other)
        host = HostSpec(name="alice", addresses="2001:db8:1::5")
        self.refuses("which is inside 'home'", host, self.nat())
        self.refuses("which is not public", self.nat(inside="fd00::/64"))

    def test_shortLink(self) -> None:
        """
        IPv6 needs links that carry 1280 bytes.
        """
        host = HostSpec(name="alice", addresses=SERVICE_6, link=LinkSpec(mtu=1279))
        self.refuses("at least 1280", host)

    def test_values(self) -> None:
        """
        A router translates, or has a one-to-one behaviour; it has one subnet of each IP version.
        """
        for wrong in (
            {"translates": False},
            {"firewall": NAMED_BEHAVIOURS["symmetric"]},
            {"inside": ("10.0.0.0/8", "192.168.1.0/24")},
            {"inside": "2001:db8::/127"},
            {"inside": "nonsense"},
        ):
            self.assertRaises(BadTopology, self.nat, **wrong)
        firewall = attrs.evolve(NAMED_BEHAVIOURS["firewall"], filtering=Filtering.ADDRESS_DEPENDENT)
        self.assertEqual(self.nat(behaviour=firewall, translates=False).translates, False)
