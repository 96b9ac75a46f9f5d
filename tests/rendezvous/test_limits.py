"""
Tests for L{holepunch.rendezvous.limits}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.rendezvous.limits import (
    AddressBuckets,
    AddressCounts,
    Limits,
    TokenBucket,
    addressKey,
)


class TokenBucketTests(SynchronousTestCase):
    """
    L{TokenBucket}.
    """

    @given(
        rate=st.floats(0.1, 100),
        burst=st.integers(1, 50),
        pauses=st.lists(st.floats(0, 5), max_size=200),
    )
    def test_bound(self, rate: float, burst: int, pauses: list[float]) -> None:
        """
        In no time does more happen than the burst and what the rate allows.
        """
        now = 0.0
        bucket = TokenBucket(rate, burst, now)
        taken = 0
        for pause in pauses:
            now += pause
            taken += bucket.take(now)
            self.assertLessEqual(taken, burst + rate * now + 1e-6)

    def test_refills(self) -> None:
        """
        An empty bucket fills with time, up to the burst.
        """
        bucket = TokenBucket(2.0, 3, 0.0)
        self.assertEqual([bucket.take(0.0) for _ in range(4)], [True, True, True, False])
        self.assertEqual([bucket.take(0.5) for _ in range(2)], [True, False])
        self.assertEqual([bucket.take(100.0) for _ in range(4)], [True, True, True, False])

    def test_clockSetBack(self) -> None:
        """
        A clock that is set back takes nothing out of a bucket.
        """
        bucket = TokenBucket(2.0, 3, 5000.0)
        self.assertTrue(bucket.take(5000.0))
        self.assertEqual([bucket.take(1000.0) for _ in range(3)], [True, True, False])
        self.assertTrue(bucket.take(1000.5))


class AddressTests(SynchronousTestCase):
    """
    L{AddressBuckets} and L{AddressCounts}.
    """

    def test_keys(self) -> None:
        """
        An IPv6 network counts as one address, and an IPv4 address as itself in either notation.
        """
        self.assertEqual(addressKey("2001:db8::1"), addressKey("2001:db8::ffff:1:2:3"))
        self.assertNotEqual(addressKey("2001:db8::1"), addressKey("2001:db8:0:1::1"))
        self.assertNotEqual(addressKey("10.0.0.1"), addressKey("10.0.0.2"))
        self.assertEqual(addressKey("::ffff:10.0.0.1"), addressKey("10.0.0.1"))
        self.assertEqual(addressKey("fe80::1%eth0"), addressKey("fe80::2"))

    def test_separate(self) -> None:
        """
        One address's requests take nothing from another.
        """
        buckets = AddressBuckets(1.0, 1, 10)
        self.assertEqual([buckets.take("10.0.0.1", 0.0) for _ in range(2)], [True, False])
        self.assertTrue(buckets.take("10.0.0.2", 0.0))

    def test_bounded(self) -> None:
        """
        A flood from forged addresses takes no more memory than was allowed, and those that go on
        asking are not forgotten for it.
        """
        buckets = AddressBuckets(0.001, 1, 3)
        self.assertTrue(buckets.take("10.9.9.9", 0.0))
        for number in range(100):
            buckets.take(f"10.0.0.{number}", 0.0)
            self.assertFalse(buckets.take("10.9.9.9", 0.0))

    def test_counts(self) -> None:
        """
        Connections are counted when they come and when they go.
        """
        counts = AddressCounts(2)
        self.assertEqual([counts.enter("10.0.0.1") for _ in range(3)], [True, True, False])
        self.assertTrue(counts.enter("10.0.0.2"))
        counts.leave("10.0.0.1")
        self.assertEqual([counts.enter("10.0.0.1") for _ in range(2)], [True, False])


class LimitsTests(SynchronousTestCase):
    """
    L{Limits}.
    """

    def test_senseless(self) -> None:
        """
        Limits that would let nobody in are refused.
        """
        self.assertRaises(ValueError, Limits, connectionsPerAddress=0)
        self.assertRaises(ValueError, Limits, sessionLifetime=-1.0)
        self.assertRaises(ValueError, Limits, messageSize=10)
