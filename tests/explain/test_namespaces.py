"""
Traces of real programs in kernel namespaces, explained by the command.
"""

from __future__ import annotations

import json
from typing import Any

from holepunch.explain import Cause
from holepunch.nat.packet import Protocol
from tests.acceptance.stage import StageTestCase


class NamespaceTests(StageTestCase):
    """
    What the lab injects is what the command names.
    """

    async def explained(self, *arguments: str) -> dict[str, Any]:
        """
        Let alice ping bob, end both, and explain their traces.
        """
        traces = [str((self.folder / f"{name}.trace").resolve()) for name in ("alice", "bob")]
        bob = await self.listen("--keep", "--echo", "--trace", traces[1])
        alice = self.holepunch(
            "alice", "ping", "bob", "-c", "1", "--timeout", "6", "--trace", traces[0], *arguments
        )
        await alice.end()
        bob.transport.signalProcess("TERM")  # type: ignore[union-attr]
        await bob.end()
        return await self.explain(*traces)

    async def explain(self, *traces: str) -> dict[str, Any]:
        """
        Run the command.
        """
        program = self.holepunch("rendezvous", "explain", *traces)
        self.assertEqual(await program.end(), 0, program.errors)
        told: dict[str, Any] = json.loads(program.output)
        return told

    async def test_connected(self) -> None:
        """
        Two cones connect, by UDP and by TCP.
        """
        await self.build("port-restricted/port-restricted")
        for transport in ("udp", "tcp"):
            told = await self.explained("--transport", transport)
            self.assertEqual(told["cause"], Cause.CONNECTED.value, told)
            self.assertEqual((told["complete"], told["limits"]), (True, []))

    async def test_symmetric(self) -> None:
        """
        Two symmetric NATs map by destination.
        """
        await self.build("symmetric-random/symmetric-random")
        told = await self.explained("--transport", "udp")
        self.assertEqual(told["cause"], Cause.BOTH_MAP_BY_DESTINATION.value, told)
        self.assertEqual(len({each["peer"] for each in told["evidence"]}), 2, told)

    async def test_blocked(self) -> None:
        """
        A NAT that drops UDP is found on the right side.
        """
        await self.build("port-restricted/port-restricted")
        await self.lab.blockNAT("nat-bob", Protocol.UDP)
        told = await self.explained("--transport", "udp")
        self.assertEqual(told["cause"], Cause.UDP_BLOCKED.value, told)
        self.assertIn("at bob", told["sentences"][0])
