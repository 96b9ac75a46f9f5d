"""
Servers that lie, answer from a wrong address or not at all do not lead discovery astray.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    Mapping,
    Packet,
    PortAllocation,
    Protocol,
)
from holepunch.nat.discovery import ProtocolReport
from holepunch.nat.discoverydatagrams import planDatagrams
from holepunch.nat.discoverylifetime import planLifetime
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from holepunch.nat.discoverystreamlifetime import planStreamLifetime
from holepunch.nat.discoverystreams import planStreams
from tests.nat.discoveryworld import CORNERS, EXTERNAL, OTHER, SERVER, World

Answer = Callable[[Probe, Outcome, Packet], Outcome]


class Liar(World):
    """
    A world whose servers answer in another way.
    """

    def __init__(self, lie: Answer, name: str = "port-restricted") -> None:
        super().__init__(NAMED_BEHAVIOURS[name])
        self._lie = lie

    def answer(
        self, probe: Probe, local: TransportAddress, hearer: TransportAddress, request: Packet
    ) -> Outcome:
        return self._lie(probe, super().answer(probe, local, hearer, request), request)


class LiarTests(SynchronousTestCase):
    """
    Servers that lie, answer from a wrong address, or not at all.
    """

    def report(
        self, lie: Answer, name: str = "port-restricted", *servers: TransportAddress
    ) -> ProtocolReport:
        return Liar(lie, name).follow(planDatagrams(servers or [SERVER]))

    def why(self, report: ProtocolReport, what: str) -> str:
        (why,) = [each.why for each in report.undetermined if each.what == what]
        return why

    def test_silence(self) -> None:
        """
        Where nobody answers, the transport counts as blocked, and nothing is concluded.
        """
        report = self.report(lambda probe, outcome, packet: attrs.evolve(outcome, fate=Fate.SILENT))
        self.assertEqual((report.isBlocked, report.isTranslated), (True, None))
        self.assertEqual(report.problem, "no server answered")

    def test_wrongSource(self) -> None:
        """
        Answers from another address than was asked prove nothing but that the transport works.
        """
        report = self.report(
            lambda probe, outcome, packet: attrs.evolve(outcome, source=OTHER, otherAddress=None)
        )
        self.assertEqual((report.isBlocked, report.mapped, report.mapping), (False, None, None))
        self.assertIn("answers from another address", str(report.problem))

    def test_nonsense(self) -> None:
        """
        Mapped addresses that cannot be are not believed, nor answers without any.
        """
        for mapped in ("0.0.0.0:5000", "224.0.0.1:5000", "203.0.113.1:0", "[2001:db8::1]:5", None):
            address = None if mapped is None else TransportAddress.parse(mapped)

            def lie(
                probe: Probe,
                outcome: Outcome,
                packet: Packet,
                address: TransportAddress | None = address,
            ) -> Outcome:
                return attrs.evolve(outcome, mapped=address)

            report = self.report(lie)
            self.assertEqual((report.mapped, report.mapping, report.ports), (None, None, None))
            self.assertTrue(report.problem)

    def test_contradiction(self) -> None:
        """
        A server that sees one endpoint in two ways is not believed in anything.
        """
        ports = iter(range(1024, 60000))
        report = self.report(
            lambda probe, outcome, packet: attrs.evolve(
                outcome, mapped=TransportAddress(EXTERNAL, next(ports))
            )
        )
        self.assertEqual((report.mapping, report.mapped), (None, None))
        self.assertIn("contradicts itself", str(report.problem))
        self.assertIn("contradicts itself", self.why(report, "mapping"))

    def test_disagreement(self) -> None:
        """
        Where servers see different hosts, the report says so, and calls no NAT symmetric.
        """

        def lie(probe: Probe, outcome: Outcome, packet: Packet) -> Outcome:
            if probe.destination.host == OTHER.host and outcome.mapped is not None:
                return attrs.evolve(outcome, mapped=TransportAddress("192.0.2.99", 7))
            return outcome

        report = self.report(lie)
        self.assertEqual((report.mapping, report.isDestinationDependent), (None, None))
        self.assertIn("disagree", self.why(report, "mapping"))

    def test_noOtherAddress(self) -> None:
        """
        One server with one address tells neither the mapping nor the filter, and the report says
        why.
        """
        report = self.report(
            lambda probe, outcome, packet: attrs.evolve(
                outcome,
                otherAddress=None,
                fate=Fate.REJECTED if probe.change else outcome.fate,
            )
        )
        self.assertEqual((report.mapping, report.filtering), (None, None))
        self.assertIn("no second address", self.why(report, "mapping"))
        self.assertIn("CHANGE-REQUEST", self.why(report, "filtering"))
        self.assertIs(report.ports, PortAllocation.PRESERVED)

    def test_deadOtherAddress(self) -> None:
        """
        A server with an invented second address: its silence says nothing about the filter.
        """
        nowhere = TransportAddress("198.51.100.99", 4000)
        report = self.report(
            lambda probe, outcome, packet: attrs.evolve(
                outcome,
                otherAddress=nowhere,
                fate=Fate.SILENT if probe.change else outcome.fate,
            )
        )
        self.assertEqual((report.mapping, report.filtering), (None, None))
        for what in ("mapping", "filtering"):
            self.assertIn("gave no proper answer", self.why(report, what))

    def test_ignoredChange(self) -> None:
        """
        A server that answers every request from where it was asked does not make a NAT look open.
        """
        report = self.report(
            lambda probe, outcome, packet: Outcome(
                fate=Fate.ANSWERED,
                local=outcome.local,
                source=probe.destination,
                mapped=packet.source,
                otherAddress=OTHER,
            )
        )
        self.assertIsNone(report.filtering)
        self.assertIn("wrong address", self.why(report, "filtering"))

    def test_forgetfulServer(self) -> None:
        """
        A server that answers one socket only tells nothing of ports, nor of hairpins.
        """
        report = self.report(
            lambda probe, outcome, packet: (
                outcome if probe.socket == 0 else attrs.evolve(outcome, fate=Fate.SILENT)
            )
        )
        self.assertEqual((report.ports, report.isHairpinning), (None, None))
        for what in ("ports", "hairpin"):
            self.assertIn("too few", self.why(report, what))

    def test_silentChange(self) -> None:
        """
        Two plain servers that ignore CHANGE-REQUEST do not make a NAT look strict.
        """
        servers = (SERVER, OTHER)
        report = self.report(
            lambda probe, outcome, packet: attrs.evolve(
                outcome,
                otherAddress=None,
                fate=Fate.SILENT if probe.change else outcome.fate,
            ),
            "full-cone",
            *servers,
        )
        self.assertEqual(report.mapping, Mapping.ENDPOINT_INDEPENDENT)
        self.assertIsNone(report.filtering)

    def test_calls(self) -> None:
        """
        A server that claims to have got through to us, or did so from some other host than it was
        to, does not make a NAT look open; nor does one that says nothing.
        """

        class Caller(World):
            def call(
                self, probe: Probe, local: TransportAddress, mapped: TransportAddress
            ) -> Outcome:
                return outcome

        stranger = TransportAddress("203.0.113.77", 1)
        for fate, call, caller, why in (
            (Fate.ANSWERED, Fate.HEARD, None, "does not connect to its clients"),
            (Fate.ANSWERED, Fate.HEARD, stranger, "does not connect to its clients"),
            (Fate.SILENT, None, None, "gave no answer when it was asked to connect to us"),
        ):
            outcome = Outcome(fate=fate, call=call, caller=caller)
            world = Caller(NAMED_BEHAVIOURS["symmetric"], Protocol.TCP)
            report = world.follow(planStreams([SERVER]))
            self.assertEqual((report.filtering, report.unsolicited), (None, None))
            for what in ("filtering", "unsolicited"):
                self.assertIn(why, self.why(report, what))

    @given(st.randoms(use_true_random=False))
    def test_anything(self, random: object) -> None:
        """
        Whatever servers answer, there is a report.
        """
        choice = random.choice  # type: ignore[attr-defined]
        addresses = [None, SERVER, OTHER, *CORNERS.values(), TransportAddress(EXTERNAL, 5000)]

        def lie(probe: Probe, outcome: Outcome, packet: Packet) -> Outcome:
            return Outcome(
                fate=choice(list(Fate)),
                local=outcome.local,
                source=choice(addresses),
                mapped=choice(addresses),
                otherAddress=choice(addresses),
            )

        for plan in (planDatagrams, planStreams):
            self.assertIsInstance(Liar(lie).follow(plan([SERVER, OTHER])), ProtocolReport)
        for lifetimes in (planLifetime, planStreamLifetime):
            Liar(lie).follow(lifetimes([SERVER], 100.0))
