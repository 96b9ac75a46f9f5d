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
    The protocol above IP; the value is its number in the IP header.
    """

    ICMP = 1
    TCP = 6
    UDP = 17


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
    The kinds of ICMP error that the model knows, with the numbers of ICMP for IPv4 (RFC 792).
    """

    DESTINATION_UNREACHABLE = 3
    TIME_EXCEEDED = 11


class UnreachableCode(enum.IntEnum):
    """
    Codes of L{ICMPType.DESTINATION_UNREACHABLE}.
    """

    HOST = 1
    PORT = 3


_NO_FLAGS = TCPFlag(0)


@fastFrozen
class ICMPError:
    """
    An ICMP error message: what went wrong with which packet.

    @ivar type: An L{ICMPType}, or the number of another error that is only passed on.
    @ivar original: The packet that met the error, with the addresses it had where the error arose.
    """

    type: int
    code: int
    original: Packet


@fastFrozen
class Packet:
    """
    One packet.

    @ivar source: For ICMP, the port is 0; so it is in C{destination}.
    @ivar flags: With TCP: the control bits, at most nine.
    @ivar payload: Whatever the sender put there; the NAT never looks at it. A router of raw frames
        puts the frame here.
    @ivar icmp: With L{Protocol.ICMP}: the error.
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
