"""
Tests for L{holepunch.tap}.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.identity import Identity
from holepunch.rendezvous import Authority, Limits, RendezvousService
from holepunch.rendezvous.fileregistry import FileRegistry
from holepunch.rendezvous.registry import MemoryRegistry
from holepunch.tap import Options, makeService
from tests.rendezvous.network import bindingRequest
from tests.test_plugin import ROOT
from tests.test_tls import certificateFor


class OptionsTests(SynchronousTestCase):
    """
    L{Options}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.identity = self.directory / "key.pem"

    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions([f"--identity={self.identity}", *words])
        return options

    def made(self, *words: str) -> dict[str, Any]:
        """
        What the service would be made with.
        """
        return dict(self.parse(*words).service.keywords)  # type: ignore[attr-defined]

    def config(self, text: str) -> str:
        file = self.directory / "config"
        file.write_text(text)
        return f"--config={file}"

    def assertUsage(self, fragment: str, *words: str) -> None:
        """
        Are these options refused, in one line that says what is wrong?
        """
        error = self.assertRaises(UsageError, self.parse, *words)
        self.assertIn(fragment, str(error))
        self.assertNotIn("\n", str(error))

    def test_defaults(self) -> None:
        """
        Without options the service listens where the documentation says.
        """
        made = self.made()
        self.assertEqual(made["main"], ["tcp:4460"])
        self.assertEqual(made["assist"], [TransportAddress("0.0.0.0", 3478)])
        self.assertEqual(made["keepaliveInterval"], 10.0)
        self.assertEqual(made["limits"], Limits())
        self.assertTrue(made["allowAnonymous"])
        self.assertIsNone(made["certified"])

    def test_auth(self) -> None:
        """
        Checkers come by Twisted's plugins, and ours; without one, everybody may register.
        """
        self.assertIsNone(self.made()["authority"])
        users = self.directory / "users"
        users.write_text("")
        made = self.made(f"--auth=scram:{users}", "--auth=memory:a:b", f"--names={users}s")
        self.assertIsInstance(made["authority"], Authority)
        made = self.made(self.config(f"[holepunch]\nauth =\n    scram:{users}\n    memory:a:b\n"))
        self.assertIsInstance(made["authority"], Authority)

    def test_authMistakes(self) -> None:
        """
        Checkers that are not there, or cannot check a login, are refused in one line.
        """
        users = self.directory / "users"
        self.assertUsage("there is no nonsense:", "--auth=nonsense:x")
        self.assertUsage("U:P", "--auth=memory:a")
        self.assertUsage("holepunch passwd", "--auth=anonymous")
        self.assertUsage("without --auth", f"--names={users}")
        users.write_text("alice:$6$salt$hash\n")
        self.assertUsage("hashed passwords", f"--auth=file:{users}")
        self.assertUsage("line 1 was not made by holepunch passwd", f"--auth=scram:{users}")

    def test_identity(self) -> None:
        """
        The identity is made when it is missing, and kept.
        """
        service = makeService(self.parse())
        assert isinstance(service, RendezvousService)
        first = Identity.load(self.identity).peerID
        self.parse()
        self.assertEqual(Identity.load(self.identity).peerID, first)

    def test_options(self) -> None:
        """
        Every option does what it says.
        """
        made = self.made(
            "--main=tcp:1:interface=127.0.0.1",
            "--main=tcp:2",
            "--assist=127.0.0.1:5",
            "--assist=127.0.0.2",
            "--advertise=127.0.0.1=203.0.113.1",
            "--keepalive=2.5",
            "--limit=connectionsPerAddress=7",
            "--limit=sessionLifetime=8.5",
            "--no-anonymous",
            "--registry=memory:",
        )
        self.assertEqual(made["main"], ["tcp:1:interface=127.0.0.1", "tcp:2"])
        self.assertEqual([str(each) for each in made["assist"]], ["127.0.0.1:5", "127.0.0.2:3478"])
        self.assertEqual(made["advertised"], {"127.0.0.1": "203.0.113.1"})
        self.assertEqual(made["keepaliveInterval"], 2.5)
        self.assertEqual(made["limits"], Limits(connectionsPerAddress=7, sessionLifetime=8.5))
        self.assertFalse(made["allowAnonymous"])

    def test_registry(self) -> None:
        """
        Names are kept in memory, or in a file.
        """
        self.assertIsInstance(self.made()["registry"], MemoryRegistry)
        registry = self.made(f"--registry=file:{self.directory}/names")["registry"]
        self.assertIsInstance(registry, FileRegistry)

    def test_certificate(self) -> None:
        """
        A certificate comes with its private key, in the same file or in another.
        """
        _, combined = certificateFor([x509.DNSName("a.example")], self.directory / "tls")
        self.assertIsNotNone(self.made(f"--certificate={combined}")["certified"])
        key = f"--private-key={combined}"
        self.assertIsNotNone(self.made(f"--certificate={combined}", key)["certified"])
        self.assertUsage("--private-key", key)
        self.assertUsage("none.pem", "--certificate=none.pem")

    def test_usage(self) -> None:
        """
        What makes no sense is refused in one sentence that names the option.
        """
        self.assertUsage("--assist", "--assist=somewhere:x")
        self.assertUsage("--assist", "--assist=a.example:3478")
        self.assertUsage("--main", "--main=tcp:x")
        self.assertUsage("--main", "--main=carrier-pigeon:1")
        self.assertUsage("--keepalive", "--keepalive=often")
        self.assertUsage("--keepalive", "--keepalive=0")
        self.assertUsage("--keepalive", "--keepalive=nan")
        self.assertUsage("--limit", "--limit=patience=5")
        self.assertUsage("--limit", "--limit=requestBurst=0")
        self.assertUsage("--limit", "--limit=requestBurst")
        self.assertUsage("--advertise", "--advertise=127.0.0.1")
        for word in ("redis://127.0.0.1", "file:", "file", "memory", "memory:x"):
            self.assertUsage("neither memory: nor file:PATH", f"--registry={word}")
        self.assertUsage("no such folder", f"--registry=file:{self.directory}/no/names")
        self.assertUsage("--nonsense", "--nonsense")
        self.assertUsage("identity", f"--identity={self.directory}")

    def test_nothingMade(self) -> None:
        """
        Options that are refused make no identity.
        """
        self.assertUsage("--keepalive", "--keepalive=often")
        self.assertFalse(self.identity.exists())

    def test_config(self) -> None:
        """
        A file gives options by their names, several in several lines; the command line wins.
        """
        config = self.config(
            "[holepunch]\n"
            "# where\n"
            "main = tcp:1\n"
            "assist =\n    127.0.0.1:5\n    127.0.0.2:6\n"
            "keepalive = 3\n"
            "limit = requestBurst=9\n"
            "no-anonymous =\n"
        )
        made = self.made(config, "--main=tcp:2")
        self.assertEqual(made["main"], ["tcp:2"])
        self.assertEqual([str(each) for each in made["assist"]], ["127.0.0.1:5", "127.0.0.2:6"])
        self.assertEqual(made["keepaliveInterval"], 3.0)
        self.assertEqual(made["limits"], Limits(requestBurst=9))
        self.assertFalse(made["allowAnonymous"])

    def test_badConfig(self) -> None:
        """
        A file that cannot be used is refused by its name.
        """
        self.assertUsage("nowhere", "--config=nowhere")
        self.assertUsage("config", self.config("main = tcp:1\n"))
        self.assertUsage("config", self.config("[other]\nmain = tcp:1\n"))
        self.assertUsage("colour", self.config("[holepunch]\ncolour = blue\n"))
        self.assertUsage("--assist", self.config("[holepunch]\nassist = x:y\n"))
        self.assertUsage("config", self.config("[holepunch]\nconfig = again\n"))


