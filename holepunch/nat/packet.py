"""
A packet, as far as a NAT looks at it.

Owns: the values that travel through the model NAT, the simulator and the lab.
Knows nothing of: bytes on a wire; what the payload is.
Driven by: L{holepunch.nat.device} and the lab.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.fastvalue import fastFrozen


class Protocol(enum.IntEnum):
    """
    The protocol above IP; the value is its number in the IP header of IPv4.

    @cvar ICMP: ICMP for IPv6 as well, whose own number is 58.
    @cvar FRAGMENT: Not the whole of a packet, but a fragment of one: see
        L{Fragment<holepunch.nat.fragment.Fragment>}. The number is that of IPv6's fragment header.
    """

    ICMP = 1
    TCP = 6
    UDP = 17
    FRAGMENT = 44


#: Echo requests are packets from their identifier as port to this one, replies come back from it:
#: so an ICMP query is mapped as a datagram is (RFC 5508 section 3.1). It is the port of the echo
#: service (RFC 862).
ECHO_PORT = 7


class TCPFlag(enum.IntFlag):
    """
    The control bits of a TCP header (RFC 9293 section 3.1).
    """

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


class ICMPType(enum.IntEnum):
    """
    The kinds of ICMP error that the model knows, with the numbers of ICMP for IPv4 (RFC 792). They
    stand for those of ICMP for IPv6, too (RFC 7915 section 4.2).
    """

    DESTINATION_UNREACHABLE = 3
    TIME_EXCEEDED = 11


class UnreachableCode(enum.IntEnum):
    """
    Codes of L{ICMPType.DESTINATION_UNREACHABLE}.

    @cvar TOO_BIG: I{Fragmentation needed and DF set}; with IPv6, I{packet too big}.
    """

    HOST = 1
    PORT = 3
    TOO_BIG = 4


_NO_FLAGS = TCPFlag(0)


@fastFrozen
class ICMPError:
    """
    An ICMP error message: what went wrong with which packet.

    @ivar type: An L{ICMPType}, or the number of another error that is only passed on.
    @ivar original: The packet that met the error, with the addresses it had where the error arose.
    @ivar mtu: With L{UnreachableCode.TOO_BIG}: how many bytes an IP packet may have.
    """

    type: int
    code: int
    original: Packet
    mtu: int = 0


@attrs.frozen(kw_only=True)
class Echo:
    """
    What is in an echo request or reply beside its identifier; the payload of such a packet.
    """

    isReply: bool
    sequence: int
    data: bytes = attrs.field(repr=False)

    def __len__(self) -> int:
        """
        How much of it is above IP.
        """
        return 8 + len(self.data)


@fastFrozen
class Packet:
    """
    One packet.

    @ivar source: For ICMP errors and fragments the port is 0; so it is in C{destination}. For an
        echo it is the identifier or L{ECHO_PORT}.
    @ivar flags: With TCP: the control bits, at most nine.
    @ivar payload: Whatever the sender put there; the NAT never looks at it. A router of raw frames
        puts the frame here.
    @ivar icmp: With L{Protocol.ICMP}: the error; C{None}: it is an echo.
    """

    protocol: Protocol
    source: TransportAddress
    destination: TransportAddress
    flags: TCPFlag = attrs.field(default=_NO_FLAGS, kw_only=True)
    sequence: int = attrs.field(default=0, kw_only=True)
    acknowledgment: int = attrs.field(default=0, kw_only=True)
    payload: Any = attrs.field(default=b"", kw_only=True)
    ttl: int = attrs.field(default=64, kw_only=True)
    icmp: ICMPError | None = attrs.field(default=None, kw_only=True)
