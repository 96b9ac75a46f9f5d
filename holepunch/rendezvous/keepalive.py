"""
The keepalive of a main connection: ping after silence, give up after three intervals.

Owns: one timer.
Knows nothing of: what a ping looks like, or what giving up means.
Driven by: L{holepunch.rendezvous.line.Line}, on both ends.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SILENT_INTERVALS = 3


class Keepalive:
    """
    Watches one connection for silence.

    The side that has heard nothing for an interval pings. Where both sides do, one is first, and
    its ping and the reply keep both content: an idle connection costs one round trip an interval.

    @param ping: Called after each interval of silence.
    @param giveUp: Called, once, after three.
    """

    __slots__ = (
        "_call",
        "_clock",
        "_giveUp",
        "_heardAt",
        "_ping",
        "_silentIntervals",
        "interval",
    )

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        ping: Callable[[], object],
        giveUp: Callable[[], object],
    ) -> None:
        self._clock = clock
        self.interval = interval
        self._ping = ping
        self._giveUp = giveUp
        self._heardAt = clock.seconds()
        self._silentIntervals = 0
        self._call: IDelayedCall | None = clock.callLater(interval, self._check)

    def heard(self) -> None:
        """
        Something arrived.
        """
        self._heardAt = self._clock.seconds()
        self._silentIntervals = 0

    def stop(self) -> None:
        """
        Watch no longer.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _check(self) -> None:
        self._call = None
        # What arrives moves no timer: the timer, when it fires, looks how long ago that was.
        due = self._heardAt + (self._silentIntervals + 1) * self.interval
        now = self._clock.seconds()
        if now + 1e-6 >= due:
            self._silentIntervals += 1
            if self._silentIntervals >= SILENT_INTERVALS:
                self._giveUp()
                return
            # A clock that is set forward, or a machine that slept, makes many intervals pass at
            # once: after each ping the other side has a whole one nevertheless.
            self._heardAt += now - due
            due = now + self.interval
            self._ping()
        elif due - now > self.interval:
            # It was set back.
            self._heardAt = now
            self._silentIntervals = 0
            due = now + self.interval
        self._call = self._clock.callLater(max(0.0, due - now), self._check)
