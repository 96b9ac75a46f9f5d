"""
Our peers through coturn, beside the service: in kernel namespaces.
"""

from __future__ import annotations

import os
import shutil

from holepunch.nat import Protocol
from tests.acceptance.stage import Program, StageTestCase

DATA = os.urandom(200_000)
SECRET = "not for anybody"
REALM = "rendezvous.example.org"
PORT = 3490


class ExternalRelayTests(StageTestCase):
    """
    The service has no relay of its own, but shares a secret with coturn.
    """

    async def startService(self) -> None:
        """
        Run coturn, and the service, on different addresses of one host.
        """
        path = shutil.which("turnserver")
        assert path is not None, "turnserver is missing: install coturn to run this test"
        first, second = self.serviceHosts
        self.coturn = self.spawn(
            "rendezvous",
            path,
            *("-n", "--log-file=stdout", "--verbose", "--no-cli", "--no-tls", "--no-dtls"),
            *("--listening-ip", second, "--relay-ip", second, "--listening-port", str(PORT)),
            *("--use-auth-secret", f"--static-auth-secret={SECRET}", f"--realm={REALM}"),
            f"--userdb={(self.folder / 'turndb').resolve()}",
            f"--pidfile={(self.folder / 'coturn.pid').resolve()}",
        )
        await self.coturn.untilOutput(b"SQLite DB connection success")
        secret = self.folder / "secret"
        secret.write_text(f"{SECRET}\n")
        self.service = self.spawn(
            "rendezvous",
            self.twistd,
            "-n",
            "--pidfile=",
            "holepunch",
            *("--identity", str((self.folder / "service.pem").resolve())),
            *("--assist", f"{first}:3478", "--assist", f"{second}:3479"),
            *("--relay-external", f"turn:{second}:{PORT}"),
            *("--relay-external", f"turn:{second}:{PORT}?transport=tcp"),
            *("--relay-secret", str(secret.resolve()), "--relay-realm", REALM),
        )
        await self.service.untilOutput(b"assist listener")

    async def start(self, topology: str) -> None:
        await self.build(topology)
        await self.listen("--keep", "--echo")

    def paths(self, program: Program) -> list[str]:
        return [
            event["path"] for event in program.events if event["event"] in ("connected", "moved")
        ]

    async def test_relayed(self) -> None:
        """
        Where no direct path exists, coturn carries the data of both sides.
        """
        await self.start("symmetric-random/symmetric-random")
        connected = await self.exchange(DATA)
        self.assertEqual((connected["path"], connected["candidate"]), ("relay", "relay"))
        for end in ("local", "remote"):
            self.assertTrue(connected[end].startswith(f"{self.serviceHosts[1]}:"), connected)
        self.assertIn(b"ALLOCATE processed, success", self.coturn.output)

    async def test_overTCP(self) -> None:
        """
        A network that blocks UDP reaches it by TCP.
        """
        await self.build("symmetric-random/symmetric-random")
        await self.lab.blockNAT("nat-alice", Protocol.UDP)
        await self.listen("--keep", "--echo")
        self.assertEqual((await self.exchange(DATA))["path"], "relay")

    async def test_upgrade(self) -> None:
        """
        What has a direct path leaves coturn for it, and loses nothing.
        """
        await self.start("port-restricted/port-restricted")
        program = self.holepunch("alice", "connect", "bob")
        program.write(DATA)
        await program.until(lambda: self.paths(program)[-1:] == ["direct"])
        program.write(DATA)
        program.closeInput()
        self.assertEqual(await program.end(), 0, program.errors)
        self.assertEqual(program.output, DATA + DATA)
