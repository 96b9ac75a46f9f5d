"""
Tests of L{holepunch.punch.priority}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Family, Transport
from holepunch.punch import Candidate, CandidateType, gatheredCandidate
from holepunch.punch.priority import (
    candidatePriority,
    pairPriority,
    reflexivePriority,
    typePreference,
)
from tests.punch.wire import address

priorities = st.integers(1, (1 << 31) - 1)


def host(text: str, transport: Transport = Transport.UDP, interface: int = 0) -> Candidate:
    """
    A host candidate.
    """
    return gatheredCandidate(CandidateType.HOST, transport, address(text), interface=interface)


class PriorityTests(SynchronousTestCase):
    """
    The formulas, and what we prefer.
    """

    def test_candidateFormula(self) -> None:
        """
        The recommended values of RFC 8445 give the well-known number.
        """
        self.assertEqual(candidatePriority(126, 65535), 2130706431)

    @given(priorities, priorities)
    def test_pairFormula(self, controlling: int, controlled: int) -> None:
        """
        The pair's priority is that of RFC 8445 section 6.1.2.3.
        """
        self.assertEqual(
            pairPriority(controlling, controlled),
            2**32 * min(controlling, controlled)
            + 2 * max(controlling, controlled)
            + (controlling > controlled),
        )

    def test_privateFirst(self) -> None:
        """
        A private host address goes before a public one, on whatever interface.
        """
        private = host("192.168.1.2:5", interface=3)
        self.assertGreater(private.priority, host("198.51.100.7:5").priority)

    def test_familyAndInterface(self) -> None:
        """
        The earlier interface goes first, then the preferred family: the two take turns.
        """
        four, six = host("198.51.100.7:5"), host("[2001:db8::7]:5")
        self.assertGreater(six.priority, four.priority)
        self.assertGreater(four.priority, host("[2001:db8::8]:5", interface=1).priority)
        preferred = gatheredCandidate(
            CandidateType.HOST,
            Transport.UDP,
            address("198.51.100.7:5"),
            preferredFamily=Family.IPV4,
        )
        self.assertGreater(preferred.priority, four.priority)
        self.assertGreater(four.priority, host("198.51.100.7:5", interface=1).priority)

    def test_transport(self) -> None:
        """
        The preferred transport wins between candidates of one type, and only there.
        """
        tcp, udp = host("10.0.0.2:5", Transport.TCP), host("10.0.0.2:5")
        self.assertGreater(tcp.priority, udp.priority)
        reflexive = gatheredCandidate(
            CandidateType.SERVER_REFLEXIVE,
            Transport.TCP,
            address("203.0.113.5:5"),
            base=address("10.0.0.2:5"),
        )
        self.assertGreater(udp.priority, reflexive.priority)

    def test_types(self) -> None:
        """
        Whatever the transport, host goes before peer-reflexive, server-reflexive and relayed.
        """
        for transport in Transport:
            numbers = [
                typePreference(kind, transport)
                for kind in (
                    CandidateType.HOST,
                    CandidateType.PEER_REFLEXIVE,
                    CandidateType.SERVER_REFLEXIVE,
                    CandidateType.RELAYED,
                )
            ]
            self.assertEqual(numbers, sorted(numbers, reverse=True))
            self.assertTrue(all(0 <= number <= 126 for number in numbers))

    def test_reflexive(self) -> None:
        """
        PRIORITY in a check differs from the candidate's only in the type preference.
        """
        candidate = host("10.0.0.2:5", Transport.TCP)
        priority = reflexivePriority(candidate)
        self.assertEqual(priority >> 24, 110)
        self.assertEqual(priority & 0xFFFFFF, candidate.priority & 0xFFFFFF)

    def test_foundation(self) -> None:
        """
        Foundations are equal for the same type, base, transport and server, and only for these.
        """
        base = address("10.0.0.2:5")

        def reflexive(mapped: str, server: str) -> str:
            return gatheredCandidate(
                CandidateType.SERVER_REFLEXIVE,
                Transport.UDP,
                address(mapped),
                base=base,
                server=server,
            ).foundation

        self.assertEqual(reflexive("203.0.113.5:5", "a"), reflexive("203.0.113.5:6", "a"))
        self.assertNotEqual(reflexive("203.0.113.5:5", "a"), reflexive("203.0.113.5:5", "b"))
        self.assertNotEqual(reflexive("203.0.113.5:5", "a"), host("10.0.0.2:5").foundation)
