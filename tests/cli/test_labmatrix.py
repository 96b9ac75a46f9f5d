"""
Tests for C{holepunch lab matrix}: L{holepunch.cli.labmatrix} and its reports.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import attrs
from click.testing import CliRunner
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli import labmatrixreport as report
from holepunch.cli.labmatrix import judge, matrix
from holepunch.cli.labmatrixsvg import renderHTML, renderSVG
from holepunch.cli.output import jsonLine
from holepunch.errors import MatrixFailed
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.matrixgrid import GRID_NAMES, makeGrid
from holepunch.lab.matrixkind import Flow
from holepunch.lab.matrixresult import MatrixResult, Trial, Verdict
from holepunch.rendezvous.introduction import RelayPolicy

FLOWS = tuple(flow.value for flow in Flow)
_PATIENCE = 120.0
_SVG = "{http://www.w3.org/2000/svg}"
_COMMAND = "from holepunch.cli.labmatrix import matrix; matrix()"


def made(name: str, failing: frozenset[int] = frozenset()) -> MatrixResult:
    """
    A run in which everything is as expected.

    @param failing: The numbers of cells that fail nevertheless.
    """
    blank = MatrixResult(
        grid=makeGrid(name), flows=FLOWS, lab="simulated", runs=1, seed=0, trials=(), seconds=2.0
    )
    trials = [
        Trial(cell=number, flow=each.flow, seed="0/0", seconds=0.125, candidate="srflx")
        if each.expectation.isPossible and number not in failing
        else Trial(cell=number, flow=each.flow, seed="0/0", failure="<nothing> & nobody")
        for flow in FLOWS
        for number, each in enumerate(blank.cells(flow))
        if each.cell.isAvailable
    ]
    return attrs.evolve(blank, trials=tuple(trials))


class ReportTests(SynchronousTestCase):
    """
    What is shown.
    """

    def shown(self, result: MatrixResult) -> str:
        stream = io.StringIO()
        report.show(Console(file=stream, width=120, highlight=False), result)
        return stream.getvalue()

    def test_silentProgram(self) -> None:
        """
        A program that does not tell which candidate won has its time alone in its cells.
        """
        told = made("iroh")
        trials = [attrs.evolve(trial, candidate=None) for trial in told.trials]
        result = attrs.evolve(told, trials=tuple(trials))
        self.assertNotIn("?", self.shown(result))
        self.assertNotIn("candidate ", report.describe(result.cells(FLOWS[0])[0]))
        renderSVG(result)

    def test_json(self) -> None:
        """
        The JSON object has every cell in every flow, with why it is not green.
        """
        said = json.loads(jsonLine(report.asObject(made("iroh", frozenset({0})))))
        self.assertEqual((said["grid"], said["cells"], said["sessions"]), ("iroh", 16, 48))
        self.assertEqual(len(said["results"]), 48)
        self.assertEqual(said["verdicts"]["udp"]["connected"], 12)
        for cell in said["results"]:
            self.assertEqual(cell["why"] is None, cell["verdict"] == "connected")
        self.assertEqual(said["results"][1]["median"], 0.125)
        self.assertEqual(said["results"][1]["candidates"], {"srflx": 1})
        self.assertEqual(said["results"][0]["verdict"], "failed")

    def test_terminal(self) -> None:
        """
        The terminal shows a symbol, the median and the winner for each cell, and the reasons.
        """
        shown = self.shown(made("tailscale", frozenset({0})))
        for text in ("● 125", "srflx", "✗", "·", "?", "easy / easy: 0 of 1 connected", "missing: "):
            self.assertIn(text, shown)

    def test_relay(self) -> None:
        """
        With a relay, cells that stay on it have a symbol, a word and a colour of their own, and the
        others say whether they were there first.
        """
        plain = made("iroh")
        trials = [
            attrs.evolve(trial, path="direct", movedAfter=0.5)
            if trial.seconds is not None
            else attrs.evolve(trial, seconds=0.1, candidate="relay", path="relay", failure="")
            for trial in plain.trials
        ]
        result = attrs.evolve(plain, trials=tuple(trials), relay=RelayPolicy.AUTO)
        shown = self.shown(result)
        for text in ("● 125", "moved", "○ 100", "relay", "by the relay alone in the end: 3"):
            self.assertIn(text, shown)
        picture = renderSVG(result)
        self.assertIn('class="relayed"', picture)
        self.assertIn("moved after 500 ms", picture)
        said = json.loads(jsonLine(report.asObject(result)))
        self.assertEqual((said["relay"], said["verdicts"]["udp"]["relayed"]), ("auto", 3))
        first = said["results"][0]
        self.assertEqual((first["ways"], first["medianMove"]), ({"moved": 1}, 0.5))
        judge([result], 0, isForeign=False)

    def test_large(self) -> None:
        """
        The full grid fits into 80 columns.
        """
        stream = io.StringIO()
        console, result = Console(file=stream, width=80, highlight=False), made("full")
        console.print(report.heatMap(result, "udp", report.layoutFor(console, result)))
        lines = stream.getvalue().splitlines()
        self.assertEqual(len(lines), 29)
        self.assertEqual(lines[2].count("●"), 27)

    def test_namesWhole(self) -> None:
        """
        However narrow the terminal, no name and no number is cut.
        """
        result = made("classic")
        for width in (80, 100, 120, 200, 300):
            stream = io.StringIO()
            report.show(Console(file=stream, width=width, highlight=False), result)
            said = stream.getvalue()
            self.assertNotIn("…", said)
            for label in result.grid.labels:
                self.assertIn(label, said)

    def test_reasons(self) -> None:
        """
        Cells that are not green are told by reason, the most frequent one first.
        """
        groups = report.reasons(made("tailscale").cells("udp"))
        sizes = [len(cells) for _, cells in groups]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertEqual(sum(sizes), 48 - 21)

    def test_svg(self) -> None:
        """
        The picture of every grid is well-formed, needs nothing from elsewhere, and has a symbol for
        each cell, since colour alone says nothing to some.
        """
        for name in GRID_NAMES:
            result = made(name, frozenset({0}))
            text = renderSVG(result)
            self.assertEqual(text, renderSVG(result))
            self.assertEqual(re.findall(r"(?:href|src|url)", text), [])
            root = ElementTree.fromstring(text)
            groups = root.findall(f"{_SVG}g")
            self.assertEqual(len(groups), len(result.allCells))
            for group in groups:
                symbols = {each.text for each in group.findall(f"{_SVG}text")}
                self.assertTrue(symbols & set(report.SYMBOLS.values()))

    def test_html(self) -> None:
        """
        The page is self-contained, and keeps what others said from being taken for markup.
        """
        text = renderHTML(made("iroh", frozenset({0})))
        self.assertIn("&lt;nothing&gt; &amp; nobody", text)
        self.assertNotIn("<nothing>", text)
        self.assertEqual(re.findall(r"(?:href|src)=|<script|@import", text), [])

    def test_verdicts(self) -> None:
        """
        Every verdict has a symbol of its own and a meaning.
        """
        self.assertEqual(len(set(report.SYMBOLS.values())), len(Verdict))
        self.assertEqual(set(report.MEANINGS), set(Verdict))


class JudgementTests(SynchronousTestCase):
    """
    How the command ends.
    """

    def test_good(self) -> None:
        """
        All is well when everything possible connects, impossible cells or not.
        """
        judge([made("tailscale")], 0, isForeign=False)

    def test_wanting(self) -> None:
        """
        A cell that falls short is a failure, but for programs of others.
        """
        result = made("iroh", frozenset({0}))
        with self.assertRaisesRegex(MatrixFailed, "3 cells fall short"):
            judge([result], 0, isForeign=False)
        judge([result], 0, isForeign=True)

    def test_disagreement(self) -> None:
        """
        A disagreement is a failure.
        """
        with self.assertRaisesRegex(MatrixFailed, "disagree about 2 cells"):
            judge([made("iroh")], 2, isForeign=False)


class CommandTests(SynchronousTestCase):
    """
    The command as it is called.
    """

    def test_usage(self) -> None:
        """
        A wrong command line ends with status 2 and says why.
        """
        for arguments, why in (
            (("--program", "true"), "--program needs --kernel"),
            (("--kernel", "--program", "run {nobody}"), "known are"),
            (("--grid", "none"), "Invalid value for '--grid'"),
            (("--kernel", "--relay", "auto", "--program", "true"), "--relay is for our own"),
            (("--runs", "0"), "Invalid value for '--runs'"),
        ):
            result = CliRunner().invoke(matrix, arguments)
            self.assertEqual(result.exit_code, 2, result.output)
            self.assertIn(why, result.output)

    def test_interrupted(self) -> None:
        """
        A signal ends the command and its processes at once, without a word about bugs.
        """
        command = [sys.executable, "-c", _COMMAND, "--grid", "full", "--jobs", "1", "--json"]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=engineEnvironment()
        ) as running:
            assert running.stderr is not None
            started = running.stderr.readline()
            self.assertIn(b"begun", started)
            running.send_signal(signal.SIGTERM)
            try:
                said = running.communicate(timeout=_PATIENCE / 4)[1]
            finally:
                running.kill()
        self.assertEqual(running.returncode, 128 + signal.SIGTERM)
        self.assertEqual(said, b"")

    def test_unwritable(self) -> None:
        """
        A file that cannot be written is refused before anything runs.
        """
        for option in ("--svg", "--html"):
            ran = CliRunner().invoke(matrix, [option, f"{self.mktemp()}/it"])
            self.assertEqual(ran.exit_code, 2, ran.output)
            self.assertIn("there is no folder", ran.output)

    def test_run(self) -> None:
        """
        The command runs a grid in several processes, writes the picture and the page, and tells the
        results as JSON.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        files = [folder / "it.svg", folder / "it.html"]
        done = subprocess.run(
            [
                *(sys.executable, "-c", _COMMAND, "--grid", "iroh", "--runs", "1", "--json"),
                *("--jobs", "2", "--svg", os.fspath(files[0]), "--html", os.fspath(files[1])),
            ],
            capture_output=True,
            env=engineEnvironment(),
            timeout=_PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["sessions"], 48)
        self.assertEqual(said["verdicts"]["udp"]["connected"], 13)
        for file in files:
            self.assertIn("Hole punching matrix", file.read_text("utf-8"))
