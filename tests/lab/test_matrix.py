"""
Tests for the matrix: L{holepunch.lab.matrixgrid} and its neighbours, simulated.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import UsageError
from holepunch.lab.matrixexpectation import expect
from holepunch.lab.matrixgrid import GRID_NAMES, VARIANTS, Cell, Grid, makeGrid
from holepunch.lab.matrixkind import Flow, NATKind
from holepunch.lab.matrixnetwork import MatrixNetwork
from holepunch.lab.matrixprogram import WORDS, ProgramTemplate
from holepunch.lab.matrixresult import MatrixResult, Trial, Verdict, count, disagreements
from holepunch.lab.matrixsimulation import runShard, runShards, shards
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Unsolicited,
)
from holepunch.nat.presets import PRESETS
from holepunch.rendezvous.introduction import RelayPolicy


class Here(Executor):
    """
    Does everything at once, in this process.
    """

    def submit(self, fn: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*arguments, **options))
        return done


def simulate(
    grid: Grid,
    runs: int = 1,
    seed: int = 0,
    jobs: int | None = None,
    flows: Sequence[Flow] = tuple(Flow),
    relay: RelayPolicy = RelayPolicy.NEVER,
) -> MatrixResult:
    """
    Run a grid.

    @param jobs: In how many processes; L{None}: in this one.
    """
    work = shards(grid, runs, seed, flows, relay)
    parts = runShards(work, jobs) if jobs else runShards(work, 1, lambda number: Here())
    return MatrixResult(
        grid=grid,
        flows=tuple(flow.value for flow in flows),
        lab="simulated",
        runs=runs,
        seed=seed,
        trials=tuple(itertools.chain.from_iterable(parts)),
        seconds=1.0,
        relay=relay,
    )


def kind(name: str) -> NATKind:
    """
    The kind of that name; C{none} is public.
    """
    known = {"none": None, **NAMED_BEHAVIOURS, **PRESETS}
    return NATKind(name=name, behaviour=known[name])


class ExpectationTests(SynchronousTestCase):
    """
    What may be expected of a pair.
    """

    def check(self, alice: str, bob: str, isPossible: bool) -> None:
        for one, other in ((alice, bob), (bob, alice)):
            self.assertIs(expect(kind(one), kind(other)).isPossible, isPossible, (one, other))

    def test_cones(self) -> None:
        """
        NATs that map independently of the endpoint reach each other, whatever they filter.
        """
        cones = ("full-cone", "address-restricted", "port-restricted", "firewall", "none")
        for alice, bob in itertools.product(cones, repeat=2):
            self.check(alice, bob, True)

    def test_symmetric(self) -> None:
        """
        A changing port gets through filters that do not look at ports, and through no others.
        """
        for name in ("none", "one-to-one", "full-cone", "address-restricted"):
            self.check("symmetric-random", name, True)
        for name in ("port-restricted", "firewall", "symmetric", "symmetric-random"):
            self.check("symmetric-random", name, False)

    def test_overloading(self) -> None:
        """
        Linux's masquerade keeps its ports, and is as good as a port-restricted cone.
        """
        self.check("linux-masquerade", "linux-masquerade", True)
        self.check("linux-masquerade", "port-restricted", True)
        self.check("linux-masquerade", "symmetric-random", False)

    def test_openMapping(self) -> None:
        """
        A changing port is no obstacle where the announced one lets everybody in.
        """
        opened = attrs.evolve(
            NAMED_BEHAVIOURS["symmetric-random"], filtering=Filtering.ENDPOINT_INDEPENDENT
        )
        for name in ("port-restricted", "symmetric-random"):
            self.assertTrue(expect(NATKind(name="open", behaviour=opened), kind(name)).isPossible)

    def test_blocked(self) -> None:
        """
        What blocks UDP is no obstacle to TCP; what lets only the web out is one to both.
        """
        blocked, public = kind("udp-blocked"), kind("none")
        found = [expect(blocked, public, flow).isPossible for flow in Flow]
        self.assertEqual(found, [False, True, True])
        self.assertIn("bob's network", expect(public, blocked, Flow.UDP).reason)
        self.check("corporate-firewall", "none", False)

    def test_sameLAN(self) -> None:
        """
        On one LAN the NAT is of no account.
        """
        lan = NATKind(name="lan", isSameLAN=True)
        self.assertTrue(expect(kind("symmetric-random"), lan).isPossible)

    def test_reasons(self) -> None:
        """
        What is impossible says whose port would have to be guessed, and what is missing.
        """
        both = expect(kind("symmetric"), kind("symmetric"))
        self.assertIn("guess the other's port", both.reason)
        self.assertIn("port prediction", both.missing)
        one = expect(kind("port-restricted"), kind("symmetric-random"))
        self.assertTrue(one.reason.startswith("bob's NAT uses another port"), one.reason)
        self.assertNotIn("prediction", one.missing)


class GridTests(SynchronousTestCase):
    """
    Which pairs there are.
    """

    def test_full(self) -> None:
        """
        The full grid has every pair of classes once, and every one of the 162 behaviours on both
        sides, whatever the seed.
        """
        everything = {
            NATBehaviour(
                mapping=mapping,
                filtering=filtering,
                ports=ports,
                unsolicited=unsolicited,
                hairpin=hairpin,
            )
            for mapping, filtering, ports, unsolicited, hairpin in itertools.product(
                Mapping, Filtering, PortAllocation, Unsolicited, (True, False)
            )
        }
        self.assertEqual(len(everything), 162)
        for seed in (0, 1, 35):
            grid = makeGrid("full", seed)
            self.assertEqual(len({(cell.row, cell.column) for cell in grid.cells}), 729)
            self.assertEqual({cell.alice.behaviour for cell in grid.cells}, everything)
            self.assertEqual({cell.bob.behaviour for cell in grid.cells}, everything)
            pairs = Counter(
                (cell.alice.name.partition("(")[2], cell.bob.name.partition("(")[2])
                for cell in grid.cells
            )
            self.assertEqual(len(pairs), len(VARIANTS) ** 2)
            self.assertGreaterEqual(min(pairs.values()), 16)

    def test_seeds(self) -> None:
        """
        36 seeds make every pair of behaviours, each once.
        """
        pairs = {
            (cell.alice, cell.bob) for seed in range(36) for cell in makeGrid("full", seed).cells
        }
        self.assertEqual(len(pairs), 162 * 162)

    def test_public(self) -> None:
        """
        The public grids have the size that they are known by; tailscale's has no pair of which each
        is on the other's LAN.
        """
        self.assertEqual(len(makeGrid("iroh").cells), 4 * 4)
        self.assertEqual(len(makeGrid("tailscale").cells), 7 * 7 - 1)

    def test_unknown(self) -> None:
        """
        A grid that there is not is refused.
        """
        with self.assertRaisesRegex(UsageError, "only full, classic"):
            makeGrid("huge")

    def test_networks(self) -> None:
        """
        Every grid fits into one network, in whose waves each cell is once and no host twice.
        """
        for name in GRID_NAMES:
            cells = makeGrid(name).cells
            network = MatrixNetwork.of(cells, 1)
            waves = network.waves()
            self.assertEqual(sorted(itertools.chain(*waves)), list(range(len(cells))))
            for wave in waves:
                hosts = [
                    host
                    for number in wave
                    for host in (network.places[number].alice, network.places[number].bob)
                ]
                self.assertEqual(len(hosts), len(set(hosts)))
                self.assertLessEqual(set(hosts), set(network.hosts))


class ResultTests(SynchronousTestCase):
    """
    What results mean.
    """

    def result(self, pair: tuple[str, str], *seconds: float | None) -> MatrixResult:
        cell = Cell(row=0, column=0, alice=kind(pair[0]), bob=kind(pair[1]))
        trials = tuple(
            Trial(
                cell=0,
                flow="udp",
                seed=f"0/{run}",
                seconds=each,
                candidate=None if each is None else "srflx",
                failure="nothing came through" if each is None else "",
            )
            for run, each in enumerate(seconds)
        )
        return MatrixResult(
            grid=Grid(name="one", title="One", labels=("it",), cells=(cell,)),
            flows=("udp",),
            lab="simulated",
            runs=len(seconds),
            seed=0,
            trials=trials,
            seconds=1.0,
        )

    def test_connected(self) -> None:
        """
        A cell in which every session connects is green, has a median and a winner, and no reason.
        """
        (cell,) = self.result(("none", "none"), 0.1, 0.3, 0.2).allCells
        self.assertIs(cell.verdict, Verdict.CONNECTED)
        self.assertEqual((cell.median, cell.candidates, cell.why), (0.2, {"srflx": 3}, ""))

    def test_wanting(self) -> None:
        """
        One that is possible and does not always connect falls short, and tells the seed.
        """
        for seconds, verdict in (((0.1, None), Verdict.PARTLY), ((None,), Verdict.FAILED)):
            result = self.result(("none", "full-cone"), *seconds)
            (cell,) = result.wanting
            self.assertIs(cell.verdict, verdict)
            self.assertIn(f"seed 0/{len(seconds) - 1}: nothing came through", cell.why)

    def test_impossible(self) -> None:
        """
        One that is impossible does not fall short, and says what is missing.
        """
        result = self.result(("symmetric-random", "port-restricted"), None)
        self.assertEqual(result.wanting, [])
        (cell,) = result.allCells
        self.assertIs(cell.verdict, Verdict.IMPOSSIBLE)
        self.assertIn("missing: ", cell.why)

    def test_relayed(self) -> None:
        """
        With a relay, who stays on it though there is a direct way falls short, and so does who does
        not connect at all.
        """
        stayed = {"seconds": 0.1, "candidate": "relay", "path": "relay"}
        moved = {"seconds": 0.1, "candidate": "srflx", "path": "direct", "movedAfter": 0.4}
        for pair, trials, verdict, isWanting in (
            (("none", "none"), (moved, moved), Verdict.CONNECTED, False),
            (("none", "none"), (moved, stayed), Verdict.RELAYED, True),
            (("symmetric", "symmetric"), (stayed,), Verdict.RELAYED, False),
            (("symmetric", "symmetric"), ({"failure": "no"},), Verdict.FAILED, True),
        ):
            made = tuple(Trial(cell=0, flow="udp", seed="0/0", **each) for each in trials)
            result = attrs.evolve(self.result(pair), trials=made, relay=RelayPolicy.AUTO)
            (cell,) = result.allCells
            self.assertIs(cell.verdict, verdict)
            self.assertEqual((cell.isWanting, bool(result.wanting)), (isWanting, isWanting))
            self.assertEqual(bool(cell.why), verdict is not Verdict.CONNECTED)

    def test_unavailable(self) -> None:
        """
        What the product cannot do yet is not run, and says so.
        """
        grid = makeGrid("tailscale")
        for shard in shards(grid, 1, 0):
            self.assertTrue(all(cell.isAvailable for cell in shard.cells))
        result = attrs.evolve(self.result(("none", "none")), grid=grid)
        self.assertEqual(count(result.allCells)[Verdict.UNAVAILABLE], 48)
        self.assertIn("not available yet", result.allCells[3].why)

    def test_disagreements(self) -> None:
        """
        Two runs disagree about a cell with different verdicts, unless one of them did not run it.
        """
        pair = ("none", "none")
        green, red, nothing = (self.result(pair, *each) for each in ((0.1,), (None,), ()))
        (found,) = disagreements(green, red)
        self.assertEqual(str(found), "none / none by udp: connected and failed")
        self.assertEqual(list(disagreements(green, green)), [])
        self.assertEqual(list(disagreements(green, nothing)), [])


class TemplateTests(SynchronousTestCase):
    """
    Command templates.
    """

    def test_fill(self) -> None:
        """
        A template has a name, and words that are filled in, quoted ones whole.
        """
        template = ProgramTemplate.parse("ice=run 'with {role}' {signal} {{}}")
        filled = template.fill(**{word: word.upper() for word in WORDS})
        self.assertEqual(template.name, "ice")
        self.assertEqual(filled, ["run", "with ROLE", "SIGNAL", "{}"])

    def test_name(self) -> None:
        """
        Without a name, it has that of its program.
        """
        self.assertEqual(ProgramTemplate.parse("/usr/bin/true {role}").name, "true")

    def test_bad(self) -> None:
        """
        One that asks for an unknown word, or is no command line, is refused.
        """
        for text in ("run {nothing}", "run {}", "run {", "", "it's"):
            with self.assertRaisesRegex(UsageError, "known are {role}, {session}"):
                ProgramTemplate.parse(text)


class SimulationTests(SynchronousTestCase):
    """
    Whole grids, simulated.
    """

    def assertAsExpected(self, result: MatrixResult) -> None:
        """
        What is possible connects in every session, and nothing else does.
        """
        for cell in result.allCells:
            if cell.trials:
                wanted = Verdict.CONNECTED if cell.expectation.isPossible else Verdict.IMPOSSIBLE
                name = f"{cell.cell.alice.name} / {cell.cell.bob.name} by {cell.flow}: {cell.why}"
                self.assertIs(cell.verdict, wanted, name)

    def test_iroh(self) -> None:
        """
        Of iroh's grid, every pair connects that can, twice, in all flows.
        """
        result = simulate(makeGrid("iroh"), runs=2)
        self.assertEqual(len(result.trials), 16 * 3 * 2)
        self.assertAsExpected(result)

    def test_tailscale(self) -> None:
        """
        Of tailscale's grid, every pair connects that can, and on one LAN by the private path.
        """
        result = simulate(makeGrid("tailscale"))
        self.assertAsExpected(result)
        for cell in result.allCells:
            if cell.trials and (cell.cell.alice.isSameLAN or cell.cell.bob.isSameLAN):
                self.assertEqual(list(cell.candidates), ["host"])

    def test_again(self) -> None:
        """
        A seed tells which networks there are, and so every time to connect that luck has no part
        in.
        """
        (shard, *_) = shards(makeGrid("iroh"), 1, 7)
        first, second = (
            {(trial.cell, trial.flow): trial for trial in runShard(shard) if trial.flow == "udp"}
            for _ in range(2)
        )
        self.assertEqual(first.keys(), second.keys())
        for key, trial in first.items():
            self.assertEqual(trial.candidate, second[key].candidate)
            if trial.seconds is not None:
                self.assertAlmostEqual(trial.seconds, second[key].seconds or 0.0, places=3)

    def test_relay(self) -> None:
        """
        With a relay every pair connects, be UDP blocked or all but the web, and is on a direct path
        in the end wherever there is one.
        """
        flows = (Flow.UDP, Flow.TCP_SIMULTANEOUS)
        result = simulate(makeGrid("blocked"), flows=flows, relay=RelayPolicy.AUTO)
        self.assertEqual([cell.why for cell in result.wanting], [])
        for cell in result.allCells:
            isPossible = cell.expectation.isPossible
            self.assertIs(cell.verdict, Verdict.CONNECTED if isPossible else Verdict.RELAYED)
            if "moved" in cell.ways:
                assert cell.median is not None and cell.medianMove is not None
                self.assertGreaterEqual(cell.medianMove, cell.median)

    def test_onlyRelay(self) -> None:
        """
        With nothing but a relay wanted, no pair leaves it, and none falls short.
        """
        flows, grid = (Flow.UDP,), makeGrid("iroh")
        result = simulate(grid, flows=flows, relay=RelayPolicy.ONLY)
        self.assertEqual(count(result.allCells)[Verdict.RELAYED], 16)
        self.assertEqual(result.wanting, [])

    def test_classic(self) -> None:
        """
        Of the NATs that have names, every pair connects that can, in processes of their own.
        """
        self.assertAsExpected(simulate(makeGrid("classic"), jobs=2))
