"""
Frames: the Ethernet header, and the offload header that the kernel puts before it (C{struct
virtio_net_hdr}).

Owns: both, and the addresses of Ethernet, of which every wire has the same two.
Knows nothing of: what is in an IP packet (L{holepunch.lab.ippacket}); sockets.
Driven by: the engine, for each frame that it reads or writes; captures.
"""

from __future__ import annotations

from holepunch.lab.ippacket import (
    IPV6_BEGINS,
    NO_OFFLOAD,
    OFFLOAD_LENGTH,
    Ignored,
    RawSegment,
    decodeIP,
    encodeIP,
)
from holepunch.nat.packet import Packet

__all__ = [
    "HOST_MAC",
    "NO_OFFLOAD",
    "OFFLOAD_LENGTH",
    "WIRE_MAC",
    "Ignored",
    "RawSegment",
    "decodeFrame",
    "encodeFrame",
]

#: Every host's interface has the one address, every wire's far end the other.
HOST_MAC = bytes.fromhex("020000000001")
WIRE_MAC = bytes.fromhex("020000000002")
_ETHERNET_LENGTH = 14
_IPV4_TYPE, _IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
_VERSIONS = {_IPV4_TYPE: 4, _IPV6_TYPE: 6}
_ETHERNET = HOST_MAC + WIRE_MAC + _IPV4_TYPE
_ETHERNET_6 = HOST_MAC + WIRE_MAC + _IPV6_TYPE


def decodeFrame(frame: bytes, hasOffload: bool = True) -> Packet | Ignored:
    """
    Read one frame.

    @param hasOffload: A C{virtio_net_hdr} stands before the frame.
    """
    start = OFFLOAD_LENGTH if hasOffload else 0
    version = _VERSIONS.get(frame[start + 12 : start + _ETHERNET_LENGTH])
    if version is None:
        return Ignored.NOT_IP
    data = frame[start + _ETHERNET_LENGTH :]
    if not data or data[0] >> 4 != version:
        return Ignored.MALFORMED
    return decodeIP(data, frame[:start] or NO_OFFLOAD)


def encodeFrame(packet: Packet, hasOffload: bool = True) -> tuple[bytes, bytes | memoryview]:
    """
    Write a packet as a frame, in two pieces: what is new, and the rest of the frame that it was.

    @param hasOffload: Put a C{virtio_net_hdr} before the frame.
    """
    offload, head, rest = encodeIP(packet)
    ethernet = _ETHERNET if head[0] < IPV6_BEGINS else _ETHERNET_6
    return (offload if hasOffload else b"") + ethernet + head, rest
