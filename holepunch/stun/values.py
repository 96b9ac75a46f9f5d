"""
The values of STUN attributes as Python objects, and their bytes.

RFC 8489 section 14, RFC 5780 section 7 and RFC 8656 section 18, for each kind of value that the
table of attributes needs.

Owns: the value classes, and for each kind of value a L{Codec}.
Knows nothing of: which attribute has which kind of value: see L{holepunch.stun.attributes}.
Driven by: that table.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import LocalProtocolError, MalformedMessage

MAGIC_COOKIE = 0x2112A442
MAGIC_COOKIE_BYTES = MAGIC_COOKIE.to_bytes(4, "big")

#: RFC 8489 sections 14.8 to 14.14 allow this many bytes for texts.
TEXT_LIMIT = 763

_COOKIE_PORT = MAGIC_COOKIE >> 16


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

_addressHead = struct.Struct("!xBH")
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

_CHANGE_BITS = ChangeRequest.HOST | ChangeRequest.PORT

#: From a value and the transaction ID to bytes, without padding.
Pack = Callable[[Any, bytes], bytes]
#: The way back; raises L{MalformedMessage}, C{struct.error} or C{ValueError}.
Unpack = Callable[[bytes, bytes], Any]
Codec = tuple[Pack, Unpack]


def _mask6(transactionId: bytes) -> int:
    return int.from_bytes(MAGIC_COOKIE_BYTES + transactionId, "big")


def _packXorAddress(value: TransportAddress, transactionId: bytes) -> bytes:
    packed = value.packedHost
    host = int.from_bytes(packed, "big")
    port = value.port ^ _COOKIE_PORT
    if len(packed) == 4:
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
    packed = value.packedHost
    return _addressHead.pack(1 if len(packed) == 4 else 2, value.port) + packed


def _unpackAddress(data: bytes, transactionId: bytes) -> TransportAddress:
    if (len(data), data[1:2]) not in ((8, b"\1"), (20, b"\2")):
        raise MalformedMessage("an address has a wrong length or family")
    return TransportAddress.fromPacked(data[4:], _addressHead.unpack_from(data)[1])


def _number(layout: struct.Struct) -> Codec:
    return lambda value, _: layout.pack(value), lambda data, _: layout.unpack(data)[0]


def asBytes(value: Any) -> bytes:
    """
    The bytes in a buffer. Unlike C{bytes}, it does not take a number for a length.

    @raise TypeError: C{value} is no buffer.
    """
    return b"".join((value,))


def opaque(minimum: int = 0, maximum: int = 0xFFFF, multiple: int = 1) -> Codec:
    """
    Bytes, of a length between two limits and a multiple of a third.
    """

    def check(data: bytes, _: bytes) -> bytes:
        if not minimum <= len(data) <= maximum or len(data) % multiple:
            raise MalformedMessage(f"an attribute has a wrong length, {len(data)}")
        return data

    return lambda value, _: check(asBytes(value), _), check


def text(limit: int, isForPeople: bool = False) -> Codec:
    """
    A text in UTF-8 of at most C{limit} bytes.

    @param isForPeople: What is received may be longer, or no text: that is not worth the message.
    """

    def pack(value: str, _: bytes) -> bytes:
        data = value.encode()
        if len(data) > limit:
            raise LocalProtocolError(f"a STUN text of {len(data)} bytes; {limit} are allowed")
        return data

    def unpack(data: bytes, _: bytes) -> str:
        if isForPeople:
            return data.decode("utf-8", "replace")
        if len(data) > limit:
            raise MalformedMessage(f"a text of {len(data)} bytes; {limit} are allowed")
        return data.decode()

    return pack, unpack


def _unpackFlag(data: bytes, _: bytes) -> bool:
    if data:
        raise MalformedMessage("a flag attribute has a value")
    return True


def _packError(value: ErrorCode, _: bytes) -> bytes:
    reason = value.reason.encode()
    if len(reason) > TEXT_LIMIT:
        raise LocalProtocolError(f"a reason of {len(reason)} bytes; {TEXT_LIMIT} are allowed")
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


def _packTypes(value: Iterable[int], _: bytes) -> bytes:
    return b"".join(_uint16.pack(number) for number in value)


def _unpackTypes(data: bytes, _: bytes) -> tuple[int, ...]:
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


# --- the kinds of values ------------------------------------------------------------------------

ADDRESS: Codec = (_packAddress, _unpackAddress)
XOR_ADDRESS: Codec = (_packXorAddress, _unpackXorAddress)
FLAG: Codec = (lambda value, _: b"", _unpackFlag)
BYTES = opaque()
UINT8 = _number(_uint8Padded)
UINT16 = _number(_uint16Padded)
UINT32 = _number(_uint32)
UINT64 = _number(_uint64)
RESPONSE_PORT: Codec = (UINT16[0], _unpackResponsePort)
CHANGE_REQUEST: Codec = (
    UINT32[0],
    lambda data, _: ChangeRequest(_uint32.unpack(data)[0] & _CHANGE_BITS),
)
# One bit: keep the next higher port too (RFC 8656 section 18.7).
EVEN_PORT: Codec = (
    lambda value, _: b"\x80" if value else b"\0",
    lambda data, _: data[0] >= 0x80,
)
ERROR_CODE: Codec = (_packError, _unpackError)
ADDRESS_ERROR_CODE: Codec = (_packAddressError, _unpackAddressError)
ATTRIBUTE_TYPES: Codec = (_packTypes, _unpackTypes)
ALGORITHMS: Codec = (_packAlgorithms, _unpackAlgorithms)
ALGORITHM: Codec = (lambda value, _: _packAlgorithms((value,), _), _unpackAlgorithm)
ICMP: Codec = (
    lambda value, _: _icmp.pack(value.type << 9 | value.code, value.data),
    _unpackICMP,
)
