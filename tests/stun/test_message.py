"""
Tests for L{holepunch.stun.message} and L{holepunch.stun.integrity}.
"""

from __future__ import annotations

import sys
from types import FrameType

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun import (
    Attribute,
    AttributeType,
    ErrorCode,
    Message,
    MessageClass,
    Method,
    decode,
    longTermKey,
    looksLikeStun,
    shortTermKey,
    userHash,
)
from tests.stun import vectors
from tests.stun.strategies import REPEATABLE, messages

T = AttributeType
ID = bytes(range(12))
KEY = shortTermKey(vectors.SHORT_TERM_PASSWORD)
MD5_KEY = longTermKey(vectors.LONG_TERM_USERNAME, vectors.REALM, vectors.LONG_TERM_PASSWORD)
SHA256_KEY = longTermKey(vectors.LONG_TERM_USERNAME, vectors.REALM, vectors.LONG_TERM_PASSWORD, 2)


def plain(*attributes: Attribute) -> bytes:
    """
    A Binding request without integrity and fingerprint.
    """
    return Message.request(Method.BINDING, ID, attributes).encode(fingerprint=False)


def joined(*parts: bytes) -> bytes:
    """
    A Binding request made of raw attributes.
    """
    body = b"".join(parts)
    return b"\0\1" + len(body).to_bytes(2, "big") + plain()[4:] + body


class VectorTests(SynchronousTestCase):
    """
    The messages that the RFCs print.
    """

    def test_request(self) -> None:
        """
        The request of RFC 5769 section 2.1 says what the RFC says, and is authentic.
        """
        message = decode(vectors.REQUEST)
        self.assertEqual(message.method, Method.BINDING)
        self.assertIs(message.messageClass, MessageClass.REQUEST)
        self.assertEqual(message.transactionId.hex(), "b7e7a701bc34d686fa87dfae")
        self.assertEqual(message.get(T.SOFTWARE), "STUN test client")
        self.assertEqual(message.get(T.PRIORITY), 0x6E0001FF)
        self.assertEqual(message.get(T.ICE_CONTROLLED), 0x932FF9B151263B36)
        self.assertEqual(message.get(T.USERNAME), "evtj:h6vY")
        self.assertTrue(message.hasFingerprint)
        self.assertTrue(message.isIntegrityValid(KEY))

    def test_responses(self) -> None:
        """
        The responses of RFC 5769 sections 2.2 and 2.3 tell the addresses that the RFC names.
        """
        for data, mapped in (
            (vectors.RESPONSE_IPV4, vectors.MAPPED_IPV4),
            (vectors.RESPONSE_IPV6, vectors.MAPPED_IPV6),
        ):
            message = decode(data)
            self.assertIs(message.messageClass, MessageClass.SUCCESS)
            self.assertEqual(message.get(T.SOFTWARE), "test vector")
            self.assertEqual(message.get(T.XOR_MAPPED_ADDRESS), mapped)
            self.assertTrue(message.isIntegrityValid(KEY))

    def test_responsesAreBuiltAlike(self) -> None:
        """
        Encoding the contents of the two responses gives their bytes but for the padding, which the
        RFC fills with spaces and we with zeros, and what is computed over it.
        """
        for data in (vectors.RESPONSE_IPV4, vectors.RESPONSE_IPV6):
            message = decode(data)
            built = Message.success(message, message.attributes[:-2]).encode(KEY)
            self.assertEqual(len(built), len(data))
            self.assertEqual(built[:-32].replace(b"vector\0", b"vector "), data[:-32])

    def test_longTermRequest(self) -> None:
        """
        The request of RFC 5769 section 2.4 is built byte for byte, and is authentic.
        """
        message = decode(vectors.LONG_TERM_REQUEST)
        self.assertEqual(message.get(T.USERNAME), vectors.LONG_TERM_USERNAME)
        self.assertEqual(message.get(T.NONCE), b"f//499k954d6OL34oL9FSTvy64sA")
        self.assertEqual(message.get(T.REALM), vectors.REALM)
        self.assertTrue(message.isIntegrityValid(MD5_KEY))
        built = Message.request(message.method, message.transactionId, message.attributes[:-1])
        self.assertEqual(built.encode(MD5_KEY, fingerprint=False), vectors.LONG_TERM_REQUEST)

    def test_sha256Request(self) -> None:
        """
        The request of RFC 8489 appendix B.1 is built byte for byte, and is authentic.
        """
        message = decode(vectors.SHA256_REQUEST)
        self.assertEqual(
            message.get(T.USERHASH), userHash(vectors.LONG_TERM_USERNAME, vectors.REALM)
        )
        self.assertEqual(message.get(T.PASSWORD_ALGORITHM).number, 2)
        self.assertTrue(message.isIntegrityValid(SHA256_KEY))
        self.assertFalse(message.isIntegrityValid(MD5_KEY))
        built = Message.request(message.method, message.transactionId, message.attributes[:-1])
        self.assertEqual(
            built.encode(SHA256_KEY, sha256=True, fingerprint=False), vectors.SHA256_REQUEST
        )


