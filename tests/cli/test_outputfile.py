"""
Files that a command shall write.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.outputfile import OutputFile


@click.command()
@click.option("--svg", type=OutputFile())
def draw(svg: Path) -> None:
    """
    A command that writes a file.
    """
    click.echo(repr(svg))


class OutputFileTests(SynchronousTestCase):
    """
    L{OutputFile}.
    """

    def draw(self, path: object) -> Result:
        return CliRunner().invoke(draw, ["--svg", str(path)])

    def test_writable(self) -> None:
        """
        A new file in a folder that is there, an old file, and a device can be written; none is
        made by being named.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        old = folder / "old.svg"
        old.write_text("old")
        for path in (folder / "new.svg", old, Path("/dev/null"), Path("here.svg")):
            self.assertEqual(self.draw(path).stdout, f"{path!r}\n")
        self.assertEqual((list(folder.iterdir()), old.read_text()), ([old], "old"))

    def test_noFolder(self) -> None:
        """
        A folder that is missing is named.
        """
        path = Path(self.mktemp()) / "x.svg"
        ran = self.draw(path)
        self.assertEqual((ran.exit_code, ran.stdout), (2, ""))
        self.assertIn(f"there is no folder {path.parent}", ran.stderr)

    def test_folder(self) -> None:
        """
        A folder is no file, and a file no folder.
        """
        for path in ("/", "/dev/null/x"):
            self.assertEqual(self.draw(path).exit_code, 2)
