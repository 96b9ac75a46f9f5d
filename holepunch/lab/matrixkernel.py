"""
Runs cells of a matrix in kernel namespaces, with the kernel's own TCP.

Owns: the lab of each run, the service and the workers in it, which sessions run at once.
Knows nothing of: which cells there are, and what their results mean.
Driven by: C{holepunch lab matrix}, tests.

Sessions run at the same time unless they share a host and a transport, and not too many of them:
waiting for ports that nobody can know takes no processor, but a session does.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from holepunch.errors import LabError
from holepunch.identity import Identity
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.matrixexpectation import Expectation, expect
from holepunch.lab.matrixgrid import Grid
from holepunch.lab.matrixkind import Flow
from holepunch.lab.matrixmeeting import READY
from holepunch.lab.matrixnetwork import RELAY_PORT, SERVICE, WEB_PORT, MatrixNetwork
from holepunch.lab.matrixprogram import ProgramTemplate, runPair
from holepunch.lab.matrixresult import Trial
from holepunch.lab.namespaces import NamespaceLab
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.service import DEFAULT_MAIN

PATIENCE = 5.0
"""
Seconds after which a session counts as failed.
"""

_STARTS_WITHIN = 30.0
_MEETING_PORT = 7000
_TWISTD = "from twisted.scripts.twistd import run; run()"


class _Process(ProcessProtocol):
    """
    A program in the lab that goes on until its standard input ends or the lab does.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._said = b""
        self._expected: list[tuple[bytes, Deferred[None]]] = []
        self._waiting: dict[int, Deferred[dict[str, Any]]] = {}
        self._numbers = itertools.count()

    def whenSaid(self, text: bytes) -> Deferred[None]:
        """
        Fires when C{text} was written.
        """
        said: Deferred[None] = Deferred()
        self._expected.append((text, said))
        return said

    def order(self, **order: Any) -> Deferred[dict[str, Any]]:
        """
        Tell a worker to do something; fires with its answer.
        """
        number = next(self._numbers)
        answered: Deferred[dict[str, Any]] = Deferred()
        self._waiting[number] = answered
        line = json.dumps({"number": number, **order}) + "\n"
        self.transport.write(line.encode())  # type: ignore[union-attr]
        return answered

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lineReceived(line)

    def errReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[-2000:]

    def _lineReceived(self, line: bytes) -> None:
        self._said = (self._said + line + b"\n")[-2000:]
        for each in [each for each in self._expected if each[0].strip() in line]:
            self._expected.remove(each)
            each[1].callback(None)
        if line.startswith(b'{"number"'):
            answer = json.loads(line)
            self._waiting.pop(answer.pop("number")).callback(answer)

    def processEnded(self, reason: Failure) -> None:
        text = self._said.decode(errors="replace").strip().rpartition("\n")[2]
        error = LabError(f"The program on {self._name} ended: {text or reason.getErrorMessage()}")
        expected, self._expected = self._expected, []
        waiting, self._waiting = self._waiting, {}
        for _, said in expected:
            said.errback(error)
        for answered in waiting.values():
            answered.errback(error)


@attrs.frozen
class _Job:
    """
    One session to be run.

    @ivar keys: What it needs for itself.
    """

    index: int
    flow: Flow | ProgramTemplate
    keys: frozenset[tuple[str, str]]


class KernelMatrix:
    """
    A grid in kernel namespaces.
    """

    def __init__(
        self,
        reactor: Any,
        grid: Grid,
        *,
        seed: int = 0,
        jobs: int = 8,
        flows: Sequence[Flow | ProgramTemplate] = tuple(Flow),
        told: Callable[[Trial], object] = lambda trial: None,
        relay: RelayPolicy = RelayPolicy.NEVER,
    ) -> None:
        """
        @param jobs: How many sessions run at once.
        @param told: Called with each session that has ended.
        @param relay: May the service's relay be used?
        """
        self._reactor = reactor
        self._grid = grid
        self._seed = seed
        self._jobs = jobs
        self._flows = tuple(flows)
        self._told = told
        self._relay = relay
        self._numbers = [n for n, cell in enumerate(grid.cells) if cell.isAvailable]

    async def run(self, runs: int) -> tuple[Trial, ...]:
        """
        Run the whole grid so many times, each in a lab of its own.

        @raise LabError: The lab cannot be built.
        """
        trials: list[Trial] = []
        for run in range(runs):
            trials += await self._runOnce(f"{self._seed}/{run}", run)
        return tuple(trials)

    async def _runOnce(self, seed: str, run: int) -> list[Trial]:
        cells = [self._grid.cells[number] for number in self._numbers]
        network = MatrixNetwork.of(cells, seed)
        lab = NamespaceLab(self._reactor, network.topology, seed=self._seed + run)
        await lab.start()
        try:
            with tempfile.TemporaryDirectory(prefix="holepunch-matrix-") as folder:
                play = _Play(self._reactor, lab, network, seed, Path(folder), self._relay)
                await play.start(self._flows)
                return await self._schedule(play, network, seed)
        finally:
            await lab.stop()

    async def _schedule(self, play: _Play, network: MatrixNetwork, seed: str) -> list[Trial]:
        waiting = [
            _Job(index, flow, frozenset({(place.alice, kind), (place.bob, kind)}))
            for flow in self._flows
            for index, place in enumerate(network.places)
            for kind in (flow.value[:3] if isinstance(flow, Flow) else flow.name,)
        ]
        # Those that will take their whole time first: the others then fill the gaps.
        waiting.sort(key=lambda job: self._expectation(job).isPossible)
        taken: set[tuple[str, str]] = set()
        trials: list[Trial] = []

        async def worker() -> None:
            while waiting:
                job = next((each for each in waiting if not each.keys & taken), None)
                if job is None:
                    # Somebody else's job is in the way of all that are left; it wakes us.
                    woken: Deferred[None] = Deferred()
                    sleepers.append(woken)
                    await woken
                    continue
                waiting.remove(job)
                taken.update(job.keys)
                trial = await self._trial(play, job, seed)
                taken.difference_update(job.keys)
                trials.append(trial)
                self._told(trial)
                woke, sleepers[:] = sleepers[:], []
                for each in woke:
                    each.callback(None)

        sleepers: list[Deferred[None]] = []
        await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(self._jobs)])
        return trials

    def _expectation(self, job: _Job) -> Expectation:
        cell = self._grid.cells[self._numbers[job.index]]
        return expect(cell.alice, cell.bob)

    async def _trial(self, play: _Play, job: _Job, seed: str) -> Trial:
        number = self._numbers[job.index]
        if isinstance(job.flow, Flow):
            answer = await play.session(job.index, job.flow)
        else:
            answer = await play.program(job.index, job.flow)
        name = job.flow.value if isinstance(job.flow, Flow) else job.flow.name
        return Trial(cell=number, flow=name, seed=seed, **answer)


