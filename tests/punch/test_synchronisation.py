"""
Tests of L{holepunch.punch.synchronisation}, alone and in sessions.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.nat import NAMED_BEHAVIOURS, Unsolicited
from holepunch.punch import CandidatePair, Fate
from holepunch.punch.synchronisation import Synchronisation
from tests.punch.meeting import Meeting, MeetingTestCase, meet
from tests.punch.station import TCP
from tests.punch.test_pair import pair
from tests.punch.wire import Wire

RUDE = attrs.evolve(
    NAMED_BEHAVIOURS["linux-masquerade"],
    unsolicited=Unsolicited.RST,
    dropsMappingOnReset=True,
    checksSequence=False,
)


def refused(retryAt: float) -> CandidatePair:
    """
    A pair that was refused.
    """
    tried = pair()
    tried.start(1.0)
    tried.fail(Fate.REFUSED, retryAt)
    return tried


class SynchronisationTests(SynchronousTestCase):
    """
    One side.
    """

    def test_follows(self) -> None:
        """
        Who follows says nothing by itself; it answers once, and connects at once.
        """
        following, tried = Synchronisation(False), refused(9.0)
        self.assertFalse(following.isReadyDue([tried], 1.0))
        following.remoteReady([tried], 1.5)
        self.assertEqual(tried.retryAt, 1.5)
        self.assertTrue(following.isReadyDue([tried], 1.5))
        self.assertFalse(following.isReadyDue([tried], 1.5))

    def test_leads(self) -> None:
        """
        Who leads measures the round trip when connects were refused, and then connects half a round
        trip after each time it says so.
        """
        leading, tried = Synchronisation(True), refused(9.0)
        self.assertFalse(leading.isReadyDue([], 1.0))
        self.assertTrue(leading.isReadyDue([tried], 1.0))
        self.assertFalse(leading.isReadyDue([tried], 1.1))
        leading.remoteReady([tried], 1.5)
        self.assertEqual(tried.retryAt, 9.0)
        self.assertTrue(leading.isReadyDue([tried], 1.5))
        self.assertEqual(tried.retryAt, 1.75)

    def test_later(self) -> None:
        """
        After two rounds, the next one waits until a try is due.
        """
        leading, tried = Synchronisation(True), refused(9.0)
        leading.isReadyDue([tried], 1.0)
        leading.remoteReady([tried], 1.5)
        for now in (1.5, 2.0):
            tried.retryAt = 9.0
            self.assertTrue(leading.isReadyDue([tried], now))
            leading.remoteReady([tried], now + 0.5)
        tried.retryAt = 9.0
        self.assertFalse(leading.isReadyDue([tried], 2.5))
        self.assertTrue(leading.isReadyDue([tried], 9.0))
        self.assertEqual(tried.retryAt, 9.25)

    def test_noAnswer(self) -> None:
        """
        Where the other side does not answer, everything goes on as if there were no such thing.
        """
        leading, tried = Synchronisation(True), refused(9.0)
        self.assertTrue(leading.isReadyDue([tried], 1.0))
        for now in (2.0, 9.0):
            self.assertFalse(leading.isReadyDue([tried], now))
        self.assertEqual(tried.retryAt, 9.0)


class MeetingTests(MeetingTestCase):
    """
    Two sides behind NATs that answer RST and forget with it what their own side has sent.
    """

    def test_skew(self) -> None:
        """
        However short the way and however far apart the two begin, they meet soon after both have
        begun.
        """
        for latency in (0.001, 0.01, 0.05):
            for skew in (0.0, 0.02, 0.1, 0.3, 0.7, 1.0):
                for seed in range(4):
                    with self.subTest(f"{latency} {skew} {seed}"):
                        wire = Wire(seed=seed, latency=latency)
                        meeting = meet(RUDE, RUDE, TCP, skew=skew, wire=wire)
                        alice, bob = meeting.alice, meeting.bob
                        assert alice.path is not None and bob.path is not None, alice.failure
                        self.assertLess(alice.selections[0][0] - meeting.startedAt, skew + 2.0)

    def test_lowTTL(self) -> None:
        """
        Where the service is gone, so that nothing can be synchronised, the requester's last SYNs
        open its NAT without being refused at the other one, and the other side's get in.
        """
        for ttls, isMet in (((8, 5, 3), True), ((), False)):
            met = 0
            for seed in range(10):
                wire = Wire(seed=seed, latency=0.001, hops=4)
                meeting = Meeting.between(RUDE, RUDE, wire)
                meeting.alice.signalling = meeting.bob.signalling = 1e6
                meeting.start(TCP, skew=0.2, lastTTLs=ttls)
                meeting.finish()
                met += meeting.alice.path is not None
            self.assertEqual(met > 7, isMet, met)
