"""
Raw IP packets as the packets that the model NAT knows, and back.

Owns: the headers of IPv4, IPv6, UDP, TCP and ICMP, those of fragments included.
Knows nothing of: Ethernet, sockets, what a NAT does, where a packet goes.
Driven by: L{holepunch.lab.frames} and L{holepunch.lab.fragments}.

A packet that came from a wire keeps the whole of it as payload, so that it can be written again
with other addresses, ports and TTL: all other bytes stay as they are. Checksums are adjusted by
what changed (RFC 1624), not computed: a wrong one stays wrong, and an unfinished one, which the
kernel completes on the way out, stays unfinished. So a packet may be as long as 64 KiB, a whole run
of TCP segments that the kernel never cut. RFC 791, 8200, 768, 9293, 792, 4443 and 5508 (ICMP errors
quote the packet).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from functools import lru_cache

import attrs

from holepunch.address import TransportAddress
from holepunch.lab.checksum import checksum, fold, wordSum
from holepunch.lab.icmptype import ECHO_REPLIES, ECHO_REQUESTS, fromModel, toModel
from holepunch.nat.fragment import Fragment
from holepunch.nat.packet import ECHO_PORT, Echo, ICMPError, Packet, Protocol, TCPFlag

#: The length of C{struct virtio_net_hdr}; L{NO_OFFLOAD} is one that says nothing.
OFFLOAD_LENGTH = 10
NO_OFFLOAD = bytes(OFFLOAD_LENGTH)
NEEDS_CHECKSUM = 1

IPV4_LENGTH, IPV6_LENGTH = 20, 40
FRAGMENT_HEADER_LENGTH = 8
#: The first byte of an IPv6 packet is at least this.
IPV6_BEGINS = 0x60
DO_NOT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
MORE_FRAGMENTS_6 = 1
CHECKSUM_AT: dict[int, int] = {Protocol.TCP: 16, Protocol.UDP: 6, Protocol.ICMP: 2}

_OFFSET, _OFFSET_6 = 0x1FFF, 0xFFF8
_HEADER_LENGTH: dict[int, int] = {Protocol.TCP: 20, Protocol.UDP: 8, Protocol.ICMP: 8}
_PORTS = struct.Struct("!HH")
_HOSTS, _HOSTS_6 = slice(12, 20), slice(8, 40)
_QUOTED_TRANSPORT = 64
_LONGEST = 65535

_ICMP_6 = 58
_PROTOCOLS: dict[int, Protocol] = {
    each: each for each in (Protocol.ICMP, Protocol.TCP, Protocol.UDP)
}
_PROTOCOLS_6: dict[int, Protocol] = {
    _ICMP_6: Protocol.ICMP,
    Protocol.TCP: Protocol.TCP,
    Protocol.UDP: Protocol.UDP,
}
_FLAGS = tuple(TCPFlag(octet) for octet in range(256))
_NO_FLAGS = TCPFlag(0)


class Ignored(enum.Enum):
    """
    Why a frame is no packet of the lab.
    """

    NOT_IP = "not IP"
    OTHER_PROTOCOL = "neither UDP nor TCP nor an echo or error of ICMP"
    MALFORMED = "cut short"


class Dividable(bytes):
    """
    The payload of a packet that routers may cut into fragments. As with Linux, others have the flag
    I{don't fragment}.
    """


@attrs.frozen
class RawSegment:
    """
    What a packet came as.

    @ivar data: The IP packet.
    @ivar offload: What the kernel said of it: checksum unfinished, cut it into such pieces.
    @ivar largestFragment: It came in fragments, of which none had more bytes, headers included.
    """

    data: bytes = attrs.field(repr=False)
    offload: bytes = NO_OFFLOAD
    largestFragment: int = 0

    def __len__(self) -> int:
        """
        How much of it is above IP.
        """
        return len(self.data) - (IPV4_LENGTH if self.data[0] < IPV6_BEGINS else IPV6_LENGTH)

    @property
    def content(self) -> bytes:
        """
        What a datagram carries.
        """
        return self.data[transportAt(self.data) + _HEADER_LENGTH[Protocol.UDP] :]


@attrs.frozen(kw_only=True)
class RawFragment(Fragment):
    """
    What a fragment came as.

    @ivar data: The IP packet.
    """

    carried: int
    identification: int
    offset: int
    isLast: bool
    data: bytes = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.data) - transportAt(self.data)

    def join(self, others: Sequence[Fragment]) -> Packet | None:
        head = bytearray(self.data[: transportAt(self.data)])
        pieces = [self.data[len(head) :]]
        largest = len(self.data)
        for other in others:
            assert isinstance(other, RawFragment)
            pieces.append(other.data[transportAt(other.data) :])
            largest = max(largest, len(other.data))
        content = b"".join(pieces)
        if len(head) + len(content) > _LONGEST:
            return None
        if head[0] < IPV6_BEGINS:
            head[2:4] = (len(head) + len(content)).to_bytes(2, "big")
            head[6:8] = (int.from_bytes(head[6:8], "big") & DO_NOT_FRAGMENT).to_bytes(2, "big")
            head[10:12] = b"\0\0"
            head[10:12] = checksum(head)
        else:
            head[6] = head[IPV6_LENGTH]
            del head[IPV6_LENGTH:]
            head[4:6] = len(content).to_bytes(2, "big")
        packet = decodeIP(bytes(head) + content)
        if isinstance(packet, Ignored):
            return None
        return attrs.evolve(packet, payload=attrs.evolve(packet.payload, largestFragment=largest))


def transportAt(data: bytes | bytearray) -> int:
    """
    Where in an IP packet the IP headers end.
    """
    if data[0] < IPV6_BEGINS:
        return (data[0] & 15) * 4
    isFragment = data[6] == Protocol.FRAGMENT
    return IPV6_LENGTH + FRAGMENT_HEADER_LENGTH if isFragment else IPV6_LENGTH


# --- reading --------------------------------------------------------------------------------------


def decodeIP(data: bytes, offload: bytes = NO_OFFLOAD, isQuote: bool = False) -> Packet | Ignored:
    """
    Read an IP packet.

    @param isQuote: It stands in an ICMP error, and may be cut short.
    """
    if len(data) < IPV4_LENGTH or data[0] >> 4 not in (4, 6):
        return Ignored.MALFORMED
    if data[0] < IPV6_BEGINS:
        at = (data[0] & 15) * 4
        number, ttl = data[9], data[8]
        protocol = _PROTOCOLS.get(number)
        local, remote = data[12:16], data[16:20]
        flags = int.from_bytes(data[6:8], "big")
        offset, hasMore = (flags & _OFFSET) * 8, flags & MORE_FRAGMENTS
    else:
        at = transportAt(data)
        if len(data) < at:
            return Ignored.MALFORMED
        number, ttl = data[6], data[7]
        local, remote = data[8:24], data[24:40]
        offset = hasMore = 0
        if at > IPV6_LENGTH:
            number = data[IPV6_LENGTH]
            flags = int.from_bytes(data[42:44], "big")
            offset, hasMore = flags & _OFFSET_6, flags & MORE_FRAGMENTS_6
        protocol = _PROTOCOLS_6.get(number)
    if (offset or hasMore) and not (isQuote and offset == 0):
        if at < IPV4_LENGTH or len(data) <= at:
            return Ignored.MALFORMED
        fragment = _fragment(data, number, offset, not hasMore)
        return Packet(
            Protocol.FRAGMENT, _address(local, 0), _address(remote, 0), payload=fragment, ttl=ttl
        )
    if protocol is None:
        return Ignored.OTHER_PROTOCOL
    if at < IPV4_LENGTH or len(data) < at + (8 if isQuote else _HEADER_LENGTH[protocol]):
        return Ignored.MALFORMED
    if protocol is Protocol.ICMP:
        return _decodeICMP(data, at, offload, isQuote, ttl)
    localPort, remotePort = _PORTS.unpack_from(data, at)
    source, destination = _address(local, localPort), _address(remote, remotePort)
    payload = RawSegment(data, offload)
    if protocol is Protocol.UDP:
        return Packet(protocol, source, destination, payload=payload, ttl=ttl)
    hasFlags = len(data) >= at + 14
    return Packet(
        protocol,
        source,
        destination,
        flags=_FLAGS[data[at + 13]] if hasFlags else _NO_FLAGS,
        sequence=int.from_bytes(data[at + 4 : at + 8], "big"),
        acknowledgment=int.from_bytes(data[at + 8 : at + 12], "big") if hasFlags else 0,
        payload=payload,
        ttl=ttl,
    )


def _fragment(data: bytes, carried: int, offset: int, isLast: bool) -> RawFragment:
    if data[0] < IPV6_BEGINS:
        identification = int.from_bytes(data[4:6], "big")
    else:
        identification = int.from_bytes(data[44:48], "big")
        carried = Protocol.ICMP if carried == _ICMP_6 else carried
    return RawFragment(
        carried=carried, identification=identification, offset=offset, isLast=isLast, data=data
    )


def _decodeICMP(data: bytes, at: int, offload: bytes, isQuote: bool, ttl: int) -> Packet | Ignored:
    isIPv4 = data[0] < IPV6_BEGINS
    hosts = (data[12:16], data[16:20]) if isIPv4 else (data[8:24], data[24:40])
    payload = RawSegment(data, offload)
    identifier = int.from_bytes(data[at + 4 : at + 6], "big")
    if data[at] == ECHO_REQUESTS[not isIPv4]:
        source, destination = _address(hosts[0], identifier), _address(hosts[1], ECHO_PORT)
        return Packet(Protocol.ICMP, source, destination, payload=payload, ttl=ttl)
    if data[at] == ECHO_REPLIES[not isIPv4]:
        source, destination = _address(hosts[0], ECHO_PORT), _address(hosts[1], identifier)
        return Packet(Protocol.ICMP, source, destination, payload=payload, ttl=ttl)
    kind = toModel(data[at], data[at + 1], 4 if isIPv4 else 6)
    if kind is None or isQuote:
        return Ignored.OTHER_PROTOCOL
    original = decodeIP(data[at + 8 :], isQuote=True)
    if isinstance(original, Ignored):
        return original
    mtu = int.from_bytes(data[at + (6 if isIPv4 else 4) : at + 8], "big")
    return Packet(
        Protocol.ICMP,
        _address(hosts[0], 0),
        _address(hosts[1], 0),
        payload=payload,
        ttl=ttl,
        icmp=ICMPError(*kind, original, mtu),
    )


def readEcho(raw: RawSegment) -> Echo:
    """
    The echo that a packet came as.
    """
    at = transportAt(raw.data)
    return Echo(
        isReply=raw.data[at] in ECHO_REPLIES,
        sequence=int.from_bytes(raw.data[at + 6 : at + 8], "big"),
        data=raw.data[at + _HEADER_LENGTH[Protocol.ICMP] :],
    )


# --- writing --------------------------------------------------------------------------------------


def encodeIP(packet: Packet) -> tuple[bytes, bytes, bytes | memoryview]:
    """
    Write a packet.

    @return: The offload header, the new bytes, and those that stay.
    """
    raw = packet.payload
    if packet.icmp is not None:
        return NO_OFFLOAD, _icmp(packet, packet.icmp), b""
    if isinstance(raw, RawSegment):
        return raw.offload, *_readdressed(packet, raw)
    if isinstance(raw, RawFragment):
        if packet.protocol is Protocol.FRAGMENT:
            return NO_OFFLOAD, raw.data, b""
        # The first fragment of a packet, which an ICMP error is about.
        return NO_OFFLOAD, *_readdressed(packet, RawSegment(raw.data))
    return NO_OFFLOAD, _fresh(packet, raw), b""


def _readdressed(packet: Packet, raw: RawSegment) -> tuple[bytes, memoryview]:
    """
    The headers of C{raw} with the addresses, ports and TTL of C{packet}, and what follows them.
    """
    data = raw.data
    isIPv4 = data[0] < IPV6_BEGINS
    at = transportAt(data)
    checksumAt = at + CHECKSUM_AT[packet.protocol]
    end = max(at + 8, checksumAt + 2)
    if len(data) < end:
        # A quote in an ICMP error may end before the checksum.
        end = at + 8
    head = bytearray(data[:end])
    source, sourceSum = _host(packet.source.host)
    destination, destinationSum = _host(packet.destination.host)
    hosts = _HOSTS if isIPv4 else _HOSTS_6
    head[hosts] = source + destination
    if isIPv4:
        head[8] = packet.ttl
        head[10:12] = b"\0\0"
        head[10:12] = checksum(head[:at])
    else:
        head[7] = packet.ttl
    portsAt, ports = at, _PORTS.pack(packet.source.port, packet.destination.port)
    hostsBefore, hostsAfter = wordSum(data[hosts]), sourceSum + destinationSum
    if packet.protocol is Protocol.ICMP:
        isRequest = data[at] in ECHO_REQUESTS
        portsAt, ports = at + 4, ports[:2] if isRequest else ports[2:]
        if isIPv4:
            # ICMP for IPv4 has no pseudo header.
            hostsBefore = hostsAfter = 0
    head[portsAt : portsAt + len(ports)] = ports
    if checksumAt < end:
        old = int.from_bytes(data[checksumAt : checksumAt + 2], "big")
        if raw.offload[0] & NEEDS_CHECKSUM:
            # The field holds the sum of the pseudo header, which has no ports.
            new = fold(old + hostsAfter - hostsBefore)
        elif old == 0 and packet.protocol is Protocol.UDP:
            # The sender chose to send no checksum (RFC 768).
            new = 0
        else:
            before = hostsBefore + wordSum(data[portsAt : portsAt + len(ports)])
            new = 0xFFFF - fold(0xFFFF - old + hostsAfter + wordSum(ports) - before)
            if new == 0 and packet.protocol is Protocol.UDP:
                new = 0xFFFF
        head[checksumAt : checksumAt + 2] = new.to_bytes(2, "big")
    return bytes(head), memoryview(data)[end:]


def _icmp(packet: Packet, error: ICMPError) -> bytes:
    raw = packet.payload
    if isinstance(raw, RawSegment):
        at = transportAt(raw.data)
        kind, unused = raw.data[at : at + 2], raw.data[at + 4 : at + 8]
    else:
        kind = bytes(fromModel(error.type, error.code, 6 if ":" in packet.source.host else 4))
        unused = error.mtu.to_bytes(4, "big")
    _, head, rest = encodeIP(error.original)
    end = transportAt(head) + _QUOTED_TRANSPORT
    quote = (head + bytes(rest[:_QUOTED_TRANSPORT]))[:end]
    return _withHeaders(packet, kind + bytes(2) + unused + quote)


def _fresh(packet: Packet, content: bytes | Echo) -> bytes:
    """
    A packet that was never on a wire: made by the model NAT, or in the simulator.
    """
    source, destination = packet.source, packet.destination
    if isinstance(content, Echo):
        isReply = source.port == ECHO_PORT and content.isReply
        types = ECHO_REPLIES if isReply else ECHO_REQUESTS
        identifier = destination.port if isReply else source.port
        header = struct.pack(
            "!BBHHH", types[":" in source.host], 0, 0, identifier, content.sequence
        )
        return _withHeaders(packet, header + content.data)
    if packet.protocol is Protocol.UDP:
        length = 8 + len(content)
        header = struct.pack("!HHHH", source.port, destination.port, length, 0)
    else:
        header = struct.pack(
            "!HHIIBBHHH",
            source.port,
            destination.port,
            packet.sequence,
            packet.acknowledgment,
            5 << 4,
            packet.flags,
            0,
            0,
            0,
        )
    return _withHeaders(packet, header + content, isinstance(content, Dividable))


def _withHeaders(packet: Packet, content: bytes, isDividable: bool = False) -> bytes:
    """
    A packet of which the checksum above IP is still missing, and the IP header.
    """
    isIPv4 = ":" not in packet.source.host
    number = packet.protocol if isIPv4 or packet.protocol is not Protocol.ICMP else _ICMP_6
    source, destination = packet.source.packedHost, packet.destination.packedHost
    segment = bytearray(content)
    pseudo = source + destination + struct.pack("!II", len(segment), number)
    if number == Protocol.ICMP:
        pseudo = b""
    at = CHECKSUM_AT[packet.protocol]
    summed = checksum(pseudo + segment)
    segment[at : at + 2] = b"\xff\xff" if summed == b"\0\0" else summed
    if not isIPv4:
        header = struct.pack("!IHBB", IPV6_BEGINS << 24, len(segment), number, packet.ttl)
        return header + source + destination + bytes(segment)
    head = bytearray(
        struct.pack(
            "!BBHHHBBH",
            0x45,
            0,
            IPV4_LENGTH + len(segment),
            0,
            0 if isDividable else DO_NOT_FRAGMENT,
            packet.ttl,
            number,
            0,
        )
    )
    head += source + destination
    head[10:12] = checksum(head)
    return bytes(head + segment)


@lru_cache(maxsize=4096)
def _address(host: bytes, port: int) -> TransportAddress:
    return TransportAddress.fromPacked(host, port)


@lru_cache(maxsize=4096)
def _host(host: str) -> tuple[bytes, int]:
    packed = TransportAddress(host, 0).packedHost
    return packed, wordSum(packed)
