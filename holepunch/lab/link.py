"""
One link at run time: when a packet arrives at its other end, if it does.

Owns: the delay, order and loss of packets on a link, and the count of them.
Knows nothing of: what is at its ends.
Driven by: L{holepunch.lab.fabric}.
"""

from __future__ import annotations

from random import Random
from typing import Any

import attrs

from holepunch.lab.part import LEAST_MTU_6, LinkSpec

# What a packet is longer by on a wire: the headers of Ethernet and IPv4.
_HEADERS = 34
# The headers of IPv6 and TCP: what the simulator does not count as payload.
_LONGEST_HEADERS = 60
# How much later than the rest a packet arrives that is held back; at least so many seconds.
_LEAST_HOLD = 0.001


@attrs.define
class LinkCounters:
    """
    What happened on a link, both directions together.

    @ivar overflowed: Of the lost ones, those that the link's rate left no room for.
    @ivar tooBig: Those that never entered it, because they were too long and not to be cut.
    """

    sent: int = 0
    lost: int = 0
    overflowed: int = 0
    heldBack: int = 0
    duplicated: int = 0
    tooBig: int = 0


class Link:
    """
    A link between a host or NAT and the network that it is in.

    @ivar spec: How it treats packets from now on; it may be replaced at any time.
    @ivar surelyFits: So much above IP can be in a packet that needs no closer look.
    """

    def __init__(self, name: str, spec: LinkSpec, random: Random) -> None:
        self.name = name
        self.counters = LinkCounters()
        self._random = random
        # The latest arrival so far, up and down: jitter alone does not change the order.
        self._latest = [0.0, 0.0]
        # Until when the link is busy sending, up and down.
        self._busyUntil = [0.0, 0.0]
        self.spec = spec

    @property
    def spec(self) -> LinkSpec:
        return self._spec

    @spec.setter
    def spec(self, spec: LinkSpec) -> None:
        self._spec = spec
        self._latency = spec.latency
        longest = min(spec.mtu, LEAST_MTU_6) - _LONGEST_HEADERS
        self.surelyFits = -1 if spec.losesFragments else longest
        self._isRegular = not (
            spec.jitter or spec.loss or spec.reorder or spec.duplicate or spec.rate
        )

    def arrivals(self, isUpward: bool, now: float, payload: Any = b"") -> tuple[float, ...]:
        """
        When a packet that enters the link now leaves it: not at all, once or twice.

        @param payload: What of the packet is above IP; its length counts where the link has a rate.
        """
        self.counters.sent += 1
        if self._isRegular:
            return (now + self._latency,)
        spec, random = self._spec, self._random
        if spec.loss and random.random() < spec.loss:
            self.counters.lost += 1
            return ()
        if spec.rate:
            sentAt = max(now, self._busyUntil[isUpward])
            if sentAt - now > spec.queue:
                self.counters.lost += 1
                self.counters.overflowed += 1
                return ()
            now = sentAt + (len(payload) + _HEADERS) * 8 / spec.rate
            self._busyUntil[isUpward] = now
        arrivals = [self._arrival(isUpward, now)]
        if spec.duplicate and random.random() < spec.duplicate:
            self.counters.duplicated += 1
            arrivals.append(self._arrival(isUpward, now))
        return tuple(arrivals)

    def _arrival(self, isUpward: bool, now: float) -> float:
        spec, random = self._spec, self._random
        arrival = now + spec.latency
        if spec.jitter:
            arrival += random.uniform(0.0, spec.jitter)
        if spec.reorder and random.random() < spec.reorder:
            self.counters.heldBack += 1
            return arrival + max(_LEAST_HOLD, spec.latency) * random.uniform(0.5, 2.0)
        arrival = self._latest[isUpward] = max(arrival, self._latest[isUpward])
        return arrival
