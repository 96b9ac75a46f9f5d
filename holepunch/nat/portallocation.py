"""
Which external port a new mapping gets (RFC 4787 section 4.2).

Owns: the order in which ports are tried, and the last port of each sequence.
Knows nothing of: which ports are taken; it asks.
Driven by: L{holepunch.nat.device}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Interface

from holepunch.nat.behaviour import NATBehaviour, PortAllocation
from holepunch.nat.packet import Protocol


class RandomSource(Interface):
    """
    Where the device takes randomness from: C{random.Random} is one.
    """

    def randrange(self, start: int, stop: int, /) -> int:
        """
        A whole number from C{start} up to, but not including, C{stop}.
        """


class PortAllocator:
    """
    The ports of one device.
    """

    def __init__(self, behaviour: NATBehaviour, random: RandomSource) -> None:
        self._ports = behaviour.ports
        self._step = behaviour.portStep
        self._first = behaviour.firstPort
        self._count = behaviour.lastPort - behaviour.firstPort + 1
        self._random = random
        self._last: dict[tuple[Protocol, str], int] = {}

    @property
    def portCount(self) -> int:
        """
        How many ports one external host has.
        """
        return self._count

    def choose(
        self, protocol: Protocol, host: str, internalPort: int, isFree: Callable[[int], bool]
    ) -> int | None:
        """
        Find a port of the external C{host} for C{internalPort}.

        The way of the behaviour names a first choice; when that is taken, the next free port is.

        @return: C{None} when no port is free.
        """
        wish = self._firstChoice(protocol, host, internalPort)
        for offset in range(self._count):
            port = self._wrapped(wish + offset)
            if isFree(port):
                self._last[protocol, host] = port
                return port
        return None

    def _firstChoice(self, protocol: Protocol, host: str, internalPort: int) -> int:
        if self._ports is PortAllocation.PRESERVED:
            return internalPort
        last = self._last.get((protocol, host))
        if self._ports is PortAllocation.RANDOM or last is None:
            return self._random.randrange(self._first, self._first + self._count)
        return last + self._step

    def _wrapped(self, port: int) -> int:
        return self._first + (port - self._first) % self._count
