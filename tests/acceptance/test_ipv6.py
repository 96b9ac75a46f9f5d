"""
Acceptance tests: sessions over IPv6, and of hosts with two interfaces, in kernel namespaces.
"""

from __future__ import annotations

import attrs

from holepunch.address import joinHostPort
from holepunch.lab.serving import serviceAddresses
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS

from .stage import StageTestCase

ALICE_6 = "[2001:db8:1::10]:"
BOB_6 = "[2001:db8:2::10]:"
QUICK = LinkSpec(latency=0.01)


class DualStackTests(StageTestCase):
    """
    Commands on hosts with IPv6.
    """

    async def startService(self) -> None:
        """
        Run the service on all addresses of its host.
        """
        self.serviceHosts = serviceAddresses(self.lab.topology)
        assist = [
            f"--assist={joinHostPort(host, 3478 + index % 2)}"
            for index, host in enumerate(self.serviceHosts)
        ]
        identity = str((self.folder / "service.pem").resolve())
        self.service = self.spawn(
            "rendezvous",
            self.twistd,
            *("-n", "--pidfile=", "holepunch", "--main=tcp6:4460", f"--identity={identity}"),
            *assist,
        )
        await self.service.untilOutput(b"assist listener")

    async def between(self, topology: Topology | str, transport: str) -> tuple[str, str]:
        """
        Between which addresses the path is that comes about.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology, QUICK)
        await self.build(topology)
        await self.listen("--echo")
        if transport == "tcp":
            connected = await self.exchange(b"hello over IPv6 " * 1000, "--transport", "tcp")
        else:
            connected = await self.ping("--transport", transport)
        self.assertEqual((connected["path"], connected["transport"]), ("direct", transport))
        return connected["local"], connected["remote"]

    async def test_firewalls(self) -> None:
        """
        Two stateful firewalls are passed over TCP without any IPv4.
        """
        local, remote = await self.between("ipv6:firewall/firewall", "tcp")
        self.assertTrue(local.startswith(ALICE_6) and remote.startswith(BOB_6), (local, remote))

    async def test_firewallsByUDP(self) -> None:
        """
        So they are over UDP, even if the way swallows what is longer than 1280 bytes.
        """
        topology = Topology.parse("ipv6:firewall/firewall", QUICK)
        link = attrs.evolve(QUICK, mtu=1280, isBlackHole=True)
        nats = tuple(attrs.evolve(nat, link=link) for nat in topology.nats)
        local, remote = await self.between(attrs.evolve(topology, nats=nats), "udp")
        self.assertTrue(local.startswith(ALICE_6) and remote.startswith(BOB_6), (local, remote))

    async def test_preferred(self) -> None:
        """
        Where both would do, IPv6 wins.
        """
        local, remote = await self.between("dual-stack:port-restricted/kernel", "tcp")
        self.assertTrue(local.startswith(ALICE_6) and remote.startswith(BOB_6), (local, remote))

    async def test_blocked(self) -> None:
        """
        Where IPv6 leads to the service and nowhere else, IPv4 does.
        """
        topology = Topology.parse("dual-stack:port-restricted/kernel", QUICK)
        # A firewall that has nobody's answer in: what it sent for is forgotten at once.
        closed = attrs.evolve(
            NAMED_BEHAVIOURS["firewall"], tcpTransitoryTimeout=0.001, udpTimeout=0.001
        )
        nats = tuple(
            attrs.evolve(nat, firewall=closed) if nat.name == "nat-alice" else nat
            for nat in topology.nats
        )
        for transport in ("tcp", "udp"):
            topology = attrs.evolve(topology, nats=nats)
            local, remote = await self.between(topology, transport)
            self.assertTrue(local.startswith("192.168.1.10:"), local)
            self.assertTrue(remote.startswith("31.2.0.1:"), remote)
            await self._clear()

    async def test_interfaces(self) -> None:
        """
        Of two interfaces the one is taken whose NAT lets a path come about.
        """
        for transport in ("tcp", "udp"):
            topology = "two-interfaces:symmetric-random/symmetric-random/full-cone"
            local, _ = await self.between(Topology.parse(topology, QUICK), transport)
            self.assertTrue(local.startswith("10.64.0.10:"), local)
            await self._clear()
