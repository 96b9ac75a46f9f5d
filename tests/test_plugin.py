"""
Tests for C{twisted/plugins/holepunch_plugin.py}, by which C{twistd} finds the service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import holepunch

ROOT = Path(holepunch.__file__).parent.parent


def run(*words: str, directory: str) -> subprocess.CompletedProcess[str]:
    """
    Run Python in another directory, with this project installed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class PluginTests(SynchronousTestCase):
    """
    The plugin.
    """

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def test_listed(self) -> None:
        """
        C{twistd --help} lists the service, wherever it is run.
        """
        done = run("-m", "twisted", "--help", directory=self.directory)
        self.assertIn("holepunch", done.stdout)
        self.assertIn("rendezvous service", done.stdout)

    def test_help(self) -> None:
        """
        C{twistd holepunch --help} explains the options.
        """
        done = run("-m", "twisted", "holepunch", "--help", directory=self.directory)
        for option in ("--main", "--assist", "--identity", "--certificate", "--config"):
            self.assertIn(option, done.stdout)

    def test_light(self) -> None:
        """
        The plugin file imports nothing of this project, nor any library besides Twisted.
        """
        program = (
            "import json, sys\n"
            "from twisted.application.service import ServiceMaker\n"
            "before = set(sys.modules)\n"
            "from twisted.plugins import holepunch_plugin\n"
            "print(json.dumps(sorted(set(sys.modules) - before)))\n"
            "assert holepunch_plugin.holepunch.tapname == 'holepunch'\n"
        )
        done = run("-c", program, directory=self.directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            json.loads(done.stdout), ["twisted.plugins", "twisted.plugins.holepunch_plugin"]
        )
