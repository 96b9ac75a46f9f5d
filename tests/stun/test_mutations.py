"""
The decoder against 100,000 broken messages: the same ones in every run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.stun import (
    ATTRIBUTES,
    Attribute,
    AttributeType,
    BindingAnswerer,
    ChangeRequest,
    ErrorCode,
    Message,
    MessageClass,
    PasswordAlgorithm,
    ReceivedMessage,
    Rfc4571Framer,
    StunFramer,
    decode,
)
from tests.stun import vectors

T = AttributeType
COUNT = 100_000
LOCAL = TransportAddress("198.51.100.1", 3478)
SOURCE = TransportAddress("192.0.2.1", 4000)

SAMPLES = (
    Attribute(T.XOR_MAPPED_ADDRESS, SOURCE),
    Attribute(T.XOR_MAPPED_ADDRESS, TransportAddress("2001:db8::1", 4000)),
    Attribute(T.MAPPED_ADDRESS, SOURCE),
    Attribute(T.OTHER_ADDRESS, TransportAddress("2001:db8::1", 4000)),
    Attribute(T.CHANGE_REQUEST, ChangeRequest.PORT),
    Attribute(T.ERROR_CODE, ErrorCode(420, "Unknown Attribute")),
    Attribute(T.UNKNOWN_ATTRIBUTES, (1, 2, 3)),
    Attribute(T.USERNAME, "\u30de\u30c8"),
    Attribute(T.REALM, "example.org"),
    Attribute(T.NONCE, b"obMatJos2gAAA"),
    Attribute(T.PRIORITY, 1),
    Attribute(T.USE_CANDIDATE),
    Attribute(T.ICE_CONTROLLED, 1 << 63),
    Attribute(T.EVEN_PORT, True),
    Attribute(T.RESERVATION_TOKEN, bytes(8)),
    Attribute(T.PADDING, bytes(30)),
    Attribute(T.RESPONSE_PORT, 4000),
    Attribute(T.PASSWORD_ALGORITHMS, (PasswordAlgorithm(2), PasswordAlgorithm(1, b"abc"))),
    Attribute(T.PASSWORD_ALGORITHM, PasswordAlgorithm(2)),
    Attribute(T.USERHASH, bytes(32)),
    Attribute(0x7FFF, b"abc"),
    Attribute(0xFFFF, b""),
)


def generated(chance: random.Random) -> bytes:
    """
    A message of random attributes, sometimes protected.
    """
    return Message(
        method=chance.choice((1, 1, 1, 3, chance.randrange(1 << 12))),
        messageClass=chance.choice(tuple(MessageClass)),
        transactionId=chance.randbytes(12),
        attributes=chance.choices(SAMPLES, k=chance.randrange(6)),
    ).encode(
        chance.choice((None, b"key")),
        sha256=chance.random() < 0.5,
        fingerprint=chance.random() < 0.3,
    )


def mutate(data: bytearray, chance: random.Random) -> None:
    """
    Break a message in one of the ways in which networks and attackers do.
    """
    kind = chance.randrange(6)
    at = chance.randrange(len(data)) if data else 0
    if kind == 0:
        del data[at:]
    elif kind == 1 and data:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 2 and data:
        data[at] = chance.choice((0, 1, 4, 0x7F, 0x80, 0xFF))
    elif kind == 3 and len(data) >= 24:
        # The length of an attribute, or of the message, lies.
        at = chance.choice((2, 22, chance.randrange(20, len(data) - 1)))
        data[at : at + 2] = chance.choice((0, 1, 3, 4, 8, 20, 0xFFFF)).to_bytes(2, "big")
    elif kind == 4:
        data[at:at] = chance.randbytes(chance.randrange(1, 9))
    else:
        end = min(len(data), at + chance.randrange(1, 9))
        data[at:at] = data[at:end]


def repair(data: bytearray) -> None:
    """
    Make the header right, so that what is broken behind it is looked at.
    """
    del data[len(data) & ~3 :]
    if len(data) >= 20:
        data[0] &= 0x3F
        data[2:8] = (len(data) - 20).to_bytes(2, "big") + b"\x21\x12\xa4\x42"


def broken(count: int) -> Iterator[bytes]:
    """
    C{count} mutated messages, the same ones each time.
    """
    chance = random.Random(8489)
    for number in range(count):
        data = bytearray(chance.choice(vectors.ALL) if number % 3 == 0 else generated(chance))
        for _ in range(chance.randrange(1, 4)):
            mutate(data, chance)
        if chance.random() < 0.7:
            repair(data)
        yield bytes(data)


class MutationTests(SynchronousTestCase):
    """
    Whatever arrives, it is a message or it is malformed; nothing else happens.
    """

    def test_decode(self) -> None:
        """
        100,000 mutated messages are each read or refused; those read are consistent, and a fair
        share of both kinds is among them.
        """
        read = 0
        for data in broken(COUNT):
            try:
                message = decode(data)
            except MalformedMessage:
                continue
            read += 1
            self.check(message, data)
        self.assertGreater(read, COUNT // 10)
        self.assertGreater(COUNT - read, COUNT // 10)

    def check(self, message: ReceivedMessage, data: bytes) -> None:
        """
        What was read hangs together.
        """
        self.assertEqual(message.data, data)
        self.assertLessEqual(4 * len(message.attributes), len(data) - 20)
        self.assertEqual(len(set(message.unknownRequired)), len(message.unknownRequired))
        for type in message.unknownRequired:
            self.assertTrue(type < 0x8000 and type not in ATTRIBUTES)
        types = [found.type for found in message.attributes]
        for at, type in enumerate(types):
            if type == T.MESSAGE_INTEGRITY:
                self.assertLessEqual(
                    set(types[at + 1 :]), {T.MESSAGE_INTEGRITY_SHA256, T.FINGERPRINT}
                )
        self.assertFalse(message.isIntegrityValid(b"another key"))

    def test_everythingElse(self) -> None:
        """
        The answerer and the framers bear the same messages.
        """
        answerer = BindingAnswerer([LOCAL], keyFor={"evtj:h6vY": b"key"}.get)
        for data in broken(COUNT // 10):
            answer = answerer.answer(data, SOURCE, LOCAL)
            if answer is not None:
                self.assertLessEqual(len(answer.data), max(len(data), 40))
                decode(answer.data)
            for framer in (StunFramer(), Rfc4571Framer()):
                try:
                    found = framer.feed(data)
                except MalformedMessage:
                    continue
                rest = framer.takeBuffered()
                self.assertLessEqual(sum(map(len, found)) + len(rest), len(data))
