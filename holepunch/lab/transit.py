"""
Packets in flight.

Owns: the one queue of all packets on links, its timer, and telling observers what happens.
Knows nothing of: networks and routes; each packet comes with the step to take when it arrives.
Driven by: L{holepunch.lab.fabric} and its nodes, and by the clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from heapq import heappop, heappush

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from holepunch.lab.link import Link
from holepunch.nat.packet import Packet

# Clocks add and subtract seconds in floating point: what is due within this time is due now.
_ROUNDING = 1e-9


class Fate(enum.Enum):
    """
    What can happen to a packet at one place on its way.
    """

    SENT = "sent"
    DELIVERED = "delivered"
    TRANSLATED = "translated"
    LOST = "lost on the link"
    DROPPED = "dropped by the NAT"
    TOO_BIG = "too long for the link"
    UNROUTABLE = "no host has that address"
    UNATTACHED = "the host is down"


#: Called with the time, the name of the host or NAT (or its link), the packet, its fate there, and
#: the NAT's reason where it dropped the packet.
FateObserver = Callable[[float, str, Packet, Fate, str], object]

Step = Callable[[Packet], object]


class Transit:
    """
    All packets in flight, in the order in which they will arrive.

    @ivar observers: Who is told.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.now = clock.seconds
        self.observers: list[FateObserver] = []
        self._clock = clock
        self._queue: list[tuple[float, int, Step, Packet]] = []
        self._serial = 0
        self._identification = 0
        self._isDraining = False
        self._timer: IDelayedCall | None = None
        self._timerAt = 0.0

    def tell(self, place: str, packet: Packet, fate: Fate, reason: str = "") -> None:
        """
        Tell the observers.
        """
        for observer in self.observers:
            observer(self.now(), place, packet, fate, reason)

    def identification(self) -> int:
        """
        A number for the fragments of one packet that has none.
        """
        self._identification += 1
        return self._identification

    def cross(self, link: Link, isUpward: bool, step: Step, packet: Packet) -> None:
        """
        Send a packet over a link, and take C{step} with it when it arrives.
        """
        arrivals = link.arrivals(isUpward, self.now(), packet.payload)
        if not arrivals:
            self.tell(link.name, packet, Fate.LOST)
        for arrival in arrivals:
            self._serial += 1
            heappush(self._queue, (arrival, self._serial, step, packet))

    def drain(self) -> None:
        """
        Take every step that is due, and set the timer for the next.
        """
        if self._isDraining:
            return
        queue = self._queue
        self._isDraining = True
        try:
            while queue and queue[0][0] <= self.now() + _ROUNDING:
                _, _, step, packet = heappop(queue)
                step(packet)
        finally:
            self._isDraining = False
            self._setTimer()

    def _setTimer(self) -> None:
        if not self._queue:
            return
        nextAt = self._queue[0][0]
        if self._timer is not None:
            if self._timerAt <= nextAt:
                return
            self._timer.cancel()
        self._timerAt = nextAt
        self._timer = self._clock.callLater(max(0.0, nextAt - self.now()), self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        self.drain()
