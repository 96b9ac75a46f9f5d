"""
Whole sessions on networks that lose, delay, block or translate twice: simulated.
"""

from __future__ import annotations

import attrs

from holepunch.lab import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Filtering, Mapping, NATBehaviour, PortAllocation
from holepunch.nat.behaviour import Service, Unsolicited
from holepunch.nat.packet import Protocol
from tests.peer.network import Network
from tests.peer.test_scenarios import SEQUENTIAL, TCP, UDP, ScenarioTestCase

WAYS = (UDP, TCP, SEQUENTIAL)


def wayOut(topology: Topology, link: LinkSpec) -> Topology:
    """
    The same network with C{link} between each home and the core.
    """
    nats = (attrs.evolve(nat, link=link) for nat in topology.nats)
    return attrs.evolve(topology, nats=tuple(nats))


class NetworkTests(ScenarioTestCase):
    """
    By UDP, by TCP with both sides at once, and one after the other.
    """

    def meet(self, network: Network, options: object) -> float:
        """
        Alice reaches bob, and what she sends comes back.

        @return: The seconds from the request to the path.
        """
        if options is UDP:
            self.assertDatagramsEcho(network)
        else:
            self.assertEchoes(network, SEQUENTIAL if options is SEQUENTIAL else TCP, size=400)
        return self.connected(network).seconds

    def test_twoLevels(self) -> None:
        """
        Two homes behind one carrier meet by its hairpin, through every pair of NATs that meet
        without a carrier, too.
        """
        for carrier in ("full-cone", "port-restricted", "port-restricted-rst"):
            for pair in ("port-restricted-rst/linux-masquerade", "symmetric/address-restricted"):
                if "symmetric" in pair and carrier != "full-cone":
                    # The carrier filters ports, which the symmetric NAT inside changes.
                    continue
                topology = Topology.parse(f"{pair}/{carrier}")
                latencies = {"nat-alice": 0.006, "nat-bob": 0.011, "carrier": 0.004}
                nats = tuple(
                    attrs.evolve(nat, link=LinkSpec(latency=latencies[nat.name]))
                    for nat in topology.nats
                )
                for options in WAYS:
                    with self.subTest(f"{pair}/{carrier} {options}"):
                        network = self.build(attrs.evolve(topology, nats=nats))
                        self.assertLess(self.meet(network, options), 1.0)

    def test_halfOpen(self) -> None:
        """
        A SYN that comes in the very moment in which ours was refused makes a connection that
        nobody can complete where a NAT watches sequence numbers; a second port gets around it.
        """
        for carrier, options in (("full-cone", SEQUENTIAL), ("port-restricted-rst", TCP)):
            with self.subTest(carrier):
                network = self.build(f"port-restricted-rst/linux-masquerade/{carrier}")
                self.assertLess(self.meet(network, options), 10.0)

    def test_firewalls(self) -> None:
        """
        Public addresses of both families, behind firewalls that let in only who was sent to: the
        path is by IPv6.
        """
        for options in WAYS:
            with self.subTest(str(options)):
                network = self.build("firewalls:firewall/firewall")
                self.assertLess(self.meet(network, options), 0.5)
                self.assertIn(":", self.connected(network).remote.host)

    def test_brokenIPv6(self) -> None:
        """
        Where IPv6 reaches the service but not the other peer, IPv4 takes over: many addresses of
        IPv6 do not hold it up.
        """
        toService = tuple(
            Service(protocol, port)
            for protocol in (Protocol.TCP, Protocol.UDP)
            for port in (3478, 3479, 3480, 3481, 4460)
        )
        shut = attrs.evolve(NAMED_BEHAVIOURS["firewall"], outbound=toService)
        topology = Topology.parse("dual-stack:port-restricted/port-restricted")
        nats = tuple(attrs.evolve(nat, firewall=shut) for nat in topology.nats)
        hosts = tuple(
            host
            if host.behind is None
            else attrs.evolve(
                host,
                addresses=(
                    host.addresses[0],
                    *(f"{host.addresses[1]}{number}" for number in range(6)),
                ),
            )
            for host in topology.hosts
        )
        for options in WAYS:
            with self.subTest(str(options)):
                network = self.build(attrs.evolve(topology, nats=nats, hosts=hosts))
                self.assertLess(self.meet(network, options), 0.5)
                self.assertNotIn(":", self.connected(network).remote.host)

    def test_longWay(self) -> None:
        """
        With 600 ms each way, a session takes no more round trips than elsewhere; where a NAT
        refuses the SYN that opens the hole, one side after the other takes longer.
        """
        for pair, rude in (
            ("port-restricted/port-restricted", False),
            ("symmetric-random/address-restricted", False),
            ("port-restricted-rst/linux-masquerade", True),
        ):
            for options in WAYS:
                with self.subTest(f"{pair} {options}"):
                    topology = wayOut(Topology.parse(pair), LinkSpec(latency=0.3))
                    trips = self.meet(self.build(topology), options) / 1.2
                    self.assertLess(trips, 12.0 if rude and options is SEQUENTIAL else 3.2)

    def test_loss(self) -> None:
        """
        With nearly a third of all packets lost, on the way to the service, too, UDP finds its path.
        """
        link = LinkSpec(latency=0.02, loss=0.16)
        for pair in ("port-restricted/port-restricted", "symmetric-random/address-restricted"):
            for seed in range(8):
                with self.subTest(f"{pair} {seed}"):
                    self.meet(self.build(wayOut(Topology.parse(pair), link), seed), UDP)

    def test_crossing(self) -> None:
        """
        Where each side's SYN comes from another port than the one to which the other's goes, the
        two connections that are made at once do not end each other.
        """

        def nat(ports: PortAllocation, unsolicited: Unsolicited) -> NATBehaviour:
            return NATBehaviour(
                mapping=Mapping.ADDRESS_DEPENDENT,
                filtering=Filtering.ENDPOINT_INDEPENDENT,
                ports=ports,
                unsolicited=unsolicited,
            )

        kept = nat(PortAllocation.PRESERVED, Unsolicited.RST)
        changed = nat(PortAllocation.SEQUENTIAL, Unsolicited.DROP)
        for seed in range(12):
            for options in (TCP, SEQUENTIAL):
                with self.subTest(f"{seed} {options}"):
                    link = LinkSpec(latency=0.005 * (seed + 1))
                    network = self.build(Topology.twoNATs(kept, changed, link), seed)
                    roundTrip = 8 * link.latency
                    self.assertLess(self.meet(network, options), 0.5 + 5 * roundTrip)
