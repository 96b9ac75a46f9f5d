"""
What was found out, in words.
"""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation
from holepunch.nat.discovery import NATReport, ProtocolReport, explain


class ReportTests(SynchronousTestCase):
    """
    The classic name, and the sentence for people.
    """

    def udp(self, **values: object) -> NATReport:
        protocol = ProtocolReport(isBlocked=False, **values)  # type: ignore[arg-type]
        return NATReport(udp=protocol, tcp=ProtocolReport())

    def test_classicNames(self) -> None:
        """
        UDP decides the classic name, as far as it is known.
        """
        cone = {
            "isTranslated": True,
            "mapping": Mapping.ENDPOINT_INDEPENDENT,
            "isDestinationDependent": False,
        }
        for values, name in (
            ({"isTranslated": False, "filtering": Filtering.ENDPOINT_INDEPENDENT}, "open internet"),
            (
                {"isTranslated": False, "filtering": Filtering.ADDRESS_DEPENDENT},
                "symmetric UDP firewall",
            ),
            ({"isTranslated": True, "isDestinationDependent": True}, "symmetric"),
            ({**cone, "filtering": Filtering.ADDRESS_DEPENDENT}, "restricted cone"),
            (cone, None),
            ({}, None),
        ):
            self.assertEqual(self.udp(**values).classic, name)
        blocked = NATReport(udp=ProtocolReport(isBlocked=True), tcp=ProtocolReport())
        self.assertEqual(blocked.classic, "blocked")

    @given(
        st.sampled_from([None, True, False]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, *Filtering]),
        st.sampled_from([None, *PortAllocation]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, True, False]),
    )
    def test_alwaysOneSentence(
        self,
        isTranslated: bool | None,
        isDependent: bool | None,
        filtering: Filtering | None,
        ports: PortAllocation | None,
        isUDPBlocked: bool | None,
        isTCPBlocked: bool | None,
    ) -> None:
        """
        Whatever was found out, there is one sentence for people.
        """
        protocol = ProtocolReport(
            isTranslated=isTranslated,
            isDestinationDependent=isDependent,
            filtering=filtering,
            ports=ports,
        )
        report = NATReport(
            udp=attrs.evolve(protocol, isBlocked=isUDPBlocked),
            tcp=attrs.evolve(protocol, isBlocked=isTCPBlocked),
        )
        sentence = explain(report)
        self.assertTrue(sentence.endswith("."))
        if isTranslated is None:
            self.assertFalse(sentence.startswith("There is"), sentence)

    def test_blocked(self) -> None:
        """
        Where one transport is blocked, the sentence names the other.
        """
        free, blocked = ProtocolReport(isBlocked=False), ProtocolReport(isBlocked=True)
        self.assertIn("only TCP", explain(NATReport(udp=blocked, tcp=free)))
        self.assertIn("only UDP", explain(NATReport(udp=free, tcp=blocked)))
