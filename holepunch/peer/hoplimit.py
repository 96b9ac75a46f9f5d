"""
How far the packets of one connect go (IP_TTL, IPV6_UNICAST_HOPS): no privilege is needed for it.

Owns: the socket options.
Knows nothing of: why.
Driven by: L{holepunch.peer.streamport}.
"""

from __future__ import annotations

import socket
from typing import Any

from holepunch.address import Family

_OPTIONS = {
    Family.IPV4: (socket.IPPROTO_IP, socket.IP_TTL),
    Family.IPV6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_SYSTEMS_OWN = -1
_USUAL = 64


def limitHops(connector: Any, family: Family, ttl: int | None) -> bool:
    """
    Set the TTL of what a connect sends from now on.

    @param connector: As C{connectTCP} returned it; where its transport has no socket, or the system
        does not take the option, nothing happens.
    @param ttl: C{None}: that of any other packet.
    @return: Was it set?
    """
    transport = getattr(connector, "transport", None)
    own = getattr(transport, "socket", None)
    if own is None:
        return False
    try:
        if ttl is not None:
            own.setsockopt(*_OPTIONS[family], ttl)
        else:
            _restore(own, family)
    except OSError:
        return False
    return True


def _restore(own: socket.socket, family: Family) -> None:
    try:
        own.setsockopt(*_OPTIONS[family], _SYSTEMS_OWN)
    except OSError:
        # Not every system knows how to go back to its own.
        own.setsockopt(*_OPTIONS[family], _USUAL)
