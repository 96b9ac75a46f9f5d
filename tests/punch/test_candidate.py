"""
Tests of L{holepunch.punch.candidate}.
"""

from __future__ import annotations

import contextlib

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import BadCandidate
from holepunch.punch import Candidate, CandidateType, TCPType
from tests.punch.wire import address

hosts = st.one_of(
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.ip_addresses(v=4, network="198.51.100.0/24").map(str),
    st.ip_addresses(v=6, network="2001:db8::/32").map(str),
)
addresses = st.builds(TransportAddress, hosts, st.integers(1, 65535))


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    """
    Any candidate that can be announced.
    """
    transport = draw(st.sampled_from(Transport))
    return Candidate(
        foundation=draw(st.from_regex(r"[A-Za-z0-9+/]{1,32}", fullmatch=True)),
        component=draw(st.integers(1, 256)),
        transport=transport,
        priority=draw(st.integers(1, (1 << 31) - 1)),
        address=draw(addresses),
        type=draw(st.sampled_from(CandidateType)),
        related=draw(st.none() | addresses),
        tcpType=draw(st.sampled_from(TCPType)) if transport is Transport.TCP else None,
    )


class CandidateTests(SynchronousTestCase):
    """
    The text form.
    """

    @given(candidates())
    def test_roundTrip(self, candidate: Candidate) -> None:
        """
        What is formatted parses to the same candidate.
        """
        self.assertEqual(Candidate.parse(candidate.format()), candidate)

    def test_text(self) -> None:
        """
        The text is that of RFC 8839 and RFC 6544.
        """
        candidate = Candidate(
            foundation="1",
            transport=Transport.TCP,
            priority=2105458943,
            address=address("203.0.113.5:5000"),
            type=CandidateType.SERVER_REFLEXIVE,
            related=address("10.0.0.2:5000"),
            tcpType=TCPType.SIMULTANEOUS_OPEN,
        )
        self.assertEqual(
            candidate.format(),
            "1 1 tcp 2105458943 203.0.113.5 5000 typ srflx raddr 10.0.0.2 rport 5000 tcptype so",
        )

    def test_foreignText(self) -> None:
        """
        A prefix, capitals in the transport and unknown extensions do no harm.
        """
        candidate = Candidate.parse(
            "candidate:842163049 1 UDP 1677729535 198.51.100.7 46154 typ host"
            " generation 0 ufrag abcd network-cost 999"
        )
        self.assertEqual(candidate.address, address("198.51.100.7:46154"))
        self.assertIs(candidate.type, CandidateType.HOST)

    def test_badText(self) -> None:
        """
        What is no usable candidate is refused with the error for it, and nothing else is raised.
        """
        good = "1 1 udp 100 10.0.0.2 5000 typ host"
        self.assertEqual(Candidate.parse(good).priority, 100)
        for bad in (
            "",
            "1 1 udp 100 10.0.0.2 5000",
            good.replace("udp", "sctp"),
            good.replace("udp", "tcp"),
            good + " tcptype so",
            good.replace("typ host", "typ magic"),
            good.replace(" 100 ", " 4294967296 "),
            good.replace(" 100 ", " 0 "),
            good.replace(" 100 ", " -1 "),
            good.replace(" 5000", " 65536"),
            good.replace("10.0.0.2", "example.org"),
            good.replace("10.0.0.2", "0.0.0.0"),
            good.replace("10.0.0.2", "224.0.0.1"),
            good.replace("1 1 udp", "1 300 udp"),
            good.replace("1 1 udp", "é 1 udp"),
            good + " generation",
            good + " x" * 500,
            good + " raddr nowhere rport 5",
        ):
            self.assertRaises(BadCandidate, Candidate.parse, bad)

    @given(st.text(max_size=80))
    def test_anyText(self, text: str) -> None:
        """
        Text from the network raises nothing but the error for bad candidates.
        """
        with contextlib.suppress(BadCandidate):
            Candidate.parse(text)

    def test_sendingAddress(self) -> None:
        """
        A reflexive candidate sends from its base.
        """
        candidate = Candidate.parse("1 1 udp 100 203.0.113.5 5000 typ srflx")
        self.assertEqual(candidate.sendingAddress, address("203.0.113.5:5000"))
        based = attrs.evolve(candidate, base=address("10.0.0.2:7"))
        self.assertEqual(based.sendingAddress, address("10.0.0.2:7"))