class _Play:
    """
    What runs in one lab.
    """

    def __init__(
        self,
        reactor: Any,
        lab: NamespaceLab,
        network: MatrixNetwork,
        seed: str,
        folder: Path,
        relay: RelayPolicy,
    ) -> None:
        self._reactor = reactor
        self._lab = lab
        self._network = network
        self._seed = seed
        self._folder = folder
        self._relay = relay
        self._workers: dict[str, _Process] = {}

    async def start(self, flows: Sequence[Flow | ProgramTemplate]) -> None:
        """
        Start the service, and what the flows need.
        """
        identity = self._folder / "service.pem"
        first, second = self._network.topology.host(SERVICE).addresses
        self._first = first
        self._location = f"{Identity.load(identity, create=True).peerID}@{first}:{WEB_PORT}"
        service = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile="]
        service += [f"--rundir={self._folder}", "holepunch", f"--identity={identity}"]
        # Other programs look for the service where it is by default.
        service += [f"--main=tcp:{WEB_PORT}:interface={first}", f"--main={DEFAULT_MAIN}"]
        service += [f"--assist={first}:3478", f"--assist={second}:3479"]
        if self._relay is not RelayPolicy.NEVER:
            service += [f"--relay={second}:{RELAY_PORT}", f"--relay-tls={WEB_PORT}"]
        starting = [self._spawn(SERVICE, service).whenSaid(b"assist listener")]
        if any(isinstance(flow, ProgramTemplate) for flow in flows):
            meeting = ["-m", "holepunch.lab.matrixmeeting", first, str(_MEETING_PORT)]
            starting.append(self._spawn(SERVICE, [sys.executable, *meeting]).whenSaid(READY))
        if any(isinstance(flow, Flow) for flow in flows):
            worker = [sys.executable, "-m", "holepunch.lab.matrixworker"]
            for host in self._network.hosts:
                self._workers[host] = self._spawn(host, worker)
        await self._inTime(gatherResults(starting))

    async def session(self, index: int, flow: Flow) -> dict[str, Any]:
        """
        Let the peers of a cell meet.
        """
        place = self._network.places[index]
        alice, bob = self._workers[place.alice], self._workers[place.bob]
        name = f"bob-{index}-{flow.value}"
        listening = bob.order(order="listen", name=name, rendezvous=self._location)
        await self._inTime(listening)
        connected: dict[str, Any] = await self._inTime(
            alice.order(
                order="connect",
                target=name,
                flow=flow.value,
                timeout=PATIENCE,
                relay=self._relay.value,
                rendezvous=self._location,
            )
        )
        await self._inTime(bob.order(order="stop", name=name))
        return connected

    async def program(self, index: int, template: ProgramTemplate) -> dict[str, Any]:
        """
        Let another program's two sides meet.
        """
        return await runPair(
            self._reactor,
            self._lab,
            template,
            self._network.places[index],
            session=f"{self._seed}/{index}",
            service=self._first,
            signal=f"{self._first}:{_MEETING_PORT}",
        )

    def _spawn(self, host: str, command: list[str]) -> _Process:
        process = _Process(host)
        self._lab.spawn(process, host, command, env=engineEnvironment())
        return process

    async def _inTime(self, deferred: Deferred[Any]) -> Any:
        def tooLate(result: object, seconds: float) -> None:
            raise LabError(f"A program in the lab did not get on within {seconds:g} seconds.")

        return await deferred.addTimeout(_STARTS_WITHIN, self._reactor, tooLate)
