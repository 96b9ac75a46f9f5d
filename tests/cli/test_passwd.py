"""
C{holepunch passwd}, and where a password comes from.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

import holepunch.cli.login as login
from holepunch.cli.login import credentialsOf, readPasswordOf
from holepunch.cli.main import main
from holepunch.errors import BadCredentials, UsageError
from holepunch.rendezvous import PasswordFile


class PasswdTests(SynchronousTestCase):
    """
    C{holepunch passwd}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.users = self.directory / "users"
        self.password = self.directory / "password"
        self.password.write_text("secret\nsecond line\n")

    def passwd(self, *arguments: str, status: int = 0, typed: str | None = None) -> Result:
        words = ["passwd", str(self.users), *arguments]
        ran = CliRunner().invoke(main, words, input=typed)
        self.assertEqual(ran.exit_code, status, ran.output)
        return ran

    def test_added(self) -> None:
        """
        A user is added, changed and removed.
        """
        file = f"--password-file={self.password}"
        self.assertEqual(self.passwd("alice", file).stdout, "alice added\n")
        ran = self.passwd("alice", "--password-file=-", "--json", typed="other\n")
        self.assertEqual(json.loads(ran.stdout), {"user": "alice", "done": "changed"})
        self.assertEqual(PasswordFile(self.users).users(), ("alice",))
        self.assertEqual(self.passwd("alice", "--remove").stdout, "alice removed\n")
        self.assertIn("no user alice", self.passwd("alice", "--remove", status=1).stderr)

    def test_asked(self) -> None:
        """
        A person types the password twice, unseen; without a terminal nobody is asked.
        """
        self.patch(login, "hasTerminal", lambda: True)
        ran = self.passwd("alice", typed="secret\nsecret\n")
        self.assertNotIn("secret", ran.output)
        self.assertEqual(PasswordFile(self.users).users(), ("alice",))
        self.passwd("bob", typed="", status=1)
        self.patch(login, "hasTerminal", lambda: False)
        self.assertIn("--password-file", self.passwd("bob", typed="x\nx\n", status=1).stderr)

    def test_mistakes(self) -> None:
        """
        Each mistake ends in one sentence, and a file of another kind stays as it is.
        """
        file = f"--password-file={self.password}"
        self.assertIn("user name", self.passwd("a b", file, status=1).stderr)
        self.passwd("alice", "--password-file=/missing", status=1)
        self.password.write_text("\n")
        self.assertIn("1000 characters", self.passwd("alice", file, status=1).stderr)
        self.password.write_text("secret\n")
        self.users.write_text("alice:plain\n")
        self.assertIn("line 1", self.passwd("alice", file, status=1).stderr)
        self.assertEqual(self.users.read_text(), "alice:plain\n")


class CredentialTests(SynchronousTestCase):
    """
    C{--user} and C{--password-file}.
    """

    def test_sources(self) -> None:
        """
        The password comes from the file, or from the environment, or is asked for.
        """
        file = Path(self.mktemp())
        file.write_text("from the file\r\n")
        self.patch(os, "environ", {"HOLEPUNCH_PASSWORD": "from the environment"})
        self.patch(login, "askPassword", lambda question: "from the person")
        found = [credentialsOf("alice", each) for each in (file, None)]
        del os.environ["HOLEPUNCH_PASSWORD"]
        found.append(credentialsOf("alice", None))
        self.assertEqual(
            [each and each.password for each in found],
            ["from the file", "from the environment", "from the person"],
        )
        self.assertIsNone(credentialsOf(None, None))

    def test_mistakes(self) -> None:
        """
        A password without a user, or none where one is needed, is wrong usage.
        """
        self.patch(login, "hasTerminal", lambda: False)
        self.patch(os, "environ", {})
        self.assertRaises(UsageError, credentialsOf, None, Path("x"))
        self.assertRaises(UsageError, credentialsOf, "alice", None)
        self.assertRaises(UsageError, credentialsOf, "a b", Path("/missing"))
        file = Path(self.mktemp())
        file.write_bytes(b"\xff\n")
        self.assertRaises(BadCredentials, readPasswordOf, file)