class CodecTests(SynchronousTestCase):
    """
    L{Message.encode} and L{decode}.
    """

    @REPEATABLE
    @given(messages(), st.none() | st.binary(max_size=40), st.booleans(), st.booleans())
    def test_roundTrip(
        self, message: Message, key: bytes | None, sha256: bool, fingerprint: bool
    ) -> None:
        """
        Every message comes back as it was, and is authentic for its key only.
        """
        received = decode(message.encode(key, sha256=sha256, fingerprint=fingerprint))
        self.assertEqual(received.method, message.method)
        self.assertIs(received.messageClass, message.messageClass)
        self.assertEqual(received.transactionId, message.transactionId)
        count = len(message.attributes)
        self.assertEqual(received.attributes[:count], message.attributes)
        self.assertEqual(
            len(received.attributes), count + (key is not None) + fingerprint, received.attributes
        )
        self.assertEqual(received.hasFingerprint, fingerprint)
        self.assertEqual(received.hasIntegrity, key is not None)
        self.assertEqual(received.hasIntegritySHA256, key is not None and sha256)
        if key is not None:
            self.assertTrue(received.isIntegrityValid(key))
            self.assertFalse(received.isIntegrityValid(key + b"x"))

    def test_classesAndMethods(self) -> None:
        """
        Each method keeps apart from the class whose bits lie between its own.
        """
        for method in range(1 << 12):
            for kind in MessageClass:
                data = Message(method=method, messageClass=kind, transactionId=ID).encode()
                self.assertTrue(looksLikeStun(data) == (data[0] < 4))
                received = decode(data)
                self.assertEqual((received.method, received.messageClass), (method, kind))

    def test_duplicates(self) -> None:
        """
        Attributes that come twice are kept in order; the first one counts.
        """
        received = decode(plain(Attribute(T.SOFTWARE, "one"), Attribute(T.SOFTWARE, "two")))
        self.assertEqual(received.get(T.SOFTWARE), "one")
        self.assertEqual(received.getAll(T.SOFTWARE), ("one", "two"))
        self.assertEqual(received.getAll(T.REALM), ())

    def test_unknownRequired(self) -> None:
        """
        Unknown types are named once where comprehension is required, and not where it is optional.
        """
        received = decode(
            plain(*(Attribute(type, b"abc") for type in (0x7FFF, 0x0000, 0xFFFF, 0x7FFF)))
        )
        self.assertEqual(received.unknownRequired, (0x7FFF, 0x0000))
        self.assertEqual(received.get(0xFFFF), b"abc")

    def test_nothingBehindIntegrity(self) -> None:
        """
        What an attacker puts behind MESSAGE-INTEGRITY is not believed, known or not.
        """
        signed = Message.request(Method.BINDING, ID).encode(KEY, fingerprint=False)
        forged = joined(
            signed[20:],
            plain(Attribute(T.USE_CANDIDATE), Attribute(0x7FFF, b""))[20:],
            signed[20:],
        )
        received = decode(forged)
        self.assertEqual([found.type for found in received.attributes], [T.MESSAGE_INTEGRITY])
        self.assertEqual(received.unknownRequired, ())
        # The HMAC covers only what is before it, with the length up to its own end.
        self.assertTrue(received.isIntegrityValid(KEY))

    def test_nothingBetweenTheIntegrities(self) -> None:
        """
        MESSAGE-INTEGRITY-SHA256 is believed behind MESSAGE-INTEGRITY; what is between is not.
        """
        both = Message.request(Method.BINDING, ID).encode(KEY, both=True, fingerprint=False)
        received = decode(both)
        self.assertEqual(
            [found.type for found in received.attributes],
            [T.MESSAGE_INTEGRITY, T.MESSAGE_INTEGRITY_SHA256],
        )
        self.assertTrue(received.isIntegrityValid(KEY, requireSHA256=True))
        forged = decode(joined(both[20:44], plain(Attribute(T.USE_CANDIDATE))[20:], both[44:]))
        self.assertIsNone(forged.get(T.USE_CANDIDATE))
        self.assertFalse(forged.isIntegrityValid(KEY))

    def test_sha256Decides(self) -> None:
        """
        Where both integrity attributes are there, a right MESSAGE-INTEGRITY does not help.
        """
        both = bytearray(
            Message.request(Method.BINDING, ID).encode(KEY, both=True, fingerprint=False)
        )
        both[-1] ^= 1
        self.assertFalse(decode(bytes(both)).isIntegrityValid(KEY))
        sha1 = decode(Message.request(Method.BINDING, ID).encode(KEY))
        self.assertFalse(sha1.isIntegrityValid(KEY, requireSHA256=True))

    def test_truncatedSHA256(self) -> None:
        """
        A truncated MESSAGE-INTEGRITY-SHA256 is well-formed, and never authentic.
        """
        short = joined(b"\x00\x1c\x00\x10" + bytes(16))
        self.assertTrue(decode(short).hasIntegrity)
        self.assertFalse(decode(short).isIntegrityValid(KEY))

    def test_noIntegrity(self) -> None:
        """
        A message without integrity is authentic for nobody.
        """
        received = decode(plain())
        self.assertFalse(received.hasIntegrity)
        self.assertFalse(received.isIntegrityValid(b""))

    def test_fingerprint(self) -> None:
        """
        FINGERPRINT must be right, once, and the last.
        """
        good = Message.request(Method.BINDING, ID).encode()
        self.assertTrue(decode(good).hasFingerprint)
        for bad in (
            good[:-1] + bytes([good[-1] ^ 1]),
            joined(good[20:], good[20:]),
            joined(good[20:], plain(Attribute(T.SOFTWARE, ""))[20:]),
            joined(b"\x80\x28\0\5" + bytes(8)),
        ):
            with self.assertRaises(MalformedMessage):
                decode(bad)

    def test_paddingIsIgnored(self) -> None:
        """
        The content of padding does not matter (RFC 8489 section 14).
        """
        self.assertEqual(decode(joined(b"\x80\x22\0\1abcd")).get(T.SOFTWARE), "a")

    def test_header(self) -> None:
        """
        A header that is short, lies about the length, or lacks the cookie is no message.
        """
        good = plain()
        for bad in (
            b"",
            good[:19],
            good + b"\0",
            good + bytes(4),
            b"\0\1\0\2" + good[4:] + b"\0\0",
            b"\x40" + good[1:],
            good[:4] + b"\x21\x12\xa4\x43" + good[8:],
        ):
            with self.assertRaises(MalformedMessage):
                decode(bad)

    def test_otherBuffers(self) -> None:
        """
        A bytearray or memoryview is read like bytes, and not kept.
        """
        for buffer in (bytearray(vectors.REQUEST), memoryview(vectors.REQUEST)):
            received = decode(buffer)  # type: ignore[arg-type]
            self.assertEqual(received, decode(vectors.REQUEST))
            self.assertIsInstance(received.data, bytes)

    def test_misuse(self) -> None:
        """
        Messages that cannot be are refused where they are made.
        """
        with self.assertRaises(LocalProtocolError):
            Message.request(Method.BINDING, b"short")
        with self.assertRaises(LocalProtocolError):
            Message.request(1 << 12, ID)
        big = Message.request(Method.BINDING, ID, [Attribute(T.DATA, bytes(40000))] * 2)
        with self.assertRaises(LocalProtocolError):
            big.encode()

    def test_largest(self) -> None:
        """
        A message as long as the header can say is encoded and decoded.
        """
        data = Message.request(Method.SEND, ID, [Attribute(T.DATA, bytes(0xFFFC - 68 - 4))]).encode(
            KEY, both=True
        )
        self.assertEqual(len(data), 20 + 0xFFFC)
        self.assertTrue(decode(data).isIntegrityValid(KEY))

    def test_error(self) -> None:
        """
        An error response carries its code, and the transaction of its request.
        """
        request = Message.request(Method.ALLOCATE, ID)
        received = decode(Message.error(request, 437, "Mismatch").encode())
        self.assertEqual(received.error, ErrorCode(437, "Mismatch"))
        self.assertEqual((received.method, received.transactionId), (Method.ALLOCATE, ID))
        self.assertIsNone(decode(Message.success(request).encode()).error)
        self.assertIs(
            decode(Message.indication(Method.BINDING, ID).encode()).messageClass,
            MessageClass.INDICATION,
        )

    def test_looksLikeStun(self) -> None:
        """
        STUN is told from QUIC, DTLS, RTP and noise without decoding it.
        """
        self.assertTrue(all(map(looksLikeStun, vectors.ALL)))
        for other in (b"", b"\0" * 20, b"\x40" + vectors.REQUEST[1:], vectors.REQUEST[:19]):
            self.assertFalse(looksLikeStun(other))


