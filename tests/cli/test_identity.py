"""
C{holepunch id}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.main import main
from holepunch.identity import Identity


class IdentityTests(SynchronousTestCase):
    """
    C{holepunch id}.
    """

    def setUp(self) -> None:
        self.file = Path(self.mktemp())

    def run_(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["id", "--identity", str(self.file), *arguments])

    def test_made(self) -> None:
        """
        A missing identity is made, and stderr says so; then the same ID is printed every time.
        """
        first, second = self.run_(), self.run_()
        peerID = str(Identity.load(self.file).peerID)
        self.assertEqual((first.exit_code, first.stdout), (0, f"{peerID}\n"))
        self.assertIn(f"made a new identity in {self.file}", first.stderr)
        self.assertEqual((second.stdout, second.stderr), (first.stdout, ""))

    def test_json(self) -> None:
        """
        With C{--json}, the report is one object, and so is what is told.
        """
        ran = self.run_("--json")
        peerID = str(Identity.load(self.file).peerID)
        self.assertEqual(json.loads(ran.stdout), {"peer": peerID, "file": str(self.file)})
        self.assertEqual(json.loads(ran.stderr)["event"], "identity")

    def test_environment(self) -> None:
        """
        The file may come from the environment, or is in the configuration directory.
        """
        directory = self.mktemp()
        runner = CliRunner(env={"XDG_CONFIG_HOME": directory, "HOLEPUNCH_IDENTITY": None})
        self.assertEqual(runner.invoke(main, ["id"]).exit_code, 0)
        self.assertTrue(os.path.exists(os.path.join(directory, "holepunch", "identity.pem")))
        runner = CliRunner(env={"HOLEPUNCH_IDENTITY": str(self.file)})
        self.assertEqual(runner.invoke(main, ["id"]).stdout, self.run_().stdout)

    def test_noFolder(self) -> None:
        """
        A folder that is not there is wrong usage, and is not made.
        """
        self.file = self.file / "missing" / "me.pem"
        ran = self.run_()
        self.assertEqual((ran.exit_code, ran.stdout), (2, ""))
        self.assertIn(f"there is no folder {self.file.parent}", ran.stderr)
        self.assertFalse(self.file.parent.parent.exists())

    def test_unusable(self) -> None:
        """
        A file that cannot be used is wrong usage, with a sentence that names the file.
        """
        self.file.write_text("no key")
        self.file.chmod(0o600)
        ran = self.run_()
        self.assertEqual((ran.exit_code, ran.stdout), (2, ""))
        self.assertEqual(
            ran.stderr, f"Error: {self.file} does not hold a private key in PEM form\n"
        )
        event = json.loads(self.run_("--json").stderr)
        self.assertEqual(event["event"], "failed")
        self.assertIn(str(self.file), event["reason"])
