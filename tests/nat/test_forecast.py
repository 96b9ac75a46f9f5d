"""
The forecast: who can be reached from behind which NAT.
"""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.nat import NAMED_BEHAVIOURS, Filtering, PortAllocation, Protocol
from holepunch.nat.discovery import NATReport, ProtocolReport
from holepunch.nat.discoverydatagrams import planDatagrams
from holepunch.nat.discoverystreams import planStreams
from holepunch.nat.forecast import KINDS, Forecast, Outlook, Side, forecast, foresee
from tests.nat.discoveryworld import SERVER, World

sides = st.builds(
    Side,
    isBlocked=st.sampled_from((False, False, True, None)),
    keepsEndpoint=st.sampled_from((True, False, None)),
    filtering=st.sampled_from((*Filtering, None)),
    isPredictable=st.sampled_from((True, False, None)),
)
knownSides = st.builds(
    Side,
    keepsEndpoint=st.booleans(),
    filtering=st.sampled_from(Filtering),
    isPredictable=st.booleans(),
)


def discovered(name: str) -> NATReport:
    """
    What discovery reports of a named NAT.
    """
    behaviour = NAMED_BEHAVIOURS[name]
    return NATReport(
        udp=World(behaviour).follow(planDatagrams([SERVER])),
        tcp=World(behaviour, Protocol.TCP).follow(planStreams([SERVER])),
    )


def outlooks(found: tuple[Forecast, ...]) -> dict[str, Outlook]:
    """
    The outlook of UDP, by kind.
    """
    return {each.kind: each.udp.outlook for each in found}


class RuleTests(SynchronousTestCase):
    """
    The rule for two sides.
    """

    @given(sides, sides)
    def test_mutual(self, one: Side, other: Side) -> None:
        """
        It does not matter which side asks.
        """
        self.assertIs(foresee(one, other).outlook, foresee(other, one).outlook)

    @given(knownSides, knownSides)
    def test_known(self, one: Side, other: Side) -> None:
        """
        Where all is known, there is an answer.
        """
        self.assertIsNot(foresee(one, other).outlook, Outlook.UNKNOWN)

    @given(knownSides, knownSides)
    def test_openerIsBetter(self, one: Side, other: Side) -> None:
        """
        A filter that lets more in never makes things worse.
        """
        order = [Outlook.NO, Outlook.GUESS, Outlook.DIRECT]
        before = foresee(one, other).outlook
        for filtering in list(Filtering)[: [*Filtering, None].index(one.filtering)]:
            after = foresee(attrs.evolve(one, filtering=filtering), other).outlook
            self.assertGreaterEqual(order.index(after), order.index(before))

    @given(sides, sides)
    def test_neverWrong(self, one: Side, other: Side) -> None:
        """
        What is foretold of a side of which little is known holds for all that it may be.
        """
        prospect = foresee(one, other)
        if prospect.outlook is not Outlook.UNKNOWN and one.isBlocked is False:
            for possible in one.possibilities():
                self.assertIs(foresee(possible, other).outlook, prospect.outlook)

    def test_blocked(self) -> None:
        """
        A transport that is blocked on either side leads nowhere.
        """
        blocked = attrs.evolve(Side.ofBehaviour(None), isBlocked=True)
        self.assertIs(foresee(blocked, Side.ofBehaviour(None)).outlook, Outlook.NO)


class ForecastTests(SynchronousTestCase):
    """
    The forecast from a report.
    """

    def test_everyKind(self) -> None:
        """
        From behind each named NAT, there is an outlook for each kind of peer, and for UDP it is the
        one that the two behaviours themselves have.
        """
        for name, behaviour in NAMED_BEHAVIOURS.items():
            for each in forecast(discovered(name)):
                expected = foresee(
                    Side.ofBehaviour(behaviour), Side.ofBehaviour(KINDS[each.kind][1])
                )
                self.assertIs(each.udp.outlook, expected.outlook, (name, each))
                self.assertIs(each.tcpSimultaneous.outlook, expected.outlook, (name, each))
                self.assertIs(each.tcpSequential.outlook, expected.outlook, (name, each))

    def test_homeRouter(self) -> None:
        """
        The usual home router reaches everybody but those whose ports change.
        """
        found = outlooks(forecast(discovered("port-restricted")))
        self.assertEqual(
            {kind for kind, outlook in found.items() if outlook is not Outlook.DIRECT},
            {"symmetric", "symmetric-by-address", "symmetric-random"},
        )
        self.assertIs(found["symmetric"], Outlook.GUESS)
        self.assertIs(found["symmetric-random"], Outlook.NO)

    def test_symmetric(self) -> None:
        """
        From behind random ports, those are reached who let in a host or everybody.
        """
        found = outlooks(forecast(discovered("symmetric-random")))
        self.assertEqual(
            {kind for kind, outlook in found.items() if outlook is Outlook.DIRECT},
            {"none", "full-cone", "address-restricted"},
        )

    def test_similar(self) -> None:
        """
        Where TCP's filter could not be seen, UDP's stands in, and the forecast says so.
        """
        tcp = ProtocolReport(
            isBlocked=False,
            isTranslated=True,
            isDestinationDependent=False,
            ports=PortAllocation.PRESERVED,
        )
        udp = attrs.evolve(tcp, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)
        found = {each.kind: each for each in forecast(NATReport(udp=udp, tcp=tcp))}
        prospect = found["port-restricted"].tcpSimultaneous
        self.assertIs(prospect.outlook, Outlook.DIRECT)
        self.assertIn("the same as that of the other transport", prospect.why)

    def test_nothingKnown(self) -> None:
        """
        Of nothing, nothing is foretold.
        """
        found = forecast(NATReport(udp=ProtocolReport(), tcp=ProtocolReport()))
        self.assertEqual(set(outlooks(found).values()), {Outlook.UNKNOWN})