class FlippedBitTests(SynchronousTestCase):
    """
    Integrity, against one bit changed anywhere.
    """

    def check(self, data: bytes, key: bytes) -> None:
        """
        Whichever bit of C{data} is flipped, it is authentic no more.
        """
        self.assertTrue(decode(data).isIntegrityValid(key))
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit >> 3] ^= 1 << (bit & 7)
            try:
                received = decode(bytes(flipped))
            except MalformedMessage:
                continue
            self.assertFalse(received.isIntegrityValid(key), f"bit {bit}")

    def test_sha1(self) -> None:
        """
        MESSAGE-INTEGRITY notices each bit.
        """
        self.check(vectors.LONG_TERM_REQUEST, MD5_KEY)

    def test_sha256(self) -> None:
        """
        MESSAGE-INTEGRITY-SHA256 notices each bit.
        """
        self.check(vectors.SHA256_REQUEST, SHA256_KEY)

    def test_fingerprint(self) -> None:
        """
        FINGERPRINT notices each bit.
        """
        for data in (vectors.REQUEST, vectors.RESPONSE_IPV4, vectors.RESPONSE_IPV6):
            for bit in range(len(data) * 8):
                flipped = bytearray(data)
                flipped[bit >> 3] ^= 1 << (bit & 7)
                if flipped[-8:-4] != data[-8:-4]:
                    continue  # The attribute is another one then, and may be ignored.
                with self.assertRaises(MalformedMessage):
                    decode(bytes(flipped))


