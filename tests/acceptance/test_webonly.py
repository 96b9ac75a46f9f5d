"""
Networks that let nothing out but TLS to port 443, by the product's own commands: in kernel
namespaces.
"""

from __future__ import annotations

import os

from tests.acceptance.stage import StageTestCase

DATA = os.urandom(200_000)


class WebOnlyTests(StageTestCase):
    """
    The service has its main listener on port 443 of one address, and the relay's TLS on that of the
    other one.
    """

    @property
    def location(self) -> str:
        return f"{self.serviceHosts[0]}:443"

    async def startService(self) -> None:
        """
        As the operators' guide has it.
        """
        first, second = self.serviceHosts
        self.service = self.spawn(
            "rendezvous",
            self.twistd,
            "-n",
            "--pidfile=",
            "holepunch",
            *("--identity", str((self.folder / "service.pem").resolve())),
            *("--main", f"tcp:443:interface={first}", "--main", "tcp:4460"),
            *("--assist", f"{first}:3478", "--assist", f"{second}:3479"),
            *("--relay", f"{second}:3481", "--relay-tls", "443"),
        )
        await self.service.untilOutput(b"assist listener")

    async def start(self, topology: str) -> None:
        await self.build(topology)
        await self.listen("--keep", "--echo")

    async def test_both(self) -> None:
        """
        Two peers in such networks connect, by the relay.
        """
        await self.start("corporate-firewall/corporate-firewall")
        connected = await self.exchange(DATA)
        self.assertEqual((connected["path"], connected["candidate"]), ("relay", "relay"))

    async def test_one(self) -> None:
        """
        So do one in such a network and one at home, whoever asks.
        """
        await self.start("home-router/corporate-firewall")
        self.assertEqual((await self.exchange(DATA))["path"], "relay")
