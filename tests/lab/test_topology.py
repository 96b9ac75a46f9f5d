"""
Tests for L{holepunch.lab.topology}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import isPrivateHost
from holepunch.errors import BadTopology
from holepunch.lab import HostSpec, LinkSpec, NATSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, PRESETS

_CONE = NAMED_BEHAVIOURS["full-cone"]


def _home(name: str = "home", **changes: object) -> NATSpec:
    values: dict[str, object] = {
        "name": name,
        "behaviour": _CONE,
        "addresses": "31.1.0.1",
        "inside": "192.168.1.0/24",
    }
    return NATSpec(**{**values, **changes})  # type: ignore[arg-type]


class ParsingTests(SynchronousTestCase):
    """
    Tests for L{Topology.parse}.
    """

    def test_twoNames(self) -> None:
        """
        Two names put each peer behind a NAT of its own with that behaviour.
        """
        topology = Topology.parse("port-restricted/symmetric")
        self.assertEqual(topology.host("alice").behind, "nat-alice")
        self.assertEqual(topology.host("bob").behind, "nat-bob")
        behaviours = [nat.behaviour for nat in topology.nats]
        names = ("port-restricted", "symmetric")
        self.assertEqual(behaviours, [NAMED_BEHAVIOURS[name] for name in names])

    def test_none(self) -> None:
        """
        C{none} leaves a peer public.
        """
        topology = Topology.parse("none/full-cone")
        self.assertIsNone(topology.host("alice").behind)
        self.assertFalse(isPrivateHost(topology.host("alice").addresses[0]))
        self.assertEqual([nat.name for nat in topology.nats], ["nat-bob"])
        self.assertEqual(Topology.parse("none").nats, ())

    def test_oneName(self) -> None:
        """
        One name puts both peers on one LAN.
        """
        topology = Topology.parse("symmetric")
        self.assertEqual(topology.host("alice").behind, topology.host("bob").behind)
        self.assertIsNotNone(topology.host("alice").behind)

    def test_threeNames(self) -> None:
        """
        The third name is that of a carrier's NAT before the others.
        """
        topology = Topology.parse("full-cone/none/symmetric")
        above = [nat.name for nat in topology.natsAbove(topology.host("alice"))]
        self.assertEqual(above, ["nat-alice", "carrier"])
        self.assertEqual(topology.host("bob").behind, "carrier")
        self.assertEqual(Topology.parse("full-cone/none/none"), Topology.parse("full-cone/none"))

    def test_kernel(self) -> None:
        """
        C{kernel} marks a NAT as the kernel's own, and has the simulator follow its model.
        """
        alice, bob = Topology.parse("kernel/linux-masquerade").nats
        self.assertEqual((alice.isKernel, bob.isKernel), (True, False))
        self.assertEqual(alice.behaviour, bob.behaviour)

    def test_everyPreset(self) -> None:
        """
        Every named behaviour can be parsed in every position.
        """
        for name in NAMED_BEHAVIOURS:
            for text in (name, f"{name}/none", f"none/{name}", f"none/none/{name}"):
                Topology.parse(text)

    def test_unknownName(self) -> None:
        """
        An unknown name is refused with its position and what was expected there.
        """
        error = self.assertRaises(BadTopology, Topology.parse, "full-cone/triangular")
        self.assertIn("name 2, 'triangular'", str(error))
        self.assertIn("port-restricted", str(error))

    def test_column(self) -> None:
        """
        The position is told as a column, too.
        """
        for text, column in (("nat", 1), ("none/nat", 6), ("same-subnet:pf/nat", 16)):
            error = self.assertRaises(BadTopology, Topology.parse, text)
            self.assertIn(f"'nat' (column {column}), is no NAT", str(error))

    def test_devices(self) -> None:
        """
        Devices of the field can be named wherever a kind of NAT can.
        """
        topology = Topology.parse("home-router/corporate-firewall")
        behaviours = [nat.behaviour for nat in topology.nats]
        self.assertEqual(behaviours, [PRESETS["home-router"], PRESETS["corporate-firewall"]])

    def test_sameSubnet(self) -> None:
        """
        C{same-subnet:} gives both LANs one subnet, and makes decoys of the strangers there.
        """
        topology = Topology.parse("same-subnet:full-cone/kernel")
        self.assertEqual(len({nat.inside for nat in topology.nats}), 1)
        self.assertEqual([nat.isKernel for nat in topology.nats], [False, True])
        decoys = [host.name for host in topology.hosts if host.isDecoy]
        self.assertEqual(decoys, ["decoy-bob", "decoy-alice"])

    def test_dualStack(self) -> None:
        """
        With IPv6 the routers get a subnet of it inside, which they do not translate.
        """
        topology = Topology.parse("dual-stack:pf/none")
        nat = topology.nat("nat-alice")
        self.assertEqual([subnet.version for subnet in nat.subnets], [4, 6])
        self.assertEqual([subnet.version for subnet in nat.routed], [6])
        for host in topology.hosts:
            versions = {":" in address for address in host.addresses}
            self.assertEqual(versions, {True, False}, host.name)

    def test_firewalls(self) -> None:
        """
        Firewalls translate nothing, with IPv4 or without.
        """
        for scenario, addresses in (("firewalls", 2), ("ipv6", 1)):
            topology = Topology.parse(f"{scenario}:firewall/no-nat")
            self.assertEqual(len(topology.host("alice").addresses), addresses)
            self.assertEqual({nat.translates for nat in topology.nats}, {False})
            bob = topology.nat("nat-bob")
            self.assertEqual(bob.firewall, NAMED_BEHAVIOURS["no-nat"])
            self.assertEqual(bob.routed, bob.subnets)

    def test_interfaces(self) -> None:
        """
        The third NAT is before alice's second interface.
        """
        topology = Topology.parse("two-interfaces:pf/none/carrier-grade")
        alice = topology.host("alice")
        self.assertEqual([each.name for each in alice.interfaces], ["alice-mobile"])
        (above,) = topology.natsAbove(alice.interfaces[0])
        self.assertEqual(above.name, "nat-mobile")
        self.assertEqual(above.behaviour, NAMED_BEHAVIOURS["carrier-grade"])
        self.assertEqual(len(alice.allAddresses), 2)
        slow = topology.withLinks(LinkSpec(latency=1.0))
        self.assertEqual({part.link.latency for part in slow.parts}, {1.0})
        public = Topology.parse("two-interfaces:pf/none/none").host("alice").interfaces[0]
        self.assertIsNone(public.behind)

    def test_wrongScenario(self) -> None:
        """
        Unknown scenarios, and the wrong number of NATs for one, are refused.
        """
        for text, sentence in (
            ("island:pf/pf", "'island', is no scenario"),
            ("same-subnet:pf", "column 13: expected two NATs"),
            ("same-subnet:pf/none", "column 13: expected two NATs"),
            ("two-interfaces:pf/pf", "column 16: expected three NATs"),
            ("dual-stack:pf/pf/pf", "the end at column 17"),
            ("firewalls:firewall/pf", "'pf' (column 20), is no firewall; expected one of none"),
            ("ipv6:pf/none", "'pf' (column 6), is no firewall"),
        ):
            error = self.assertRaises(BadTopology, Topology.parse, text)
            self.assertIn(sentence, str(error))

    def test_tooMany(self) -> None:
        """
        More than three names are refused.
        """
        error = self.assertRaises(BadTopology, Topology.parse, "none/none/none/none")
        self.assertIn("4 NATs", str(error))

    def test_links(self) -> None:
        """
        The given link becomes that of every host and NAT.
        """
        link = LinkSpec(latency=0.025)
        topology = Topology.parse("symmetric/symmetric/symmetric", link)
        self.assertEqual({host.link for host in topology.hosts}, {link})
        self.assertEqual({nat.link for nat in topology.nats}, {link})
        lossy = LinkSpec(loss=0.5)
        changed = topology.withLinks(lossy)
        self.assertEqual({host.link for host in changed.hosts}, {lossy})
        self.assertEqual({nat.link for nat in changed.nats}, {lossy})


class ScenarioTests(SynchronousTestCase):
    """
    Tests for the usual scenarios.
    """

    def test_rendezvous(self) -> None:
        """
        Every scenario has the rendezvous host with two public addresses, and both peers.
        """
        for topology in (
            Topology.twoNATs(_CONE, _CONE),
            Topology.onePublic(_CONE),
            Topology.sameNAT(_CONE),
            Topology.twoLevel(_CONE, _CONE, _CONE),
            Topology.sameSubnet(_CONE, _CONE),
        ):
            addresses = topology.host("rendezvous").addresses
            self.assertEqual(len(addresses), 2)
            self.assertFalse(any(isPrivateHost(host) for host in addresses))
            topology.host("alice")
            topology.host("bob")

    def test_sameSubnet(self) -> None:
        """
        Each LAN has a decoy at the private address of the other LAN's peer.
        """
        topology = Topology.sameSubnet(_CONE, _CONE)
        for peer, other in (("alice", "bob"), ("bob", "alice")):
            decoy = topology.host(f"decoy-{other}")
            self.assertEqual(decoy.behind, topology.host(peer).behind)
            self.assertEqual(decoy.addresses, topology.host(other).addresses)


class ValidationTests(SynchronousTestCase):
    """
    Tests for what a topology refuses.
    """

    def assertRefused(self, sentence: str, *parts: HostSpec | NATSpec) -> None:
        """
        Assert that a topology of these parts is refused with that sentence.
        """
        hosts = tuple(part for part in parts if isinstance(part, HostSpec))
        nats = tuple(part for part in parts if isinstance(part, NATSpec))
        error = self.assertRaises(BadTopology, Topology, hosts, nats)
        self.assertIn(sentence, str(error))

    def test_names(self) -> None:
        """
        Names are unique, and made of letters, digits and dashes.
        """
        host = HostSpec(name="a", addresses="5.0.0.7")
        self.assertRefused("two parts are named 'a'", host, _home("a"))
        self.assertRaises(BadTopology, HostSpec, name="a b", addresses="5.0.0.7")
        self.assertRaises(BadTopology, HostSpec, name="", addresses="5.0.0.7")

    def test_behind(self) -> None:
        """
        What a part is behind must be a NAT, and not the part itself.
        """
        lost = HostSpec(name="a", addresses="192.168.1.7", behind="cellar")
        self.assertRefused("there is no NAT 'cellar', only home", lost, _home())
        self.assertRefused("behind itself", _home(behind="home"))

    def test_addresses(self) -> None:
        """
        Addresses are usable, unique in their network, and belong there.
        """
        inside = HostSpec(name="a", addresses="192.168.1.7", behind="home")
        twin = HostSpec(name="b", addresses="192.168.1.7", behind="home")
        self.assertRefused("both have the address 192.168.1.7", inside, twin, _home())
        self.assertRefused("no address", HostSpec(name="a", addresses=()))
        self.assertRefused("is public, but", HostSpec(name="a", addresses="10.0.0.1"))
        self.assertRefused("cannot have", HostSpec(name="a", addresses="224.0.0.1"))
        for wrong in ("192.168.2.7", "5.0.0.7", "2001:db8::7"):
            stranger = HostSpec(name="a", addresses=wrong, behind="home")
            self.assertRefused("not in 192.168.1.0/24", stranger, _home())
        for reserved in ("192.168.1.0", "192.168.1.1", "192.168.1.255"):
            usurper = HostSpec(name="a", addresses=reserved, behind="home")
            self.assertRefused("needs for itself", usurper, _home())
        self.assertRaises(BadTopology, HostSpec, name="a", addresses="5.0.0.777")

    def test_subnets(self) -> None:
        """
        The two sides of a NAT have different subnets.
        """
        self.assertRaises(BadTopology, _home, inside="192.168.1.7/24")
        inner = _home("inner", behind="home", addresses="192.168.1.9", inside="192.168.0.0/16")
        self.assertRefused("192.168.1.0/24 outside", _home(), inner)

    def test_links(self) -> None:
        """
        Shares are from 0 to 1, and times not negative.
        """
        self.assertRaises(BadTopology, LinkSpec, loss=1.5)
        self.assertRaises(BadTopology, LinkSpec, duplicate=-0.1)
        self.assertRaises(BadTopology, LinkSpec, latency=-1.0)
        self.assertRaises(BadTopology, LinkSpec, jitter=float("nan"))

    def test_unknownParts(self) -> None:
        """
        Asking for what is not there names what is.
        """
        topology = Topology.parse("symmetric/none")
        error = self.assertRaises(BadTopology, topology.host, "carol")
        self.assertIn("rendezvous, alice, bob", str(error))
        error = self.assertRaises(BadTopology, topology.nat, "carol")
        self.assertIn("nat-alice", str(error))
