"""
Data through punched connections: much of it, both ways, and for programs that know nothing of us.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from tests.acceptance.stage import ROOT, Program, StageTestCase

SIZE = 100_000_000


def digest(path: Path) -> str:
    """
    The checksum of a file.
    """
    sum = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            sum.update(block)
    return sum.hexdigest()


class TransferTests(StageTestCase):
    """
    Through two port-restricted NATs.
    """

    def makeFile(self, name: str) -> Path:
        """
        A file of bytes at random.
        """
        path = self.folder / name
        block = os.urandom(1_000_000)
        with path.open("wb") as opened:
            for number in range(SIZE // len(block)):
                opened.write(block[number:] + block[:number])
        return path

    async def test_bothWays(self) -> None:
        """
        listen and connect carry 100 MB each way at once, intact; each side's end of data is told to
        the other while data still flows the other way.
        """
        await self.build("port-restricted/port-restricted")
        near, far = self.makeFile("near"), self.makeFile("far")
        bob = self.shell("bob", "listen --name bob", far, self.folder / "at-bob")
        await bob.untilEvent("listening")
        alice = self.shell("alice", "connect bob", near, self.folder / "at-alice")
        self.assertEqual(await alice.end(patience=120.0), 0, alice.errors)
        self.assertEqual(await bob.end(), 0, bob.errors)
        self.assertEqual(digest(self.folder / "at-bob"), digest(near))
        self.assertEqual(digest(self.folder / "at-alice"), digest(far))

    def shell(self, host: str, command: str, source: Path, target: Path) -> Program:
        """
        Start a command of ours with files as its standard input and output.
        """
        line = f'exec "$0" -m holepunch {command} --json < "$1" > "$2"'
        paths = (str(source.resolve()), str(target.resolve()))
        return self.spawn(host, "sh", "-c", line, sys.executable, *paths)


class EndpointStringTests(StageTestCase):
    """
    The C{holepunch:} endpoint strings.
    """

    async def test_web(self) -> None:
        """
        An unchanged C{twistd web} behind one NAT is fetched from behind another.
        """
        await self.build("port-restricted/port-restricted")
        site = self.folder / "site"
        site.mkdir()
        (site / "page.html").write_text("through two NATs")
        endpoint = f"holepunch:name=web:rendezvous={self.serviceHosts[0]}"
        server = self.spawn(
            "bob", self.twistd, "-n", "--pidfile=", "web", "--path", str(site), "--listen", endpoint
        )
        await self.service.untilOutput(b"registered as web")
        client = self.spawn(
            "alice", sys.executable, str(ROOT / "tests/acceptance/fetch.py"), "holepunch:web"
        )
        self.assertEqual(await client.end(), 0, client.errors + server.output[-3000:])
        self.assertEqual(client.output, b"through two NATs" * 3)
        self.assertIsNone(server.status)
