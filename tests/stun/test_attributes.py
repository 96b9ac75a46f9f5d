"""
Tests for L{holepunch.stun.attributes}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun import (
    ATTRIBUTES,
    Attribute,
    AttributeType,
    ChangeRequest,
    ErrorCode,
    Message,
    Method,
    attributeName,
    decode,
)
from tests.stun.strategies import REPEATABLE, VALUES, transactionIds

T = AttributeType
ID = bytes(range(12))


def unpack(type: AttributeType, data: bytes) -> object:
    """
    Decode one attribute through a whole message.
    """
    body = type.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data + bytes(-len(data) % 4)
    head = Message.request(Method.BINDING, ID).encode(fingerprint=False)
    return decode(head[:2] + len(body).to_bytes(2, "big") + head[4:] + body).get(type)


class TableTests(SynchronousTestCase):
    """
    The table as a whole.
    """

    def test_complete(self) -> None:
        """
        Every attribute type has a row, and every row a strategy in these tests.
        """
        self.assertEqual(set(ATTRIBUTES), set(AttributeType))
        self.assertEqual(set(VALUES), set(AttributeType))

    @REPEATABLE
    @given(st.data(), transactionIds)
    def test_roundTrip(self, data: st.DataObject, transactionId: bytes) -> None:
        """
        Whatever value an attribute may have, it comes back as it was.
        """
        for type, values in VALUES.items():
            value = data.draw(values)
            codec = ATTRIBUTES[type]
            self.assertEqual(
                codec.unpack(codec.pack(value, transactionId), transactionId), value, codec.name
            )

    def test_names(self) -> None:
        """
        Attributes are named as in the RFC; unknown ones by their number.
        """
        self.assertEqual(attributeName(T.XOR_MAPPED_ADDRESS), "XOR-MAPPED-ADDRESS")
        self.assertEqual(attributeName(0x7FFF), "0x7fff")
        for codec in ATTRIBUTES.values():
            self.assertEqual(codec.name, codec.type.name.replace("_", "-"))

    def test_numbers(self) -> None:
        """
        The types whose numbers other programs print are the registered ones.
        """
        self.assertEqual(T.OTHER_ADDRESS, 0x802C)
        self.assertEqual(T.RESPONSE_PORT, 0x0027)
        self.assertEqual(T.CONNECTION_ID, 0x002A)
        self.assertEqual(T.ICE_CONTROLLING, 0x802A)


class ValueTests(SynchronousTestCase):
    """
    Single values, byte for byte.
    """

    def test_xorHidesTheAddress(self) -> None:
        """
        An address in XOR-MAPPED-ADDRESS is not there in plain bytes, so no NAT rewrites it.
        """
        for host in ("192.0.2.1", "2001:db8::1"):
            address = TransportAddress(host, 4660)
            packed = ATTRIBUTES[T.XOR_MAPPED_ADDRESS].pack(address, ID)
            self.assertNotIn(address.packedHost, packed)
            self.assertNotIn(b"\x12\x34", packed)

    def test_responsePortLengths(self) -> None:
        """
        RESPONSE-PORT is understood with its padding inside the value and outside.
        """
        self.assertEqual(unpack(T.RESPONSE_PORT, b"\x12\x34"), 0x1234)
        self.assertEqual(unpack(T.RESPONSE_PORT, b"\x12\x34\0\0"), 0x1234)

    def test_errorClassIgnoresReservedBits(self) -> None:
        """
        The reserved bits of ERROR-CODE do not change the code.
        """
        self.assertEqual(unpack(T.ERROR_CODE, b"\xff\xff\xfc\x01Hm"), ErrorCode(401, "Hm"))

    def test_changeRequestIgnoresOtherBits(self) -> None:
        """
        Only the two bits of CHANGE-REQUEST that mean something are seen.
        """
        self.assertEqual(unpack(T.CHANGE_REQUEST, b"\xff\xff\xff\xfb"), ChangeRequest.PORT)

    def test_softwareThatIsNoText(self) -> None:
        """
        A broken SOFTWARE, which is only for people, does not make the message malformed.
        """
        self.assertEqual(unpack(T.SOFTWARE, b"x\xff"), "x\ufffd")

    def test_brokenValues(self) -> None:
        """
        A value of a wrong length or content makes the message malformed.
        """
        for type, data in [
            (T.MAPPED_ADDRESS, b""),
            (T.MAPPED_ADDRESS, b"\0\1\0\0\0\0\0"),
            (T.MAPPED_ADDRESS, b"\0\2\0\0\0\0\0\0"),
            (T.XOR_MAPPED_ADDRESS, b"\0\3\0\0\0\0\0\0"),
            (T.XOR_MAPPED_ADDRESS, bytes(20)),
            (T.USERNAME, b"\xff"),
            (T.USERNAME, b"x" * 509),
            (T.REALM, b"x" * 764),
            (T.MESSAGE_INTEGRITY, bytes(19)),
            (T.MESSAGE_INTEGRITY_SHA256, bytes(12)),
            (T.MESSAGE_INTEGRITY_SHA256, bytes(18)),
            (T.MESSAGE_INTEGRITY_SHA256, bytes(36)),
            (T.ERROR_CODE, b"\0\0\4"),
            (T.ERROR_CODE, b"\0\0\2\0"),
            (T.ERROR_CODE, b"\0\0\4\x64"),
            (T.UNKNOWN_ATTRIBUTES, b"\0"),
            (T.PRIORITY, bytes(5)),
            (T.ICE_CONTROLLED, bytes(4)),
            (T.USE_CANDIDATE, b"\0"),
            (T.EVEN_PORT, b""),
            (T.RESPONSE_PORT, b"\1"),
            (T.USERHASH, bytes(31)),
            (T.RESERVATION_TOKEN, bytes(9)),
            (T.NONCE, bytes(764)),
            (T.PASSWORD_ALGORITHM, b""),
            (T.PASSWORD_ALGORITHM, b"\0\1\0\0\0\2\0\0"),
            (T.PASSWORD_ALGORITHMS, b"\0\1\0"),
            (T.PASSWORD_ALGORITHMS, b"\0\1\0\4\0"),
            (T.ADDRESS_ERROR_CODE, b""),
            (T.ICMP, bytes(4)),
        ]:
            with self.assertRaises(MalformedMessage, msg=f"{type!r} {data!r}"):
                unpack(type, data)

    def test_valuesThatDoNotFit(self) -> None:
        """
        A value that its attribute cannot carry is the caller's mistake.
        """
        for attribute in [
            Attribute(T.USERNAME, "x" * 509),
            Attribute(T.SOFTWARE, "x" * 764),
            Attribute(T.ERROR_CODE, ErrorCode(400, "x" * 764)),
            Attribute(T.PRIORITY, 1 << 32),
            Attribute(T.PRIORITY, "high"),
            Attribute(T.XOR_MAPPED_ADDRESS, ("192.0.2.1", 1)),
            Attribute(T.USERHASH, b""),
            Attribute(T.DATA, bytes(0x10000)),
            Attribute(T.USERNAME, b"bytes"),
            Attribute(0x12345, b""),
            Attribute(0x7FFF, "text"),
            Attribute(0x7FFF, 5),
            Attribute(0x7FFF),
            Attribute(T.DATA, 5),
            Attribute(T.FINGERPRINT, 0),
            Attribute(T.MESSAGE_INTEGRITY, bytes(20)),
        ]:
            with self.assertRaises(LocalProtocolError, msg=repr(attribute)):
                Message.request(Method.BINDING, ID, [attribute]).encode()
