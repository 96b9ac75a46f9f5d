"""
The group of commands.
"""

from __future__ import annotations

import json
import subprocess
import sys

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from holepunch import __version__
from holepunch.cli.main import COMMANDS, main


class MainTests(SynchronousTestCase):
    """
    C{holepunch} itself.
    """

    def test_helpIsCheap(self) -> None:
        """
        C{--help} names every command, and imports none of them.
        """
        script = (
            "import sys; from click.testing import CliRunner; from holepunch.cli.main import main;"
            "print(CliRunner().invoke(main, ['--help']).output);"
            "assert 'twisted' not in sys.modules and 'rich' not in sys.modules"
        )
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        for name in COMMANDS:
            self.assertIn(f"\n  {name} ", ran.stdout)

    def test_helpOfEachCommand(self) -> None:
        """
        Every command in the list can be imported, and its help begins as the list says.
        """
        context = click.Context(main)
        for name, home in COMMANDS.items():
            command = main.get_command(context, name)
            assert command is not None
            self.assertEqual(command.name, name)
            ran = CliRunner().invoke(main, [name, "--help"])
            self.assertEqual(ran.exit_code, 0)
            self.assertIn(home.help.rstrip("."), " ".join(ran.output.split()))

    def test_examples(self) -> None:
        """
        Examples stand line by line below the help, as they are to be typed.
        """
        for name in ("listen", "connect", "ping", "explain", "demo"):
            output = CliRunner().invoke(main, [name, "--help"]).output
            _, _, shown = output.partition("Examples:\n")
            lines = shown.strip().splitlines()
            self.assertGreater(len(lines), 1)
            for line in lines:
                self.assertTrue(line.strip().startswith("holepunch "), line)

    def test_version(self) -> None:
        """
        C{--version} tells the version.
        """
        self.assertEqual(
            CliRunner().invoke(main, ["--version"]).output, f"holepunch, version {__version__}\n"
        )

    def test_unknownCommand(self) -> None:
        """
        A command that does not exist is wrong usage.
        """
        ran = CliRunner().invoke(main, ["dig"])
        self.assertEqual((ran.exit_code, ran.stdout), (2, ""))
        self.assertIn("No such command 'dig'", ran.stderr)

    def test_usageErrorAsJSON(self) -> None:
        """
        With C{--json}, wrong usage is told as an event, too.
        """
        for arguments in (["connect", "bob", "--json"], ["ping", "--json", "-c", "many", "bob"]):
            ran = CliRunner(env={"HOLEPUNCH_RENDEZVOUS": ""}).invoke(main, arguments)
            event = json.loads(ran.stderr)
            self.assertEqual((ran.exit_code, ran.stdout, event["event"]), (2, "", "failed"))
            self.assertTrue(event["reason"])
