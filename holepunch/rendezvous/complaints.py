"""
Log lines about misbehaving peers, and no more of them than a person can read.

Owns: the rate, and the count of what was left out.
Knows nothing of: what the complaints are about.
Driven by: the main connection and the assist listeners of a service.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from holepunch.rendezvous.limits import TokenBucket

_LINES_PER_SECOND = 0.2
_LINES_AT_ONCE = 20


class Complaints:
    """
    Writes a line for each complaint, until there are too many.

    @ivar count: How many complaints there were.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._bucket = TokenBucket(_LINES_PER_SECOND, _LINES_AT_ONCE, clock.seconds())
        self._leftOut = 0
        self.count = 0

    def complain(self, who: object, reason: str) -> None:
        """
        Somebody misbehaved.

        @param reason: One sentence; never a secret, never more than a little of what was sent.
        """
        self.count += 1
        if not self._bucket.take(self._clock.seconds()):
            self._leftOut += 1
        elif self._leftOut:
            self._log.warn(
                "{who}: {reason} ({leftOut} such lines were left out)",
                who=str(who),
                reason=reason,
                leftOut=self._leftOut,
            )
            self._leftOut = 0
        else:
            self._log.warn("{who}: {reason}", who=str(who), reason=reason)
