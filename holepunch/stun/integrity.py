"""
MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 sections 14.5 to 14.7).

Owns: computing the three over the bytes of a message, and comparing them.
Knows nothing of: where keys come from: see L{holepunch.stun.password}.
Driven by: L{holepunch.stun.message}.
"""

from __future__ import annotations

import hmac
import struct
import zlib

from holepunch.stun.attributes import AttributeType

HEADER_LENGTH = 20

_FINGERPRINT_XOR = 0x5354554E
_length = struct.Struct("!H")
_attributeHeader = struct.Struct("!HH")
_fingerprint = struct.Struct("!HHI")

_DIGESTS: dict[int, tuple[str, int]] = {
    AttributeType.MESSAGE_INTEGRITY: ("sha1", 20),
    AttributeType.MESSAGE_INTEGRITY_SHA256: ("sha256", 32),
}


def _withLength(message: bytes, end: int) -> bytes:
    # The digests count the length field as if the message ended with their own attribute.
    return message[:2] + _length.pack(end - HEADER_LENGTH) + message[4:]


def appendIntegrity(message: bytes, key: bytes, type: AttributeType) -> bytes:
    """
    Put an integrity attribute at the end of an encoded message.

    @param type: C{MESSAGE_INTEGRITY} or C{MESSAGE_INTEGRITY_SHA256}.
    """
    digest, size = _DIGESTS[type]
    covered = _withLength(message, len(message) + 4 + size)
    return covered + _attributeHeader.pack(type, size) + hmac.digest(key, covered, digest)


def isIntegrityValid(message: bytes, offset: int, key: bytes) -> bool:
    """
    Was the integrity attribute that begins at C{offset} made with C{key}?

    The comparison takes the same time wherever the difference is. A truncated
    MESSAGE-INTEGRITY-SHA256 is not accepted: only a usage that asks for it may (section 14.6), and
    none of ours does.
    """
    type, length = _attributeHeader.unpack_from(message, offset)
    digest, size = _DIGESTS[type]
    if length != size:
        return False
    expected = hmac.digest(key, _withLength(message[:offset], offset + 4 + size), digest)
    return hmac.compare_digest(expected, message[offset + 4 : offset + 4 + size])


def fingerprint(covered: bytes) -> int:
    """
    The value of FINGERPRINT for C{covered}: the message up to that attribute, its length field
    counting the attribute already.
    """
    return zlib.crc32(covered) ^ _FINGERPRINT_XOR


def appendFingerprint(message: bytes) -> bytes:
    """
    Put FINGERPRINT at the end of an encoded message.
    """
    covered = _withLength(message, len(message) + 8)
    return covered + _fingerprint.pack(AttributeType.FINGERPRINT, 4, fingerprint(covered))
