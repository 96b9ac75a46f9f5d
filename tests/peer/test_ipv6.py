"""
Sessions over IPv6, and of hosts with two interfaces, in the simulated internet.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.lab import LinkSpec, Topology
from holepunch.lab.serving import serviceAddresses
from holepunch.nat import NAMED_BEHAVIOURS, Protocol
from holepunch.peer import SessionOptions
from holepunch.peer.events import Connected
from holepunch.rendezvous.service import RendezvousService

from .network import EchoFactory, Network, RecorderFactory

ALICE_6 = "2001:db8:1::10"
BOB_6 = "2001:db8:2::10"


class DualStackNetwork(Network):
    """
    A network whose service is reached over IPv6 as well.
    """

    def startService(self, registry: Any = None) -> None:
        host = self.internet.host("rendezvous")
        self.service = RendezvousService(
            host.reactor,
            self.serviceIdentity,
            main=("tcp:4460", "tcp6:4460"),
            assist=[
                TransportAddress(address, 3478 + index % 2)
                for index, address in enumerate(host.addresses)
            ],
            registry=registry,
        )
        self.service.startService()

    @property
    def location(self) -> str:
        first = serviceAddresses(self.internet.fabric.topology)[0]
        host = f"[{first}]" if ":" in first else first
        return f"{self.serviceIdentity.peerID}@{host}"


class SessionTests(SynchronousTestCase):
    """
    Alice connects to bob, who echoes.
    """

    def build(self, topology: Topology | str) -> None:
        """
        Begin anew.
        """
        self.network = DualStackNetwork(topology)
        self.addCleanup(self.network.stop)

    def path(self, transport: Transport = Transport.TCP) -> Connected:
        """
        Connect, and let an echo come back.
        """
        network = self.network
        options = SessionOptions(transports=frozenset({transport}))
        alice, bob = network.peer("alice"), network.peer("bob", name="bob")
        network.listen(bob, EchoFactory())
        factory = RecorderFactory()
        client: Any = network.waitFor(alice.connectEndpoint("bob", options).connect(factory))
        client.transport.write(b"x" * 10_000)
        network.waitFor(client.whenReceived(10_000))
        (connected,) = (each for each in network.events["alice"] if isinstance(each, Connected))
        self.assertEqual((connected.path, connected.transport), ("direct", transport))
        return connected

    def hosts(self, connected: Connected) -> tuple[str, str]:
        """
        Between which hosts the path is.
        """
        return connected.local.host, connected.remote.host

    def test_firewalls(self) -> None:
        """
        Two stateful firewalls are passed without any IPv4, over TCP and UDP.
        """
        for transport in Transport:
            self.build("ipv6:firewall/firewall")
            self.assertEqual(self.hosts(self.path(transport)), (ALICE_6, BOB_6))

    def test_preferred(self) -> None:
        """
        With both, IPv6 wins, even where IPv4 could not work at all.
        """
        for name in ("full-cone", "symmetric-random"):
            for transport in Transport:
                self.build(f"dual-stack:{name}/{name}")
                self.assertEqual(self.hosts(self.path(transport)), (ALICE_6, BOB_6))

    def test_blocked(self) -> None:
        """
        Where IPv6 leads nowhere, IPv4 does.
        """
        for transport in Transport:
            topology = Topology.parse("dual-stack:port-restricted/port-restricted")
            closed = attrs.evolve(NAMED_BEHAVIOURS["firewall"], maxSessions=1)
            nats = tuple(attrs.evolve(nat, firewall=closed) for nat in topology.nats)
            self.build(attrs.evolve(topology, nats=nats))
            # The only session that the firewall can have is taken.
            for name in ("alice", "bob"):
                host = self.network.internet.host(name)
                host.ping("2001:db8:5:2::1", patience=0.1).addErrback(lambda _: None)
            connected = self.path(transport)
            self.assertEqual(self.hosts(connected), ("192.168.1.10", "31.2.0.1"))

    def test_onlyOne(self) -> None:
        """
        A peer that has only IPv4 is reached over that.
        """
        topology = Topology.parse("dual-stack:port-restricted/full-cone")
        hosts = tuple(
            attrs.evolve(host, addresses=host.addresses[:1]) if host.name == "bob" else host
            for host in topology.hosts
        )
        self.build(attrs.evolve(topology, hosts=hosts))
        self.assertEqual(self.hosts(self.path()), ("192.168.1.10", "31.2.0.1"))

    def test_shortPath(self) -> None:
        """
        A tunnel that swallows what is longer than 1280 bytes is no obstacle to QUIC.
        """
        topology = Topology.parse("ipv6:firewall/firewall")
        link = LinkSpec(mtu=1280, isBlackHole=True)
        nats = tuple(attrs.evolve(nat, link=link) for nat in topology.nats)
        self.build(attrs.evolve(topology, nats=nats))
        self.assertEqual(self.hosts(self.path(Transport.UDP)), (ALICE_6, BOB_6))

    def test_interfaces(self) -> None:
        """
        Of two interfaces the one is taken whose NAT lets a path come about.
        """
        for transport in Transport:
            self.build("two-interfaces:symmetric-random/symmetric-random/full-cone")
            connected = self.path(transport)
            self.assertEqual(self.hosts(connected)[0], "10.64.0.10")

    def test_deadInterface(self) -> None:
        """
        An interface whose NAT lets nothing out stops nothing.
        """
        self.build("two-interfaces:port-restricted/port-restricted/full-cone")
        for protocol in (Protocol.UDP, Protocol.TCP):
            self.network.internet.fabric.nat("nat-mobile").block(protocol)
        self.assertEqual(self.hosts(self.path())[0], "192.168.1.10")
