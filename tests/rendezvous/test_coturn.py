"""
coturn's own clients against our assist listeners, on loopback.
"""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from holepunch.address import TransportAddress
from holepunch.errors import CannotListen
from holepunch.rendezvous import RendezvousService
from tests.rendezvous.network import SERVICE
from tests.rendezvous.test_service import asynchronous

reactor: Any = _reactor
PRIMARY, OTHER = "127.0.0.1", "127.0.0.2"


class CoturnTests(TestCase):
    """
    C{turnutils_stunclient} and C{turnutils_natdiscovery}; the tests fail where coturn is missing.
    """

    timeout = 30.0

    def setUp(self) -> None:
        for _ in range(20):
            self.ports = random.sample(range(20000, 30000), 2)
            service = RendezvousService(
                reactor,
                SERVICE,
                main=[f"tcp:0:interface={PRIMARY}"],
                assist=[
                    TransportAddress(PRIMARY, self.ports[0]),
                    TransportAddress(OTHER, self.ports[1]),
                ],
            )
            try:
                service.startService()
            except CannotListen:
                continue
            self.addCleanup(service.stopService)
            return
        self.fail("no free ports")

    async def coturn(self, program: str, *options: str) -> list[str]:
        """
        Run one of coturn's programs against the primary listener.
        """
        arguments = [*options, "-p", str(self.ports[0]), PRIMARY]
        running: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
            f"/usr/bin/{program}", arguments
        )
        out, err, _ = await running
        return (out + err).decode("utf-8", "replace").splitlines()

    def assertSaid(self, lines: list[str], *words: str) -> None:
        for word in words:
            self.assertTrue(any(word in line for line in lines), f"{word!r} is not in {lines}")

    @asynchronous
    async def test_stunclient(self) -> None:
        """
        The client is told its own address, by the listener it asked and by the one with neither the
        same host nor the same port.
        """
        lines = await self.coturn("turnutils_stunclient", "-f")
        self.assertSaid(
            lines,
            f"UDP reflexive addr: {PRIMARY}:",
            f"Response origin: : {PRIMARY}:{self.ports[0]}",
            f"Other addr: : {OTHER}:{self.ports[1]}",
            f"Response origin: : {OTHER}:{self.ports[1]}",
            "RFC 5780 response 3",
        )

    @asynchronous
    async def test_mapping(self) -> None:
        """
        Without a NAT, mapping discovery finds an endpoint-independent mapping.
        """
        lines = await self.coturn("turnutils_natdiscovery", "-m", "-L", PRIMARY)
        self.assertSaid(lines, "No NAT!", "NAT with Endpoint Independent Mapping!")

    @asynchronous
    async def test_filtering(self) -> None:
        """
        Without a NAT, filtering discovery gets answers from an address that it never asked.
        """
        lines = await self.coturn("turnutils_natdiscovery", "-f", "-L", PRIMARY)
        self.assertSaid(lines, "NAT with Endpoint Independent Filtering!")

    @asynchronous
    async def test_padding(self) -> None:
        """
        The listeners bear requests that fill a packet.
        """
        lines = await self.coturn("turnutils_natdiscovery", "-m", "-P", "-L", PRIMARY)
        self.assertSaid(lines, "NAT with Endpoint Independent Mapping!")
