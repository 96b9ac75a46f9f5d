"""
Consent freshness for a selected pair over UDP (RFC 7675 section 5.1).

Owns: when to send the next consent check, and when consent is lost.
Knows nothing of: sockets; messages; candidates other than its own pair.
Driven by: L{PunchSession}, which passes C{now} in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from holepunch.punch.pair import CandidatePair


class Consent:
    """
    The other side's consent to be sent to, which every authentic answer renews.

    The checks also keep the NATs' mappings alive. They leave at 0.8 to 1.2 times the interval, so
    that many sessions do not fall into step.
    """

    def __init__(
        self,
        pair: CandidatePair,
        interval: float,
        timeout: float,
        randomBytes: Callable[[int], bytes],
        now: float,
    ) -> None:
        self._pair = pair
        self._interval = interval
        self._timeout = timeout
        self._randomBytes = randomBytes
        self._since = now
        self._nextCheckAt = now + self._variedInterval()

    @property
    def expiresAt(self) -> float:
        """
        When consent is lost, unless an answer comes before.
        """
        answeredAt = self._pair.answeredAt
        since = self._since if answeredAt is None else max(self._since, answeredAt)
        return since + self._timeout

    def isCheckDue(self, now: float) -> bool:
        """
        Is a consent check to be sent now? The question counts as having sent it.
        """
        if now < self._nextCheckAt:
            return False
        self._nextCheckAt = now + self._variedInterval()
        return True

    def nextTimeout(self) -> float:
        """
        When to look again.
        """
        return min(self._nextCheckAt, self.expiresAt)

    def _variedInterval(self) -> float:
        fraction = int.from_bytes(self._randomBytes(2), "big") / 0xFFFF
        return self._interval * (0.8 + 0.4 * fraction)
