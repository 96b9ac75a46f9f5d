"""
The matrix in kernel namespaces and simulated: what is possible connects, and both say the same.
"""

from __future__ import annotations

import io
import shlex
import sys
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.trial.unittest import TestCase

from holepunch.cli.labmatrix import Course
from holepunch.cli.output import TextOutput
from holepunch.lab.matrixgrid import makeGrid
from holepunch.lab.matrixkind import Flow
from holepunch.lab.matrixprogram import ProgramTemplate
from holepunch.lab.matrixresult import MatrixResult, Verdict, disagreements
from tests.acceptance.stage import ROOT

reactor: Any = installedReactor


class MatrixTests(TestCase):
    """
    Whole grids.
    """

    timeout = 400

    def course(self, name: str) -> Course:
        """
        A way through the grid of that name.
        """
        return Course(reactor, TextOutput(io.StringIO()), makeGrid(name), 0)

    def assertAsExpected(self, result: MatrixResult) -> None:
        """
        What is possible connects in every session, and nothing else does.
        """
        for cell in result.allCells:
            wanted = Verdict.CONNECTED if cell.expectation.isPossible else Verdict.IMPOSSIBLE
            name = f"{cell.cell.alice.name} / {cell.cell.bob.name} by {cell.flow}: {cell.why}"
            self.assertIs(cell.verdict, wanted, name)

    async def test_kernel(self) -> None:
        """
        In kernel namespaces, each pair of the reduced grid connects by UDP and in both flows of TCP
        if it can; the simulation says the same of every cell.
        """
        kernel = await self.course("reduced").runInKernel(1, tuple(Flow))
        self.assertEqual(len(kernel.trials), 36 * 3)
        simulated = await self.course("reduced").simulate(2)
        self.assertEqual([str(each) for each in disagreements(kernel, simulated)], [])
        self.assertAsExpected(kernel)

    async def test_full(self) -> None:
        """
        In all 729 cells of the full grid, what is possible without guessing ports connects, first
        try, by UDP and in both flows of TCP, and nothing else does.
        """
        result = await self.course("full").simulate(1)
        self.assertEqual(len(result.trials), 729 * 3)
        self.assertAsExpected(result)

    async def test_aioice(self) -> None:
        """
        The example with aioice connects wherever that is possible, by its own means.
        """
        example = shlex.join([sys.executable, str(ROOT / "examples/aioice_pair.py")])
        template = ProgramTemplate.parse(
            f"aioice={example} {{role}} {{session}} {{signal}} {{service}}:3478"
        )
        result = await self.course("iroh").runInKernel(1, [template])
        self.assertEqual(len(result.trials), 16)
        self.assertAsExpected(result)
