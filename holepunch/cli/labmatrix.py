"""
C{holepunch lab matrix}: every pair of NAT kinds, by UDP and by TCP in both flows, as a heat map.

Owns: the command; what is told on the way; where the reports go.
Knows nothing of: how sessions are run (L{holepunch.lab.matrixsimulation},
L{holepunch.lab.matrixkernel}), and what the reports look like.
Driven by: the group C{holepunch lab}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

from holepunch.cli import labmatrixreport as report
from holepunch.cli.labmatrixsvg import renderHTML, renderSVG
from holepunch.cli.options import jsonOption, verboseOption
from holepunch.cli.output import Output, jsonLine, makeOutput
from holepunch.cli.outputfile import OutputFile
from holepunch.cli.running import run
from holepunch.errors import MatrixFailed, UsageError
from holepunch.lab.matrixgrid import GRID_NAMES, Grid, makeGrid
from holepunch.lab.matrixkernel import KernelMatrix
from holepunch.lab.matrixkind import Flow
from holepunch.lab.matrixprogram import ProgramTemplate
from holepunch.lab.matrixresult import MatrixResult, Trial, disagreements
from holepunch.lab.matrixsimulation import runShards, shards, stopWorkers
from holepunch.rendezvous.introduction import RelayPolicy

_FILE = OutputFile()
_PER_CORE = 4


@click.command()
@click.option(
    "--grid",
    "gridName",
    type=click.Choice(GRID_NAMES),
    default="classic",
    show_default=True,
    help="Which NATs; full has every mapping, filtering and port allocation.",
)
@click.option("--simulated", "isSimulated", is_flag=True, help="Simulate the network (default).")
@click.option(
    "--kernel",
    "isKernel",
    is_flag=True,
    help="Use kernel namespaces; with --simulated, do both and compare.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 1000),
    help="Sessions of each cell and flow.  [default: 3, or 1]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="Processes, or sessions at once in namespaces.  [default: by the number of cores]",
)
@click.option("--svg", type=_FILE, help="Draw the heat map as an image, too.")
@click.option("--html", type=_FILE, help="Write a page with the heat map, and more of each cell.")
@click.option(
    "--relay",
    type=click.Choice([policy.value for policy in RelayPolicy]),
    default=RelayPolicy.NEVER.value,
    show_default=True,
    help="Give the network a relay: every pair then connects, and with auto those move to a direct"
    " path that can.",
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="[NAME=]TEMPLATE",
    help="Run this command on both sides in place of our own sessions, in kernel namespaces; it may"
    " have {role}, {session}, {service} and {signal} in it.",
)
@jsonOption
@verboseOption
def matrix(
    gridName: str,
    isSimulated: bool,
    isKernel: bool,
    runs: int | None,
    seed: int,
    jobs: int | None,
    svg: Path | None,
    html: Path | None,
    relay: str,
    programs: tuple[str, ...],
    isJSON: bool,
    verbosity: int,
) -> None:
    """
    Try every pair of NATs, and show which of them can meet.

    Each pair connects by UDP and by TCP, with both sides at once and one after the other. Cells
    that are not green say why. The exit status is 1 if one falls short of what is possible without
    guessing ports, or if simulation and kernel disagree.

    With --relay, a cell says which way its sessions went: direct, moved (over the relay first), or
    relay.
    """
    try:
        templates = [ProgramTemplate.parse(text) for text in programs]
    except UsageError as error:
        raise click.BadParameter(str(error), param_hint="'--program'") from None
    if templates and (isSimulated or not isKernel):
        raise click.UsageError("--program needs --kernel, without --simulated")
    policy = RelayPolicy(relay)
    if templates and policy is not RelayPolicy.NEVER:
        raise click.UsageError("--relay is for our own sessions, not for those of --program")
    output = makeOutput(sys.stderr, isJSON, verbosity)

    async def main(reactor: Any) -> None:
        course = Course(reactor, output, makeGrid(gridName, seed), seed, jobs, policy)
        results = []
        if isSimulated or not isKernel:
            results.append(await course.simulate(runs or 3))
        if isKernel:
            results.append(await course.runInKernel(runs or 1, templates or tuple(Flow)))
        for result in results:
            if isJSON:
                click.echo(jsonLine(report.asObject(result)), nl=False)
            else:
                report.show(Console(highlight=False), result)
        _write(svg, "--svg", renderSVG(results[-1]) if svg else "")
        _write(html, "--html", renderHTML(results[-1]) if html else "")
        found = disagreements(*results) if len(results) == 2 else ()
        if not isJSON:
            report.showDisagreements(Console(highlight=False), found)
        judge(results, len(found), isForeign=bool(templates))

    run(main, output)


def judge(results: Sequence[MatrixResult], disagreeing: int, *, isForeign: bool) -> None:
    """
    Is all well?

    @param isForeign: It was others' programs that ran; they may do as they like.
    @raise MatrixFailed: No.
    """
    wanting = 0 if isForeign else max(len(result.wanting) for result in results)
    hasRelay = any(result.relay is not RelayPolicy.NEVER for result in results)
    if disagreeing:
        raise MatrixFailed(f"simulation and kernel disagree about {disagreeing} cells")
    if wanting:
        means = "with a relay" if hasRelay else "without guessing ports"
        raise MatrixFailed(f"{wanting} cells fall short of what is possible {means}")


def _write(path: Path | None, option: str, text: str) -> None:
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option}: cannot write {path}: {error.strerror}") from None


class Course:
    """
    The way through a grid, with somebody who watches.
    """

    def __init__(
        self,
        reactor: Any,
        output: Output,
        grid: Grid,
        seed: int,
        jobs: int | None = None,
        relay: RelayPolicy = RelayPolicy.NEVER,
    ) -> None:
        """
        @param jobs: C{None}: as many as the cores can bear.
        @param relay: May the service's relay be used?
        """
        self._reactor = reactor
        self._output = output
        self._grid = grid
        self._seed = seed
        self._jobs = jobs
        self._relay = relay
        self._cores = os.cpu_count() or 1
        self._done = 0

    async def simulate(self, runs: int) -> MatrixResult:
        """
        Run it simulated.
        """
        startedAt = self._reactor.seconds()
        work = shards(self._grid, runs, self._seed, relay=self._relay)
        parts = runShards(work, self._jobs or self._cores)
        self._begin("simulated", sum(len(shard.numbers) * len(shard.flows) for shard in work))
        try:
            trials = await deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), self._collect, parts
            )
        except CancelledError:
            stopWorkers()
            raise
        flows = tuple(flow.value for flow in Flow)
        return self._result("simulated", flows, runs, trials, startedAt)

    def _collect(self, parts: Iterator[tuple[Trial, ...]]) -> list[Trial]:
        trials: list[Trial] = []
        for part in parts:
            trials += part
            self._reactor.callFromThread(self._told, len(part))
        return trials

    async def runInKernel(self, runs: int, flows: Sequence[Flow | ProgramTemplate]) -> MatrixResult:
        """
        Run it in namespaces.

        @raise LabError: This system cannot.
        """
        startedAt = self._reactor.seconds()
        available = sum(cell.isAvailable for cell in self._grid.cells)
        self._begin("namespaces", available * len(flows) * runs)
        lab = KernelMatrix(
            self._reactor,
            self._grid,
            seed=self._seed,
            jobs=self._jobs or _PER_CORE * self._cores,
            flows=flows,
            told=lambda trial: self._told(1),
            relay=self._relay,
        )
        trials = await Deferred.fromCoroutine(lab.run(runs))
        names = tuple(flow.value if isinstance(flow, Flow) else flow.name for flow in flows)
        return self._result("namespaces", names, runs, trials, startedAt)

    def _begin(self, lab: str, sessions: int) -> None:
        self._lab, self._sessions, self._done = lab, sessions, 0
        self._output.note("begun", f"{lab}: {sessions} sessions", lab=lab, sessions=sessions)
        self._told(0)

    def _told(self, number: int) -> None:
        self._done += number
        self._output.step(f"{self._lab}: {self._done} of {self._sessions} sessions")

    def _result(
        self,
        lab: str,
        flows: tuple[str, ...],
        runs: int,
        trials: Sequence[Trial],
        startedAt: float,
    ) -> MatrixResult:
        self._output.step("")
        return MatrixResult(
            grid=self._grid,
            flows=flows,
            lab=lab,
            runs=runs,
            seed=self._seed,
            trials=tuple(trials),
            seconds=self._reactor.seconds() - startedAt,
            relay=self._relay,
        )
