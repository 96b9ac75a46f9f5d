"""
Packets about other packets.

Owns: what a NAT itself says about a packet that it does not forward: RST segments (RFC 9293 section
3.10.7.1) and ICMP errors (RFC 792); and how it translates the ICMP errors of others (RFC 5508
section 4).
Knows nothing of: how a session is found, and whether the answer is wanted.
Driven by: L{holepunch.nat.device}.
"""

from __future__ import annotations

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Unsolicited
from holepunch.nat.effects import DropReason
from holepunch.nat.packet import (
    ICMPError,
    ICMPType,
    Packet,
    Protocol,
    TCPFlag,
    UnreachableCode,
)
from holepunch.nat.session import Session

_UNSOLICITED = frozenset({DropReason.NO_MAPPING, DropReason.FILTERED, DropReason.NO_CONNECTION})


def refusalFor(packet: Packet, reason: DropReason, unsolicited: Unsolicited) -> Packet | None:
    """
    The answer to a packet from outside that was dropped for C{reason}.

    ICMP says I{port unreachable} of a port that is not mapped, and I{host unreachable} to a sender
    whom the filter keeps out.

    @return: C{None}: silence.
    """
    if reason not in _UNSOLICITED:
        return None
    if unsolicited is Unsolicited.ICMP:
        isMapped = reason is DropReason.FILTERED
        return _unreachableFor(packet, UnreachableCode.HOST if isMapped else UnreachableCode.PORT)
    if unsolicited is Unsolicited.RST and packet.protocol is Protocol.TCP:
        return _resetFor(packet)
    return None


def _resetFor(packet: Packet) -> Packet | None:
    """
    The RST with which a closed port answers, such that its receiver accepts it.

    @return: C{None} for a segment that is a RST itself.
    """
    flags = packet.flags
    if flags & TCPFlag.RST:
        return None
    if flags & TCPFlag.ACK:
        return Packet(
            packet.protocol,
            packet.destination,
            packet.source,
            flags=TCPFlag.RST,
            sequence=packet.acknowledgment,
        )
    length = bool(flags & TCPFlag.SYN) + bool(flags & TCPFlag.FIN)
    return Packet(
        packet.protocol,
        packet.destination,
        packet.source,
        flags=TCPFlag.RST | TCPFlag.ACK,
        acknowledgment=(packet.sequence + length) & 0xFFFFFFFF,
    )


def _unreachableFor(packet: Packet, code: UnreachableCode) -> Packet | None:
    """
    The ICMP error I{destination unreachable}, from the packet's destination to its source.

    @return: C{None} for a packet that is an ICMP error itself (RFC 1122 section 3.2.2).
    """
    return _error(ICMPType.DESTINATION_UNREACHABLE, code, packet, packet.destination.host)


def timeExceededFor(packet: Packet, host: str) -> Packet | None:
    """
    The ICMP error I{time exceeded in transit}, from C{host} to the packet's source.

    @return: C{None} for a packet that is an ICMP error itself (RFC 1122 section 3.2.2).
    """
    return _error(ICMPType.TIME_EXCEEDED, 0, packet, host)


def _error(type: int, code: int, packet: Packet, host: str) -> Packet | None:
    if packet.icmp is not None:
        return None
    return Packet(
        Protocol.ICMP,
        TransportAddress(host, 0),
        TransportAddress(packet.source.host, 0),
        icmp=ICMPError(type, code, packet),
    )


def errorInward(packet: Packet, session: Session) -> Packet:
    """
    Translate an ICMP error from outside about a packet that C{session} has sent.
    """
    return _translatedError(
        packet,
        source=packet.source,
        destination=TransportAddress(session.internal.host, 0),
        originalSource=session.internal,
        originalDestination=session.remote,
    )


def errorOutward(packet: Packet, session: Session) -> Packet:
    """
    Translate an ICMP error from inside about a packet that C{session} has received.
    """
    return _translatedError(
        packet,
        source=TransportAddress(session.external.host, 0),
        destination=packet.destination,
        originalSource=session.remote,
        originalDestination=session.external,
    )


def _translatedError(
    packet: Packet,
    *,
    source: TransportAddress,
    destination: TransportAddress,
    originalSource: TransportAddress,
    originalDestination: TransportAddress,
) -> Packet:
    error = packet.icmp
    assert error is not None
    original = attrs.evolve(error.original, source=originalSource, destination=originalDestination)
    return Packet(
        packet.protocol,
        source,
        destination,
        payload=packet.payload,
        ttl=packet.ttl - 1,
        icmp=ICMPError(error.type, error.code, original, error.mtu),
    )
