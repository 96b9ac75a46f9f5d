"""
When to look for another path: at once when there is none that works, later when there is only the
relay, and ahead of time where paths are known not to last.

Owns: the attempts, one at a time, and the pauses between them.
Knows nothing of: what an attempt does; which paths there are.
Driven by: L{Link<holepunch.peer.link.Link>}, the clock.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError

_SIMILAR = 0.15
_SHORTEST_LIFE = 15.0
_MARGIN = 0.8


class Lifetimes:
    """
    How old paths become, where they die of age: a carrier's NAT may end each mapping after a fixed
    time, whatever goes through it.

    @ivar replaceAfter: At which age a path is to be replaced; C{None} where it may grow old.
    """

    def __init__(self, known: float | None = None) -> None:
        """
        @param known: The fixed lifetime in seconds, where that was measured.
        """
        self.replaceAfter = None if known is None else known * _MARGIN
        self._last: float | None = None

    def died(self, age: float) -> None:
        """
        A path has ended by itself. Two of nearly the same age are no chance.
        """
        last, self._last = self._last, age
        if last is None or age < _SHORTEST_LIFE or abs(age - last) > _SIMILAR * age:
            return
        lifetime = min(age, last) * _MARGIN
        if self.replaceAfter is None or lifetime < self.replaceAfter:
            self.replaceAfter = lifetime


class LinkRepair:
    """
    The attempts of one link.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        attempt: Callable[[], Deferred[None]],
        isNeeded: Callable[[], bool],
        *,
        delay: float,
        longestDelay: float,
    ) -> None:
        """
        @param attempt: Look for a path; fires when there is one.
        @param isNeeded: Is another attempt needed, after one that came to nothing?
        @param delay: Seconds before the second attempt; the pause doubles up to C{longestDelay}.
        """
        self._clock = clock
        self._attempt = attempt
        self._isNeeded = isNeeded
        self._delay = delay
        self._longestDelay = longestDelay
        self._work: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._later: IDelayedCall | None = None
        self._isStopped = False

    @property
    def isUnderWay(self) -> bool:
        """
        Is there an attempt, or a pause between two?
        """
        return self._work is not None

    def now(self) -> None:
        """
        Look for a path now. A pause ends.
        """
        self._cancelLater()
        if self._isStopped:
            return
        if self._pause is not None:
            self._pause.cancel()
        elif self._work is None:
            self._work = Deferred()
            work = Deferred.fromCoroutine(self._run())
            work.addErrback(self._failed)

    def later(self, seconds: float) -> None:
        """
        Look for a path in a while, if not before.
        """
        self._cancelLater()
        if not self._isStopped:
            self._later = self._clock.callLater(seconds, self.now)

    def notLater(self) -> None:
        """
        What L{later} was to bring is not wanted any more.
        """
        self._cancelLater()

    def stop(self) -> None:
        """
        Look no more.
        """
        self._isStopped = True
        self._cancelLater()
        if self._pause is not None:
            self._pause.cancel()

    async def _run(self) -> None:
        delay = self._delay
        try:
            while not self._isStopped:
                if await self._try() or not self._isNeeded():
                    return
                await self._wait(delay)
                delay = min(2 * delay, self._longestDelay)
                if not self._isNeeded():
                    return
        finally:
            self._work = None

    async def _try(self) -> bool:
        try:
            await self._attempt()
        except (HolepunchError, CancelledError) as error:
            self._log.debug("no other path yet: {error}", error=error)
            return False
        return not self._isNeeded()

    async def _wait(self, seconds: float) -> None:
        self._pause = deferLater(self._clock, seconds)
        try:
            await self._pause
        except CancelledError:
            pass
        finally:
            self._pause = None

    def _cancelLater(self) -> None:
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None

    def _failed(self, failure: Failure) -> None:
        self._log.failure("bug: looking for another path failed", failure)
