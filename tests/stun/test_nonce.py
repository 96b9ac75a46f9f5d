"""
Tests for L{holepunch.stun.nonce}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.stun import NonceMint, SecurityFeature, securityFeatures
from tests.stun.strategies import REPEATABLE

SOURCE = TransportAddress("192.0.2.1", 4000)
BOTH = SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY


class CookieTests(SynchronousTestCase):
    """
    L{securityFeatures}.
    """

    def test_bits(self) -> None:
        """
        Bit 0 is the most significant of the first byte (RFC 8489 section 9.2).
        """
        self.assertEqual(securityFeatures(b"obMatJos2gAAArest"), BOTH & ~(1 << 22))
        self.assertEqual(securityFeatures(b"obMatJos2QAAA"), SecurityFeature.USERNAME_ANONYMITY)
        self.assertEqual(securityFeatures(b"obMatJos2wAAA"), BOTH)
        self.assertEqual(securityFeatures(b"obMatJos2AAAAwAAA"), SecurityFeature(0))

    def test_noCookie(self) -> None:
        """
        A nonce of an older server has no features, not even none.
        """
        for nonce in (
            b"",
            b"f//499k954d6OL34oL9FSTvy64sA",
            b"obMatJos",
            b"obMatJos2gA",
            b"obMatJos2g===",
            b"obMatJos2\xff\xff\xff\xff",
        ):
            self.assertIsNone(securityFeatures(nonce), nonce)

    @REPEATABLE
    @given(st.binary(max_size=30))
    def test_noise(self, noise: bytes) -> None:
        """
        No nonce is too strange to be looked at.
        """
        securityFeatures(b"obMatJos2" + noise)
        self.assertFalse(NonceMint(b"secret", BOTH).isValid(noise, SOURCE, 0))
        self.assertFalse(NonceMint(b"secret", BOTH).isValid(b"obMatJos2wAAA" + noise, SOURCE, 0))


class NonceMintTests(SynchronousTestCase):
    """
    L{NonceMint}.
    """

    def setUp(self) -> None:
        """
        A mint and one of its nonces.
        """
        self.mint = NonceMint(b"secret", BOTH, lifetime=60)
        self.nonce = self.mint.mint(SOURCE, 1000)

    def test_valid(self) -> None:
        """
        A nonce is valid until its lifetime has passed.
        """
        self.assertTrue(self.mint.isValid(self.nonce, SOURCE, 1000))
        self.assertTrue(self.mint.isValid(self.nonce, SOURCE, 1060))
        self.assertFalse(self.mint.isValid(self.nonce, SOURCE, 1060.1))
        self.assertEqual(securityFeatures(self.nonce), BOTH)

    def test_otherSource(self) -> None:
        """
        A nonce is valid for the address and port that got it (RFC 8489 section 9.2.4).
        """
        for other in (TransportAddress("192.0.2.1", 4001), TransportAddress("192.0.2.2", 4000)):
            self.assertFalse(self.mint.isValid(self.nonce, other, 1000))
            self.assertNotEqual(self.mint.mint(other, 1000), self.nonce)

    def test_otherMint(self) -> None:
        """
        Neither another secret nor other features make a valid nonce.
        """
        for other in (
            NonceMint(b"other", BOTH),
            NonceMint(b"secret", SecurityFeature.PASSWORD_ALGORITHMS),
        ):
            self.assertFalse(self.mint.isValid(other.mint(SOURCE, 1000), SOURCE, 1000))

    def test_flippedBits(self) -> None:
        """
        A nonce with one bit changed is valid no more, the bits of its features first of all.
        """
        for bit in range(len(self.nonce) * 8):
            flipped = bytearray(self.nonce)
            flipped[bit >> 3] ^= 1 << (bit & 7)
            self.assertFalse(self.mint.isValid(bytes(flipped), SOURCE, 1000), bit)
