"""
Watches one path: is it alive?

Consent (RFC 7675) is lost after 30 seconds, which is right for leaving the other side in peace, and
far too long for an application that could go another way. So the path is asked by a check when what
was sent is not followed by anything, when what came until now comes no longer, and from time to
time in any case. A few checks in a row without an answer make it I{suspect}; an answer clears it.

Owns: when to ask, and when a path is suspect.
Knows nothing of: which path is used; what is to be done about a suspect one.
Driven by: L{PathSwitch<holepunch.peer.pathswitch.PathSwitch>}, the clock.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError
from holepunch.interfaces import IDatagramPath

_TRIES = 3
# Where something came a moment ago, so long a silence is a reason to ask.
_SILENCE = 1.0
_SHORTEST = 0.2
_LONGEST = 1.0
_UNKNOWN_RTT = 0.2
_OVERSLEPT = 5.0


class PathWatch:
    """
    The watch over one path, from its making until L{stop}.

    @ivar isSuspect: Have the last checks gone unanswered?
    @ivar rtt: The last round trip in seconds; C{None} before the first.
    @ivar since: When the path was added.
    """

    def __init__(
        self,
        clock: IReactorTime,
        path: IDatagramPath,
        interval: float,
        changed: Callable[[], None],
        *,
        measured: Callable[[], None],
        missed: Callable[[], None],
        overslept: Callable[[], None],
    ) -> None:
        """
        @param interval: Seconds of silence after which the path is asked.
        @param changed: Called when L{isSuspect} has changed.
        @param measured: Called when L{rtt} has changed, and L{isSuspect} has not.
        @param missed: Called when the first answer in a row is missing.
        @param overslept: Called when this machine seems to have slept.
        """
        self._clock = clock
        self._path = path
        self._interval = interval
        self._changed = changed
        self._measured = measured
        self._missed = missed
        self._overslept = overslept
        self._timer: IDelayedCall | None = None
        self._tries = 0
        self._isAsking = False
        self._isWatched = False
        self._isHeard = False
        self._isStopped = False
        self.isSuspect = False
        self.rtt: float | None = None
        self.since = self._askedAt = clock.seconds()
        self._wait(interval)

    def sent(self) -> None:
        """
        A datagram was sent: something should come back.
        """
        if not self._isWatched and not self._isAsking:
            self._isWatched = True
            self._isHeard = False
            self._wait(self._patience() + _UNKNOWN_RTT)

    def heard(self) -> None:
        """
        A datagram arrived.
        """
        self._isHeard = True

    def verify(self) -> None:
        """
        There is a reason to doubt: ask at once.
        """
        if not self._isAsking and not self._isStopped:
            self._tries = 0
            self._ask()

    def stop(self) -> None:
        """
        Watch no more.
        """
        self._isStopped = True
        self._cancel()

    # --- asking -----------------------------------------------------------------------------

    def _patience(self) -> float:
        rtt = _UNKNOWN_RTT if self.rtt is None else self.rtt
        return min(_LONGEST, max(_SHORTEST, 2 * rtt))

    def _wait(self, seconds: float) -> None:
        self._cancel()
        if not self._isStopped:
            self._dueAt = self._clock.seconds() + seconds
            self._timer = self._clock.callLater(seconds, self._timedOut)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _timedOut(self) -> None:
        if self._clock.seconds() - self._dueAt > _OVERSLEPT:
            self._overslept()
        if self._isStopped:
            return
        if self._isAsking:
            self._unanswered()
        elif self._isHeard and self._clock.seconds() - self._askedAt < self._interval:
            self._isHeard = self._isWatched = False
            self._wait(min(_SILENCE, self._interval))
        else:
            self._tries = 0
            self._ask()

    def _ask(self) -> None:
        self._isAsking = True
        self._isWatched = False
        self._askedAt = self._clock.seconds()
        self._tries += 1
        # The later tries wait longer: the path may have become a slow one.
        self._wait(_LONGEST if self.isSuspect else self._patience() * (1 + (self._tries - 1) / 3))
        self._path.ping().addCallbacks(self._answered, self._notAnswered)

    def _unanswered(self) -> None:
        if self._tries == 1 and not self.isSuspect:
            self._missed()
            if self._isStopped:
                return
        if self._tries >= _TRIES and not self.isSuspect:
            self.isSuspect = True
            self._changed()
            if self._isStopped:
                return
        self._ask()

    def _answered(self, seconds: float) -> None:
        self.rtt = seconds
        if self._isStopped:
            return
        wasSuspect, self.isSuspect = self.isSuspect, False
        self._isAsking = self._isHeard = False
        self._wait(self._interval)
        if wasSuspect:
            self._changed()
        else:
            self._measured()

    def _notAnswered(self, failure: Failure) -> None:
        # The timer above has the say.
        failure.trap(HolepunchError)
