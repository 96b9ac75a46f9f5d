"""
The Internet checksum (RFC 1071).

Owns: ones' complement arithmetic over 16-bit words.
Knows nothing of: which header a checksum stands in.
Driven by: L{holepunch.lab.ippacket} and its neighbours.
"""

from __future__ import annotations

import struct


def wordSum(data: bytes | bytearray) -> int:
    """
    The sum of the 16-bit words; an odd last byte counts as if a zero followed.
    """
    if len(data) % 2:
        data = data + b"\0"
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def fold(total: int) -> int:
    """
    A sum in ones' complement: 1 to 0xFFFF, as arithmetic modulo 0xFFFF; 0 only for 0.
    """
    if total == 0:
        return 0
    return total % 0xFFFF or 0xFFFF


def checksum(data: bytes | bytearray) -> bytes:
    """
    The checksum of some bytes, ready to be stored.
    """
    return (0xFFFF - fold(wordSum(data))).to_bytes(2, "big")
