"""
Path MTU discovery of a simulated host (RFC 1191, RFC 8201), as Linux has it.

Owns: what is known of the MTU of the ways to others; how a datagram leaves that is longer.
Knows nothing of: sockets; TCP, which is told of an MTU and sends shorter segments.
Driven by: L{holepunch.lab.simulatedkernel} and its UDP sockets.

The socket options C{IP_MTU_DISCOVER} and C{IPV6_MTU_DISCOVER} are honoured with the meaning that
they have in C{ip(7)}; C{IP_MTU} tells the path MTU of a connected socket. Other than with C{DONT},
no router may cut a datagram:

  - C{IP_PMTUDISC_WANT} (the default): longer than the known path MTU, it leaves in fragments;
  - C{IP_PMTUDISC_DO}: longer than the known path MTU, C{EMSGSIZE};
  - C{IP_PMTUDISC_PROBE}: longer than the interface's MTU, C{EMSGSIZE}; ICMP errors change nothing;
  - C{IP_PMTUDISC_DONT}: routers may cut it, and the host does where its interface needs it.

Twisted's ports hand the socket out::

    port = reactor.listenUDP(0, protocol)
    port.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import attrs

from holepunch.lab.fragments import divided, ipLength
from holepunch.lab.ippacket import Dividable
from holepunch.nat.packet import Packet

# linux/in.h and linux/in6.h; Python names none of them.
IP_MTU_DISCOVER, IP_MTU = 10, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24
IP_PMTUDISC_DONT, IP_PMTUDISC_WANT, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE = range(4)

#: The socket options that choose one of those, and those that tell the path MTU.
DISCOVER_OPTIONS = ((socket.IPPROTO_IP, IP_MTU_DISCOVER), (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER))
MTU_OPTIONS = ((socket.IPPROTO_IP, IP_MTU), (socket.IPPROTO_IPV6, IPV6_MTU))

#: So long a datagram fits whatever is known of the path, unless that is shorter than IPv6 has it.
SURELY_FITS = 1280 - 48
_FORGETS_AFTER = 600.0


class PathMTUs:
    """
    The MTUs of all ways from one host.

    @param interfaceMTU: That of the interface with some address.
    @ivar surelyFits: So long a datagram can be sent without a look here.
    """

    def __init__(
        self, now: Callable[[], float], interfaceMTU: Callable[[str], int], identification: int
    ) -> None:
        self.surelyFits = SURELY_FITS
        self._now = now
        self._interfaceMTU = interfaceMTU
        self._identification = identification
        self._known: dict[str, tuple[int, float]] = {}

    def of(self, local: str, remote: str) -> int:
        """
        How many bytes an IP packet from an address of ours to another may have.
        """
        mtu, until = self._known.get(remote, (0, 0.0))
        most = self._interfaceMTU(local)
        return min(mtu, most) if until > self._now() else most

    def learn(self, remote: str, mtu: int) -> None:
        """
        A router said how much the way to an address carries.
        """
        self._known[remote] = (mtu, self._now() + _FORGETS_AFTER)
        self.surelyFits = min(self.surelyFits, mtu - 48)

    def packets(self, packet: Packet, mode: int) -> list[Packet]:
        """
        What leaves in place of a datagram.

        @param mode: The socket's C{IP_MTU_DISCOVER}.
        @raise OSError: It is too long (C{EMSGSIZE}).
        """
        local, remote = packet.source.host, packet.destination.host
        isBound = mode in (IP_PMTUDISC_WANT, IP_PMTUDISC_DO)
        mtu = self.of(local, remote) if isBound else self._interfaceMTU(local)
        if mode not in (IP_PMTUDISC_WANT, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE):
            packet = attrs.evolve(packet, payload=Dividable(packet.payload))
        if ipLength(packet) <= mtu:
            return [packet]
        if mode in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE):
            raise OSError(errno.EMSGSIZE, f"a datagram to {remote} is longer than {mtu} bytes")
        self._identification += 1
        return divided(packet, mtu, self._identification & 0xFFFFFFFF, isDividable=True)
