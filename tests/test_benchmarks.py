"""
The benchmarks run; what they measure is not judged here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from holepunch.lab.enginelink import engineEnvironment

_BENCHMARKS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "benchmarks"
)
_PATIENCE = 120.0


def run(script: str, *arguments: str) -> str:
    """
    Run a benchmark to its end.

    @return: What it printed.
    """
    done = subprocess.run(
        [sys.executable, os.path.join(_BENCHMARKS, script), *arguments],
        env=engineEnvironment(),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def load(script: str) -> Any:
    """
    Import a benchmark.
    """
    spec = importlib.util.spec_from_file_location("benchmark", os.path.join(_BENCHMARKS, script))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The classes of the module look for it there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class ConnectTests(SynchronousTestCase):
    """
    C{benchmarks/connect.py}, on fast links.
    """

    def test_json(self) -> None:
        """
        Every kind of connection is measured, and stands beside its bound.
        """
        figures = json.loads(run("connect.py", "--runs=1", "--latency=0.002", "--json"))
        self.assertAlmostEqual(0.008, figures["roundTripSeconds"])
        bounds = {
            name: (row["pathBound"], row["echoBound"]) for name, row in figures["measured"].items()
        }
        self.assertEqual(
            {
                "udp": (2, 3),
                "tcp-simultaneous": (3, 4),
                "tcp-sequential": (4, 5),
                "relay": (2, 6),
            },
            bounds,
        )
        for row in figures["measured"].values():
            self.assertEqual(1, row["runs"])
            self.assertLess(row["pathSeconds"], row["echoSeconds"])
        self.assertIn("aioice", figures["others"])

    def test_gap(self) -> None:
        """
        C{benchmarks/gap.py} tells how long a stream stood still.
        """
        figures = json.loads(
            run("gap.py", "--runs=1", "--seconds=1", "--mishap=same-mapping", "--json")
        )
        [gap] = figures["same-mapping"]
        self.assertGreater(gap, 0.0)

    def test_report(self) -> None:
        """
        Of several runs the medians count, in round trips and beside the bound.
        """
        module = load("connect.py")
        results = [
            {"kind": kind, "path": path, "echo": path + 0.1}
            for kind in module.KINDS
            for path in (0.9, 0.4, 0.3)
        ]
        figures = module.report(results, latency=0.025)
        row = figures["measured"]["udp"]
        self.assertAlmostEqual(4.0, row["pathRoundTrips"])
        self.assertAlmostEqual(2.0, row["pathRatio"])
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            module.show(figures)
        self.assertIn("4.00 (2)  x 2.00", said.getvalue())
        self.assertIn("libnice 8.1", said.getvalue())
