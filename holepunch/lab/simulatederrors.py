"""
What a simulated UDP socket tells of its packets, as Linux does (C{recvmsg(2)}, C{ip(7)},
C{ipv6(7)}).

Owns: the error queue of C{IP_RECVERR}, and the form of control messages.
Knows nothing of: sockets; which errors concern which.
Driven by: L{holepunch.lab.simulatedsocket}.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque

from holepunch.address import Family, TransportAddress
from holepunch.nat.packet import ICMPType, Packet

# linux/in.h, linux/in6.h and linux/errqueue.h; Python names few of them.
TTL_OPTIONS = ((socket.IPPROTO_IP, 2), (socket.IPPROTO_IPV6, 16))
ERROR_OPTIONS = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))
FRAGMENT_SIZE_OPTIONS = ((socket.IPPROTO_IP, 25), (socket.IPPROTO_IPV6, 77))
MSG_ERRQUEUE = 0x2000
DEFAULT_TTL = 64

_MOST_WAITING = 64
_ERROR = struct.Struct("=IBBBBII")
_ORIGINS = {Family.IPV4: 2, Family.IPV6: 3}
# ICMP for IPv6 has other numbers (RFC 4443).
_TYPES = {
    ICMPType.DESTINATION_UNREACHABLE: {Family.IPV4: 3, Family.IPV6: 1},
    ICMPType.TIME_EXCEEDED: {Family.IPV4: 11, Family.IPV6: 3},
}

#: A control message: level, type, data.
Control = tuple[int, int, bytes]


def control(
    options: tuple[tuple[int, int], tuple[int, int]], family: Family, data: bytes
) -> Control:
    """
    The control message that is named as an option of the family.
    """
    level, kind = options[family is Family.IPV6]
    return level, kind, data


class ErrorQueue:
    """
    What routers and hosts said of the packets of one socket.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, list[Control], TransportAddress]] = deque(
            maxlen=_MOST_WAITING
        )

    def add(self, packet: Packet, number: int) -> None:
        """
        Take an ICMP error, of which the system makes an error number.
        """
        error = packet.icmp
        assert error is not None
        family = packet.source.family
        mtu = error.mtu if number == errno.EMSGSIZE else 0
        known = _TYPES.get(ICMPType(error.type), {}) if error.type in set(ICMPType) else {}
        head = _ERROR.pack(
            number, _ORIGINS[family], known.get(family, error.type), error.code, 0, mtu, 0
        )
        payload = error.original.payload
        data = payload if isinstance(payload, bytes) else b""
        message = control(ERROR_OPTIONS, family, head + _name(packet.source))
        self._waiting.append((data, [message], error.original.destination))

    def take(self) -> tuple[bytes, list[Control], TransportAddress]:
        """
        The oldest: what is left of the packet, what is said of it, where it was to go.

        @raise BlockingIOError: There is none.
        """
        if not self._waiting:
            raise BlockingIOError(errno.EWOULDBLOCK, "no error to read")
        return self._waiting.popleft()


def _name(address: TransportAddress) -> bytes:
    """
    A C{struct sockaddr}.
    """
    if address.family is Family.IPV6:
        return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packedHost, 0)
    return struct.pack("=HH4s8x", socket.AF_INET, 0, address.packedHost)
