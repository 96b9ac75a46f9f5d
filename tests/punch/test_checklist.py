"""
Tests of L{holepunch.punch.checklist}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.punch import Candidate, CandidateType, gatheredCandidate
from holepunch.punch.checklist import CheckList, canPair
from holepunch.punch.role import Role
from tests.punch.wire import address


def checkList(
    isControlling: bool = True, maximalCandidates: int = 32, maximalPairs: int = 100
) -> CheckList:
    """
    An empty check list.
    """
    return CheckList(
        Role(isControlling, 1),
        bytes,
        maximalCandidates=maximalCandidates,
        maximalPairs=maximalPairs,
    )


def host(text: str, transport: Transport = Transport.UDP) -> Candidate:
    """
    A host candidate.
    """
    return gatheredCandidate(CandidateType.HOST, transport, address(text))


def mapped(text: str, base: str, transport: Transport = Transport.UDP) -> Candidate:
    """
    A server-reflexive candidate.
    """
    return gatheredCandidate(
        CandidateType.SERVER_REFLEXIVE, transport, address(text), base=address(base)
    )


class CheckListTests(SynchronousTestCase):
    """
    Forming pairs.
    """

    def test_pairs(self) -> None:
        """
        Each base and each remote address make one pair, best first; both sides order alike.
        """
        alice, bob = checkList(True), checkList(False)
        hers = [host("10.0.0.2:5"), mapped("203.0.113.1:5", "10.0.0.2:5")]
        his = [host("192.168.1.2:6"), mapped("203.0.113.2:6", "192.168.1.2:6")]
        for mine, others, checks in ((hers, his, alice), (his, hers, bob)):
            for candidate in mine:
                checks.addLocal(candidate)
            for candidate in others:
                checks.addRemote(candidate)
        self.assertEqual(
            [str(pair) for pair in alice.pairs],
            [
                "udp 10.0.0.2:5 -> 192.168.1.2:6 (host, host)",
                "udp 10.0.0.2:5 -> 203.0.113.2:6 (host, srflx)",
            ],
        )
        self.assertEqual(alice.pairs[0].priority, bob.pairs[0].priority)

    def test_betterLocal(self) -> None:
        """
        Of two local candidates with one base, the pair has the better, whichever comes first.
        """
        checks = checkList()
        checks.addRemote(host("198.51.100.7:6"))
        checks.addLocal(mapped("203.0.113.1:5", "10.0.0.2:5"))
        self.assertIs(checks.pairs[0].local.type, CandidateType.SERVER_REFLEXIVE)
        before = checks.pairs[0].priority
        self.assertEqual(checks.addLocal(host("10.0.0.2:5")), [])
        self.assertEqual(len(checks.pairs), 1)
        self.assertIs(checks.pairs[0].local.type, CandidateType.HOST)
        self.assertGreater(checks.pairs[0].priority, before)

    def test_canPair(self) -> None:
        """
        Transport, family, loopback, link-local and the way of connecting must fit.
        """

        def tcp(kind: str, at: str = "10.0.0.3") -> Candidate:
            return Candidate.parse(f"1 1 tcp 1 {at} 5 typ host tcptype {kind}")

        for local, remote, expected in (
            (host("10.0.0.2:5"), host("198.51.100.7:6"), True),
            (host("10.0.0.2:5"), host("10.0.0.3:6", Transport.TCP), False),
            (host("10.0.0.2:5"), host("[2001:db8::1]:6"), False),
            (host("10.0.0.2:5"), host("10.0.0.2:5"), False),
            (host("127.0.0.1:5"), host("127.0.0.1:6"), True),
            (host("127.0.0.1:5"), host("10.0.0.3:6"), False),
            (host("10.0.0.2:5"), host("127.0.0.1:6"), False),
            (host("[fe80::1]:5"), host("[fe80::2]:6"), True),
            (host("[2001:db8::1]:5"), host("[fe80::2]:6"), False),
            (tcp("so", "10.0.0.2"), tcp("so"), True),
            (tcp("passive", "10.0.0.2"), tcp("so"), True),
            (tcp("passive", "10.0.0.2"), tcp("passive"), False),
            (tcp("so", "10.0.0.2"), tcp("active"), False),
        ):
            self.assertIs(canPair(local, remote), expected, f"{local} {remote}")

    def test_unwanted(self) -> None:
        """
        Candidates of a transport or component that the session has not are of no use.
        """
        checks = CheckList(Role(True, 1), bytes, frozenset({Transport.TCP}))
        self.assertIsNone(checks.addLocal(host("10.0.0.2:5")))
        self.assertIsNone(checks.addRemote(host("10.0.0.3:5")))
        second = Candidate.parse("1 2 tcp 1 10.0.0.2 5 typ host tcptype so")
        self.assertIsNone(checks.addRemote(second))

    def test_candidateLimit(self) -> None:
        """
        No more candidates are taken than allowed, and repetitions do not count.
        """
        checks = checkList(maximalCandidates=2)
        taken = [checks.addRemote(host(f"10.0.0.{n}:5")) for n in (3, 3, 4, 5)]
        self.assertEqual([pairs is not None for pairs in taken], [True, False, True, False])

    def test_pairLimit(self) -> None:
        """
        When there are too many pairs, the worst that were not begun give way.
        """
        checks = checkList(maximalPairs=2)
        checks.addLocal(host("10.0.0.2:5"))
        checks.addRemote(mapped("203.0.113.2:6", "192.168.1.2:6"))
        checks.addRemote(mapped("203.0.113.3:6", "192.168.1.2:6"))
        for pair in checks.pairs[:1]:
            pair.start(1.0)
        checks.addRemote(host("192.168.1.2:6"))
        checks.addRemote(host("192.168.1.3:6"))
        self.assertEqual(
            [str(pair.remote.address.host) for pair in checks.pairs],
            ["192.168.1.2", "203.0.113.2"],
        )

    def test_learnRemote(self) -> None:
        """
        A check from an unknown address makes a peer-reflexive pair with the check's priority; when
        the address is announced later, the pair is what was announced.
        """
        checks = checkList()
        base, remote = address("10.0.0.2:5"), address("203.0.113.2:6")
        self.assertIsNone(checks.learnRemote(Transport.UDP, base, remote, 7))
        checks.addLocal(host("10.0.0.2:5"))
        pair = checks.learnRemote(Transport.UDP, base, remote, 7)
        assert pair is not None
        self.assertEqual(
            (pair.remote.type, pair.remote.priority), (CandidateType.PEER_REFLEXIVE, 7)
        )
        before = pair.priority
        self.assertEqual(checks.addRemote(mapped("203.0.113.2:6", "192.168.1.2:6")), [])
        self.assertIs(checks.find(Transport.UDP, base, remote), pair)
        self.assertIs(pair.remote.type, CandidateType.SERVER_REFLEXIVE)
        self.assertGreater(pair.priority, before)

    def test_families(self) -> None:
        """
        Checks of IPv6 and IPv4 take turns, each family's in the order of their priorities, and both
        sides have the same order.
        """
        alice, bob = checkList(True), checkList(False)
        texts = [
            [f"[2001:db8:{side}::{number}]:5" for number in range(1, 4)] + [f"203.0.113.{side}:5"]
            for side in (1, 2)
        ]
        hers, his = (
            [
                gatheredCandidate(
                    CandidateType.HOST, Transport.UDP, address(text), interface=number % 3
                )
                for number, text in enumerate(side)
            ]
            for side in texts
        )
        for mine, others, checks in ((hers, his, alice), (his, hers, bob)):
            for candidate in mine:
                checks.addLocal(candidate)
            for candidate in others:
                checks.addRemote(candidate)
        order = alice.inCheckOrder(Transport.UDP)
        self.assertEqual([":" in pair.base.host for pair in order[:3]], [True, False, True])
        six = [pair.priority for pair in order if ":" in pair.base.host]
        self.assertEqual(six, sorted(six, reverse=True))
        self.assertEqual(len(order), 10)
        self.assertEqual(
            [(pair.base, pair.remote.address) for pair in order],
            [(pair.remote.address, pair.base) for pair in bob.inCheckOrder(Transport.UDP)],
        )
        self.assertEqual(alice.inCheckOrder(Transport.TCP), [])

    def test_learnMapped(self) -> None:
        """
        A mapped address is one of our candidates, or a peer-reflexive one.
        """
        checks = checkList()
        checks.addLocal(host("10.0.0.2:5"))
        checks.addLocal(mapped("203.0.113.1:5", "10.0.0.2:5"))
        checks.addRemote(host("198.51.100.7:6"))
        (pair,) = checks.pairs
        for text, kind in (
            ("10.0.0.2:5", CandidateType.HOST),
            ("203.0.113.1:5", CandidateType.SERVER_REFLEXIVE),
            ("203.0.113.1:9", CandidateType.PEER_REFLEXIVE),
        ):
            checks.learnMapped(pair, address(text), 7)
            assert pair.mapped is not None
            self.assertEqual((pair.mapped.type, pair.mapped.address), (kind, address(text)))
