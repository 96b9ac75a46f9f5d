"""
What a matrix found out.

Owns: the results of single sessions, of cells and of the whole; what they mean; comparing two runs.
Knows nothing of: how sessions were run; how results are shown.
Driven by: whatever runs a matrix, and the reports of C{holepunch lab matrix}.
"""

from __future__ import annotations

import enum
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from holepunch.lab.matrixexpectation import Expectation, expect
from holepunch.lab.matrixgrid import Cell, Grid


@attrs.frozen(kw_only=True)
class Trial:
    """
    One session.

    @ivar cell: The cell's number in its grid.
    @ivar flow: The value of a L{Flow<holepunch.lab.matrixkind.Flow>}, or the name of another
        program.
    @ivar seed: That of the network it ran in.
    @ivar seconds: From the request to the nominated path; C{None}: there was none.
    @ivar candidate: What kind of remote candidate the path uses, if that is known.
    @ivar failure: Why there was none.
    """

    cell: int
    flow: str
    seed: str
    seconds: float | None = None
    candidate: str | None = None
    failure: str = ""


class Verdict(enum.Enum):
    """
    What became of a cell in one flow.
    """

    CONNECTED = "connected"
    PARTLY = "partly"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"
    UNAVAILABLE = "unavailable"


@attrs.frozen(kw_only=True)
class CellResult:
    """
    All sessions of one cell in one flow.
    """

    cell: Cell
    flow: str
    trials: tuple[Trial, ...]

    @property
    def expectation(self) -> Expectation:
        """
        What may be expected by principle.
        """
        return expect(self.cell.alice, self.cell.bob)

    @property
    def successes(self) -> int:
        """
        How many sessions found a path.
        """
        return sum(trial.seconds is not None for trial in self.trials)

    @property
    def verdict(self) -> Verdict:
        """
        What to make of it.
        """
        if not self.trials:
            return Verdict.UNAVAILABLE
        if self.successes == len(self.trials):
            return Verdict.CONNECTED
        if self.successes:
            return Verdict.PARTLY
        return Verdict.FAILED if self.expectation.isPossible else Verdict.IMPOSSIBLE

    @property
    def isWanting(self) -> bool:
        """
        Does it fall short of what is possible?
        """
        return self.expectation.isPossible and self.verdict in (Verdict.PARTLY, Verdict.FAILED)

    @property
    def median(self) -> float | None:
        """
        The median time to connect.
        """
        times = [trial.seconds for trial in self.trials if trial.seconds is not None]
        return statistics.median(times) if times else None

    @property
    def candidates(self) -> dict[str, int]:
        """
        How often each kind of remote candidate won, the most frequent first.
        """
        counts = Counter(
            trial.candidate or "?" for trial in self.trials if trial.seconds is not None
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def why(self) -> str:
        """
        Why it is not green; nothing for a green one.
        """
        verdict = self.verdict
        if verdict is Verdict.CONNECTED:
            return ""
        if verdict is Verdict.UNAVAILABLE:
            return (
                "not available yet: the product asks no NAT for a port mapping; what it does"
                " without one stands in the cell without +pm"
            )
        expectation = self.expectation
        if not expectation.isPossible:
            return f"{expectation.reason}; missing: {expectation.missing}"
        failed = [trial for trial in self.trials if trial.seconds is None]
        return (
            f"possible, since {expectation.reason}, but {len(failed)} of {len(self.trials)} failed;"
            f" seed {failed[0].seed}: {failed[0].failure}"
        )


@attrs.frozen(kw_only=True)
class MatrixResult:
    """
    A whole run.

    @ivar lab: C{"simulated"} or C{"namespaces"}.
    @ivar seconds: How long it took.
    """

    grid: Grid
    flows: tuple[str, ...]
    lab: str
    runs: int
    seed: int
    trials: tuple[Trial, ...]
    seconds: float
    _byCell: dict[tuple[int, str], list[Trial]] = attrs.field(init=False, eq=False, repr=False)

    @_byCell.default
    def _sorted(self) -> dict[tuple[int, str], list[Trial]]:
        byCell: dict[tuple[int, str], list[Trial]] = {}
        for trial in self.trials:
            byCell.setdefault((trial.cell, trial.flow), []).append(trial)
        return byCell

    def cell(self, number: int, flow: str) -> CellResult:
        """
        What became of one cell in one flow.
        """
        trials = sorted(self._byCell.get((number, flow), ()), key=lambda trial: trial.seed)
        return CellResult(cell=self.grid.cells[number], flow=flow, trials=tuple(trials))

    def cells(self, flow: str) -> list[CellResult]:
        """
        All cells in one flow, by rows.
        """
        return [self.cell(number, flow) for number in range(len(self.grid.cells))]

    @property
    def allCells(self) -> list[CellResult]:
        """
        All cells in all flows.
        """
        return [result for flow in self.flows for result in self.cells(flow)]

    @property
    def wanting(self) -> list[CellResult]:
        """
        The cells that fall short of what is possible.
        """
        return [result for result in self.allCells if result.isWanting]


def count(results: Iterable[CellResult]) -> dict[Verdict, int]:
    """
    How many cells there are of each verdict.
    """
    counts = Counter(result.verdict for result in results)
    return {verdict: counts[verdict] for verdict in Verdict}


@attrs.frozen
class Disagreement:
    """
    A cell of which two runs of one grid say different things.
    """

    flow: str
    first: CellResult
    second: CellResult

    def __str__(self) -> str:
        cell = self.first.cell
        return (
            f"{cell.alice.name} / {cell.bob.name} by {self.flow}:"
            f" {self.first.verdict.value} and {self.second.verdict.value}"
        )


def disagreements(first: MatrixResult, second: MatrixResult) -> Sequence[Disagreement]:
    """
    Compare a run with another one of the same grid, wherever both ran.
    """
    return [
        Disagreement(flow, ours, theirs)
        for flow in first.flows
        if flow in second.flows
        for ours, theirs in zip(first.cells(flow), second.cells(flow), strict=True)
        if ours.trials and theirs.trials and ours.verdict is not theirs.verdict
    ]
