"""
Tests for L{holepunch.stun.framing}.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun import Rfc4571Framer, StunFramer, frameRfc4571
from tests.stun import vectors
from tests.stun.strategies import REPEATABLE


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """
    C{data}, cut where C{cuts} says.
    """
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(at)]


cutLists = st.lists(st.integers(0, 5000), max_size=20)


class StunFramerTests(SynchronousTestCase):
    """
    L{StunFramer}.
    """

    @REPEATABLE
    @given(st.lists(st.sampled_from(vectors.ALL), max_size=8), cutLists)
    def test_anyCut(self, messages: list[bytes], cuts: list[int]) -> None:
        """
        However the stream is cut, the same messages come out, and nothing is left.
        """
        framer = StunFramer()
        found = [
            message for piece in pieces(b"".join(messages), cuts) for message in framer.feed(piece)
        ]
        self.assertEqual(found, messages)
        self.assertEqual(framer.takeBuffered(), b"")

    def test_byteByByte(self) -> None:
        """
        A message is out with its last byte, not before.
        """
        framer = StunFramer()
        for byte in vectors.REQUEST[:-1]:
            self.assertEqual(framer.feed(bytes([byte])), [])
        self.assertEqual(framer.feed(vectors.REQUEST[-1:]), [vectors.REQUEST])

    def test_stepwise(self) -> None:
        """
        One message can be taken, and what follows it be something else.
        """
        framer = StunFramer()
        framer.append(vectors.REQUEST + b"\x16\x03\x01 a TLS ClientHello")
        self.assertEqual(framer.next(), vectors.REQUEST)
        self.assertEqual(framer.takeBuffered(), b"\x16\x03\x01 a TLS ClientHello")
        self.assertIsNone(framer.next())

    def test_otherProtocols(self) -> None:
        """
        A stream of something else is noticed with the first byte that is impossible.
        """
        for noise in (b"G", b"\x16", b"\0\1\0\0\x21\x13", b"\0\1\0\2"):
            framer = StunFramer()
            self.assertEqual(framer.feed(noise[:-1]), [])
            with self.assertRaises(MalformedMessage):
                framer.feed(noise[-1:])

    def test_limit(self) -> None:
        """
        A message above the limit is refused as soon as its length is known; one at it is not.
        """
        self.assertEqual(StunFramer(108).feed(vectors.REQUEST), [vectors.REQUEST])
        with self.assertRaises(MalformedMessage):
            StunFramer(107).feed(vectors.REQUEST[:4])
        with self.assertRaises(MalformedMessage):
            StunFramer().feed(b"\0\1\xff\xfc")

    @REPEATABLE
    @given(st.binary(max_size=200), cutLists)
    def test_noise(self, noise: bytes, cuts: list[int]) -> None:
        """
        Noise is waited for or refused, and never kept beyond the limit.
        """
        framer = StunFramer(100)
        try:
            for piece in pieces(noise, cuts):
                framer.feed(piece)
        except MalformedMessage:
            return
        self.assertLess(len(framer.takeBuffered()), 100)


class Rfc4571FramerTests(SynchronousTestCase):
    """
    L{Rfc4571Framer} and L{frameRfc4571}.
    """

    @REPEATABLE
    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), cutLists)
    def test_anyCut(self, contents: list[bytes], cuts: list[int]) -> None:
        """
        However the stream is cut, the same contents come out, and nothing is left.
        """
        framer = Rfc4571Framer()
        stream = b"".join(map(frameRfc4571, contents))
        found = [content for piece in pieces(stream, cuts) for content in framer.feed(piece)]
        self.assertEqual(found, contents)
        self.assertEqual(framer.takeBuffered(), b"")

    def test_emptyFrames(self) -> None:
        """
        Empty frames are passed over.
        """
        stream = frameRfc4571(b"") * 5000 + frameRfc4571(b"x") + frameRfc4571(b"")
        self.assertEqual(Rfc4571Framer().feed(stream), [b"x"])

    def test_stepwise(self) -> None:
        """
        One frame can be taken, and what follows it be something else.
        """
        framer = Rfc4571Framer()
        framer.append(frameRfc4571(vectors.REQUEST) + b"TLS")
        self.assertEqual(framer.next(), vectors.REQUEST)
        self.assertEqual(framer.takeBuffered(), b"TLS")

    def test_limit(self) -> None:
        """
        A frame above the limit is refused as soon as its length is known.
        """
        with self.assertRaises(MalformedMessage):
            Rfc4571Framer(100).feed(b"\0\x65")
        largest = bytes(0xFFFF)
        self.assertEqual(Rfc4571Framer().feed(frameRfc4571(largest)), [largest])
        with self.assertRaises(LocalProtocolError):
            frameRfc4571(bytes(0x10000))
