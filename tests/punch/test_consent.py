"""
Tests of L{holepunch.punch.consent} and L{holepunch.punch.pacing}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.punch.consent import Consent
from holepunch.punch.pacing import Pacer
from tests.punch.test_pair import pair


class ConsentTests(SynchronousTestCase):
    """
    Asking for consent, and losing it.
    """

    @given(st.binary(min_size=2, max_size=2))
    def test_interval(self, noise: bytes) -> None:
        """
        Checks are due at 0.8 to 1.2 times the interval, each once.
        """
        consent = Consent(pair(), 5.0, 30.0, lambda size: noise, 100.0)
        at = consent.nextTimeout()
        self.assertTrue(104.0 <= at <= 106.0)
        self.assertFalse(consent.isCheckDue(at - 0.001))
        self.assertTrue(consent.isCheckDue(at))
        self.assertFalse(consent.isCheckDue(at))
        self.assertAlmostEqual(consent.nextTimeout() - at, at - 100.0)

    def test_expiry(self) -> None:
        """
        Consent lasts for its time from the last answer, but not from one before the selection.
        """
        selected = pair()
        selected.answeredAt = 50.0
        consent = Consent(selected, 5.0, 30.0, bytes, 100.0)
        self.assertEqual(consent.expiresAt, 130.0)
        selected.answeredAt = 112.0
        self.assertEqual(consent.expiresAt, 142.0)


class PacerTests(SynchronousTestCase):
    """
    The distance between checks.
    """

    def test_burst(self) -> None:
        """
        A few leave at once, the others at the interval; a pause refills the allowance.
        """
        pacer = Pacer(0.02, 3)
        times = []
        now = 10.0
        for _ in range(6):
            now = max(now, pacer.readyAt())
            pacer.take(now)
            times.append(round(now, 6))
        self.assertEqual(times, [10.0, 10.0, 10.0, 10.02, 10.04, 10.06])
        now = 20.0
        for _ in range(3):
            self.assertLessEqual(pacer.readyAt(), now)
            pacer.take(now)
        self.assertGreater(pacer.readyAt(), now)
