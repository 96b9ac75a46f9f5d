"""
Tests for the lab of kernel namespaces: changing the network while it runs.
"""

from __future__ import annotations

from holepunch.address import TransportAddress
from holepunch.errors import LabError
from holepunch.lab.enginelink import PacketNews
from holepunch.lab.fabric import Fate
from holepunch.lab.topology import LinkSpec
from holepunch.nat import DropReason, Protocol

from .kernel import SERVER, LabTestCase, received, until

MAPPED = TransportAddress("31.1.0.1", 4000)


class NATTests(LabTestCase):
    """
    NATs that change.
    """

    async def checkForgets(self, kind: str) -> None:
        """
        After a flush, what was let in before is not.
        """
        await self.start(f"{kind}/none")
        self.assertEqual(await self.mapped("alice", 4000), MAPPED)
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice", local=4000)
        server.sendto(b"welcome", (MAPPED.host, MAPPED.port))
        await received(client)
        await self.lab.flushNAT("nat-alice")
        server.sendto(b"welcome", (MAPPED.host, MAPPED.port))
        self.assertFalse(await self.hears(client))

    async def test_flush(self) -> None:
        """
        A model NAT forgets its mappings when told to.
        """
        await self.checkForgets("full-cone")
        self.assertEqual(await self.lab.mappings("nat-alice"), ())

    async def test_kernelFlush(self) -> None:
        """
        So does the kernel.
        """
        await self.checkForgets("kernel")

    async def checkMoves(self, kind: str) -> None:
        """
        After a rebind, packets come from another address, and the old one is nobody's.
        """
        await self.start(f"{kind}/none")
        self.assertEqual(await self.mapped("alice", 4000), MAPPED)
        await self.lab.rebindNAT("nat-alice", ["31.1.0.9"])
        self.assertEqual(await self.mapped("alice", 4000), TransportAddress("31.1.0.9", 4000))
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice", local=4000)
        server.sendto(b"welcome", (MAPPED.host, MAPPED.port))
        self.assertFalse(await self.hears(client))

    async def test_rebind(self) -> None:
        """
        A model NAT takes another external address.
        """
        await self.checkMoves("full-cone")

    async def test_kernelRebind(self) -> None:
        """
        So does the kernel.
        """
        await self.checkMoves("kernel")

    async def test_unknown(self) -> None:
        """
        A request that makes no sense is refused, and the lab goes on.
        """
        await self.start("none/none")
        for request in (
            self.lab.flushNAT("nat-alice"),
            self.lab.rebindNAT("alice", ["31.1.0.9"]),
            self.lab.block("carol"),
        ):
            with self.assertRaises(LabError):
                await request
        await self.mapped("alice", 4000)

    async def test_kernelMappings(self) -> None:
        """
        What the kernel has mapped can be read.
        """
        await self.start("kernel/none")
        await self.mapped("alice", 4000)
        (view,) = await self.lab.mappings("nat-alice")
        self.assertEqual(
            (view.protocol, view.internal, view.external, view.remotes),
            (Protocol.UDP, TransportAddress("192.168.1.10", 4000), MAPPED, (SERVER,)),
        )

    async def test_block(self) -> None:
        """
        A model NAT that blocks a protocol lets nothing of it through.
        """
        await self.start("full-cone/none")
        await self.lab.blockNAT("nat-alice", Protocol.UDP)
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice")
        client.sendto(b"hello", (SERVER.host, SERVER.port))
        self.assertFalse(await self.hears(server))
        await self.lab.unblockNAT("nat-alice", Protocol.UDP)
        client.sendto(b"hello", (SERVER.host, SERVER.port))
        self.assertTrue(await self.hears(server))


class WatchTests(LabTestCase):
    """
    Seeing what happens.
    """

    async def test_watch(self) -> None:
        """
        Who watches the lab hears of every step of a packet, and why it was dropped.
        """
        await self.start("port-restricted/none")
        seen: list[PacketNews] = []
        await self.lab.watch(seen.append)
        await self.mapped("alice", 4000)
        bob = await self.bound("bob", local=5000)
        bob.sendto(b"psst", (MAPPED.host, MAPPED.port))
        await until(lambda: bool(seen) and seen[-1].fate is Fate.DROPPED)
        self.assertEqual(
            [(news.place, news.fate) for news in seen],
            [
                ("alice", Fate.SENT),
                ("nat-alice", Fate.TRANSLATED),
                ("rendezvous", Fate.DELIVERED),
                ("bob", Fate.SENT),
                ("nat-alice", Fate.DROPPED),
            ],
        )
        self.assertEqual(seen[1].source, MAPPED)
        self.assertEqual(seen[-1].reason, DropReason.FILTERED.value)


class HostTests(LabTestCase):
    """
    Hosts whose connection changes.
    """

    async def test_block(self) -> None:
        """
        What is blocked is stopped and counted, and nothing else is, until it is unblocked.
        """
        await self.start("none/none")
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice")

        async def passes() -> bool:
            client.sendto(b"hello", (SERVER.host, SERVER.port))
            if await self.hears(server):
                server.recv(100)
                return True
            return False

        await self.lab.block("alice", Protocol.TCP)
        await self.lab.block("alice", remote="31.2.0.10")
        self.assertTrue(await passes())
        await self.lab.block("alice", Protocol.UDP)
        self.assertFalse(await passes())
        await self.lab.unblock("alice")
        self.assertTrue(await passes())
        await self.lab.block("alice")
        self.assertFalse(await passes())
        counters = await self.lab.counters("alice")
        self.assertEqual(counters["wire"]["blocked"], 2)

    async def test_move(self) -> None:
        """
        A host that moves has the address of its new network, and the way out of there.
        """
        await self.start("full-cone/full-cone")
        self.assertEqual(await self.mapped("alice", 4000), MAPPED)
        await self.lab.moveHost("alice", ["192.168.2.77"], "nat-bob")
        self.assertEqual((await self.mapped("alice", 4001)).host, "31.2.0.1")
        self.assertIn(b"192.168.2.77", await self.lab.run("alice", ["ip", "address"]))
        await self.lab.moveHost("alice", ["31.4.0.1"], None)
        self.assertEqual(await self.mapped("alice", 4002), TransportAddress("31.4.0.1", 4002))

    async def test_link(self) -> None:
        """
        A link that loses everything from now on does so, and counts it.
        """
        await self.start("none/none")
        await self.lab.setLink("alice", LinkSpec(loss=1.0))
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice")
        client.sendto(b"hello", (SERVER.host, SERVER.port))
        self.assertFalse(await self.hears(server))
        counters = await self.lab.counters("alice")
        self.assertEqual(counters["link"]["lost"], 1)
