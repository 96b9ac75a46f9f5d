"""
How often somebody may fail.

Owns: counting failures by whom and against what, and the moment from which more are allowed.
Knows nothing of: what is attempted; clocks: C{now} goes in.
Driven by: L{holepunch.rendezvous.authentication} and L{holepunch.rendezvous.mailbox}.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import attrs


@attrs.define
class _Level:
    failures: float
    at: float


class Attempts:
    """
    Lets each key fail C{burst} times at once, and then once in C{interval} seconds.
    """

    def __init__(self, burst: int, interval: float, capacity: int) -> None:
        """
        @param capacity: Keys that are counted; the longest silent one is forgotten.
        """
        self._burst = burst
        self._interval = interval
        self._capacity = capacity
        self._levels: OrderedDict[Hashable, _Level] = OrderedDict()

    def wait(self, key: Hashable, now: float) -> float:
        """
        Seconds until C{key} may try again; 0 if it may now.
        """
        level = self._levels.get(key)
        if level is None:
            return 0.0
        return max(0.0, (self._decayed(level, now) - self._burst + 1) * self._interval)

    def begin(self, key: Hashable, now: float) -> None:
        """
        Count an attempt. It counts as a failure, lest many at once go uncounted, until L{succeed}.
        """
        level = self._levels.get(key)
        if level is None:
            if len(self._levels) >= self._capacity:
                self._levels.popitem(last=False)
            level = self._levels[key] = _Level(0.0, now)
        else:
            self._levels.move_to_end(key)
        level.failures = self._decayed(level, now) + 1
        level.at = now

    def succeed(self, key: Hashable) -> None:
        """
        The attempt was no failure.
        """
        level = self._levels.get(key)
        if level is not None:
            level.failures = max(0.0, level.failures - 1)

    def _decayed(self, level: _Level, now: float) -> float:
        return max(0.0, level.failures - max(0.0, now - level.at) / self._interval)
