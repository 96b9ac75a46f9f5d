"""
Raw frames as the packets that the model NAT knows, and back.

Owns: Ethernet, IPv4, UDP, TCP and ICMP headers; checksums; the offload header that the kernel puts
before a frame (C{struct virtio_net_hdr}).
Knows nothing of: sockets, what a NAT does, where a packet goes.
Driven by: the engine, for each frame that it reads or writes.

A packet that came as a frame keeps the whole of it as payload, so that it can be written again with
other addresses, ports and TTL: all other bytes stay as they are. Checksums are adjusted by what
changed (RFC 1624), not computed: a wrong one stays wrong, and an unfinished one, which the kernel
completes on the way out, stays unfinished. So a frame may be as long as 64 KiB, a whole run of TCP
segments that the kernel never cut. RFC 791, 768, 9293, 792 and 5508 (ICMP errors quote the packet).

IP fragments are not handled: the lab counts and drops them.
"""

from __future__ import annotations

import enum
import struct
from functools import lru_cache

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.packet import ICMPError, Packet, Protocol, TCPFlag

#: The length of C{struct virtio_net_hdr}; L{NO_OFFLOAD} is one that says nothing.
OFFLOAD_LENGTH = 10
NO_OFFLOAD = bytes(OFFLOAD_LENGTH)
_NEEDS_CHECKSUM = 1

#: Every host's interface has the one address, every wire's far end the other.
HOST_MAC = bytes.fromhex("020000000001")
WIRE_MAC = bytes.fromhex("020000000002")
_ETHERNET = HOST_MAC + WIRE_MAC + b"\x08\x00"
_ETHERNET_LENGTH = 14
_IPV4_TYPE = b"\x08\x00"

_IP_LENGTH = 20
_MORE_FRAGMENTS_AND_OFFSET = 0x3FFF
_DO_NOT_FRAGMENT = 0x4000
_CHECKSUM_AT: dict[int, int] = {Protocol.TCP: 16, Protocol.UDP: 6}
_HEADER_LENGTH: dict[int, int] = {Protocol.TCP: 20, Protocol.UDP: 8, Protocol.ICMP: 8}
_PORTS = struct.Struct("!HH")
_QUOTED_TRANSPORT = 64
_ERRORS = (3, 11, 12)

_PROTOCOLS: dict[int, Protocol] = {protocol.value: protocol for protocol in Protocol}
_FLAGS = tuple(TCPFlag(octet) for octet in range(256))
_NO_FLAGS = TCPFlag(0)


class Ignored(enum.Enum):
    """
    Why a frame is no packet of the lab.
    """

    NOT_IPV4 = "not IPv4"
    FRAGMENT = "a fragment"
    OTHER_PROTOCOL = "neither UDP nor TCP nor an ICMP error"
    MALFORMED = "cut short"


@attrs.frozen
class RawSegment:
    """
    The frame that a packet came as.

    @ivar data: The IP packet.
    @ivar offload: What the kernel said of it: checksum unfinished, cut it into such pieces.
    """

    data: bytes = attrs.field(repr=False)
    offload: bytes = NO_OFFLOAD

    def __len__(self) -> int:
        """
        How much of it is above IP.
        """
        return len(self.data) - _IP_LENGTH


def decodeFrame(frame: bytes, hasOffload: bool = True) -> Packet | Ignored:
    """
    Read one frame.

    @param hasOffload: A C{virtio_net_hdr} stands before the frame.
    """
    start = OFFLOAD_LENGTH if hasOffload else 0
    if frame[start + 12 : start + _ETHERNET_LENGTH] != _IPV4_TYPE:
        return Ignored.NOT_IPV4
    offload = frame[:start] or NO_OFFLOAD
    return _decodePacket(frame[start + _ETHERNET_LENGTH :], offload, isQuote=False)


def _decodePacket(data: bytes, offload: bytes, isQuote: bool) -> Packet | Ignored:
    if len(data) < _IP_LENGTH or data[0] >> 4 != 4:
        return Ignored.MALFORMED
    protocol = _PROTOCOLS.get(data[9])
    if protocol is None:
        return Ignored.OTHER_PROTOCOL
    if int.from_bytes(data[6:8], "big") & _MORE_FRAGMENTS_AND_OFFSET:
        return Ignored.FRAGMENT
    at = (data[0] & 15) * 4
    if at < _IP_LENGTH or len(data) < at + (8 if isQuote else _HEADER_LENGTH[data[9]]):
        return Ignored.MALFORMED
    if protocol is Protocol.ICMP:
        return _decodeICMP(data, at, offload, isQuote)
    sourcePort, destinationPort = _PORTS.unpack_from(data, at)
    source = _address(data[12:16], sourcePort)
    destination = _address(data[16:20], destinationPort)
    payload = RawSegment(data, offload)
    if protocol is Protocol.UDP:
        return Packet(protocol, source, destination, payload=payload, ttl=data[8])
    hasFlags = len(data) >= at + 14
    return Packet(
        protocol,
        source,
        destination,
        flags=_FLAGS[data[at + 13]] if hasFlags else _NO_FLAGS,
        sequence=int.from_bytes(data[at + 4 : at + 8], "big"),
        acknowledgment=int.from_bytes(data[at + 8 : at + 12], "big") if hasFlags else 0,
        payload=payload,
        ttl=data[8],
    )


