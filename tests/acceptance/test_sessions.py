"""
Sessions through real NATs: every pair of cones, the kernel's masquerade, one LAN, decoys, one
public side.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from holepunch.lab.topology import Topology
from holepunch.nat import NAMED_BEHAVIOURS
from tests.acceptance.stage import ROOT, StageTestCase

DATA = os.urandom(100_000)
CONES = ("full-cone", "address-restricted", "port-restricted")


class ConnectivityTestCase(StageTestCase):
    """
    Both transports, both flows of TCP, and streams over each.
    """

    async def assertConnects(self, topology: Topology | str) -> list[dict[str, Any]]:
        """
        Alice reaches bob directly in every way.

        @return: The events that tell of the paths.
        """
        await self.build(topology)
        await self.listen("--keep", "--echo")
        return await self.connectInEveryWay()

    async def connectInEveryWay(self) -> list[dict[str, Any]]:
        connected = [
            await self.exchange(DATA, "--transport", "tcp"),
            await self.exchange(DATA, "--transport", "tcp", "--tcp-flow", "sequential"),
            await self.exchange(DATA, "--transport", "udp"),
            await self.ping("--transport", "udp"),
        ]
        self.assertEqual([event["path"] for event in connected], ["direct"] * 4)
        self.assertEqual([event["transport"] for event in connected], ["tcp", "tcp", "udp", "udp"])
        return connected


class ConePairTests(ConnectivityTestCase):
    """
    All pairs of NATs that map independently of the endpoint.
    """


def _makePairTest(alice: str, bob: str) -> Any:
    async def test(self: ConnectivityTestCase) -> None:
        await self.assertConnects(f"{alice}/{bob}")

    test.__doc__ = f"""
    {alice} meets {bob}, by TCP in both flows and by UDP.
    """
    return test


for _alice in CONES:
    for _bob in CONES:
        _name = f"test_{_alice}_{_bob}".replace("-", "")
        setattr(ConePairTests, _name, _makePairTest(_alice, _bob))


class OtherNetworkTests(ConnectivityTestCase):
    """
    Networks that are not a pair of cones.
    """

    async def test_kernelMasquerade(self) -> None:
        """
        Two NATs that are the kernel's own masquerade let both transports and both flows through.
        """
        await self.assertConnects("kernel/kernel")

    async def test_sameLAN(self) -> None:
        """
        Two peers on one LAN take the private path.
        """
        for event in await self.assertConnects("port-restricted"):
            self.assertEqual(event["candidate"], "host")
            self.assertTrue(event["remote"].startswith("192.168."), event)

    async def test_publicBob(self) -> None:
        """
        The side behind the NAT reaches a public one.
        """
        await self.assertConnects("symmetric-random/none")

    async def test_publicAlice(self) -> None:
        """
        The public side reaches one behind a NAT, which connects in reverse.
        """
        await self.assertConnects("none/symmetric-random")

    async def test_decoys(self) -> None:
        """
        Strangers at the private addresses, who accept every connection and answer every datagram,
        are not taken for the peer.
        """
        cone = NAMED_BEHAVIOURS["port-restricted"]
        await self.build(Topology.sameSubnet(cone, cone))
        for host in ("decoy-alice", "decoy-bob"):
            decoy = self.spawn(host, sys.executable, str(ROOT / "tests/acceptance/decoy.py"))
            await decoy.untilOutput(b"ready")
        await self.listen("--keep", "--echo")
        for event in await self.connectInEveryWay():
            self.assertFalse(event["remote"].startswith("192.168."), event)


class StayingTests(StageTestCase):
    """
    A path that is up stays up.
    """

    async def test_serviceStopped(self) -> None:
        """
        The service is stopped after the connection, and data still flows.
        """
        await self.build("port-restricted/port-restricted")
        await self.listen("--keep", "--echo")
        program = self.holepunch("alice", "connect", "bob")
        program.write(b"before\n")
        await program.until(lambda: program.output == b"before\n")
        await self.service.kill()
        program.write(b"after\n")
        program.closeInput()
        self.assertEqual(await program.end(), 0, program.errors)
        self.assertEqual(program.output, b"before\nafter\n")

    async def test_silence(self) -> None:
        """
        A UDP path survives 60 seconds of silence on NATs that forget after 20.
        """
        await self.build("port-restricted-impatient/port-restricted-impatient")
        await self.listen("--keep", "--echo")
        program = self.holepunch(
            "alice", "ping", "bob", "--transport", "udp", "-c", "2", "--interval", "60"
        )
        self.assertEqual(await program.end(patience=120.0), 0, program.errors)
        self.assertIn(b'"received": 2', program.output)
