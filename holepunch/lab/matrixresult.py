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
from holepunch.lab.matrixkind import Flow
from holepunch.rendezvous.introduction import RelayPolicy

WAYS = ("relay", "moved", "direct")
"""
How a session went with a relay at hand, what falls shortest first.
"""


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
    @ivar path: The way that it went in the end: C{"direct"} or C{"relay"}, if that is known.
    @ivar movedAfter: The seconds from the request until it was on a direct path, if it was not from
        the beginning.
    """

    cell: int
    flow: str
    seed: str
    seconds: float | None = None
    candidate: str | None = None
    failure: str = ""
    path: str | None = None
    movedAfter: float | None = None

    @property
    def way(self) -> str:
        """
        In one word: C{"direct"}, C{"moved"} (over the relay first) or C{"relay"}; empty where that
        is not known.
        """
        isMoved = self.path == "direct" and self.movedAfter is not None
        return "moved" if isMoved else self.path or ""


class Verdict(enum.Enum):
    """
    What became of a cell in one flow.
    """

    CONNECTED = "connected"
    RELAYED = "relayed"
    PARTLY = "partly"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"
    UNAVAILABLE = "unavailable"


@attrs.frozen(kw_only=True)
class CellResult:
    """
    All sessions of one cell in one flow.

    @ivar relay: Might a relay be used?
    """

    cell: Cell
    flow: str
    trials: tuple[Trial, ...]
    relay: RelayPolicy = RelayPolicy.NEVER

    @property
    def expectation(self) -> Expectation:
        """
        What may be expected of a direct path by principle.
        """
        known = self.flow in {flow.value for flow in Flow}
        return expect(self.cell.alice, self.cell.bob, Flow(self.flow) if known else None)

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
            return Verdict.RELAYED if "relay" in self.ways else Verdict.CONNECTED
        if self.successes:
            return Verdict.PARTLY
        isHopeless = self.relay is RelayPolicy.NEVER and not self.expectation.isPossible
        return Verdict.IMPOSSIBLE if isHopeless else Verdict.FAILED

    @property
    def isWanting(self) -> bool:
        """
        Does it fall short of what is possible? With a relay every pair can connect, and may stay
        there only if nothing else is possible, or nothing else was wanted.
        """
        isPossible = self.expectation.isPossible
        if self.verdict is Verdict.RELAYED:
            return isPossible and self.relay is RelayPolicy.AUTO
        hasWay = isPossible or self.relay is not RelayPolicy.NEVER
        return hasWay and self.verdict in (Verdict.PARTLY, Verdict.FAILED)

    @property
    def median(self) -> float | None:
        """
        The median time to connect.
        """
        times = [trial.seconds for trial in self.trials if trial.seconds is not None]
        return statistics.median(times) if times else None

    @property
    def ways(self) -> dict[str, int]:
        """
        How often it went each way, if that is known: what tells most first.
        """
        counts = Counter(trial.way for trial in self.trials if trial.way)
        return {word: counts[word] for word in WAYS if word in counts}

    @property
    def medianMove(self) -> float | None:
        """
        The median time until a session that began on the relay was on a direct path.
        """
        times = [trial.movedAfter for trial in self.trials if trial.movedAfter is not None]
        return statistics.median(times) if times else None

    @property
    def candidates(self) -> dict[str, int]:
        """
        How often each kind of remote candidate won, the most frequent first, as far as was told.
        """
        counts = Counter(
            trial.candidate
            for trial in self.trials
            if trial.seconds is not None and trial.candidate is not None
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
        if verdict is Verdict.RELAYED and not self.isWanting:
            return expectation.reason if not expectation.isPossible else "only a relay was wanted"
        if verdict is Verdict.RELAYED:
            return (
                f"a direct path is possible, since {expectation.reason}, but"
                f" {self.ways['relay']} of {len(self.trials)} stayed on the relay"
            )
        if verdict is Verdict.IMPOSSIBLE or not (expectation.isPossible or self.isWanting):
            return f"{expectation.reason}; missing: {expectation.missing}"
        failed = [trial for trial in self.trials if trial.seconds is None]
        why = expectation.reason if expectation.isPossible else "there is a relay"
        return (
            f"possible, since {why}, but {len(failed)} of {len(self.trials)} failed;"
            f" seed {failed[0].seed}: {failed[0].failure}"
        )


@attrs.frozen(kw_only=True)
class MatrixResult:
    """
    A whole run.

    @ivar lab: C{"simulated"} or C{"namespaces"}.
    @ivar seconds: How long it took.
    @ivar relay: Might a relay be used?
    """

    grid: Grid
    flows: tuple[str, ...]
    lab: str
    runs: int
    seed: int
    trials: tuple[Trial, ...]
    seconds: float
    relay: RelayPolicy = RelayPolicy.NEVER
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
        return CellResult(
            cell=self.grid.cells[number], flow=flow, trials=tuple(trials), relay=self.relay
        )

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
