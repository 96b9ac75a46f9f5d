"""
How long a packet is on a wire, and cutting it into fragments (RFC 791 section 3.2, RFC 8200 section
4.5).

Owns: the lengths, who may be cut, and the cutting.
Knows nothing of: links and routes.
Driven by: L{holepunch.lab.node}, where a packet is longer than a link carries; the stack of a
simulated host.
"""

from __future__ import annotations

import attrs

from holepunch.address import TransportAddress
from holepunch.lab.checksum import checksum
from holepunch.lab.ippacket import (
    CHECKSUM_AT,
    DO_NOT_FRAGMENT,
    FRAGMENT_HEADER_LENGTH,
    IPV4_LENGTH,
    IPV6_BEGINS,
    IPV6_LENGTH,
    MORE_FRAGMENTS,
    MORE_FRAGMENTS_6,
    NEEDS_CHECKSUM,
    Dividable,
    Ignored,
    RawFragment,
    RawSegment,
    decodeIP,
    encodeIP,
    transportAt,
)
from holepunch.nat.packet import ICMPError, ICMPType, Packet, Protocol, UnreachableCode

_HEADER_LENGTH: dict[int, int] = {Protocol.TCP: 20, Protocol.UDP: 8}


def ipLength(packet: Packet) -> int:
    """
    How many bytes the IP packet has; of a run of segments that is still to be cut, the longest one.
    """
    raw = packet.payload
    if isinstance(raw, RawFragment):
        return len(raw.data)
    header = IPV6_LENGTH if ":" in packet.source.host else IPV4_LENGTH
    if not isinstance(raw, RawSegment):
        return header + _HEADER_LENGTH.get(packet.protocol, 0) + len(raw)
    data, offload = raw.data, raw.offload
    if not offload[1]:
        return len(data)
    at = transportAt(data)
    length = (data[at + 12] >> 4) * 4 if packet.protocol is Protocol.TCP else 8
    return min(len(data), at + length + int.from_bytes(offload[4:6], "little"))


def fragmentLimit(packet: Packet, mtu: int) -> int:
    """
    How long the fragments may be into which a router cuts a packet; 0: it must not be cut.
    """
    raw = packet.payload
    if isinstance(raw, RawSegment):
        isDividable = raw.data[0] < IPV6_BEGINS and not raw.data[6] & DO_NOT_FRAGMENT >> 8
        if raw.largestFragment:
            # Who sent it in fragments takes them back, but none longer than it sent.
            isDividable |= raw.largestFragment <= mtu
            mtu = min(mtu, raw.largestFragment)
        return 0 if raw.offload[1] or not isDividable else mtu
    if isinstance(raw, RawFragment):
        return mtu if raw.data[0] < IPV6_BEGINS and not raw.data[6] & DO_NOT_FRAGMENT >> 8 else 0
    return mtu if isinstance(raw, Dividable) and ":" not in packet.source.host else 0


def divided(
    packet: Packet, limit: int, identification: int, isDividable: bool = False
) -> list[Packet]:
    """
    Cut a packet into fragments, each an IP packet of at most C{limit} bytes.

    @param isDividable: Routers may cut them once more, whatever the packet says.
    @param identification: What the fragments have in common, where the packet says nothing.
    """
    offload, head, rest = encodeIP(packet)
    data = head + bytes(rest)
    if offload[0] & NEEDS_CHECKSUM:
        data = _finished(packet, data)
    if isDividable and data[0] < IPV6_BEGINS:
        flags = data[6] & ~(DO_NOT_FRAGMENT >> 8)
        data = data[:6] + bytes((flags,)) + data[7:]
    pieces = _pieces4 if data[0] < IPV6_BEGINS else _pieces6
    fragments = (decodeIP(piece) for piece in pieces(data, limit, identification))
    return [fragment for fragment in fragments if not isinstance(fragment, Ignored)]


def _pieces4(data: bytes, limit: int, identification: int) -> list[bytes]:
    at = transportAt(data)
    flags = int.from_bytes(data[6:8], "big")
    base, hadMore = flags & 0x1FFF, flags & MORE_FRAGMENTS
    step = (limit - at) // 8 * 8
    pieces = []
    for offset in range(0, len(data) - at, step):
        content = data[at + offset : at + offset + step]
        isLast = offset + step >= len(data) - at
        more = hadMore if isLast else MORE_FRAGMENTS
        header = bytearray(data[:at])
        header[2:4] = (at + len(content)).to_bytes(2, "big")
        if header[4:6] == b"\0\0":
            header[4:6] = (identification & 0xFFFF).to_bytes(2, "big")
        field = flags & DO_NOT_FRAGMENT | more | base + offset // 8
        header[6:8] = field.to_bytes(2, "big")
        header[10:12] = b"\0\0"
        header[10:12] = checksum(header)
        pieces.append(bytes(header) + content)
    return pieces


def _pieces6(data: bytes, limit: int, identification: int) -> list[bytes]:
    step = (limit - IPV6_LENGTH - FRAGMENT_HEADER_LENGTH) // 8 * 8
    content = data[IPV6_LENGTH:]
    pieces = []
    for offset in range(0, len(content), step):
        piece = content[offset : offset + step]
        more = MORE_FRAGMENTS_6 if offset + step < len(content) else 0
        header = bytearray(data[:IPV6_LENGTH])
        header[4:6] = (FRAGMENT_HEADER_LENGTH + len(piece)).to_bytes(2, "big")
        header[6] = Protocol.FRAGMENT
        header += bytes((data[6], 0)) + (offset | more).to_bytes(2, "big")
        header += identification.to_bytes(4, "big")
        pieces.append(bytes(header) + piece)
    return pieces


def _finished(packet: Packet, data: bytes) -> bytes:
    """
    Complete a checksum of which the sender left the most to the kernel.
    """
    at = transportAt(data)
    checksumAt = at + CHECKSUM_AT[packet.protocol]
    summed = checksum(data[at:])
    if summed == b"\0\0":
        summed = b"\xff\xff"
    return data[:checksumAt] + summed + data[checksumAt + 2 :]


def tooBigFor(packet: Packet, mtu: int, router: TransportAddress) -> Packet | None:
    """
    The ICMP error of a router for a packet that is too long for the way (RFC 1191, RFC 8201).

    @return: C{None} for an ICMP error, and a fragment that has no ports.
    """
    raw = packet.payload
    original = packet
    if isinstance(raw, RawFragment):
        first = decodeIP(raw.data, isQuote=True) if raw.offset == 0 else Ignored.OTHER_PROTOCOL
        if isinstance(first, Ignored):
            return None
        original = attrs.evolve(first, payload=raw)
    if packet.icmp is not None:
        return None
    return Packet(
        Protocol.ICMP,
        router,
        TransportAddress(packet.source.host, 0),
        icmp=ICMPError(ICMPType.DESTINATION_UNREACHABLE, UnreachableCode.TOO_BIG, original, mtu),
    )
