"""
Tests for L{holepunch.peer.linkrepair}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import SessionRefused
from holepunch.peer.linkrepair import Lifetimes, LinkRepair


class LinkRepairTests(SynchronousTestCase):
    """
    Attempts, and the pauses between them.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[float] = []
        self.isNeeded = True
        self.outcome: Deferred[None] | None = None
        self.repair = LinkRepair(
            self.clock, self.attempt, lambda: self.isNeeded, delay=0.5, longestDelay=4.0
        )

    def attempt(self) -> Deferred[None]:
        self.attempts.append(self.clock.seconds())
        return fail(SessionRefused()) if self.outcome is None else self.outcome

    def test_pauses(self) -> None:
        """
        After each attempt that fails the pause doubles, up to its bound.
        """
        self.repair.now()
        self.clock.pump([0.5] * 40)
        self.assertEqual(self.attempts[:6], [0.0, 0.5, 1.5, 3.5, 7.5, 11.5])
        self.repair.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_once(self) -> None:
        """
        There is one attempt at a time, and none after it has helped.
        """
        self.outcome = Deferred()
        self.repair.now()
        self.repair.now()
        self.assertEqual(len(self.attempts), 1)
        self.isNeeded = False
        self.outcome.callback(None)
        self.assertFalse(self.repair.isUnderWay)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hurry(self) -> None:
        """
        A new reason ends the pause.
        """
        self.repair.now()
        self.clock.advance(0.1)
        self.repair.now()
        self.clock.advance(0)
        self.assertEqual(len(self.attempts), 2)
        self.repair.stop()

    def test_later(self) -> None:
        """
        What was to be done later is done then, or not at all.
        """
        self.isNeeded = False
        self.outcome = succeed(None)
        self.repair.later(10.0)
        self.repair.notLater()
        self.clock.advance(20.0)
        self.repair.later(10.0)
        self.clock.advance(20.0)
        self.assertEqual(self.attempts, [30.0 + 10.0])


class LifetimesTests(SynchronousTestCase):
    """
    Paths that die of age.
    """

    def test_known(self) -> None:
        """
        A lifetime that was measured is kept clear of.
        """
        self.assertEqual(Lifetimes(100.0).replaceAfter, 80.0)

    def test_learned(self) -> None:
        """
        Two ends at nearly the same age are no chance; others, and early ones, are.
        """
        lifetimes = Lifetimes()
        for age in (100.0, 200.0, 5.0, 5.0, 300.0):
            lifetimes.died(age)
        self.assertIsNone(lifetimes.replaceAfter)
        lifetimes.died(290.0)
        self.assertEqual(lifetimes.replaceAfter, 232.0)
