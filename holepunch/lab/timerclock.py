"""
A clock that keeps time to tens of microseconds, where the reactor's own rounds up to milliseconds.

Owns: delayed calls in the order of their times, and the one kernel timer (C{timerfd}) behind them.
Knows nothing of: what is called.
Driven by: the reactor, when the timer fires; and L{runDue}, before anything that reads the time
must see what was due earlier.

While a delayed call runs, the time I{is} the moment for which it was scheduled. A packet that
crosses four links by four calls is thus late by one lateness in all, not by the sum of four.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import struct
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

_log = Logger()
_CLOCK_MONOTONIC = 1
_NON_BLOCKING_CLOSE_ON_EXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


@implementer(IReactorTime, IReadDescriptor)
class TimerClock:
    """
    Delayed calls on a kernel timer.

    @param reactor: Watches the timer's descriptor.
    @param seconds: The time; monotonic.
    """

    def __init__(
        self, reactor: IReactorFDSet, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._calls: list[tuple[float, int, DelayedCall]] = []
        self._order = itertools.count()
        self._now = seconds()
        self._isRunning = False
        self._armedFor: float | None = None
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._library.timerfd_create(_CLOCK_MONOTONIC, _NON_BLOCKING_CLOSE_ON_EXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        reactor.addReader(self)

    def seconds(self) -> float:
        """
        The time; inside a delayed call, the moment for which that was scheduled.
        """
        if not self._isRunning:
            self._now = max(self._now, self._seconds())
        return self._now

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall:
        """
        See C{IReactorTime.callLater}.
        """
        moment = self.seconds() + delay
        call = DelayedCall(moment, callable, args, kw, _forget, self._push, self.seconds)
        self._push(call)
        return call

    def getDelayedCalls(self) -> list[DelayedCall]:
        """
        See C{IReactorTime.getDelayedCalls}.
        """
        return [call for at, _, call in self._calls if call.active() and at == call.time]

    def runDue(self) -> None:
        """
        Make the calls whose time has come.
        """
        if self._isRunning:
            return
        real = self._seconds()
        calls = self._calls
        if calls and calls[0][0] <= real:
            self._isRunning = True
            try:
                while calls and calls[0][0] <= real:
                    at, _, call = heapq.heappop(calls)
                    if call.active() and at == call.time:
                        self._run(call)
            finally:
                self._isRunning = False
        self._now = max(self._now, real)
        self._arm()

    def _run(self, call: DelayedCall) -> None:
        if call.delayed_time > 0:
            call.activate_delay()
            self._push(call)
            return
        self._now = max(self._now, call.time)
        call.called = 1
        try:
            call.func(*call.args, **call.kw)
        except Exception:
            _log.failure("a delayed call of the lab failed")

    def _push(self, call: DelayedCall) -> None:
        heapq.heappush(self._calls, (call.time, next(self._order), call))
        if not self._isRunning:
            self._arm()

    def _arm(self) -> None:
        if not self._calls or self._calls[0][0] == self._armedFor:
            return
        self._armedFor = self._calls[0][0]
        nanoseconds = max(1, int((self._armedFor - self._seconds()) * 1e9))
        setting = struct.pack("=4q", 0, 0, *divmod(nanoseconds, 1_000_000_000))
        self._library.timerfd_settime(self._fd, 0, setting, None)

    # --- the timer's descriptor, as the reactor sees it ---------------------------------------

    def fileno(self) -> int:
        """
        The timer's descriptor.
        """
        return self._fd

    def doRead(self) -> None:
        """
        The timer fired.
        """
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            # Set anew since the reactor saw it fire.
            return
        self._armedFor = None
        self.runDue()

    def connectionLost(self, reason: object) -> None:
        """
        The reactor lets go of the descriptor.
        """
        os.close(self._fd)
        self._fd = -1

    def logPrefix(self) -> str:
        """
        Who this is, in the log.
        """
        return "lab clock"


def _forget(call: DelayedCall) -> None:
    """
    A cancelled call stays in the heap until its time, and is skipped then.
    """
