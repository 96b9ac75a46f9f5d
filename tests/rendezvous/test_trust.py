"""
Tests for L{holepunch.rendezvous.trust}.
"""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.punch.candidate import Candidate, CandidateType
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous.trust import Verdict, judge

SEEN = TransportAddress("31.1.0.1", 5000)


def candidate(text: str, kind: CandidateType = CandidateType.HOST) -> Candidate:
    return gatheredCandidate(kind, Transport.UDP, TransportAddress.parse(text))


def verdict(text: str, kind: CandidateType = CandidateType.HOST, here: bool = False) -> Verdict:
    return judge(candidate(text, kind), {SEEN}, {SEEN.host}, here)


class TrustTests(SynchronousTestCase):
    """
    L{judge}.
    """

    def test_private(self) -> None:
        """
        Private addresses of every kind pass.
        """
        for text in ("10.0.0.1:1", "192.168.1.1:1", "100.64.0.1:1", "[fd00::1]:1", "[fe80::1]:1"):
            self.assertIs(verdict(text), Verdict.PASSED)

    def test_observed(self) -> None:
        """
        Any port of an address where the peer was seen passes, so that ports can be predicted.
        """
        self.assertIs(verdict("31.1.0.1:6000"), Verdict.PASSED)
        self.assertIs(verdict("31.1.0.1:6000", CandidateType.PREDICTED), Verdict.PASSED)
        self.assertIs(verdict("31.1.0.1:6000", CandidateType.PORT_MAPPED), Verdict.PASSED)

    @given(
        st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
        st.integers(1, 65535),
        st.sampled_from(CandidateType),
    )
    def test_elsewhere(self, host: str, port: int, kind: CandidateType) -> None:
        """
        No public address passes where the peer was not seen.
        """
        address = TransportAddress(host, port)
        passed = judge(gatheredCandidate(kind, Transport.UDP, address), {SEEN}, {SEEN.host}, False)
        if not address.isPrivate and address.host != SEEN.host:
            self.assertIsNot(passed, Verdict.PASSED)
        if ipaddress.ip_address(host).is_global and address.host != SEEN.host:
            self.assertIsNot(passed, Verdict.PASSED)

    def test_loopback(self) -> None:
        """
        Loopback addresses pass only between two peers that are both on the service's host.
        """
        self.assertIs(verdict("127.0.0.1:1"), Verdict.HELD)
        self.assertIs(verdict("127.0.0.1:1", here=True), Verdict.PASSED)
        self.assertIs(verdict("[::1]:1"), Verdict.HELD)

    def test_reflexive(self) -> None:
        """
        A server-reflexive candidate passes only where it is what the service has seen itself.
        """
        self.assertIs(verdict("31.1.0.1:5000", CandidateType.SERVER_REFLEXIVE), Verdict.PASSED)
        self.assertIs(verdict("31.1.0.1:5001", CandidateType.SERVER_REFLEXIVE), Verdict.DROPPED)
        self.assertIs(verdict("10.0.0.1:5000", CandidateType.SERVER_REFLEXIVE), Verdict.DROPPED)

    def test_senseless(self) -> None:
        """
        Port 0, multicast, broadcast and unspecified addresses never pass.
        """
        for text in ("10.0.0.1:0", "224.0.0.1:1", "255.255.255.255:1", "0.0.0.0:1", "[::]:1"):
            self.assertIs(verdict(text), Verdict.DROPPED)
            self.assertIs(verdict(text, here=True), Verdict.DROPPED)
        self.assertIs(verdict("[ff02::1]:1"), Verdict.DROPPED)
