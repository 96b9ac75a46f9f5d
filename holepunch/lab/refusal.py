"""
How hosts and routers refuse a packet.

Owns: the RST of a closed port (RFC 9293 section 3.10.7.1), and ICMP's destination unreachable.
Knows nothing of: when to refuse.
Driven by: L{holepunch.lab.node}, and the stack of a simulated host.
"""

from __future__ import annotations

from holepunch.address import TransportAddress
from holepunch.nat.packet import (
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
