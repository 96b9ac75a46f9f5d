"""
The attributes of STUN messages: one table of types, names, and how values are packed.

RFC 8489 section 14, with the attributes of ICE (RFC 8445 section 16.1), of NAT behaviour discovery
(RFC 5780 section 7), of TURN (RFC 8656 section 18, RFC 6062 section 6.2) and of RFC 7635.

Owns: attribute types, their values as Python objects, and the bytes of each value.
Knows nothing of: messages; the order of attributes; keys.
Driven by: L{holepunch.stun.message}.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from holepunch.address import Family, TransportAddress
from holepunch.errors import LocalProtocolError, MalformedMessage

MAGIC_COOKIE = 0x2112A442
MAGIC_COOKIE_BYTES = MAGIC_COOKIE.to_bytes(4, "big")

_COOKIE_PORT = MAGIC_COOKIE >> 16
_TEXT_LIMIT = 763
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


# --- values -------------------------------------------------------------------------------------


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
class ErrorCode:
    """
    The value of ERROR-CODE (RFC 8489 section 14.8).

    @ivar code: 300 to 699.
    """

    code: int = attrs.field(validator=[attrs.validators.ge(300), attrs.validators.le(699)])
    reason: str = ""


@attrs.frozen
class AddressErrorCode:
    """
    The value of ADDRESS-ERROR-CODE (RFC 8656 section 18.12): why one family was not allocated.
    """

    family: int
    error: ErrorCode


@attrs.frozen(kw_only=True)
class ICMPValue:
    """
    The value of ICMP (RFC 8656 section 18.13): an ICMP packet that reached a relay.
    """

    type: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.lt(1 << 7)])
    code: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.lt(1 << 9)])
    data: int = 0


class ChangeRequest(enum.IntFlag):
    """
    The value of CHANGE-REQUEST (RFC 5780 section 7.2): where the answer is to come from.
    """

    PORT = 0x2
    HOST = 0x4


class PasswordAlgorithmNumber(enum.IntEnum):
    """
    How a long-term key is derived from the password (RFC 8489 section 18.5.1).
    """

    MD5 = 1
    SHA256 = 2


@attrs.frozen
class PasswordAlgorithm:
    """
    The value of PASSWORD-ALGORITHM, and one entry of PASSWORD-ALGORITHMS (RFC 8489 section 14.11).

    @ivar number: A L{PasswordAlgorithmNumber}, or one that we do not know.
    """

    number: int
    parameters: bytes = b""


# --- packing ------------------------------------------------------------------------------------

_address4 = struct.Struct("!xBHI")
_address6 = struct.Struct("!xBH16s")
_uint16 = struct.Struct("!H")
_uint16Padded = struct.Struct("!H2x")
_uint32 = struct.Struct("!I")
_uint64 = struct.Struct("!Q")
_uint8Padded = struct.Struct("!B3x")
_error = struct.Struct("!2xBB")
_icmp = struct.Struct("!2xHI")
_algorithm = struct.Struct("!HH")

_Pack = Callable[[Any, bytes], bytes]
_Unpack = Callable[[bytes, bytes], Any]
_Codec = tuple[_Pack, _Unpack]


def _mask6(transactionId: bytes) -> int:
    return int.from_bytes(MAGIC_COOKIE_BYTES + transactionId, "big")


def _packXorAddress(value: TransportAddress, transactionId: bytes) -> bytes:
    host = int.from_bytes(value.packedHost, "big")
    port = value.port ^ _COOKIE_PORT
    if value.family is Family.IPV4:
        return _address4.pack(1, port, host ^ MAGIC_COOKIE)
    return _address6.pack(2, port, (host ^ _mask6(transactionId)).to_bytes(16, "big"))


def _unpackXorAddress(data: bytes, transactionId: bytes) -> TransportAddress:
    if len(data) == 8 and data[1] == 1:
        _, port, host4 = _address4.unpack(data)
        packed = (host4 ^ MAGIC_COOKIE).to_bytes(4, "big")
    elif len(data) == 20 and data[1] == 2:
        _, port, host6 = _address6.unpack(data)
        packed = (int.from_bytes(host6, "big") ^ _mask6(transactionId)).to_bytes(16, "big")
    else:
        raise MalformedMessage("an address has a wrong length or family")
    return TransportAddress.fromPacked(packed, port ^ _COOKIE_PORT)


def _packAddress(value: TransportAddress, transactionId: bytes) -> bytes:
    return _HEAD[value.family] + _uint16.pack(value.port) + value.packedHost


_HEAD = {family: bytes([0, family.value]) for family in Family}


def _unpackAddress(data: bytes, transactionId: bytes) -> TransportAddress:
    if (len(data), data[1:2]) not in ((8, b"\1"), (20, b"\2")):
        raise MalformedMessage("an address has a wrong length or family")
    return TransportAddress.fromPacked(data[4:], _uint16.unpack_from(data, 2)[0])


def _number(layout: struct.Struct) -> _Codec:
    return lambda value, _: layout.pack(value), lambda data, _: layout.unpack(data)[0]


def _opaque(minimum: int = 0, maximum: int = 0xFFFF, multiple: int = 1) -> _Codec:
    def check(data: bytes, _: bytes) -> bytes:
        if not minimum <= len(data) <= maximum or len(data) % multiple:
            raise MalformedMessage(f"an attribute has a wrong length, {len(data)}")
        return data

    return lambda value, _: check(bytes(value), _), check


def _text(limit: int, errors: str = "strict") -> _Codec:
    def pack(value: str, _: bytes) -> bytes:
        data = value.encode()
        if len(data) > limit:
            raise LocalProtocolError(f"a STUN text of {len(data)} bytes; {limit} are allowed")
        return data

    return pack, lambda data, _: data.decode("utf-8", errors)


def _unpackFlag(data: bytes, _: bytes) -> bool:
    if data:
        raise MalformedMessage("a flag attribute has a value")
    return True


def _packError(value: ErrorCode, _: bytes) -> bytes:
    reason = value.reason.encode()
    if len(reason) > _TEXT_LIMIT:
        raise LocalProtocolError(f"a reason of {len(reason)} bytes; {_TEXT_LIMIT} are allowed")
    return _error.pack(*divmod(value.code, 100)) + reason


def _unpackError(data: bytes, _: bytes) -> ErrorCode:
    hundreds, rest = _error.unpack_from(data)
    if rest > 99:
        raise MalformedMessage("the number of an error code is above 99")
    # The upper bits of this byte are reserved: only three belong to the class.
    return ErrorCode((hundreds & 7) * 100 + rest, data[4:].decode("utf-8", "replace"))


def _packAddressError(value: AddressErrorCode, transactionId: bytes) -> bytes:
    return bytes([value.family]) + _packError(value.error, transactionId)[1:]


def _unpackAddressError(data: bytes, transactionId: bytes) -> AddressErrorCode:
    return AddressErrorCode(data[0], _unpackError(data, transactionId))


def _unpackICMP(data: bytes, _: bytes) -> ICMPValue:
    packed, rest = _icmp.unpack(data)
    return ICMPValue(type=packed >> 9, code=packed & 0x1FF, data=rest)


def _packUnknown(value: Iterable[int], _: bytes) -> bytes:
    return b"".join(_uint16.pack(number) for number in value)


def _unpackUnknown(data: bytes, _: bytes) -> tuple[int, ...]:
    return tuple(number for (number,) in _uint16.iter_unpack(data))


def _unpackResponsePort(data: bytes, _: bytes) -> int:
    # RFC 5780 section 7.5 leaves open whether the two bytes of padding count: both are seen.
    if len(data) not in (2, 4):
        raise MalformedMessage("RESPONSE-PORT has a wrong length")
    return int(_uint16.unpack_from(data)[0])


def _packAlgorithms(value: Iterable[PasswordAlgorithm], _: bytes) -> bytes:
    return b"".join(
        _algorithm.pack(item.number, len(item.parameters))
        + item.parameters
        + bytes(-len(item.parameters) % 4)
        for item in value
    )


def _unpackAlgorithms(data: bytes, _: bytes) -> tuple[PasswordAlgorithm, ...]:
    found = []
    at = 0
    while at < len(data):
        number, length = _algorithm.unpack_from(data, at)
        at += 4
        parameters = data[at : at + length]
        if len(parameters) != length:
            raise MalformedMessage("the parameters of a password algorithm are cut short")
        found.append(PasswordAlgorithm(number, parameters))
        at += length + -length % 4
    return tuple(found)


def _unpackAlgorithm(data: bytes, _: bytes) -> PasswordAlgorithm:
    algorithms = _unpackAlgorithms(data, _)
    if len(algorithms) != 1:
        raise MalformedMessage("PASSWORD-ALGORITHM names not one algorithm")
    return algorithms[0]


# --- the table ----------------------------------------------------------------------------------


@attrs.frozen
class AttributeCodec:
    """
    A row of the table: how the value of one attribute type becomes bytes and back.

    @ivar name: As the RFC spells it.
    @ivar pack: From a value and the transaction ID to bytes, without padding.
    @ivar unpack: The way back; raises L{MalformedMessage}, C{struct.error} or C{ValueError}.
    """

    type: AttributeType
    name: str
    pack: _Pack
    unpack: _Unpack


_ADDRESS: _Codec = (_packAddress, _unpackAddress)  # TransportAddress
_XOR_ADDRESS: _Codec = (_packXorAddress, _unpackXorAddress)  # TransportAddress
_FLAG: _Codec = (lambda value, _: b"", _unpackFlag)  # True
_BYTES = _opaque()  # bytes
_UINT8 = _number(_uint8Padded)  # int
_UINT16 = _number(_uint16Padded)  # int
_UINT32 = _number(_uint32)  # int
_UINT64 = _number(_uint64)  # int

_TABLE: tuple[tuple[AttributeType, str, _Codec], ...] = (
    (AttributeType.MAPPED_ADDRESS, "MAPPED-ADDRESS", _ADDRESS),
    (
        AttributeType.CHANGE_REQUEST,
        "CHANGE-REQUEST",
        (_UINT32[0], lambda data, _: ChangeRequest(_uint32.unpack(data)[0] & 0x6)),
    ),
    (AttributeType.USERNAME, "USERNAME", _text(_USERNAME_LIMIT)),
    (AttributeType.MESSAGE_INTEGRITY, "MESSAGE-INTEGRITY", _opaque(20, 20)),
    (AttributeType.ERROR_CODE, "ERROR-CODE", (_packError, _unpackError)),
    (AttributeType.UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES", (_packUnknown, _unpackUnknown)),
    (AttributeType.CHANNEL_NUMBER, "CHANNEL-NUMBER", _UINT16),
    (AttributeType.LIFETIME, "LIFETIME", _UINT32),
    (AttributeType.XOR_PEER_ADDRESS, "XOR-PEER-ADDRESS", _XOR_ADDRESS),
    (AttributeType.DATA, "DATA", _BYTES),
    (AttributeType.REALM, "REALM", _text(_TEXT_LIMIT)),
    # Opaque to all but the server that made it, and echoed byte for byte: not decoded.
    (AttributeType.NONCE, "NONCE", _opaque(maximum=_TEXT_LIMIT)),
    (AttributeType.XOR_RELAYED_ADDRESS, "XOR-RELAYED-ADDRESS", _XOR_ADDRESS),
    (AttributeType.REQUESTED_ADDRESS_FAMILY, "REQUESTED-ADDRESS-FAMILY", _UINT8),
    (
        AttributeType.EVEN_PORT,
        "EVEN-PORT",
        (lambda value, _: b"\x80" if value else b"\0", lambda data, _: data[0] >= 0x80),
    ),
    (AttributeType.REQUESTED_TRANSPORT, "REQUESTED-TRANSPORT", _UINT8),
    (AttributeType.DONT_FRAGMENT, "DONT-FRAGMENT", _FLAG),
    (AttributeType.ACCESS_TOKEN, "ACCESS-TOKEN", _BYTES),
    (AttributeType.MESSAGE_INTEGRITY_SHA256, "MESSAGE-INTEGRITY-SHA256", _opaque(16, 32, 4)),
    (
        AttributeType.PASSWORD_ALGORITHM,
        "PASSWORD-ALGORITHM",
        (lambda value, _: _packAlgorithms((value,), _), _unpackAlgorithm),
    ),
    (AttributeType.USERHASH, "USERHASH", _opaque(32, 32)),
    (AttributeType.XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS", _XOR_ADDRESS),
    (AttributeType.RESERVATION_TOKEN, "RESERVATION-TOKEN", _opaque(8, 8)),
    (AttributeType.PRIORITY, "PRIORITY", _UINT32),
    (AttributeType.USE_CANDIDATE, "USE-CANDIDATE", _FLAG),
    (AttributeType.PADDING, "PADDING", _BYTES),
    (AttributeType.RESPONSE_PORT, "RESPONSE-PORT", (_UINT16[0], _unpackResponsePort)),
    (AttributeType.CONNECTION_ID, "CONNECTION-ID", _UINT32),
    (AttributeType.ADDITIONAL_ADDRESS_FAMILY, "ADDITIONAL-ADDRESS-FAMILY", _UINT8),
    (
        AttributeType.ADDRESS_ERROR_CODE,
        "ADDRESS-ERROR-CODE",
        (_packAddressError, _unpackAddressError),
    ),
    (
        AttributeType.PASSWORD_ALGORITHMS,
        "PASSWORD-ALGORITHMS",
        (_packAlgorithms, _unpackAlgorithms),
    ),
    (AttributeType.ALTERNATE_DOMAIN, "ALTERNATE-DOMAIN", _text(255)),
    (
        AttributeType.ICMP,
        "ICMP",
        (lambda value, _: _icmp.pack(value.type << 9 | value.code, value.data), _unpackICMP),
    ),
    # Only for people: bytes that are no text are not worth the message.
    (AttributeType.SOFTWARE, "SOFTWARE", _text(_TEXT_LIMIT, "replace")),
    (AttributeType.ALTERNATE_SERVER, "ALTERNATE-SERVER", _ADDRESS),
    (AttributeType.CACHE_TIMEOUT, "CACHE-TIMEOUT", _UINT32),
    (AttributeType.FINGERPRINT, "FINGERPRINT", _UINT32),
    (AttributeType.ICE_CONTROLLED, "ICE-CONTROLLED", _UINT64),
    (AttributeType.ICE_CONTROLLING, "ICE-CONTROLLING", _UINT64),
    (AttributeType.RESPONSE_ORIGIN, "RESPONSE-ORIGIN", _ADDRESS),
    (AttributeType.OTHER_ADDRESS, "OTHER-ADDRESS", _ADDRESS),
    (AttributeType.THIRD_PARTY_AUTHORIZATION, "THIRD-PARTY-AUTHORIZATION", _text(_TEXT_LIMIT)),
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
