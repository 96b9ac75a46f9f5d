"""
Runs cells of a matrix in the simulated internet, on all cores.

Owns: the service and the peers of one network, the order of their sessions; sharing the work out.
Knows nothing of: which cells there are, and what their results mean.
Driven by: C{holepunch lab matrix}, tests.

Each run has networks of its own. One for UDP and then the simultaneous flow of TCP, which
share nothing in a NAT; another one for the sequential flow, which would find the holes of the
simultaneous one.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol

from holepunch.address import TransportAddress
from holepunch.errors import HolepunchError
from holepunch.identity import Identity
from holepunch.lab.matrixgrid import Cell, Grid
from holepunch.lab.matrixkind import Flow
from holepunch.lab.matrixnetwork import RELAY_PORT, SERVICE, WEB_PORT, MatrixNetwork
from holepunch.lab.matrixresult import Trial
from holepunch.lab.matrixsession import Witness, connectBy
from holepunch.lab.simulated import SimulatedInternet
from holepunch.peer import FixedHostAddresses, Peer
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.relay import RelayService
from holepunch.rendezvous.relaytls import RelayTLS
from holepunch.rendezvous.service import RendezvousService

PATIENCE = 6.0
"""
Simulated seconds after which a session counts as failed, and then one that has a relay as staying
there.
"""

_SHARD = 729
_SETTLED = 1.0
_GROUPS = ((Flow.UDP, Flow.TCP_SIMULTANEOUS), (Flow.TCP_SEQUENTIAL,))


@attrs.frozen(kw_only=True)
class Shard:
    """
    What one process does at a time.

    @ivar numbers: Those of the cells in their grid.
    @ivar relay: May the service's relay be used?
    """

    numbers: tuple[int, ...]
    cells: tuple[Cell, ...]
    flows: tuple[Flow, ...]
    seed: str
    relay: RelayPolicy = RelayPolicy.NEVER


def shards(
    grid: Grid,
    runs: int,
    seed: int,
    flows: Sequence[Flow] = tuple(Flow),
    relay: RelayPolicy = RelayPolicy.NEVER,
) -> list[Shard]:
    """
    Share out the sessions of a grid. Which ones are together does not depend on who does them.
    """
    numbers = [number for number, cell in enumerate(grid.cells) if cell.isAvailable]
    return [
        Shard(
            numbers=tuple(part),
            cells=tuple(grid.cells[number] for number in part),
            flows=tuple(flow for flow in group if flow in flows),
            seed=f"{seed}/{run}/{start // _SHARD}",
            relay=relay,
        )
        for run in range(runs)
        for group in _GROUPS
        if set(group) & set(flows)
        for start in range(0, len(numbers), _SHARD)
        if (part := numbers[start : start + _SHARD])
    ]


def runShard(shard: Shard) -> tuple[Trial, ...]:
    """
    Run all its sessions.
    """
    return _Play(shard).perform()


def runShards(
    work: Sequence[Shard],
    jobs: int,
    makeExecutor: Callable[[int], Executor] | None = None,
) -> Iterator[tuple[Trial, ...]]:
    """
    Run shards in several processes, which have begun when this comes back.

    @param makeExecutor: Makes the workers; new processes by default.
    @return: The results of each shard as it ends.
    """
    executor = (makeExecutor or _processes)(min(jobs, len(work)))
    return _collect(executor, [executor.submit(runShard, shard) for shard in work])


def _collect(
    executor: Executor, futures: Sequence[Future[tuple[Trial, ...]]]
) -> Iterator[tuple[Trial, ...]]:
    with executor:
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def stopWorkers() -> None:
    """
    End all processes that run shards; whoever waits for their results gets C{BrokenProcessPool}.
    """
    for process in multiprocessing.active_children():
        process.terminate()


def _processes(jobs: int) -> Executor:
    # A fork would take along the reactor and whatever else this process has open.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_ignoreInterrupts)


def _ignoreInterrupts() -> None:
    # Ctrl-C in a terminal goes to all processes; the one that started us sees to our end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Play:
    """
    The sessions of one shard.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._network = MatrixNetwork.of(shard.cells, shard.seed)
        # The simulation takes a number; what is left of the text must not be the process's hash.
        seed = int.from_bytes(shard.seed.encode(), "big")
        self._internet = SimulatedInternet(self._network.topology, seed)
        self._witnesses: dict[str, Witness] = {}
        self._peers: dict[str, Peer] = {}

    def perform(self) -> tuple[Trial, ...]:
        """
        Start everything, run the flows one after the other, and stop.
        """
        internet = self._internet
        self._startService()
        bobs = sorted({place.bob for place in self._network.places})
        internet.waitFor(gatherResults([self._listen(host) for host in bobs]))
        alices = sorted({place.alice for place in self._network.places})
        internet.waitFor(gatherResults([self._peer(host).whenRegistered() for host in alices]))
        # By then, UDP mappings are known, too.
        internet.advance(_SETTLED)
        trials = [
            trial
            for flow in self._shard.flows
            for wave in self._network.waves()
            for trial in self._wave(flow, wave)
        ]
        internet.waitFor(gatherResults([peer.stopService() for peer in self._peers.values()]))
        internet.waitFor(self._service.stopService())
        return tuple(trials)

    def _startService(self) -> None:
        host = self._internet.host(SERVICE)
        identity = Identity.generate()
        first, second = host.addresses
        # Where only the web is let out, one address is for the main connection, one for the relay.
        self._location = f"{identity.peerID}@{first}:{WEB_PORT}"
        relay = None
        if self._shard.relay is not RelayPolicy.NEVER:
            relay = RelayService(
                host.reactor,
                [TransportAddress(second, RELAY_PORT)],
                tlsPorts=[WEB_PORT],
                tls=RelayTLS(identity),
                ownHosts=lambda: host.addresses,
            )
        self._service = RendezvousService(
            host.reactor,
            identity,
            main=[f"tcp:{WEB_PORT}:interface={first}"],
            assist=[TransportAddress(first, 3478), TransportAddress(second, 3479)],
            relay=relay,
        )
        self._service.startService()

    def _peer(self, hostName: str) -> Peer:
        host = self._internet.host(hostName)
        reactor: Any = host.reactor
        witness = self._witnesses[hostName] = Witness()
        peer = self._peers[hostName] = Peer(
            reactor,
            Identity.generate(),
            self._location,
            name=hostName,
            hostAddresses=FixedHostAddresses(host.addresses),
            observer=witness.observe,
        )
        return peer

    def _listen(self, hostName: str) -> Deferred[Any]:
        peer = self._peer(hostName)
        listening = peer.listenEndpoint().listen(Factory.forProtocol(Protocol))
        return listening.addCallback(
            lambda port: Deferred.fromCoroutine(peer.acceptDatagrams(lambda path: None))
        )

    def _wave(self, flow: Flow, wave: Sequence[int]) -> list[Trial]:
        trials = self._internet.waitFor(
            gatherResults([Deferred.fromCoroutine(self._session(flow, each)) for each in wave]),
            limit=PATIENCE * 4,
        )
        self._internet.advance(_SETTLED)
        return trials

    async def _session(self, flow: Flow, index: int) -> Trial:
        place = self._network.places[index]
        alice = self._peers[place.alice]
        made = Trial(cell=self._shard.numbers[index], flow=flow.value, seed=self._shard.seed)
        try:
            way = await connectBy(
                self._internet.host(place.alice).reactor,
                alice,
                self._witnesses[place.alice],
                place.bob,
                flow,
                timeout=PATIENCE,
                relay=self._shard.relay,
            )
        except HolepunchError as error:
            return attrs.evolve(made, failure=str(error))
        return attrs.evolve(made, **attrs.asdict(way))
