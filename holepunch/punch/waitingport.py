"""
The other side first: when a session takes a second port, and how long it waits there to be called.

A NAT that maps by destination answers from another port than the announced one as soon as this side
has itself sent something to the other, and a filter that looks at ports lets that in no more. From
a port that has sent to nobody but an assist listener, the answer goes back by the mapping by which
the call came. So such a port is taken in addition to the first one, at once where two listeners saw
two mapped addresses. What was seen decides only about the moment: a session that lasts takes it
anyway.

When nobody has called, the port is used like the first one. By then the other side has opened its
NAT for it, so that nothing is refused on the way; and nothing of what went before is left there,
such as a half-open connection that a NAT lets nobody complete.

Owns: the two moments.
Knows nothing of: sockets; what happens on that port.
Driven by: L{PunchSession}.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress


class WaitingPort:
    """
    The second port of a session: opened, waiting, calling itself.
    """

    def __init__(self, delay: float, now: float) -> None:
        """
        @param delay: After how many seconds without a path it is opened whatever was seen. It waits
            three times as long.
        """
        self._patience = 3 * delay
        self._opensAt: float | None = now + delay
        self._callsAt: float | None = None
        self._mapped: dict[tuple[Transport, TransportAddress], TransportAddress] = {}

    def mapped(
        self, transport: Transport, base: TransportAddress, mapped: TransportAddress, now: float
    ) -> None:
        """
        An assist listener saw C{base} at C{mapped}.
        """
        known = self._mapped.setdefault((transport, base), mapped)
        if known != mapped and self._opensAt is not None:
            self._opensAt = now

    def opens(self, now: float) -> bool:
        """
        Is it to be opened now? Only once.
        """
        if self._opensAt is None or self._opensAt > now:
            return False
        self._opensAt, self._callsAt = None, now + self._patience
        return True

    def calls(self, now: float) -> bool:
        """
        Has it waited in vain by now? Only once.
        """
        if self._callsAt is None or self._callsAt > now:
            return False
        self._callsAt = None
        return True

    def nextTimeout(self) -> float | None:
        """
        When the next one of the moments comes.
        """
        return self._opensAt if self._opensAt is not None else self._callsAt