def countCalls(data: bytes) -> int:
    """
    How many functions, of Python and of C, are called to decode C{data}.
    """
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        decode(data)
    finally:
        sys.setprofile(None)
    return calls


class LinearTests(SynchronousTestCase):
    """
    No message makes the decoder work harder than its length allows.
    """

    SHAPES = (
        b"\x7f\xff\0\0",
        b"\xff\xff\0\0",
        b"\x80\x22\0\0",
        b"\0\x08\0\x14" + bytes(20),
        b"\0\x1c\0\x10" + bytes(16),
        b"\0\x01\0\x08\0\1" + bytes(6),
        b"\0\x20\0\x08\0\1" + bytes(6),
        b"\x80\x02\0\x04\0\1\0\0",
        b"\0\x0a\0\x04\0\1\0\1",
    )

    def test_work(self) -> None:
        """
        Twice the attributes are at most twice the calls, and few for each.
        """
        for shape in self.SHAPES:
            work = countCalls(joined(shape * 500))
            more = countCalls(joined(shape * 1000))
            self.assertLessEqual(more, 2.2 * work, shape)
            self.assertLessEqual(more, 40 * 1000, shape)

    def test_workWithinOneValue(self) -> None:
        """
        The same holds for a list inside one attribute.
        """
        for type in (T.UNKNOWN_ATTRIBUTES, T.PASSWORD_ALGORITHMS):
            head = type.to_bytes(2, "big")
            work, more = (
                countCalls(joined(head + size.to_bytes(2, "big") + bytes(size)))
                for size in (8000, 16000)
            )
            self.assertLessEqual(more, 2.2 * work)

    def test_distinctUnknowns(self) -> None:
        """
        Thousands of different unknown types are listed without searching the list for each.
        """
        attributes = [Attribute(type, b"") for type in range(0x4000, 0x7FFF)]
        data = plain(*attributes[:16000])
        self.assertEqual(len(decode(data).unknownRequired), 16000)

    def test_attributeCount(self) -> None:
        """
        A message holds at most one attribute for each four bytes.
        """
        data = joined(b"\x7f\xff\0\0" * 16000)
        self.assertEqual(len(decode(data).attributes), 16000)


class ValueTests(SynchronousTestCase):
    """
    Messages as values.
    """

    def test_secretsStayOut(self) -> None:
        """
        The repr of a received message does not repeat its bytes.
        """
        self.assertNotIn("data=", repr(decode(vectors.REQUEST)))

    def test_frozen(self) -> None:
        """
        A message cannot be changed; a changed copy is another message.
        """
        message = Message.request(Method.BINDING, ID)
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            message.method = 2  # type: ignore[misc]
        self.assertNotEqual(attrs.evolve(message, method=2), message)
