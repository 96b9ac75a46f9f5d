"""
Tests for L{holepunch.linefile}.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import holepunch
from holepunch.errors import CannotRead, CannotWrite
from holepunch.linefile import LineFile

LINES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")), max_size=8
)

# Runs with a file system of its own, which has room for four pages.
FULL_DISK = """
import os, sys
from holepunch.errors import CannotWrite
from holepunch.linefile import LineFile

os.chdir(sys.argv[1])
file = LineFile("known")
file.change(lambda lines: ["old"])
try:
    with open("ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
except OSError as error:
    print(error.strerror)
try:
    file.change(lambda lines: [*lines, "new" * 2000])
except CannotWrite as error:
    print(error)
print(file.read(), sorted(os.listdir()))
"""


class LineFileTests(SynchronousTestCase):
    """
    L{LineFile}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "below" / "file"
        self.file = LineFile(self.path)

    def test_missing(self) -> None:
        """
        A file that is not there has no lines; it is made for its owner alone.
        """
        self.assertEqual(self.file.read(), [])
        self.file.change(lambda lines: [*lines, "one"])
        self.assertEqual(self.path.read_text(), "one\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    @settings(max_examples=40, deadline=None)
    @given(LINES)
    def test_whatWasWritten(self, lines: list[str]) -> None:
        """
        Lines are read as they were written, whatever is in them.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = LineFile(Path(folder, "file"))
            file.change(lambda old: lines)
            self.assertEqual(file.read(), lines)

    def test_unchanged(self) -> None:
        """
        An edit that gives nothing, or raises, leaves the file alone.
        """
        self.file.change(lambda lines: None)
        self.assertFalse(self.path.exists())
        self.file.change(lambda lines: ["one"])

        def fail(lines: list[str]) -> list[str]:
            raise CannotRead("no")

        self.assertRaises(CannotRead, self.file.change, fail)
        self.assertEqual(self.file.read(), ["one"])

    def test_permissions(self) -> None:
        """
        Permissions and symbolic links stay as they are, and nothing else is left in the folder.
        """
        self.file.change(lambda lines: ["one"])
        os.chmod(self.path, 0o640)
        link = self.path.parent / "link"
        link.symlink_to("file")
        LineFile(link).change(lambda lines: [*lines, "two"])
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.file.read(), ["one", "two"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
        self.assertEqual(sorted(os.listdir(self.path.parent)), ["file", "link"])

    def test_together(self) -> None:
        """
        Of changes that are made in the same moment, none is lost.
        """

        def add() -> None:
            for _ in range(10):
                LineFile(self.path).change(lambda lines: [*lines, "one"])

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.file.read(), ["one"] * 40)

    def test_fullDisk(self) -> None:
        """
        On a full disk the old file stays whole, nothing is left behind, and one sentence says why.
        """
        folder = self.mktemp()
        os.makedirs(folder)
        command = 'mount -t tmpfs -o size=16k full "$1" && exec "$0" -c "$2" "$1"'
        ran = subprocess.run(
            ["unshare", "-Urm", "sh", "-c", command, sys.executable, folder, FULL_DISK],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(holepunch.__file__).parents[1])},
        )
        self.assertEqual(
            (ran.stdout, ran.stderr),
            (
                "No space left on device\n"
                "cannot write known: No space left on device\n"
                "['old'] ['ballast', 'known']\n",
                "",
            ),
        )

    def test_unusable(self) -> None:
        """
        What cannot be read or written is told by one sentence.
        """
        self.path.mkdir(parents=True)
        self.assertRaises(CannotRead, self.file.read)
        for path in ("/dev/null/file", "\0"):
            self.assertRaises(CannotWrite, LineFile(path).change, lambda lines: ["one"])
        self.assertRaises(CannotRead, LineFile("\0").read)
        for data in (b"\xff", b"x" * (16 * 1024 * 1024 + 1)):
            binary = Path(self.mktemp())
            binary.write_bytes(data)
            self.assertRaises(CannotRead, LineFile(binary).read)
