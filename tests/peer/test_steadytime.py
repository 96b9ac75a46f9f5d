"""
Tests for L{holepunch.peer.steadytime}.
"""

from __future__ import annotations

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.steadytime import keepSteady


class SteadyTimeTests(SynchronousTestCase):
    """
    A reactor of Twisted's, and a clock that somebody sets.
    """

    def setUp(self) -> None:
        self.wall, self.monotonic = 1e9, 100.0
        self.reactor = SelectReactor()
        self.addCleanup(self.reactor.removeAll)
        keepSteady(self.reactor, lambda: self.wall, lambda: self.monotonic)
        self.fired: list[float] = []

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
        self.reactor.runUntilCurrent()

    def callLater(self, delay: float) -> None:
        self.reactor.callLater(delay, lambda: self.fired.append(self.monotonic))

    def test_timeOfDay(self) -> None:
        """
        The seconds begin at the time of day.
        """
        self.assertEqual(self.reactor.seconds(), 1e9)

    def test_set(self) -> None:
        """
        Whichever way the clock is set, timers fire when they are due.
        """
        for jump in (3600.0, -3600.0):
            self.fired.clear()
            begunAt = self.monotonic
            self.callLater(5.0)
            self.pass_(1.0)
            self.wall += jump
            self.pass_(1.0)
            self.assertEqual(self.fired, [])
            self.assertAlmostEqual(self.reactor.timeout() or 0.0, 3.0)
            self.pass_(3.0)
            self.assertEqual(self.fired, [begunAt + 5.0])
