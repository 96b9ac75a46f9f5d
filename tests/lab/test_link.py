"""
Tests for L{holepunch.lab.link}: the rate of a link.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadTopology
from holepunch.lab.link import Link
from holepunch.lab.topology import LinkSpec

#: With its headers, 1000 bytes, or 8000 bits.
_PAYLOAD = bytes(966)


def _link(**values: Any) -> Link:
    return Link("link", LinkSpec(**values), Random(1))


class RateTests(SynchronousTestCase):
    """
    Links on which sending takes time.
    """

    def test_oneAfterTheOther(self) -> None:
        """
        Packets that are sent at once arrive at the pace of the rate, each direction by itself.
        """
        link = _link(latency=1.0, rate=8000.0, queue=10.0)
        arrivals = [link.arrivals(True, 0.0, _PAYLOAD) for _ in range(3)]
        self.assertEqual(arrivals, [(2.0,), (3.0,), (4.0,)])
        self.assertEqual(link.arrivals(False, 0.0, _PAYLOAD), (2.0,))

    def test_idle(self) -> None:
        """
        A link that was idle sends at once.
        """
        link = _link(latency=0.0, rate=8000.0)
        link.arrivals(True, 0.0, _PAYLOAD)
        self.assertEqual(link.arrivals(True, 5.0, _PAYLOAD), (6.0,))

    def test_fullQueue(self) -> None:
        """
        What would have to wait too long is lost, and counted.
        """
        link = _link(latency=0.0, rate=8000.0, queue=1.5)
        arrivals = [link.arrivals(True, 0.0, _PAYLOAD) for _ in range(4)]
        self.assertEqual(arrivals, [(1.0,), (2.0,), (), ()])
        self.assertEqual((link.counters.lost, link.counters.overflowed), (2, 2))

    @given(st.lists(st.integers(0, 1500), min_size=1), st.floats(1e3, 1e9))
    def test_throughput(self, sizes: list[int], rate: float) -> None:
        """
        No more than the rate comes through, whatever the sizes of the packets.
        """
        link = _link(latency=0.0, rate=rate, queue=3599.0)
        arrivals = [link.arrivals(True, 0.0, bytes(size)) for size in sizes]
        last = max(moment for each in arrivals for moment in each)
        arrived = zip(sizes, arrivals, strict=True)
        bits = sum(8 * size for size, each in arrived if each)
        self.assertLessEqual(bits, last * rate * 1.001)

    def test_senseless(self) -> None:
        """
        A rate that cannot be is refused.
        """
        for rate in (-1.0, 1e15, float("nan")):
            with self.assertRaises(BadTopology):
                LinkSpec(rate=rate)
