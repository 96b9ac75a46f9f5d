"""
Tests for L{holepunch.lab.clock}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.errors import SimulationStuck
from holepunch.lab.clock import SimulatedClock

_DELAYS = st.floats(0.0, 10.0)


class SimulatedClockTests(SynchronousTestCase):
    """
    Tests for L{SimulatedClock}.
    """

    def setUp(self) -> None:
        self.clock = SimulatedClock()
        self.log: list[tuple[object, float]] = []

    def note(self, what: object) -> None:
        """
        Keep C{what}, and when it happened.
        """
        self.log.append((what, self.clock.seconds()))

    def test_interface(self) -> None:
        """
        It provides L{IReactorTime}.
        """
        verifyObject(IReactorTime, self.clock)

    def test_ownTimes(self) -> None:
        """
        Each call sees its own time, and what it schedules is due on time.
        """

        def first() -> None:
            self.note("first")
            self.clock.callLater(1.0, self.note, "nested")

        self.clock.callLater(3.0, self.note, "last")
        self.clock.callLater(1.0, first)
        self.clock.advance(10.0)
        self.assertEqual(self.log, [("first", 1.0), ("nested", 2.0), ("last", 3.0)])
        self.assertEqual(self.clock.seconds(), 10.0)

    def test_sameTime(self) -> None:
        """
        Calls for one time run in the order in which they were made.
        """
        for number in range(50):
            self.clock.callLater(1.0, self.note, number)
        self.clock.advance(1.0)
        self.assertEqual([what for what, _ in self.log], list(range(50)))

    def test_change(self) -> None:
        """
        A call can be cancelled, put off and brought forward.
        """
        cancelled = self.clock.callLater(1.0, self.note, "cancelled")
        delayed = self.clock.callLater(1.0, self.note, "delayed")
        hastened = self.clock.callLater(5.0, self.note, "hastened")
        cancelled.cancel()
        delayed.delay(2.0)
        hastened.reset(0.5)
        self.assertEqual(self.clock.getDelayedCalls(), [hastened, delayed])
        self.clock.advance(10.0)
        self.assertEqual(self.log, [("hastened", 0.5), ("delayed", 3.0)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(_DELAYS, st.sampled_from(["keep", "cancel", "reset"]), _DELAYS)))
    def test_order(self, calls: list[tuple[float, str, float]]) -> None:
        """
        Whatever is cancelled or reset, the rest runs once each, by time.
        """
        clock = SimulatedClock()
        ran: list[float] = []
        expected = []
        for delay, change, other in calls:
            call = clock.callLater(delay, lambda: ran.append(clock.seconds()))
            if change == "cancel":
                call.cancel()
            elif change == "reset":
                call.reset(other)
                expected.append(other)
            else:
                expected.append(delay)
        clock.advance(20.0)
        self.assertEqual(len(ran), len(expected))
        for at, due in zip(ran, sorted(expected), strict=True):
            self.assertAlmostEqual(at, due)

    def test_manyCancelled(self) -> None:
        """
        Cancelled calls are cleared away, and the others are not lost by it.
        """
        for number in range(5000):
            call = self.clock.callLater(1.0, self.note, number)
            if number % 10:
                call.cancel()
        self.assertEqual(len(self.clock.getDelayedCalls()), 500)
        self.clock.advance(1.0)
        self.assertEqual([what for what, _ in self.log], list(range(0, 5000, 10)))

    def test_livelock(self) -> None:
        """
        A program that never lets time pass is stopped, and named.
        """

        def again() -> None:
            self.clock.callLater(0, again)

        again()
        error = self.assertRaises(SimulationStuck, self.clock.advance, 1.0)
        self.assertIn("again", str(error))

    def test_step(self) -> None:
        """
        A step makes one call, and none that is due later than asked for.
        """
        self.clock.callLater(1.0, self.note, "one")
        self.clock.callLater(2.0, self.note, "two")
        self.assertTrue(self.clock.step(1.5))
        self.assertFalse(self.clock.step(1.5))
        self.assertEqual(self.log, [("one", 1.0)])

    def test_pump(self) -> None:
        """
        What works with Twisted's own clock works with this one.
        """
        done = deferLater(self.clock, 1.0, lambda: "done")
        self.clock.pump([0.5, 0.5])
        self.assertEqual(self.successResultOf(done), "done")
