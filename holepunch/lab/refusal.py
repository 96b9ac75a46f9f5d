"""
How hosts and routers answer a packet that is for no program.

Owns: the RST of a closed port (RFC 9293 section 3.10.7.1), ICMP's destination unreachable, and the
reply to an echo request.
Knows nothing of: when to answer.
Driven by: L{holepunch.lab.node}, and the stack of a simulated host.
"""

from __future__ import annotations

import attrs

from holepunch.address import TransportAddress
from holepunch.lab.ippacket import RawSegment, readEcho
from holepunch.nat.packet import (
    Echo,
    ICMPError,
    ICMPType,
    Packet,
    Protocol,
    TCPFlag,
    UnreachableCode,
)


def resetFor(packet: Packet) -> Packet | None:
    """
    The RST that answers a segment, such that its receiver believes it.

    @return: C{None} for a RST: it is never answered.
    """
    flags = packet.flags
    if flags & TCPFlag.RST:
        return None
    if flags & TCPFlag.ACK:
        answer, sequence, acknowledgment = TCPFlag.RST, packet.acknowledgment, 0
    else:
        length = len(packet.payload) + bool(flags & TCPFlag.SYN) + bool(flags & TCPFlag.FIN)
        answer, sequence, acknowledgment = TCPFlag.RST | TCPFlag.ACK, 0, packet.sequence + length
    return Packet(
        Protocol.TCP,
        packet.destination,
        packet.source,
        flags=answer,
        sequence=sequence,
        acknowledgment=acknowledgment,
    )


def unreachableFor(
    packet: Packet, code: UnreachableCode, router: TransportAddress | None = None
) -> Packet | None:
    """
    The ICMP error that answers a packet.

    @param router: Who answers; C{None}: the host that the packet is for.
    @return: C{None} for an ICMP message: it is never answered with an error.
    """
    if packet.protocol is Protocol.ICMP:
        return None
    return Packet(
        Protocol.ICMP,
        router or TransportAddress(packet.destination.host, 0),
        TransportAddress(packet.source.host, 0),
        icmp=ICMPError(ICMPType.DESTINATION_UNREACHABLE, code, packet),
    )


def echoReplyFor(packet: Packet) -> Packet | None:
    """
    The reply to an echo request (RFC 1122 section 3.2.2.6).

    @return: C{None} for any other packet.
    """
    payload = packet.payload
    if packet.protocol is not Protocol.ICMP or packet.icmp is not None:
        return None
    echo = readEcho(payload) if isinstance(payload, RawSegment) else payload
    if not isinstance(echo, Echo) or echo.isReply:
        return None
    reply = attrs.evolve(echo, isReply=True)
    return Packet(Protocol.ICMP, packet.destination, packet.source, payload=reply)
