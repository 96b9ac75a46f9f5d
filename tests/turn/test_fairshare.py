"""
Tests for L{holepunch.turn.fairshare}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.turn import RelayLimits
from holepunch.turn.fairshare import FairShare
from tests.stun.strategies import REPEATABLE

PACKET = 1000
MEGABYTE = 1_000_000


def relayed(limits: RelayLimits, rates: dict[str, int], seconds: float = 10.0) -> dict[str, float]:
    """
    Let users send at these rates, in bytes a second, in packets that alternate.

    @return: How much of each went through, in bytes a second.
    """
    now = 1000.0
    share = FairShare(limits, now)
    accounts = {user: share.account(user, now) for user in rates}
    owed = dict.fromkeys(rates, 0.0)
    step = 0.005
    for _ in range(int(seconds / step)):
        now += step
        for user, rate in rates.items():
            owed[user] += rate * step
            while owed[user] >= PACKET:
                owed[user] -= PACKET
                accounts[user].spend(PACKET, now)
    return {user: account.relayed / seconds for user, account in accounts.items()}


class FairShareTests(SynchronousTestCase):
    """
    L{FairShare}.
    """

    def assertNear(self, got: float, expected: float, difference: float) -> None:
        """
        Trial's C{assertAlmostEqual} knows no C{delta}.
        """
        self.assertLessEqual(abs(got - expected), difference)

    def test_unlimited(self) -> None:
        """
        Without limits all goes through, and is counted.
        """
        self.assertEqual(relayed(RelayLimits(), {"a": MEGABYTE})["a"], MEGABYTE)

    def test_bandwidth(self) -> None:
        """
        A user gets the bandwidth of one user, whatever others do.
        """
        got = relayed(RelayLimits(bandwidth=100_000), {"a": MEGABYTE, "b": 50_000})
        self.assertNear(got["a"], 100_000, 10_000)
        self.assertNear(got["b"], 50_000, 1000)

    def test_fair(self) -> None:
        """
        Of a total, those who want more than a fair share get the same, however much they send; who
        wants less gets all of it.
        """
        limits = RelayLimits(totalBandwidth=MEGABYTE)
        rates = {"greedy": 10 * MEGABYTE, "big": MEGABYTE, "small": 100_000}
        got = relayed(limits, rates)
        self.assertNear(got["small"], 100_000, 2000)
        self.assertNear(got["greedy"], 450_000, 30_000)
        self.assertNear(got["big"], 450_000, 30_000)

    def test_alone(self) -> None:
        """
        Who is alone gets the total.
        """
        got = relayed(RelayLimits(totalBandwidth=MEGABYTE), {"a": 10 * MEGABYTE})
        self.assertNear(got["a"], MEGABYTE, 50_000)

    @REPEATABLE
    @given(st.lists(st.integers(0, 3 * MEGABYTE), min_size=1, max_size=6))
    def test_maxMin(self, rates: list[int]) -> None:
        """
        Whatever users send: the total is kept, and nobody is cut below what another one gets.
        """
        limits = RelayLimits(totalBandwidth=MEGABYTE)
        wanted = {str(number): rate for number, rate in enumerate(rates)}
        got = relayed(limits, wanted, seconds=4.0)
        burst = 100_000 * len(rates) / 4.0
        self.assertLessEqual(sum(got.values()), MEGABYTE + burst + 1000)
        most = max(got.values())
        for user, rate in wanted.items():
            isServed = got[user] >= rate * 0.95 - 2 * PACKET
            self.assertTrue(isServed or got[user] >= most * 0.8 - 30_000, (wanted, got))

    def test_bytes(self) -> None:
        """
        A user has so many bytes in a period, and as many again in the next one.
        """
        share = FairShare(RelayLimits(bytesPerUser=5000, bytesPeriod=60.0), 0.0)
        account = share.account("a", 0.0)
        self.assertEqual([account.spend(2000, 1.0) for _ in range(3)], [True, True, False])
        self.assertFalse(account.isUsedUp(1.0))
        self.assertTrue(account.spend(1000, 2.0))
        self.assertTrue(account.isUsedUp(2.0))
        self.assertTrue(account.spend(2000, 61.0))

    def test_debt(self) -> None:
        """
        What a stream has sent already counts, and it must wait until that is paid.
        """
        share = FairShare(RelayLimits(bandwidth=100_000), 0.0)
        account = share.account("a", 0.0)
        account.charge(165_536, 0.0)
        self.assertTrue(account.isInDebt(0.5))
        self.assertFalse(account.isInDebt(1.05))

    def test_forgotten(self) -> None:
        """
        Users without an allocation are forgotten when there are too many, others are not.
        """
        share = FairShare(RelayLimits(trackedUsers=10), 0.0)
        kept = share.account("kept", 0.0)
        kept.allocations = 1
        for number in range(100):
            share.account(str(number), 0.0)
        self.assertEqual(len(share), 10)
        self.assertIs(share.account("kept", 0.0), kept)

    def test_clockSetBack(self) -> None:
        """
        A clock that is set back takes nothing away, and gives nothing.
        """
        share = FairShare(RelayLimits(bandwidth=100_000), 1000.0)
        account = share.account("a", 1000.0)
        while account.spend(1000, 1000.0):
            pass
        self.assertFalse(account.spend(1000, 500.0))
        self.assertTrue(account.spend(1000, 500.5))
