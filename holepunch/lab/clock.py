"""
Simulated time.

Owns: the pending calls, and running them one by one, each at its own time.
Knows nothing of: networks.
Driven by: L{holepunch.lab.simulated}; a test may advance it just as well.

C{twisted.internet.task.Clock} jumps to the end of an advance and then runs all calls on the way,
which so see a time that is not theirs, and whatever they schedule comes out late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from holepunch.errors import SimulationStuck

# A program that makes so many calls without any time passing will never stop.
_MOST_CALLS_AT_ONCE = 200_000

# Clear away cancelled calls when so many were cancelled since the last time, and half of all.
_MANY_CANCELLED = 1000


class SimulatedClock(Clock):
    """
    A C{Clock} whose calls run in the order of their times, and each at its own time.

    Calls for the same time run in the order in which they were made. With thousands of pending
    calls, making one costs no more than with ten.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._serial = 0
        self._cancelled = 0
        self._callsNow = 0

    @property
    def calls(self) -> list[DelayedCall]:  # type: ignore[override]
        """
        The pending calls, the next one first.
        """
        pending = {id(call): call for _, _, call in self._heap if call.active()}
        return sorted(pending.values(), key=DelayedCall.getTime)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return self.calls

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        assert delay >= 0, f"{delay} is in the past"
        at = self.rightNow + delay
        call = DelayedCall(at, callable, args, kw, self._forget, self._push, self.seconds)
        self._serial += 1
        heappush(self._heap, (at, self._serial, call))
        return call

    def advance(self, amount: float) -> None:
        """
        Let C{amount} seconds pass, with everything that is due in them.
        """
        until = self.rightNow + amount
        while self.step(until):
            pass
        self.rightNow = until

    def step(self, until: float) -> bool:
        """
        Make the next call, if it is due by then, after moving to its time.

        @return: Was there one?
        @raise SimulationStuck: Calls follow each other without any time passing.
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            at, _, call = heappop(heap)
            if not call.active():
                continue
            if call.getTime() > at:
                call.activate_delay()
                self._push(call)
            else:
                self._moveTo(at, call)
                call.called = 1
                call.func(*call.args, **call.kw)
                return True
        return False

    def _moveTo(self, at: float, call: DelayedCall) -> None:
        if at > self.rightNow:
            self.rightNow = at
            self._callsNow = 0
            return
        self._callsNow += 1
        if self._callsNow > _MOST_CALLS_AT_ONCE:
            raise SimulationStuck(f"no time passes any more; the next call would be {call!r}")

    def _push(self, call: DelayedCall) -> None:
        self._serial += 1
        heappush(self._heap, (call.getTime(), self._serial, call))

    def _forget(self, call: DelayedCall) -> None:
        self._cancelled += 1
        if self._cancelled > _MANY_CANCELLED and self._cancelled * 2 > len(self._heap):
            heap = self._heap
            heap[:] = [entry for entry in heap if entry[2].active() and entry[2] is not call]
            heapify(heap)
            self._cancelled = 0
