"""
The other side first: when a session takes a second port, and there waits to be called.

A NAT that maps by destination answers from another port than the announced one as soon as this side
has itself sent something to the other, and a filter that looks at ports lets that in no more. From
a port that has sent to nobody but an assist listener, the answer goes back by the mapping by which
the call came. So such a port is taken in addition to the first one, at once where two listeners saw
two mapped addresses. What was seen decides only about the moment: a session that lasts takes it
anyway.

Owns: the moment.
Knows nothing of: sockets; what happens on that port.
Driven by: L{PunchSession}.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress


class WaitingPort:
    """
    Whether a session has such a port, or when it takes one.
    """

    def __init__(self, delay: float, now: float) -> None:
        """
        @param delay: After how many seconds without a path it is taken whatever was seen.
        """
        self._dueAt: float | None = now + delay
        self._mapped: dict[tuple[Transport, TransportAddress], TransportAddress] = {}

    def mapped(
        self, transport: Transport, base: TransportAddress, mapped: TransportAddress, now: float
    ) -> None:
        """
        An assist listener saw C{base} at C{mapped}.
        """
        known = self._mapped.setdefault((transport, base), mapped)
        if known != mapped and self._dueAt is not None:
            self._dueAt = now

    def take(self, now: float) -> bool:
        """
        Is it to be taken now? Only once.
        """
        if self._dueAt is None or self._dueAt > now:
            return False
        self._dueAt = None
        return True

    def nextTimeout(self) -> float | None:
        """
        When L{take} is to be asked.
        """
        return self._dueAt
