"""
A UDP socket that hears what routers say of its packets, without privileges (C{ip(7)}, C{ipv6(7)}).

Owns: the socket options for the time to live, for fragments and for errors; the error queue.
Knows nothing of: STUN; timers.
Driven by: L{holepunch.peer.discoverypath}, which looks again and again: a reactor would take a
socket with an error to be broken.

Only Linux has the error queue; C{IP_RECVFRAGSIZE} is there since version 4.12.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import attrs

from holepunch.address import Family, TransportAddress
from holepunch.errors import BadAddress, NoLocalPort

_LONGEST = 4096
_ROOM = 512
# linux/errqueue.h
_MSG_ERRQUEUE = 0x2000
_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_LOCAL = 1
_TIME_EXCEEDED = {2: 11, 3: 3}
_DO_NOT_CUT, _MAY_CUT = 3, 0
_DEFAULT_TTL = -1


@attrs.frozen(kw_only=True)
class _Options:
    """
    The numbers of linux/in.h and linux/in6.h; Python names few of them.
    """

    level: int
    ttl: int
    mtuDiscover: int
    receiveErrors: int
    receiveFragmentSize: int
    headers: int


_OPTIONS = {
    Family.IPV4: _Options(
        level=socket.IPPROTO_IP,
        ttl=2,
        mtuDiscover=10,
        receiveErrors=11,
        receiveFragmentSize=25,
        headers=28,
    ),
    Family.IPV6: _Options(
        level=socket.IPPROTO_IPV6,
        ttl=16,
        mtuDiscover=23,
        receiveErrors=25,
        receiveFragmentSize=77,
        headers=48,
    ),
}


@attrs.frozen(kw_only=True)
class Received:
    """
    A datagram.

    @ivar fragmentSize: How many bytes its longest fragment had, as an IP packet; C{None}: it came
        whole.
    """

    data: bytes = attrs.field(repr=False)
    source: TransportAddress
    fragmentSize: int | None = None


@attrs.frozen(kw_only=True)
class Complaint:
    """
    What somebody said of a packet that we sent.

    @ivar data: What is left of it, at least its beginning; some routers leave nothing.
    @ivar destination: Where it was to go.
    @ivar number: The error, as the system has it.
    @ivar reporter: Who said it; C{None}: this system itself.
    @ivar isTimeExceeded: It had passed too many routers.
    @ivar mtu: Where it was too long: how long it might have been.
    """

    data: bytes = attrs.field(repr=False)
    destination: TransportAddress
    number: int
    reporter: TransportAddress | None
    isTimeExceeded: bool
    mtu: int | None


def systemSocket(family: int) -> Any:
    """
    A UDP socket of this system.

    @raise OSError: Programs cannot hear of errors here.
    """
    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOTSUP, "this system does not tell programs what routers say")
    return socket.socket(family, socket.SOCK_DGRAM)


class ComplaintSocket:
    """
    One socket.

    @param open: Makes a socket of an address family.
    @ivar local: Its address.
    @ivar headers: How many bytes of an IP packet are not the datagram.
    @raise NoLocalPort: There is none to be had.
    """

    def __init__(self, open: Callable[[int], Any], host: str) -> None:
        family = TransportAddress(host, 0).family
        self._options = _OPTIONS[family]
        self.headers = self._options.headers
        try:
            self._socket = open(socket.AF_INET6 if family is Family.IPV6 else socket.AF_INET)
            self._socket.setblocking(False)
            self._set(self._options.receiveErrors, 1)
            with contextlib.suppress(OSError):
                self._set(self._options.receiveFragmentSize, 1)
            self._socket.bind((host, 0))
        except OSError as error:
            raise NoLocalPort(
                f"no UDP socket that hears of errors can be opened on {host}: {error.strerror}"
            ) from None
        self.local = TransportAddress(*self._socket.getsockname()[:2])

    def send(
        self, data: bytes, destination: TransportAddress, ttl: int | None, mayFragment: bool
    ) -> int:
        """
        Send a datagram.

        @return: The error with which this system refused it, or 0.
        """
        try:
            self._set(self._options.mtuDiscover, _MAY_CUT if mayFragment else _DO_NOT_CUT)
            self._set(self._options.ttl, _DEFAULT_TTL if ttl is None else ttl)
            self._socket.sendto(data, (destination.host, destination.port))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def receive(self) -> Received | None:
        """
        The next datagram, if there is any.
        """
        try:
            data, extra, _, address = self._socket.recvmsg(_LONGEST, _ROOM)
        except OSError:
            # Nothing to read; or an error, which the queue has, too.
            return None
        sizes = [
            struct.unpack("=i", value[:4])[0]
            for level, kind, value in extra
            if (level, kind) == (self._options.level, self._options.receiveFragmentSize)
        ]
        return Received(
            data=data, source=TransportAddress(*address[:2]), fragmentSize=next(iter(sizes), None)
        )

    def hear(self) -> Complaint | None:
        """
        The next complaint, if there is any.
        """
        try:
            data, extra, _, address = self._socket.recvmsg(_LONGEST, _ROOM, _MSG_ERRQUEUE)
        except OSError:
            return None
        for level, kind, value in extra:
            if (level, kind) == (self._options.level, self._options.receiveErrors):
                with contextlib.suppress(BadAddress, struct.error):
                    return self._complaint(data, TransportAddress(*address[:2]), value)
        return None

    def close(self) -> None:
        """
        Close it.
        """
        self._socket.close()

    def _complaint(self, data: bytes, destination: TransportAddress, value: bytes) -> Complaint:
        number, origin, type, _, _, info, _ = _ERROR.unpack_from(value)
        return Complaint(
            data=data,
            destination=destination,
            number=number,
            reporter=None if origin == _ORIGIN_LOCAL else _offender(value[_ERROR.size :]),
            isTimeExceeded=_TIME_EXCEEDED.get(origin) == type,
            mtu=info if number == errno.EMSGSIZE else None,
        )

    def _set(self, option: int, value: int) -> None:
        self._socket.setsockopt(self._options.level, option, value)


def _offender(name: bytes) -> TransportAddress | None:
    """
    Read a C{struct sockaddr}.
    """
    (family,) = struct.unpack_from("=H", name)
    if family == socket.AF_INET:
        return TransportAddress(socket.inet_ntop(family, name[4:8]), 0)
    if family == socket.AF_INET6:
        return TransportAddress(socket.inet_ntop(family, name[8:24]), 0)
    return None
