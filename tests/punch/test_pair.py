"""
Tests of L{holepunch.punch.pair}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LocalProtocolError
from holepunch.punch import Candidate, CandidatePair, Fate, PairState
from holepunch.punch.pair import PAIR_TRANSITIONS, PairEvent


def pair(local: str = "udp 1 10.0.0.2", remote: str = "udp 1 203.0.113.5") -> CandidatePair:
    """
    A pair of host candidates.
    """
    return CandidatePair(
        local=Candidate.parse(f"1 1 {local} 5000 typ host"),
        remote=Candidate.parse(f"1 1 {remote} 5000 typ host"),
        priority=1,
    )


class PairTests(SynchronousTestCase):
    """
    The life of a pair.
    """

    def test_table(self) -> None:
        """
        From every state, every event but none leads to a state of the table.
        """
        for state in PairState:
            for event in PairEvent:
                if (state, event) != (PairState.SUCCEEDED, PairEvent.REPEAT):
                    self.assertIn((state, event), PAIR_TRANSITIONS)

    def test_expected(self) -> None:
        """
        A pair whose address is in use may become valid at any moment, as one in progress.
        """
        expected = pair()
        self.assertFalse(expected.isExpected)
        expected.start(1.0)
        self.assertTrue(expected.isExpected)
        expected.fail(Fate.ADDRESS_IN_USE, 2.0)
        self.assertTrue(expected.isExpected)
        expected.repeat()
        expected.start(2.0)
        expected.fail(Fate.REFUSED, 3.0)
        self.assertFalse(expected.isExpected)

    def test_misuse(self) -> None:
        """
        A valid pair is not checked again.
        """
        valid = pair()
        valid.start(1.0)
        valid.succeed(0.1, 1.1)
        self.assertRaises(LocalProtocolError, valid.repeat)

    def test_success(self) -> None:
        """
        A pair that failed, and is answered late, is valid, with its shortest round trip.
        """
        late = pair()
        late.start(1.0)
        late.fail(Fate.UNANSWERED, 2.0)
        late.succeed(0.3, 1.5)
        late.succeed(0.2, 1.6)
        late.succeed(None, 1.7)
        self.assertTrue(late.hasSucceeded)
        self.assertEqual((late.rtt, late.succeededAt, late.retryAt), (0.2, 1.5, None))

    def test_fate(self) -> None:
        """
        The sentence says what was tried, how often, and how the last try ended.
        """
        tried = pair()
        self.assertIn("was not tried yet.", tried.describeFate())
        for _ in range(2):
            tried.start(1.0)
            tried.fail(Fate.UNANSWERED, None)
        tried.start(2.0)
        self.assertEqual(
            tried.describeFate(),
            "udp 10.0.0.2:5000 -> 203.0.113.5:5000 (host, host)"
            " got no answer to its checks (tried 3 times).",
        )

    def test_mayConnect(self) -> None:
        """
        A TCP connection is opened only from a side that may, to one that accepts.
        """
        expected = {
            ("so", "so"): True,
            ("so", "passive"): True,
            ("active", "passive"): True,
            ("passive", "so"): False,
            ("so", "active"): False,
        }
        for (local, remote), may in expected.items():
            tcp = CandidatePair(
                local=Candidate.parse(f"1 1 tcp 1 10.0.0.2 5 typ host tcptype {local}"),
                remote=Candidate.parse(f"1 1 tcp 1 10.0.0.3 5 typ host tcptype {remote}"),
                priority=1,
            )
            self.assertIs(tcp.mayConnect, may)
        self.assertFalse(pair().mayConnect)
