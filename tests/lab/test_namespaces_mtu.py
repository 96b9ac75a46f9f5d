"""
Tests for the lab of kernel namespaces: short links, and fragments, as the kernel's own UDP and TCP
meet them.
"""

from __future__ import annotations

import errno
import socket

import attrs

from holepunch.address import TransportAddress
from holepunch.lab.simulatedpathmtu import (
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_PROBE,
)
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Fragments

from .kernel import SERVER, LabTestCase, accepted, connected, readable

SHORT = LinkSpec(latency=0.001, mtu=1280)
LONGEST = 65535


class MTUTests(LabTestCase):
    """
    Alice behind a NAT with a link of its own.
    """

    async def build(
        self, nat: LinkSpec = SHORT, fragments: Fragments = Fragments.FORWARD, kernel: bool = False
    ) -> None:
        behaviour = attrs.evolve(NAMED_BEHAVIOURS["port-restricted"], fragments=fragments)
        topology = Topology.twoNATs(behaviour, None, LinkSpec(latency=0.001))
        nats = tuple(attrs.evolve(each, link=nat, isKernel=kernel) for each in topology.nats)
        await self.start(attrs.evolve(topology, nats=nats))
        self.server = await self.bound("rendezvous", local=SERVER)
        self.client = await self.bound("alice")

    def discover(self, mode: int) -> None:
        self.client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mode)

    async def arrives(self, size: int) -> bool:
        """
        Does a datagram of that size arrive, whole?
        """
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        self.client.sendto(data, (SERVER.host, SERVER.port))
        if not await self.hears(self.server):
            return False
        arrived, self.source = self.server.recvfrom(LONGEST)
        return arrived == data

    async def returns(self, size: int) -> bool:
        """
        Does a datagram of that size come back?
        """
        self.server.sendto(bytes(size), self.source)
        return await self.hears(self.client) and len(self.client.recv(LONGEST)) == size

    async def test_told(self) -> None:
        """
        The kernel believes the lab's ICMP errors: the second long datagram leaves in fragments.
        """
        await self.build()
        self.assertFalse(await self.arrives(1400))
        self.assertTrue(await self.arrives(1400))
        self.assertFalse(await self.returns(1400))
        self.assertTrue(await self.returns(1400))
        self.discover(IP_PMTUDISC_DO)
        with self.assertRaises(OSError) as caught:
            await self.arrives(1400)
        self.assertEqual(caught.exception.errno, errno.EMSGSIZE)
        self.client.connect((SERVER.host, SERVER.port))
        self.assertEqual(self.client.getsockopt(socket.IPPROTO_IP, IP_MTU), 1280)

    async def test_kernelNAT(self) -> None:
        """
        A NAT that is the kernel's own tells of the MTU of its link itself.
        """
        await self.build(kernel=True)
        self.assertFalse(await self.arrives(1400))
        self.assertTrue(await self.arrives(1400))
        self.assertTrue(await self.arrives(9000))

    async def test_blackHole(self) -> None:
        """
        On a black hole, what may not be cut vanishes; what may, passes.
        """
        await self.build(LinkSpec(latency=0.001, mtu=1280, isBlackHole=True))
        self.discover(IP_PMTUDISC_PROBE)
        self.assertFalse(await self.arrives(1400))
        self.assertFalse(await self.arrives(1400))
        self.assertTrue(await self.arrives(1252))
        self.discover(IP_PMTUDISC_DONT)
        self.assertTrue(await self.arrives(1400))

    async def test_fragments(self) -> None:
        """
        Datagrams of many fragments cross a NAT and a shorter link in both directions.
        """
        await self.build()
        self.discover(IP_PMTUDISC_DONT)
        for size in (2000, 9000, 65507):
            self.assertTrue(await self.arrives(size), size)
            await self.returns(1400)
            self.assertTrue(await self.returns(size), size)

    async def test_dropped(self) -> None:
        """
        A NAT that lets no fragments pass does so here as well.
        """
        await self.build(LinkSpec(latency=0.001), Fragments.DROP)
        self.assertTrue(await self.arrives(1400))
        self.assertFalse(await self.arrives(2000))

    async def test_ownInterface(self) -> None:
        """
        A host's interface has the MTU of its link, also when that changes.
        """
        await self.build(LinkSpec(latency=0.001))
        self.assertIn(b"mtu 1500", await self.lab.run("alice", ["ip", "link", "show", "eth0"]))
        await self.lab.setLink("alice", SHORT)
        self.assertIn(b"mtu 1280", await self.lab.run("alice", ["ip", "link", "show", "eth0"]))
        self.assertTrue(await self.arrives(1400))

    async def test_stream(self) -> None:
        """
        TCP goes on in shorter segments.
        """
        await self.build()
        listener = await self.listening("rendezvous", TransportAddress("5.1.0.1", 80))
        sender = await self.bound("alice", socket.SOCK_STREAM)
        self.assertEqual(await connected(sender, TransportAddress("5.1.0.1", 80)), 0)
        connection, _ = await accepted(listener)
        self.addCleanup(connection.close)
        self.assertEqual(sender.send(bytes(50_000)), 50_000)
        arrived = 0
        while arrived < 50_000:
            await readable(connection)
            arrived += len(connection.recv(LONGEST))
