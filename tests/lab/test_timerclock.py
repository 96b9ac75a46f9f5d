"""
Tests for L{holepunch.lab.timerclock}.
"""

from __future__ import annotations

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from holepunch.lab.timerclock import TimerClock


class TimerClockTests(SynchronousTestCase):
    """
    Calls at their times.
    """

    def setUp(self) -> None:
        self.time = 100.0
        reactor = MemoryReactor()
        self.clock = TimerClock(reactor, lambda: self.time)
        self.addCleanup(self.clock.connectionLost, None)
        self.made: list[tuple[str, float]] = []
        self.assertEqual(reactor.getReaders(), [self.clock])

    def make(self, name: str) -> None:
        """
        Note that a call was made, and the time it saw.
        """
        self.made.append((name, self.clock.seconds()))

    def at(self, time: float) -> None:
        """
        Let time pass, all at once.
        """
        self.time = time
        self.clock.runDue()

    def test_interface(self) -> None:
        """
        It is what Twisted calls a clock.
        """
        verifyObject(IReactorTime, self.clock)

    def test_calledAtTheirTime(self) -> None:
        """
        However late they are made, calls come in order and see the times they were made for.
        """
        self.clock.callLater(2, self.make, "later")
        self.clock.callLater(1, self.make, "sooner")
        self.at(100.5)
        self.assertEqual(self.made, [])
        self.at(105)
        self.assertEqual(self.made, [("sooner", 101.0), ("later", 102.0)])
        self.assertEqual(self.clock.seconds(), 105)

    def test_chain(self) -> None:
        """
        A call that makes another adds no lateness of its own.
        """
        self.clock.callLater(1, lambda: self.clock.callLater(1, self.make, "second"))
        self.at(101.9)
        self.at(102.9)
        self.assertEqual(self.made, [("second", 102.0)])

    def test_cancelled(self) -> None:
        """
        A cancelled call is not made.
        """
        call = self.clock.callLater(1, self.make, "never")
        self.assertEqual(self.clock.getDelayedCalls(), [call])
        call.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.at(102)
        self.assertEqual(self.made, [])

    def test_moved(self) -> None:
        """
        A call can be put off, and brought forward.
        """
        self.clock.callLater(1, self.make, "put off").delay(2)
        self.clock.callLater(9, self.make, "forward").reset(2)
        self.at(104)
        self.assertEqual(self.made, [("forward", 102.0), ("put off", 103.0)])

    def test_failure(self) -> None:
        """
        A call that raises is logged, and does not keep others from being made.
        """
        self.clock.callLater(1, lambda: 1 / 0)
        self.clock.callLater(1, self.make, "other")
        self.at(101)
        self.assertEqual(self.made, [("other", 101.0)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_neverBack(self) -> None:
        """
        Time does not go back, even when a call is made after later times were seen.
        """
        self.clock.callLater(1, self.make, "late")
        self.time = 103
        self.assertEqual(self.clock.seconds(), 103)
        self.clock.runDue()
        self.assertEqual(self.made, [("late", 103)])


class KernelTimerTests(TestCase):
    """
    The timer behind it.
    """

    timeout = 10

    async def test_fires(self) -> None:
        """
        The kernel wakes the clock up, for one call after the other.
        """
        clock = TimerClock(installedReactor)
        started = clock.seconds()
        for _ in range(5):
            waiting: Deferred[None] = Deferred()
            clock.callLater(0.004, waiting.callback, None)
            await waiting
        self.assertGreaterEqual(clock.seconds() - started, 0.02)
        installedReactor.removeReader(clock)
        clock.connectionLost(None)
