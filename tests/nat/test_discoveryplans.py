"""
Discovery finds out of a model NAT what it was told to be, within its limits.
"""

from __future__ import annotations

from collections import Counter

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Protocol,
    Unsolicited,
)
from holepunch.nat.discovery import ProtocolReport
from holepunch.nat.discoverydatagrams import planDatagrams
from holepunch.nat.discoverylifetime import planLifetime
from holepunch.nat.discoveryprobe import PACE, Fate, Outcome, Probe
from holepunch.nat.discoverystreamlifetime import planStreamLifetime
from holepunch.nat.discoverystreams import planStreams
from holepunch.nat.presets import PRESETS
from tests.nat.discoveryworld import EXTERNAL, SERVER, World

behaviours = st.builds(
    NATBehaviour,
    mapping=st.sampled_from(Mapping),
    filtering=st.sampled_from(Filtering),
    ports=st.sampled_from(PortAllocation),
    portStep=st.integers(-8, 8).filter(bool),
    overloadsPorts=st.booleans(),
    hairpin=st.booleans(),
    unsolicited=st.sampled_from(Unsolicited),
    isOneToOne=st.sampled_from((False, False, False, True)),
    dropsMappingOnReset=st.booleans(),
    udpTimeout=st.floats(20.0, 590.0),
    tcpEstablishedTimeout=st.floats(20.0, 590.0),
)
seeds = st.integers(0, 1 << 32)


def fromOutside(behaviour: NATBehaviour) -> NATBehaviour:
    """
    As what a NAT appears to those who see only the packets of one internal host.
    """
    if behaviour.isOneToOne:
        # It maps by no rule but its pairs of hosts.
        return attrs.evolve(
            behaviour, mapping=Mapping.ENDPOINT_INDEPENDENT, ports=PortAllocation.PRESERVED
        )
    if behaviour.overloadsPorts and behaviour.ports is PortAllocation.PRESERVED:
        return attrs.evolve(behaviour, mapping=Mapping.ENDPOINT_INDEPENDENT)
    return behaviour


class Shy(World):
    """
    A world whose servers connect to nobody.
    """

    def call(self, probe: Probe, local: TransportAddress, mapped: TransportAddress) -> Outcome:
        return Outcome(fate=Fate.REJECTED, local=local, source=probe.destination)