def _decodeICMP(data: bytes, at: int, offload: bytes, isQuote: bool) -> Packet | Ignored:
    if isQuote or data[at] not in _ERRORS:
        return Ignored.OTHER_PROTOCOL
    original = _decodePacket(data[at + 8 :], NO_OFFLOAD, isQuote=True)
    if isinstance(original, Ignored):
        return original
    return Packet(
        Protocol.ICMP,
        _address(data[12:16], 0),
        _address(data[16:20], 0),
        payload=RawSegment(data, offload),
        ttl=data[8],
        icmp=ICMPError(type=data[at], code=data[at + 1], original=original),
    )


def encodeFrame(packet: Packet, hasOffload: bool = True) -> tuple[bytes, bytes | memoryview]:
    """
    Write a packet as a frame, in two pieces: what is new, and the rest of the frame that it was.

    @param hasOffload: Put a C{virtio_net_hdr} before the frame.
    """
    offload, head, rest = _encodePacket(packet)
    return (offload if hasOffload else b"") + _ETHERNET + head, rest


def _encodePacket(packet: Packet) -> tuple[bytes, bytes, bytes | memoryview]:
    """
    Write a packet.

    @return: The offload header, the new bytes, and those that stay.
    """
    raw = packet.payload
    if packet.icmp is not None:
        unused = (
            raw.data[(raw.data[0] & 15) * 4 :][4:8] if isinstance(raw, RawSegment) else bytes(4)
        )
        return NO_OFFLOAD, _icmp(packet, packet.icmp, unused), b""
    if isinstance(raw, RawSegment):
        return raw.offload, *_readdressed(packet, raw)
    return NO_OFFLOAD, _fresh(packet, raw), b""


def _readdressed(packet: Packet, raw: RawSegment) -> tuple[bytes, memoryview]:
    """
    The headers of C{raw} with the addresses, ports and TTL of C{packet}, and what follows them.
    """
    data = raw.data
    at = (data[0] & 15) * 4
    checksumAt = at + _CHECKSUM_AT[data[9]]
    end = max(at + 8, checksumAt + 2)
    if len(data) < end:
        # A quote in an ICMP error may end before the checksum.
        end = at + 8
    head = bytearray(data[:end])
    head[8] = packet.ttl
    head[12:16], sourceSum = _host(packet.source.host)
    head[16:20], destinationSum = _host(packet.destination.host)
    head[10:12] = b"\0\0"
    head[10:12] = _checksum(head[:at])
    _PORTS.pack_into(head, at, packet.source.port, packet.destination.port)
    if checksumAt < end:
        old = int.from_bytes(data[checksumAt : checksumAt + 2], "big")
        isUnfinished = raw.offload[0] & _NEEDS_CHECKSUM
        if isUnfinished:
            # The field holds the sum of the pseudo header, which has no ports.
            changed = old + sourceSum + destinationSum - _wordSum(data[12:20])
            new = _fold(changed)
        elif old == 0 and packet.protocol is Protocol.UDP:
            # The sender chose to send no checksum (RFC 768).
            new = 0
        else:
            before = _wordSum(data[12:20]) + _wordSum(data[at : at + 4])
            after = sourceSum + destinationSum + packet.source.port + packet.destination.port
            new = 0xFFFF - _fold(0xFFFF - old + after - before)
            if new == 0 and packet.protocol is Protocol.UDP:
                new = 0xFFFF
        head[checksumAt : checksumAt + 2] = new.to_bytes(2, "big")
    return bytes(head), memoryview(data)[end:]


def _icmp(packet: Packet, error: ICMPError, unused: bytes) -> bytes:
    _, head, rest = _encodePacket(error.original)
    quote = (head + bytes(rest[:_QUOTED_TRANSPORT]))[: (head[0] & 15) * 4 + _QUOTED_TRANSPORT]
    message = bytearray(bytes((error.type, error.code, 0, 0)) + unused + quote)
    message[2:4] = _checksum(message)
    return _ipHeader(packet, len(message)) + message


def _fresh(packet: Packet, content: bytes) -> bytes:
    """
    A packet that was never a frame: made by the model NAT.
    """
    source, destination = packet.source, packet.destination
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
    segment = bytearray(header + content)
    pseudo = struct.pack(
        "!4s4sHH", source.packedHost, destination.packedHost, packet.protocol, len(segment)
    )
    at = _CHECKSUM_AT[packet.protocol]
    segment[at : at + 2] = _checksum(pseudo + segment)
    return _ipHeader(packet, len(segment)) + segment


def _ipHeader(packet: Packet, length: int) -> bytes:
    header = bytearray(
        struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            _IP_LENGTH + length,
            0,
            _DO_NOT_FRAGMENT,
            packet.ttl,
            packet.protocol,
            0,
            packet.source.packedHost,
            packet.destination.packedHost,
        )
    )
    header[10:12] = _checksum(header)
    return bytes(header)


@lru_cache(maxsize=4096)
def _address(host: bytes, port: int) -> TransportAddress:
    return TransportAddress.fromPacked(host, port)


@lru_cache(maxsize=4096)
def _host(host: str) -> tuple[bytes, int]:
    packed = TransportAddress(host, 0).packedHost
    return packed, _wordSum(packed)


def _wordSum(data: bytes | bytearray) -> int:
    """
    The sum of the 16-bit words; an odd last byte counts as if a zero followed.
    """
    if len(data) % 2:
        data = data + b"\0"
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def _fold(total: int) -> int:
    """
    A sum in ones' complement: 1 to 0xFFFF, as arithmetic modulo 0xFFFF; 0 only for 0.
    """
    if total == 0:
        return 0
    return total % 0xFFFF or 0xFFFF


def _checksum(data: bytes | bytearray) -> bytes:
    """
    The Internet checksum (RFC 1071), ready to be stored.
    """
    return (0xFFFF - _fold(_wordSum(data))).to_bytes(2, "big")
