"""
Tests for L{holepunch.rendezvous.relayoptions}, by way of C{twistd holepunch}'s options.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from holepunch.rendezvous.relay import ExternalRelay, RelayService
from holepunch.tap import Options, makeService
from holepunch.turn import mintCredential

RELAY = "--relay=127.0.0.1:3481"


class RelayOptionsTests(SynchronousTestCase):
    """
    The options of a relay.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.secret = self.directory / "secret"

    def parse(self, *words: str) -> RelayService | ExternalRelay | None:
        """
        The relay that the options ask for.
        """
        options = Options()
        options.parseOptions([f"--identity={self.directory / 'key.pem'}", *words])
        relay: RelayService | ExternalRelay | None = options.service.keywords[  # type: ignore[attr-defined]
            "relay"
        ]
        return relay

    def assertUsage(self, fragment: str, *words: str) -> None:
        """
        Are these options refused, in one line that says what is wrong?
        """
        error = self.assertRaises(UsageError, self.parse, *words)
        self.assertIn(fragment, str(error))
        self.assertNotIn("\n", str(error))

    def test_none(self) -> None:
        """
        Unless it is asked for there is no relay.
        """
        self.assertIsNone(self.parse())

    def test_embedded(self) -> None:
        """
        All options of the embedded relay are taken, on the command line and in a file.
        """
        words = {
            "relay": "127.0.0.1:3481\n [::1]:3481",
            "relay-tls": "5349\n 5350",
            "relay-secret": str(self.secret),
            "relay-realm": "example.org",
            "relay-ports": "50000-50999",
            "relay-allow": "10.0.0.0/8",
            "relay-quota": "bandwidth=1000\n totalBandwidth=100000",
        }
        file = self.directory / "config"
        lines = [f"{name} =\n {value}" for name, value in words.items()]
        file.write_text("\n".join(["[holepunch]", *lines]))
        self.assertIsInstance(self.parse(f"--config={file}"), RelayService)

    def test_secretIsMade(self) -> None:
        """
        A secret that is missing is made, for its owner only, and used again.
        """
        first = self.parse(RELAY, f"--relay-secret={self.secret}")
        second = self.parse(RELAY, f"--relay-secret={self.secret}")
        assert first is not None and second is not None
        self.assertEqual(os.stat(self.secret).st_mode & 0o777, 0o600)
        grant = second.grantFor("alice", "127.0.0.1")
        expiry = int(grant.username.partition(":")[0])
        secret = self.secret.read_bytes().strip()
        self.assertEqual(grant.password, mintCredential(secret, "alice", expiry).password)

    def test_external(self) -> None:
        """
        A relay elsewhere is told by its URIs; its addresses are known by the numbers in them.
        """
        self.secret.write_text("north\n")
        relay = self.parse(
            "--relay-external=turn:192.0.2.1:3478",
            "--relay-external=turns:192.0.2.1:5349",
            f"--relay-secret={self.secret}",
            "--relay-realm=example.org",
        )
        assert isinstance(relay, ExternalRelay)
        self.assertEqual(set(relay.hosts), {"192.0.2.1"})
        grant = relay.grantFor("alice")
        self.assertEqual(grant.realm, "example.org")
        self.assertEqual(
            grant.servers,
            ("turn:192.0.2.1:3478?transport=udp", "turns:192.0.2.1:5349?transport=tcp"),
        )

    def test_mistakes(self) -> None:
        """
        Each mistake is told in one line.
        """
        self.assertUsage("names no port", "--relay=127.0.0.1")
        self.assertUsage("name the public one", "--relay=0.0.0.0:3481")
        self.assertUsage("is not an IP address", "--relay=example.org:3481")
        self.assertUsage("is no port", RELAY, "--relay-tls=x")
        self.assertUsage("is no port", RELAY, "--relay-ports=5")
        self.assertUsage("is no range", RELAY, "--relay-ports=6-5")
        self.assertUsage("is no network", RELAY, "--relay-allow=10.0.0.1/8")
        self.assertUsage("is none of", RELAY, "--relay-quota=x=1")
        self.assertUsage("is no value", RELAY, "--relay-quota=bandwidth=-1")
        self.assertUsage("makes no sense without --relay", "--relay-tls=443")
        self.assertUsage("need --relay", "--relay-realm=x")
        self.assertUsage("choose one", RELAY, "--relay-external=turn:192.0.2.1")
        self.assertUsage("needs --relay-secret", "--relay-external=turn:192.0.2.1")
        self.assertUsage("no address of a relay", "--relay-external=stun:192.0.2.1")
        missing = f"--relay-secret={self.directory / 'none'}"
        self.assertUsage("cannot use", "--relay-external=turn:192.0.2.1", missing)
        self.secret.write_text("\n")
        self.assertUsage("holds no secret", RELAY, f"--relay-secret={self.secret}")

    def test_service(self) -> None:
        """
        The relay is a part of the service.
        """
        options = Options()
        options.parseOptions([f"--identity={self.directory / 'key.pem'}", RELAY])
        service = makeService(options)
        parts = [each for each in service if isinstance(each, RelayService)]  # type: ignore[attr-defined]
        self.assertEqual(len(parts), 1)
        self.assertEqual(parts[0].servers, ())