class BehaviourTests(SynchronousTestCase):
    """
    What is reported is what the device does.
    """

    def checkCommon(self, behaviour: NATBehaviour, report: ProtocolReport) -> NATBehaviour:
        """
        Compare what UDP and TCP have in common.

        @return: The behaviour as it appears.
        """
        seen = fromOutside(behaviour)
        self.assertEqual((report.isBlocked, report.isTranslated), (False, True))
        self.assertEqual((report.mapping, report.ports), (seen.mapping, seen.ports))
        self.assertIs(
            report.isDestinationDependent, seen.mapping is not Mapping.ENDPOINT_INDEPENDENT
        )
        if seen.ports is PortAllocation.SEQUENTIAL:
            self.assertEqual(report.portStep, seen.portStep)
        assert report.mapped is not None and report.portConfidence is not None
        self.assertEqual(report.mapped.host, EXTERNAL)
        self.assertGreater(report.portConfidence, 0.5)
        isKnowable = (
            seen.mapping is Mapping.ENDPOINT_INDEPENDENT
            or report.filtering is Filtering.ENDPOINT_INDEPENDENT
        )
        if isKnowable:
            self.assertEqual(report.isHairpinning, seen.hairpin)
        return seen

    def whys(self, report: ProtocolReport) -> set[str]:
        return {each.what for each in report.undetermined}

    @given(behaviours, seeds)
    def test_datagrams(self, behaviour: NATBehaviour, seed: int) -> None:
        """
        Of every NAT, the mapping, the filter, the ports with their step, and the hairpin towards
        UDP are found out, as far as they can be seen.
        """
        report = World(behaviour, Protocol.UDP, seed).follow(planDatagrams([SERVER]))
        seen = self.checkCommon(behaviour, report)
        self.assertEqual(report.filtering, seen.filtering)
        if report.isHairpinning is None:
            self.assertEqual(self.whys(report), {"hairpin"})

    @given(behaviours, seeds)
    def test_streams(self, behaviour: NATBehaviour, seed: int) -> None:
        """
        The same for TCP, and what strangers get.
        """
        if behaviour.mapping is not Mapping.ENDPOINT_INDEPENDENT:
            # A reset takes away the mapping through which a hairpin would have to come.
            behaviour = attrs.evolve(behaviour, dropsMappingOnReset=False)
        report = World(behaviour, Protocol.TCP, seed).follow(planStreams([SERVER]))
        seen = self.checkCommon(behaviour, report)
        self.assertEqual(report.filtering, seen.filtering)
        self.checkUnsolicited(seen, report)

    def test_kindsOfTheLab(self) -> None:
        """
        Every kind of NAT that has a name is what it is found to be.
        """
        for name, behaviour in {**NAMED_BEHAVIOURS, **PRESETS}.items():
            if behaviour.outbound or behaviour.blocked:
                continue
            with self.subTest(name):
                for plan, protocol in ((planDatagrams, Protocol.UDP), (planStreams, Protocol.TCP)):
                    report = World(behaviour, protocol).follow(plan([SERVER]))
                    seen = self.checkCommon(behaviour, report)
                    self.assertEqual(report.filtering, seen.filtering)
                self.checkUnsolicited(seen, report)

    def checkUnsolicited(self, seen: NATBehaviour, report: ProtocolReport) -> None:
        isOpen = seen.filtering is Filtering.ENDPOINT_INDEPENDENT
        self.assertEqual(report.unsolicited, None if isOpen else seen.unsolicited)
        self.assertEqual(isOpen, "unsolicited" in self.whys(report))

    @given(behaviours, seeds)
    def test_streamsUncalled(self, behaviour: NATBehaviour, seed: int) -> None:
        """
        Where the server connects to nobody, the filter towards TCP and what strangers get are found
        out if the NAT hairpins.
        """
        if behaviour.mapping is not Mapping.ENDPOINT_INDEPENDENT:
            # A reset takes away the mapping through which a hairpin would have to come.
            behaviour = attrs.evolve(behaviour, dropsMappingOnReset=False)
        world = Shy(behaviour, Protocol.TCP, seed)
        report = world.follow(planStreams([SERVER]))
        seen = self.checkCommon(behaviour, report)
        if report.filtering is not None:
            self.assertEqual(report.filtering, seen.filtering)
        if report.isHairpinning and seen.mapping is Mapping.ENDPOINT_INDEPENDENT:
            self.assertEqual(report.filtering, seen.filtering)
            self.checkUnsolicited(seen, report)
        for value, what in ((report.filtering, "filtering"), (report.unsolicited, "unsolicited")):
            self.assertEqual(value is None, what in self.whys(report))
            if value is None and "strangers" not in self.why(report, what):
                self.assertIn("does not connect to its clients", self.why(report, what))

    def why(self, report: ProtocolReport, what: str) -> str:
        (why,) = [each.why for each in report.undetermined if each.what == what]
        return why

    def test_noNAT(self) -> None:
        """
        Where there is no NAT but a filter, the filter is found out.
        """
        for name, filtering in (
            ("no-nat", Filtering.ENDPOINT_INDEPENDENT),
            ("firewall", Filtering.ADDRESS_AND_PORT_DEPENDENT),
        ):
            world = World(NAMED_BEHAVIOURS[name], noNAT=True)
            report = world.follow(planDatagrams([SERVER]))
            self.assertEqual((report.isTranslated, report.filtering), (False, filtering))
            self.assertIs(report.mapping, Mapping.ENDPOINT_INDEPENDENT)
            self.assertIsNone(report.isHairpinning)

    @given(behaviours, seeds)
    def test_lifetime(self, behaviour: NATBehaviour, seed: int) -> None:
        """
        The lifetime of a mapping is found out within five percent and a second.
        """
        behaviour = attrs.evolve(behaviour, isOneToOne=False)
        world = World(behaviour, Protocol.UDP, seed)
        finding = world.follow(planLifetime([SERVER], 600.0))
        assert finding.value is not None
        self.assertLessEqual(finding.value.alive, behaviour.udpTimeout)
        error = abs(finding.value.estimate - behaviour.udpTimeout)
        self.assertLess(error, 1.0 + 0.05 * behaviour.udpTimeout)
        self.assertLess(world.now, 4 * 600.0)

    def test_longLifetime(self) -> None:
        """
        A mapping that outlives every attempt has no known lifetime, and the report says so.
        """
        world = World(NAMED_BEHAVIOURS["full-cone"])
        report = ProtocolReport().withLifetime(world.follow(planLifetime([SERVER], 100.0)))
        self.assertIsNone(report.lifetime)
        (missing,) = report.undetermined
        self.assertEqual(
            (missing.what, missing.why), ("lifetime", "a mapping is still there after 100 seconds")
        )

    @given(behaviours, seeds)
    def test_streamLifetime(self, behaviour: NATBehaviour, seed: int) -> None:
        """
        How long an idle connection lives is found out as exactly.
        """
        behaviour = attrs.evolve(behaviour, isOneToOne=False)
        world = World(behaviour, Protocol.TCP, seed)
        finding = world.follow(planStreamLifetime([SERVER], 600.0))
        assert finding.value is not None
        timeout = behaviour.tcpEstablishedTimeout
        self.assertLessEqual(finding.value.alive, timeout)
        self.assertLess(abs(finding.value.estimate - timeout), 1.0 + 0.05 * timeout)

    @given(st.floats(20.0, 590.0), st.floats(10.0, 700.0), seeds)
    def test_impatientServer(self, timeout: float, patience: float, seed: int) -> None:
        """
        A server that closes idle connections shows a lower bound, or nothing wrong.
        """
        behaviour = attrs.evolve(NAMED_BEHAVIOURS["symmetric"], tcpEstablishedTimeout=timeout)
        world = World(behaviour, Protocol.TCP, seed)
        world.patience = patience
        finding = world.follow(planStreamLifetime([SERVER], 600.0))
        assert finding.value is not None
        self.assertLessEqual(finding.value.alive, timeout)
        if finding.value.dead is not None:
            self.assertGreaterEqual(finding.value.dead, timeout - 1.0)
        elif patience < 600.0:
            self.assertIn("closes it", str(finding.why))
            self.assertEqual(finding.value.alive, patience)


