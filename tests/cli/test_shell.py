"""
Commands that a person writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.shell import checkCommand, shellOf
from holepunch.errors import UsageError


class CheckTests(SynchronousTestCase):
    """
    L{checkCommand}.
    """

    def test_usable(self) -> None:
        """
        Whatever the shell can run is let through: programs, words of its own, and all that cannot
        be known before.
        """
        for line in (
            "cat",
            "/bin/cat -u",
            "  sort | uniq -c",
            "while read line; do echo $line; done",
            "NAME=value env",
            "(cat)",
            "{ cat; }",
            "! true",
            ": nothing",
            "'cat'",
            "$EDITOR",
            "greet() { echo hello; }; greet",
            "# nothing at all",
        ):
            checkCommand(line)

    def test_unknown(self) -> None:
        """
        A command that is not there is named.
        """
        file = Path(self.mktemp()).resolve()
        file.write_text("no program")
        for word in ("nosuchcmd", "/nonexistent/cmd", str(file)):
            error = self.assertRaises(UsageError, checkCommand, f"{word} --option")
            self.assertEqual(str(error), f"there is no command {word}")

    def test_misspelt(self) -> None:
        """
        What the shell cannot read is told in its words.
        """
        for line in ("echo 'hello", "cat |", "if true; echo"):
            error = self.assertRaises(UsageError, checkCommand, line)
            self.assertIn("does not understand", str(error))
        self.assertRaises(UsageError, checkCommand, "  ")


class ShellTests(SynchronousTestCase):
    """
    L{shellOf}.
    """

    def test_group(self) -> None:
        """
        A command leads a session of its own, with the environment and the signals of any other.
        """
        line = f"'{sys.executable}' -c 'import os; print(os.getsid(0))'; echo $$ $NAME"
        environment = {**os.environ, "NAME": "value"}
        ran = subprocess.run(
            shellOf(line), env=environment, capture_output=True, text=True, check=True
        )
        session, process, name = ran.stdout.split()
        self.assertEqual((session, name), (process, "value"))
