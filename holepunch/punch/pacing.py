"""
How fast checks may leave (RFC 8445 section 14.2).

Owns: the distance between two checks, and the few that may leave at once at the beginning.
Knows nothing of: what leaves.
Driven by: L{DatagramChecks} and L{StreamConnections}, each with a pacer of its own.
"""

from __future__ import annotations


class Pacer:
    """
    A token bucket: C{burst} at once, then one each C{interval} seconds.

    The RFC paces from the first check on. A burst of a few saves a session with a few pairs the
    waiting, and is far from what home routers were seen to break at.
    """

    def __init__(self, interval: float, burst: int) -> None:
        self._interval = interval
        self._allowance = (burst - 1) * interval
        self._busyUntil = float("-inf")

    def readyAt(self) -> float:
        """
        The earliest moment at which the next one may leave.
        """
        return self._busyUntil - self._allowance

    def take(self, now: float) -> None:
        """
        One leaves now.
        """
        self._busyUntil = max(self._busyUntil, now) + self._interval