class BoundsTests(SynchronousTestCase):
    """
    Home routers break when too much begins at once.
    """

    def test_bounds(self) -> None:
        """
        Neither plan begins more than fifty flows a second, or more than twenty, or uses more than
        ten sockets, however many servers there are.
        """
        servers = [SERVER, *(TransportAddress(f"198.51.100.{n}", 3478) for n in range(20, 60))]
        for plan, protocol in ((planDatagrams, Protocol.UDP), (planStreams, Protocol.TCP)):
            world = World(NAMED_BEHAVIOURS["symmetric-random"], protocol)
            world.follow(plan(servers))
            flows: dict[tuple[int, TransportAddress], float] = {}
            for moment, probe in world.sent:
                flows.setdefault((probe.socket, probe.destination), moment)
            self.assertLessEqual(len(flows), 20)
            self.assertLessEqual(len({probe.socket for _, probe in world.sent}), 10)
            moments = Counter(int(moment / PACE) for moment in flows.values())
            self.assertLessEqual(max(moments.values()), 2)

    @given(st.floats(1.0, 1000.0), st.floats(50.0, 600.0))
    def test_lifetimeBounds(self, timeout: float, longest: float) -> None:
        """
        Measuring a lifetime takes at most fifty requests and four times the longest one.
        """
        behaviour = attrs.evolve(
            NAMED_BEHAVIOURS["port-restricted"], udpTimeout=timeout, tcpEstablishedTimeout=timeout
        )
        servers = [SERVER, *(TransportAddress(f"198.51.100.{n}", 3478) for n in range(20, 60))]
        for plan, protocol in ((planLifetime, Protocol.UDP), (planStreamLifetime, Protocol.TCP)):
            world = World(behaviour, protocol)
            world.follow(plan(servers, longest))
            self.assertLessEqual(len(world.sent), 50)
            self.assertLessEqual(len({probe.socket for _, probe in world.sent}), 30)
            self.assertLessEqual(world.now, 4 * longest)
