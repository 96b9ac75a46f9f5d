"""
C{holepunch peers}, and C{--allow} and C{--deny}.
"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.accessoptions import authoriserOf
from holepunch.cli.main import main
from holepunch.errors import UsageError
from holepunch.identity import Identity
from holepunch.peer.access import AccessList, Everyone
from holepunch.peer.knownpeers import KnownPeersFile

ONE = str(Identity.generate().peerID)
OTHER = str(Identity.generate().peerID)


class PeersTests(SynchronousTestCase):
    """
    C{holepunch peers}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = self.directory / "known_peers"

    def peers(self, *arguments: str, status: int = 0) -> Result:
        identity = str(self.directory / "identity.pem")
        ran = CliRunner().invoke(main, ["peers", *arguments, "--identity", identity])
        self.assertEqual(ran.exit_code, status, ran.output)
        return ran

    def test_list(self) -> None:
        """
        What was added is listed, until it is removed.
        """
        self.assertEqual(self.peers("list").stdout, "")
        self.peers("add", "alice", ONE)
        self.peers("add", "bo", OTHER)
        self.assertEqual(
            self.peers("list").stdout, f"alice {ONE}  added by hand\nbo    {OTHER}  added by hand\n"
        )
        self.peers("remove", "Alice")
        [listed] = self.peers("list", "--json").stdout.splitlines()
        self.assertEqual(
            json.loads(listed), {"name": "bo", "peer": OTHER, "origin": "added by hand"}
        )

    def test_import(self) -> None:
        """
        The peers of another file are added, and those that are known are not counted.
        """
        other = self.directory / "theirs"
        other.write_text(f"alice {ONE} # mine\nbob {OTHER}\n")
        self.peers("add", "alice", ONE)
        self.assertEqual(self.peers("import", str(other)).stdout, "1 added\n")
        self.assertIn(f"bob   {OTHER}  imported", self.peers("list").stdout)
        other.write_text(f"alice {OTHER}\ncarol {ONE}\n")
        self.assertIn("alice is known already", self.peers("import", str(other), status=1).stderr)
        self.assertNotIn("carol", self.peers("list").stdout)

    def test_mistakes(self) -> None:
        """
        Each mistake ends in one sentence.
        """
        self.peers("add", "al/ice", ONE, status=2)
        self.peers("add", "alice", "scribble", status=2)
        self.peers("import", str(self.directory / "missing"), status=2)
        self.assertIn("no peer is known", self.peers("remove", "alice", status=1).stderr)
        self.peers("add", "alice", ONE)
        ran = self.peers("add", "alice", OTHER, "--json", status=1)
        self.assertIn("known already", json.loads(ran.stderr)["reason"])
        self.file.write_text("scribble\n")
        self.assertIn("line 1 makes no sense", self.peers("list", status=1).stderr)


class AccessOptionTests(SynchronousTestCase):
    """
    C{--allow} and C{--deny}.
    """

    def test_authorisers(self) -> None:
        """
        Without them everybody may connect; a name has to be known.
        """
        known = KnownPeersFile(self.mktemp())
        self.assertIsInstance(authoriserOf(known, (), ()), Everyone)
        self.assertRaises(UsageError, authoriserOf, known, ("alice",), ())
        known.pin("alice", Identity.generate().peerID)
        denying = authoriserOf(known, (), ("alice",))
        assert isinstance(denying, AccessList)
        self.assertIsNone(denying.allowed)
        allowing = authoriserOf(known, ("alice", ONE), ())
        assert isinstance(allowing, AccessList)
        self.assertEqual(allowing.allowed, {"alice", ONE})

    def test_commandLine(self) -> None:
        """
        C{holepunch listen} refuses names that are not known, as wrong usage.
        """
        arguments = ["listen", "--rendezvous", "x", "--identity", str(Path(self.mktemp(), "id"))]
        ran = CliRunner().invoke(main, [*arguments, "--allow", "alice"])
        self.assertEqual(ran.exit_code, 2)
        self.assertIn("holepunch peers add alice ID", ran.stderr)
