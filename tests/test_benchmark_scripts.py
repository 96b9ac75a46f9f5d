"""
The benchmarks that need no lab run, in small; what they measure is not judged here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

_ROOT = Path(__file__).parents[1]
_PATIENCE = 120.0


def run(script: str, *arguments: str) -> str:
    """
    Run a benchmark to its end.

    @return: What it printed.
    """
    done = subprocess.run(
        [sys.executable, str(_ROOT / "benchmarks" / script), *arguments],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    # What its children say as they are ended is no failure.
    if done.returncode != 0:
        raise AssertionError(done.stderr or f"it ended with {done.returncode}")
    return done.stdout


class BenchmarkScriptTests(SynchronousTestCase):
    """
    Each script measures all of its subjects, once.
    """

    def measure(self, script: str, *arguments: str) -> dict[str, Any]:
        """
        Run a script.

        @return: For each figure, a row by subject.
        """
        figures: dict[str, Any] = json.loads(run(script, "--json", "--rounds=1", *arguments))
        self.assertEqual(1, figures["repetitions"])
        self.assertEqual(os.cpu_count(), figures["machine"]["cores"])
        rows: dict[str, Any] = figures["figures"]
        return rows

    def assertSubjects(self, expected: set[str], rows: dict[str, Any]) -> None:
        """
        These were measured, each to some figure.
        """
        self.assertEqual(expected, set(rows))
        for row in rows.values():
            self.assertEqual([row["median"]], row["values"])
            self.assertGreater(row["median"], 0.0)

    def test_stream(self) -> None:
        """
        A secure stream stands beside Twisted's TLS and plain TCP, for each kind of traffic, in time
        and in processor time.
        """
        figures = self.measure("stream.py", "--megabytes=1", "--small-megabytes=0.1", "--echoes=20")
        self.assertEqual(8, len(figures))
        for rows in figures.values():
            self.assertSubjects({"Twisted's TLS", "SecureStream", "plain TCP"}, rows)
            self.assertEqual(1.0, rows["Twisted's TLS"]["ratio"]["median"])

    def test_quic(self) -> None:
        """
        A stream over a path of datagrams stands beside the bare QUIC library, in time and in
        processor time.
        """
        figures = self.measure("quic.py", "--megabytes=1")
        self.assertEqual(2, len(figures))
        for rows in figures.values():
            self.assertSubjects({"bare qh3", "QUICStream over a DatagramPath"}, rows)
            self.assertEqual(1.0, rows["bare qh3"]["ratio"]["median"])

    def test_stun(self) -> None:
        """
        The assist listener stands beside coturn and beside servers that only echo.
        """
        figures = self.measure("stun.py", "--seconds=0.2")
        rows = figures["answers a second"]
        self.assertSubjects(
            {
                "coturn",
                "assist listener",
                "Twisted's DatagramProtocol, echo only",
                "recvmmsg and sendmmsg, echo only",
            },
            rows,
        )

    def test_relay(self) -> None:
        """
        The embedded relay stands beside coturn for each kind of traffic.
        """
        figures = self.measure("relay.py", "--seconds=0.1")
        self.assertEqual(15, len(figures))
        for title, rows in figures.items():
            self.assertEqual({"coturn", "embedded relay"}, set(rows))
            if "busy" not in title:
                self.assertSubjects(set(rows), rows)

    def test_idle(self) -> None:
        """
        A registered peer stands beside idle connections of other kinds.
        """
        figures = self.measure("idle.py", "--peers=30")
        (rows,) = figures.values()
        self.assertEqual(
            {
                "TLS, as Twisted has it",
                "TLS, as the service has it",
                "plain TCP",
                "a registered peer",
            },
            set(rows),
        )

    def test_sessions(self) -> None:
        """
        Sessions of each transport, whole and between registered peers, stand beside connections.
        """
        figures = self.measure("sessions.py", "--sessions=1")
        (rows,) = figures.values()
        self.assertEqual(7, len(rows))
        self.assertSubjects(set(rows), rows)

    def test_table(self) -> None:
        """
        Without C{--json}, a person gets a table with medians, spreads and shares.
        """
        printed = run("sessions.py", "--rounds=2", "--sessions=1")
        self.assertIn("median (least-most)", printed)
        self.assertIn("1.00 (1.00-1.00)", printed)
