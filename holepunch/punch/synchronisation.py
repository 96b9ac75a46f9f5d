"""
Sending both sides' SYNs in one moment, by half the measured round trip.

Where NATs answer strangers by RST, a SYN that comes before the other side has sent is refused at
once; on a short way the two sides may so miss each other for ever. So once connects were refused,
the requester says "ready" by way of the service, and the other side answers with the same: that
measures the round trip. From then on "ready" means "now": who hears it connects at once, and who
said it, half a round trip later.

Owns: the measurement, and when the requester connects.
Knows nothing of: connections; how "ready" is said.
Driven by: the simultaneous flow (L{holepunch.punch.tcpflow}).
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.punch.pair import CandidatePair

_QUICK_ROUNDS = 2
_ROUNDS = 5


class Synchronisation:
    """
    One side's part in it: the requester leads, the other side follows.
    """

    def __init__(self, isLeading: bool) -> None:
        self._isLeading = isLeading
        self._isAnswerDue = False
        self._saidAt: float | None = None
        self._roundTrip: float | None = None
        self._rounds = 0

    def remoteReady(self, refused: Sequence[CandidatePair], now: float) -> None:
        """
        The other side said "ready".

        @param refused: The pairs that are to be tried again.
        """
        if not self._isLeading:
            self._isAnswerDue = True
            for pair in refused:
                pair.retryAt = now
        elif self._saidAt is not None:
            self._roundTrip = now - self._saidAt
            self._saidAt = None

    def isReadyDue(self, refused: Sequence[CandidatePair], now: float) -> bool:
        """
        Is "ready" to be said now? If so, the leading side connects next when the other side hears
        it: its next try is brought forward, for the first rounds; later ones come when a try is due
        anyway, for the other side may not have begun yet.
        """
        if not self._isLeading:
            isDue, self._isAnswerDue = self._isAnswerDue, False
            return isDue
        if self._saidAt is not None or not refused or self._rounds >= _ROUNDS:
            return False
        if self._roundTrip is not None:
            at = now + self._roundTrip / 2
            isQuick = self._rounds < _QUICK_ROUNDS
            called = [
                pair
                for pair in refused
                if pair.retryAt is not None
                and (pair.retryAt > at if isQuick else pair.retryAt <= now)
            ]
            if not called:
                return False
            self._rounds += 1
            for pair in called:
                pair.retryAt = at
        self._saidAt = now
        return True
