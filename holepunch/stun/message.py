"""
STUN messages: the header, the list of attributes, and what of it may be believed
(RFC 8489 sections 5, 6.3 and 14).

Owns: encoding and decoding whole messages.
Knows nothing of: transactions; what a method means; whose key is whose.
Driven by: everything that sends or receives STUN.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import Any

import attrs

from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun.attributes import ATTRIBUTES, Attribute, AttributeType
from holepunch.stun.integrity import (
    HEADER_LENGTH,
    appendFingerprint,
    appendIntegrity,
    fingerprint,
    isIntegrityValid,
)
from holepunch.stun.values import MAGIC_COOKIE, MAGIC_COOKIE_BYTES, ErrorCode, asBytes

TRANSACTION_ID_LENGTH = 12

_header = struct.Struct("!HHI12s")
_attributeHeader = struct.Struct("!HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

# Plain integers: an enum's member costs a look-up at every use.
_SHA1 = int(AttributeType.MESSAGE_INTEGRITY)
_SHA256 = int(AttributeType.MESSAGE_INTEGRITY_SHA256)
_FINGERPRINT = int(AttributeType.FINGERPRINT)
_ADDED_BY_ENCODE = frozenset((_SHA1, _SHA256, _FINGERPRINT))


class MessageClass(enum.IntEnum):
    """
    What a message is in its transaction (RFC 8489 section 5).
    """

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Method(enum.IntEnum):
    """
    The methods of STUN (RFC 8489), TURN (RFC 8656) and TURN over TCP (RFC 6062).
    """

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


_CLASSES = tuple(MessageClass)
_METHODS: dict[int, int] = {method: method for method in Method}


def looksLikeStun(data: bytes) -> bool:
    """
    Is a datagram STUN rather than application data (RFC 7983 section 7, RFC 8489 section 6.3)?

    Looks at the first byte, the size and the magic cookie; says nothing about the rest.
    """
    return len(data) >= HEADER_LENGTH and data[0] < 4 and data[4:8] == MAGIC_COOKIE_BYTES


class _HasAttributes:
    __slots__ = ()

    attributes: tuple[Attribute, ...]

    def get(self, type: int) -> Any:
        """
        The value of the first attribute of a type, which is the one that counts (RFC 8489
        section 14), or C{None}.
        """
        for attribute in self.attributes:
            if attribute.type == type:
                return attribute.value
        return None

    def getAll(self, type: int) -> tuple[Any, ...]:
        """
        The values of all attributes of a type, in their order.
        """
        return tuple(found.value for found in self.attributes if found.type == type)


def _checkTransactionId(instance: object, attribute: object, value: bytes) -> None:
    if len(value) != TRANSACTION_ID_LENGTH:
        raise LocalProtocolError(f"a transaction ID has 12 bytes, not {len(value)}")


def _checkMethod(instance: object, attribute: object, value: int) -> None:
    if not 0 <= value < 1 << 12:
        raise LocalProtocolError(f"a STUN method has 12 bits, which {value} does not fit")


def _asTuple(attributes: Iterable[Attribute]) -> tuple[Attribute, ...]:
    return tuple(attributes)


@attrs.frozen(kw_only=True)
class Message(_HasAttributes):
    """
    A message to send.

    @ivar attributes: In the order to be sent, without the integrity attributes and FINGERPRINT:
        L{encode} adds these.
    """

    method: int = attrs.field(validator=_checkMethod)
    messageClass: MessageClass
    transactionId: bytes = attrs.field(validator=_checkTransactionId)
    attributes: tuple[Attribute, ...] = attrs.field(default=(), converter=_asTuple)

    @classmethod
    def request(
        cls, method: int, transactionId: bytes, attributes: Iterable[Attribute] = ()
    ) -> Message:
        """
        A request.

        @param transactionId: 12 random bytes, new for each transaction (RFC 8489 section 5).
        """
        return cls(
            method=method,
            messageClass=MessageClass.REQUEST,
            transactionId=transactionId,
            attributes=attributes,
        )

    @classmethod
    def indication(
        cls, method: int, transactionId: bytes, attributes: Iterable[Attribute] = ()
    ) -> Message:
        """
        An indication: nobody answers it.
        """
        return cls(
            method=method,
            messageClass=MessageClass.INDICATION,
            transactionId=transactionId,
            attributes=attributes,
        )

    @classmethod
    def success(
        cls, request: Message | ReceivedMessage, attributes: Iterable[Attribute] = ()
    ) -> Message:
        """
        The success response to C{request}.
        """
        return cls(
            method=request.method,
            messageClass=MessageClass.SUCCESS,
            transactionId=request.transactionId,
            attributes=attributes,
        )

    @classmethod
    def error(
        cls,
        request: Message | ReceivedMessage,
        code: int,
        reason: str = "",
        attributes: Iterable[Attribute] = (),
    ) -> Message:
        """
        The error response to C{request}, with ERROR-CODE before C{attributes}.
        """
        return cls(
            method=request.method,
            messageClass=MessageClass.ERROR,
            transactionId=request.transactionId,
            attributes=(Attribute(AttributeType.ERROR_CODE, ErrorCode(code, reason)), *attributes),
        )

    def encode(
        self,
        integrityKey: bytes | None = None,
        sha256: bool = False,
        fingerprint: bool = True,
        both: bool = False,
    ) -> bytes:
        """
        The bytes to send.

        @param integrityKey: Adds an integrity attribute made with this key.
        @param sha256: That attribute is MESSAGE-INTEGRITY-SHA256 instead of MESSAGE-INTEGRITY.
        @param fingerprint: Adds FINGERPRINT at the end.
        @param both: Adds both integrity attributes, as a first request does that cannot know which
            one the other side understands (RFC 8489 section 9.1.2).
        @raise LocalProtocolError: A value does not fit its attribute, or all do not fit a message.
        """
        parts = [b""]
        for attribute in self.attributes:
            type = attribute.type
            codec = ATTRIBUTES.get(type)
            try:
                if codec is None:
                    value = asBytes(attribute.value)
                else:
                    value = codec.pack(attribute.value, self.transactionId)
                parts.append(_attributeHeader.pack(type, len(value)))
            except (struct.error, ValueError, TypeError, AttributeError, MalformedMessage) as error:
                raise LocalProtocolError(f"{attribute!r} cannot be encoded: {error}")
            if type in _ADDED_BY_ENCODE:
                raise LocalProtocolError(f"{attribute!r} is added by encode() itself")
            parts.append(value)
            if len(value) & 3:
                parts.append(_PADDING[len(value) & 3])
        length = sum(map(len, parts))
        # The integrity attributes and FINGERPRINT take up to 24 + 36 + 8 bytes.
        if length > 0xFFFC - 68:
            raise LocalProtocolError(f"{length} bytes of attributes do not fit a STUN message")
        method, kind = self.method, self.messageClass
        parts[0] = _header.pack(
            # Section 5: the two bits of the class lie between the bits of the method.
            (method & 0xF80) << 2
            | (method & 0x70) << 1
            | method & 0xF
            | (kind & 2) << 7
            | (kind & 1) << 4,
            length,
            MAGIC_COOKIE,
            self.transactionId,
        )
        data = b"".join(parts)
        if integrityKey is not None:
            if both or not sha256:
                data = appendIntegrity(data, integrityKey, AttributeType.MESSAGE_INTEGRITY)
            if both or sha256:
                data = appendIntegrity(data, integrityKey, AttributeType.MESSAGE_INTEGRITY_SHA256)
        return appendFingerprint(data) if fingerprint else data


@attrs.frozen(kw_only=True)
class ReceivedMessage(_HasAttributes):
    """
    A message that arrived, well-formed; not authentic before L{isIntegrityValid} said so.

    @ivar attributes: All attributes that may be believed, in order, duplicates kept: what stands
        behind MESSAGE-INTEGRITY is not covered by it and left out, but for
        MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 section 14.5).
    @ivar unknownRequired: The types below 0x8000 that the table does not have, each once.
    @ivar data: The bytes of the whole message.
    """

    method: int
    messageClass: MessageClass
    transactionId: bytes
    attributes: tuple[Attribute, ...] = ()
    unknownRequired: tuple[int, ...] = ()
    data: bytes = attrs.field(repr=False)
    _sha1At: int = attrs.field(default=0, repr=False, alias="sha1At")
    _sha256At: int = attrs.field(default=0, repr=False, alias="sha256At")

    @property
    def hasIntegrity(self) -> bool:
        """
        Does the message carry an integrity attribute, right or wrong?
        """
        return bool(self._sha1At or self._sha256At)

    @property
    def hasIntegritySHA256(self) -> bool:
        """
        Does the message carry MESSAGE-INTEGRITY-SHA256, right or wrong?
        """
        return bool(self._sha256At)

    @property
    def hasFingerprint(self) -> bool:
        """
        Does the message carry FINGERPRINT? A wrong one never gets here.
        """
        return bool(self.attributes) and self.attributes[-1].type == _FINGERPRINT

    @property
    def error(self) -> ErrorCode | None:
        """
        The ERROR-CODE of an error response.
        """
        found: ErrorCode | None = self.get(AttributeType.ERROR_CODE)
        return found

    def isIntegrityValid(self, key: bytes, requireSHA256: bool = False) -> bool:
        """
        Was the message made by somebody who has C{key}? False where it carries no integrity.

        Where both attributes are there, MESSAGE-INTEGRITY-SHA256 decides (RFC 8489 section 9.1.3).

        @param requireSHA256: MESSAGE-INTEGRITY alone does not count.
        """
        if self._sha256At:
            return isIntegrityValid(self.data, self._sha256At, key)
        if self._sha1At and not requireSHA256:
            return isIntegrityValid(self.data, self._sha1At, key)
        return False


def decode(data: bytes) -> ReceivedMessage:
    """
    Read one message that fills C{data} exactly.

    The work is linear in the length of C{data}.

    @raise MalformedMessage: It is no STUN message (RFC 8489 section 6.3), a value is broken, or
        FINGERPRINT is wrong or not at the end. Nothing else is raised, whatever the bytes.
    """
    size = len(data)
    if size < HEADER_LENGTH:
        raise MalformedMessage(f"a STUN message has at least {HEADER_LENGTH} bytes, not {size}")
    kind, length, cookie, transactionId = _header.unpack_from(data)
    if kind & 0xC000 or cookie != MAGIC_COOKIE:
        raise MalformedMessage("no STUN message: the first bits or the magic cookie are wrong")
    if length & 3 or length != size - HEADER_LENGTH:
        raise MalformedMessage(f"the STUN header says {length} bytes, {size - HEADER_LENGTH} came")
    data = bytes(data)
    attributes: list[Attribute] = []
    unknown: dict[int, None] = {}
    sha1At = sha256At = 0
    at = HEADER_LENGTH
    try:
        while at < size:
            type, length = _attributeHeader.unpack_from(data, at)
            begin = at + 4
            end = begin + length
            if end > size:
                raise MalformedMessage(f"attribute 0x{type:04x} is longer than its message")
            if type == _FINGERPRINT:
                _checkFingerprint(data, at)
            elif sha256At or (sha1At and type != _SHA256):
                at = end + (-length & 3)
                continue
            value: Any = data[begin:end]
            codec = ATTRIBUTES.get(type)
            if codec is not None:
                type = codec.type
                value = codec.unpack(value, transactionId)
                if type == _SHA1:
                    sha1At = at
                elif type == _SHA256:
                    sha256At = at
            elif type < 0x8000:
                unknown[type] = None
            attributes.append(Attribute(type, value))
            at = end + (-length & 3)
    except (struct.error, ValueError, IndexError) as error:
        raise MalformedMessage(f"attribute 0x{type:04x} is broken: {error}")
    method = (kind & 0x3E00) >> 2 | (kind & 0xE0) >> 1 | kind & 0xF
    return ReceivedMessage(
        method=_METHODS.get(method, method),
        messageClass=_CLASSES[(kind & 0x100) >> 7 | (kind & 0x10) >> 4],
        transactionId=transactionId,
        attributes=tuple(attributes),
        unknownRequired=tuple(unknown),
        data=data,
        sha1At=sha1At,
        sha256At=sha256At,
    )


def _checkFingerprint(data: bytes, at: int) -> None:
    if at + 8 != len(data) or data[at + 2 : at + 4] != b"\0\4":
        raise MalformedMessage("FINGERPRINT is not the last attribute, or has a wrong length")
    if int.from_bytes(data[at + 4 :], "big") != fingerprint(data[:at]):
        raise MalformedMessage("FINGERPRINT is wrong")
