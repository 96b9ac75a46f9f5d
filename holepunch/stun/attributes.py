"""
The attributes of STUN messages: one table of types, names, and how values are packed.

RFC 8489 section 14, with the attributes of ICE (RFC 8445 section 16.1), of NAT behaviour discovery
(RFC 5780 section 7), of TURN (RFC 8656 section 18, RFC 6062 section 6.2) and of RFC 7635.

Owns: attribute types and names, and which kind of value each has.
Knows nothing of: messages; the order of attributes; keys.
Driven by: L{holepunch.stun.message}.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs

from holepunch.stun import values

_USERNAME_LIMIT = 508


class AttributeType(enum.IntEnum):
    """
    The attribute types of the table L{ATTRIBUTES}; below 0x8000 comprehension is required.
    """

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    ACCESS_TOKEN = 0x001B
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    CONNECTION_ID = 0x002A
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    ICMP = 0x8004
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    CACHE_TIMEOUT = 0x8027
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C
    THIRD_PARTY_AUTHORIZATION = 0x802E


@attrs.frozen
class Attribute:
    """
    One attribute of a message.

    @ivar type: An L{AttributeType}, or the number of a type that the table does not have.
    @ivar value: The decoded value: what it is for each type stands in L{ATTRIBUTES}; for unknown
        types the bytes as they came.
    """

    type: int
    value: Any = True


@attrs.frozen
class AttributeCodec:
    """
    A row of the table: how the value of one attribute type becomes bytes and back.

    @ivar name: As the RFC spells it.
    """

    type: AttributeType
    name: str
    pack: values.Pack
    unpack: values.Unpack


_TABLE: tuple[tuple[AttributeType, str, values.Codec], ...] = (
    (AttributeType.MAPPED_ADDRESS, "MAPPED-ADDRESS", values.ADDRESS),
    (AttributeType.CHANGE_REQUEST, "CHANGE-REQUEST", values.CHANGE_REQUEST),
    (AttributeType.USERNAME, "USERNAME", values.text(_USERNAME_LIMIT)),
    (AttributeType.MESSAGE_INTEGRITY, "MESSAGE-INTEGRITY", values.opaque(20, 20)),
    (AttributeType.ERROR_CODE, "ERROR-CODE", values.ERROR_CODE),
    (AttributeType.UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES", values.ATTRIBUTE_TYPES),
    (AttributeType.CHANNEL_NUMBER, "CHANNEL-NUMBER", values.UINT16),
    (AttributeType.LIFETIME, "LIFETIME", values.UINT32),
    (AttributeType.XOR_PEER_ADDRESS, "XOR-PEER-ADDRESS", values.XOR_ADDRESS),
    (AttributeType.DATA, "DATA", values.BYTES),
    (AttributeType.REALM, "REALM", values.text(values.TEXT_LIMIT)),
    # Opaque to all but the server that made it, and echoed byte for byte: not decoded.
    (AttributeType.NONCE, "NONCE", values.opaque(maximum=values.TEXT_LIMIT)),
    (AttributeType.XOR_RELAYED_ADDRESS, "XOR-RELAYED-ADDRESS", values.XOR_ADDRESS),
    (AttributeType.REQUESTED_ADDRESS_FAMILY, "REQUESTED-ADDRESS-FAMILY", values.UINT8),
    (AttributeType.EVEN_PORT, "EVEN-PORT", values.EVEN_PORT),
    (AttributeType.REQUESTED_TRANSPORT, "REQUESTED-TRANSPORT", values.UINT8),
    (AttributeType.DONT_FRAGMENT, "DONT-FRAGMENT", values.FLAG),
    (AttributeType.ACCESS_TOKEN, "ACCESS-TOKEN", values.BYTES),
    (AttributeType.MESSAGE_INTEGRITY_SHA256, "MESSAGE-INTEGRITY-SHA256", values.opaque(16, 32, 4)),
    (AttributeType.PASSWORD_ALGORITHM, "PASSWORD-ALGORITHM", values.ALGORITHM),
    (AttributeType.USERHASH, "USERHASH", values.opaque(32, 32)),
    (AttributeType.XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS", values.XOR_ADDRESS),
    (AttributeType.RESERVATION_TOKEN, "RESERVATION-TOKEN", values.opaque(8, 8)),
    (AttributeType.PRIORITY, "PRIORITY", values.UINT32),
    (AttributeType.USE_CANDIDATE, "USE-CANDIDATE", values.FLAG),
    (AttributeType.PADDING, "PADDING", values.BYTES),
    (AttributeType.RESPONSE_PORT, "RESPONSE-PORT", values.RESPONSE_PORT),
    (AttributeType.CONNECTION_ID, "CONNECTION-ID", values.UINT32),
    (AttributeType.ADDITIONAL_ADDRESS_FAMILY, "ADDITIONAL-ADDRESS-FAMILY", values.UINT8),
    (AttributeType.ADDRESS_ERROR_CODE, "ADDRESS-ERROR-CODE", values.ADDRESS_ERROR_CODE),
    (AttributeType.PASSWORD_ALGORITHMS, "PASSWORD-ALGORITHMS", values.ALGORITHMS),
    (AttributeType.ALTERNATE_DOMAIN, "ALTERNATE-DOMAIN", values.text(255)),
    (AttributeType.ICMP, "ICMP", values.ICMP),
    (AttributeType.SOFTWARE, "SOFTWARE", values.text(values.TEXT_LIMIT, isForPeople=True)),
    (AttributeType.ALTERNATE_SERVER, "ALTERNATE-SERVER", values.ADDRESS),
    (AttributeType.CACHE_TIMEOUT, "CACHE-TIMEOUT", values.UINT32),
    (AttributeType.FINGERPRINT, "FINGERPRINT", values.UINT32),
    (AttributeType.ICE_CONTROLLED, "ICE-CONTROLLED", values.UINT64),
    (AttributeType.ICE_CONTROLLING, "ICE-CONTROLLING", values.UINT64),
    (AttributeType.RESPONSE_ORIGIN, "RESPONSE-ORIGIN", values.ADDRESS),
    (AttributeType.OTHER_ADDRESS, "OTHER-ADDRESS", values.ADDRESS),
    (
        AttributeType.THIRD_PARTY_AUTHORIZATION,
        "THIRD-PARTY-AUTHORIZATION",
        values.text(values.TEXT_LIMIT),
    ),
)

#: Every attribute that we know, by type.
ATTRIBUTES: dict[int, AttributeCodec] = {
    type: AttributeCodec(type, name, *codec) for type, name, codec in _TABLE
}


def attributeName(type: int) -> str:
    """
    What the RFC calls an attribute type; unknown ones are named by their number.
    """
    codec = ATTRIBUTES.get(type)
    return codec.name if codec is not None else f"0x{type:04x}"
