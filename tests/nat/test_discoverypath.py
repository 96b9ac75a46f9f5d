"""
The plan for the way: several NATs in a row, the path MTU, fragments.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.nat.discoveryhops import NestingFinding, Sureness, nestingFinding
from holepunch.nat.discoverypath import PathReport, planPath
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from tests.nat.pathworld import PUBLIC, SERVER, Carriage, Way
from tests.nat.test_discoveryplans import behaviours, seeds

HOME, OTHER_HOME, CARRIER, PSEUDO = "192.168.1.10", "10.1.2.3", "100.64.3.4", "25.1.2.3"


class NestingTests(SynchronousTestCase):
    """
    NATs in a row.
    """

    def nesting(self, way: Way) -> NestingFinding:
        nesting = way.follow(planPath([SERVER])).nesting
        assert nesting is not None
        return nesting

    @given(behaviours, seeds)
    def test_one(self, behaviour: object, seed: int) -> None:
        """
        One NAT, whichever, is known for one.
        """
        nesting = self.nesting(Way([behaviour], [HOME], seed=seed))  # type: ignore[list-item]
        self.assertEqual((nesting.isNested, nesting.distance), (False, 1))

    @given(behaviours, behaviours, st.sampled_from([OTHER_HOME, CARRIER, PSEUDO]), seeds)
    def test_two(self, inner: object, outer: object, between: str, seed: int) -> None:
        """
        Two NATs are found, whatever addresses there are between them: carriers', private ones, or
        such as look public.
        """
        way = Way([inner, outer], [HOME, between], seed=seed)  # type: ignore[list-item]
        nesting = self.nesting(way)
        sureness = Sureness.LIKELY if between == OTHER_HOME else Sureness.CERTAIN
        self.assertEqual(
            (nesting.isNested, nesting.distance, nesting.sureness), (True, 2, sureness)
        )
        self.assertIn(between, nesting.why)

    def test_sameRange(self) -> None:
        """
        Where the addresses do not tell two NATs from one and a router, nothing is claimed.
        """
        cone = NAMED_BEHAVIOURS["port-restricted"]
        nesting = self.nesting(Way([cone, cone], [HOME, "192.168.77.2"]))
        self.assertEqual((nesting.isNested, nesting.distance), (None, 2))
        self.assertIn("does not show", nesting.why)

    def test_mute(self) -> None:
        """
        Where no router complains and there is no hairpin, the reason is said.
        """
        way = Way([NAMED_BEHAVIOURS["symmetric"]], [HOME])
        way.isMute = True
        report = way.follow(planPath([SERVER]))
        (missing,) = [each for each in report.undetermined if each.what == "nested"]
        self.assertIn("no router on the way says", missing.why)

    def test_muteHairpin(self) -> None:
        """
        A hairpin shows the distance even where no router complains.
        """
        cone = NAMED_BEHAVIOURS["full-cone"]
        for behaviours_, hosts in (([cone], [HOME]), ([cone, cone], [HOME, CARRIER])):
            way = Way(behaviours_, hosts)
            way.isMute = True
            self.assertEqual(self.nesting(way).distance, len(behaviours_))

    def test_none(self) -> None:
        """
        Without a NAT there are not several.
        """
        nesting = self.nesting(Way())
        self.assertEqual((nesting.isNested, nesting.sureness), (False, Sureness.CERTAIN))

    def test_gap(self) -> None:
        """
        Behind a router that never says anything, a silent one proves nothing.
        """
        silent = Outcome(fate=Fate.SILENT)
        expired = Outcome(fate=Fate.EXPIRED, source=TransportAddress("10.0.0.1", 0))
        finding = nestingFinding(HOME, PUBLIC, [silent, expired], [silent, silent])
        self.assertEqual((finding.isNested, finding.distance), (None, None))
        self.assertEqual(finding.hops, (None, "10.0.0.1"))

    def test_linux(self) -> None:
        """
        A Linux router complains of a packet for its own address by "port unreachable".
        """
        expired = Outcome(fate=Fate.EXPIRED, source=TransportAddress("192.168.1.1", 0))
        refused = Outcome(fate=Fate.REFUSED, source=TransportAddress(PUBLIC, 0))
        finding = nestingFinding(HOME, PUBLIC, [expired], [refused])
        self.assertEqual((finding.isNested, finding.sureness), (False, Sureness.CERTAIN))


class SizesTests(SynchronousTestCase):
    """
    How long packets may be.
    """

    def report(self, **values: object) -> PathReport:
        return Way(carriage=Carriage(**values)).follow(planPath([SERVER]))  # type: ignore[arg-type]

    @given(st.integers(576, 1500), st.integers(576, 1500), st.booleans())
    def test_both(self, mtuOut: int, mtuIn: int, isBlackHole: bool) -> None:
        """
        Both ways' MTUs are found: exactly where a router says it, and otherwise within the steps in
        which messages and fragments grow. Nothing longer than what comes in can be asked for.
        """
        report = self.report(mtuOut=mtuOut, mtuIn=mtuIn, isBlackHole=isBlackHole)
        sizes = report.sizes
        assert sizes.mtuOut is not None and sizes.mtuIn is not None
        self.assertEqual(sizes.mtuOut, mtuOut // 4 * 4 if isBlackHole else mtuOut)
        self.assertLessEqual(min(mtuIn, mtuOut) - sizes.mtuIn, 7)
        self.assertLessEqual(sizes.mtuIn, min(mtuIn, mtuOut))
        isShort = mtuOut < 1500
        self.assertEqual(sizes.isBlackHole, isBlackHole and isShort)
        self.assertEqual((sizes.fragmentsOut, sizes.fragmentsIn), (True, True))
        self.assertEqual(report.undetermined, ())

    def test_fragments(self) -> None:
        """
        Whether fragments pass is found out in each direction, as far as the server can be asked.
        """
        for passes, found in (
            ((True, True), (True, True)),
            ((True, False), (True, False)),
            ((False, True), (False, None)),
        ):
            sizes = self.report(passesFragments=passes).sizes
            self.assertEqual((sizes.fragmentsOut, sizes.fragmentsIn), found)

    def test_noPadding(self) -> None:
        """
        A server without PADDING tells nothing of the way here.
        """
        report = self.report(knowsPadding=False, mtuOut=1400)
        self.assertEqual((report.sizes.mtuOut, report.sizes.mtuIn), (1400, None))
        missing = {each.what: each.why for each in report.undetermined}
        self.assertEqual(missing.keys(), {"mtuIn", "fragmentsIn"})
        self.assertIn("PADDING", missing["mtuIn"])

    def test_generous(self) -> None:
        """
        A server that always answers with a long packet shows by its fragments what gets here.
        """
        for mtu, found in ((1500, 1500), (1454, 1452), (1400, 1396)):
            report = self.report(knowsPadding=False, paddedSize=1624, mtuIn=mtu)
            self.assertEqual((report.sizes.mtuIn, report.sizes.fragmentsIn), (found, True))
            self.assertEqual(report.undetermined, ())

    def test_silentAbove(self) -> None:
        """
        A server that answers nothing long does not make a black hole.
        """
        report = self.report(mtuOut=1200, isBlackHole=True, passesFragments=(False, False))
        self.assertEqual((report.sizes.mtuOut, report.sizes.isBlackHole), (1200, None))
        (why,) = [each.why for each in report.undetermined if each.what == "blackHole"]
        self.assertIn("that may be the way, or 198.51.100.7", why)

    def test_nothingLong(self) -> None:
        """
        A server that answers only short requests leaves all open, and is named.
        """
        report = self.report(mtuOut=100, isBlackHole=True, passesFragments=(False, False))
        self.assertIsNone(report.sizes.mtuOut)
        self.assertEqual(len(report.undetermined), 5)
        for missing in report.undetermined:
            self.assertIn(str(SERVER), missing.why)


class BoundsTests(SynchronousTestCase):
    """
    Limits, and servers that lie.
    """

    @given(st.integers(576, 1500), st.integers(576, 1500), st.booleans())
    def test_bounds(self, mtuOut: int, mtuIn: int, isBlackHole: bool) -> None:
        """
        At most nine sockets and eighty requests are needed, however many servers there are.
        """
        way = Way(carriage=Carriage(mtuOut=mtuOut, mtuIn=mtuIn, isBlackHole=isBlackHole))
        way.follow(planPath([SERVER, *(TransportAddress(f"198.51.100.{n}", 1) for n in range(90))]))
        self.assertLessEqual(way.requests, 80)
        self.assertLessEqual(len(way.sockets), 9)

    def test_silence(self) -> None:
        """
        Where nobody answers, that is the problem.
        """
        report = self.follow(lambda probe, outcome: Outcome(fate=Fate.SILENT))
        self.assertEqual((report.problem, report.undetermined), ("no server answered", ()))

    def test_noMapped(self) -> None:
        """
        A server that does not say where it sees us is no help.
        """
        report = self.follow(lambda probe, outcome: attrs.evolve(outcome, mapped=None))
        self.assertIn("without a mapped address", str(report.problem))

    @given(st.randoms(use_true_random=False))
    def test_anything(self, random: object) -> None:
        """
        Whatever servers and routers say, there is a report, within the limits.
        """
        choice = random.choice  # type: ignore[attr-defined]
        addresses = [None, SERVER, TransportAddress(HOME, 0), TransportAddress("10.0.0.1", 0)]
        sizes = [None, 0, 1, 60, 1200, 1396, 1400, 1500, 1600, 70000]

        def lie(probe: Probe, outcome: Outcome) -> Outcome:
            return Outcome(
                fate=choice(list(Fate)),
                local=outcome.local,
                source=choice(addresses),
                mapped=choice(addresses),
                mtu=choice(sizes),
                size=choice(sizes),
                fragmentSize=choice(sizes),
            )

        self.assertIsInstance(self.follow(lie), PathReport)

    def follow(self, lie: Callable[[Probe, Outcome], Outcome]) -> PathReport:
        class Liar(Way):
            def send(self, probe: Probe) -> Outcome:
                return lie(probe, super().send(probe))

        way = Liar([NAMED_BEHAVIOURS["port-restricted"]], [HOME])
        report = way.follow(planPath([SERVER]))
        self.assertLessEqual(way.requests, 80)
        return report
