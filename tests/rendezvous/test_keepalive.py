"""
Tests for L{holepunch.rendezvous.keepalive}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.rendezvous.keepalive import Keepalive


class KeepaliveTests(SynchronousTestCase):
    """
    L{Keepalive}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.pings: list[float] = []
        self.ends: list[float] = []
        self.keepalive = Keepalive(
            self.clock,
            10.0,
            lambda: self.pings.append(self.clock.seconds()),
            lambda: self.ends.append(self.clock.seconds()),
        )

    def pass_(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)

    def test_silence(self) -> None:
        """
        After each interval of silence comes a ping, after the third the end, and then nothing.
        """
        self.pass_(100)
        self.assertEqual((self.pings, self.ends), ([10.0, 20.0], [30.0]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_heard(self) -> None:
        """
        Silence is counted from what was heard last.
        """
        self.pass_(7)
        self.keepalive.heard()
        self.pass_(9)
        self.assertEqual(self.pings, [])
        self.pass_(1)
        self.assertEqual(self.pings, [17.0])
        self.pass_(20)
        self.assertEqual((self.pings, self.ends), ([17.0, 27.0], [37.0]))

    def test_clockSetForward(self) -> None:
        """
        When an hour passes at once, there is still a whole interval for the answer to each ping.
        """
        self.pass_(5)
        self.clock.advance(3600.0)
        self.clock.advance(0.0)
        self.assertEqual((len(self.pings), self.ends), (1, []))
        self.pass_(9)
        self.keepalive.heard()
        self.pass_(9)
        self.assertEqual((len(self.pings), self.ends), (1, []))
        self.clock.advance(3600.0)
        self.pass_(19)
        self.assertEqual((len(self.pings), self.ends), (3, []))
        self.pass_(1)
        self.assertEqual(len(self.ends), 1)

    def test_clockSetBack(self) -> None:
        """
        A clock that is set back delays a ping by no more than an interval from when that is seen.
        """
        self.pass_(9)
        self.keepalive.heard()
        # The timers of a reactor would be late, too; that of the test is not.
        self.clock.rightNow -= 3600.0
        for call in self.clock.getDelayedCalls():
            call.reset(1.0)
        self.pass_(1)
        self.assertEqual(self.pings, [])
        self.pass_(10)
        self.assertEqual(len(self.pings), 1)

    def test_answered(self) -> None:
        """
        A ping that is answered starts the count anew.
        """
        for _ in range(20):
            self.pass_(10)
            self.keepalive.heard()
        self.assertEqual(len(self.pings), 20)
        self.assertEqual(self.ends, [])

    def test_busy(self) -> None:
        """
        Nobody is pinged who is heard all the time.
        """
        for _ in range(100):
            self.pass_(3)
            self.keepalive.heard()
        self.assertEqual(self.pings, [])

    def test_stopped(self) -> None:
        """
        A stopped keepalive leaves no timer behind, and can be stopped again.
        """
        self.keepalive.stop()
        self.keepalive.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
