"""
Tests for L{holepunch.turn.framing} and L{holepunch.turn.channeldata}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun import Message, Method
from holepunch.turn import TurnFramer, encodeChannelData, looksLikeChannelData
from holepunch.turn.channeldata import dataLength
from tests.stun.strategies import REPEATABLE, messages

channelData = st.tuples(st.integers(0x4000, 0x7FFF), st.binary(max_size=40))
knownMethods = messages().filter(lambda message: message.method < 0x80)


class TurnFramerTests(SynchronousTestCase):
    """
    L{TurnFramer}.
    """

    @REPEATABLE
    @given(st.lists(st.one_of(channelData, knownMethods), max_size=6), st.integers(1, 50))
    def test_anyCut(self, items: list[tuple[int, bytes] | Message], size: int) -> None:
        """
        Messages of both kinds come out whole and in order, however the stream was cut.
        """
        encoded = [
            item.encode() if isinstance(item, Message) else encodeChannelData(*item, True)
            for item in items
        ]
        stream = b"".join(encoded)
        framer = TurnFramer()
        found = []
        for at in range(0, len(stream), size):
            found.extend(framer.feed(stream[at : at + size]))
        self.assertEqual(found, encoded)
        self.assertEqual(framer.takeBuffered(), b"")

    def test_padding(self) -> None:
        """
        On a stream ChannelData is padded to four bytes, and its length tells the padding apart.
        """
        message = encodeChannelData(0x4001, b"hello", isReliable=True)
        self.assertEqual(message, b"\x40\x01\x00\x05hello\0\0\0")
        self.assertEqual(dataLength(message), 5)
        self.assertEqual(encodeChannelData(0x4001, b"hello"), b"\x40\x01\x00\x05hello")

    def test_cutShort(self) -> None:
        """
        ChannelData with fewer bytes than it says has no length.
        """
        self.assertIsNone(dataLength(b"\x40\x01\x00\x05hell"))

    def test_otherProtocols(self) -> None:
        """
        A stream of something else is refused as early as its bytes allow.
        """
        for start in (b"\x16", b"\x80", b"\0\1\0\0\x21\x12\xa4\x43", b"\0\1\0\1\x21\x12\xa4\x42"):
            self.assertRaises(MalformedMessage, TurnFramer().feed, start)

    def test_limit(self) -> None:
        """
        A message above the limit is refused before it is buffered.
        """
        framer = TurnFramer(limit=100)
        self.assertRaises(MalformedMessage, framer.feed, b"\x40\0\xff\xff")

    def test_tooLong(self) -> None:
        """
        Data that does not fit is the caller's mistake.
        """
        self.assertRaises(LocalProtocolError, encodeChannelData, 0x4000, bytes(65536))

    def test_looks(self) -> None:
        """
        STUN and ChannelData are told apart by the first byte.
        """
        self.assertTrue(looksLikeChannelData(b"\x40\0\0\0"))
        self.assertFalse(looksLikeChannelData(b"\x40\0\0"))
        self.assertFalse(looksLikeChannelData(Message.request(Method.BINDING, bytes(12)).encode()))