class TwistdTests(SynchronousTestCase):
    """
    C{twistd holepunch} as a process.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def twistd(self, *words: str) -> subprocess.Popen[str]:
        """
        Start C{twistd -n holepunch}.
        """
        program = "from twisted.scripts.twistd import run; run()"
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", program, "-n", "holepunch", *words],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()

    def test_announces(self) -> None:
        """
        A service that starts says where peers find it, and stops without complaint.
        """
        process = self.twistd("--main=tcp:0:interface=127.0.0.1", "--assist=127.0.0.1:0")
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "assist listener 127.0.0.1:" in line:
                break
        peerID = Identity.load(self.directory / "rendezvous.pem").peerID
        self.assertRegex("".join(lines), f"rendezvous service {peerID}@127.0.0.1:[0-9]+\n")
        # Signals are taken once the reactor runs, which an answer to a STUN request shows.
        port = int(lines[-1].rpartition("127.0.0.1:")[2].split(",")[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(20.0)
            probe.sendto(bindingRequest(), ("127.0.0.1", port))
            probe.recv(2000)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
        # twistd ends itself once more by the signal that it was stopped by.
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertIn("Server Shut Down.", rest)
        self.assertNotIn("Traceback", rest)

    def test_portTaken(self) -> None:
        """
        When a port is taken, the program ends with a sentence and no traceback.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            process = self.twistd(f"--main=tcp:{port}:interface=127.0.0.1", "--assist=127.0.0.1:0")
            said, _ = process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        self.assertNotIn("Traceback", said)
        [line] = [each for each in said.splitlines() if "cannot listen" in each]
        self.assertIn(str(port), line)

    def test_usage(self) -> None:
        """
        Wrong usage ends with one sentence.
        """
        process = self.twistd("--assist=nonsense:x")
        said, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("--assist", said.splitlines()[-1])
