"""
Tests for L{holepunch.rendezvous.invitation} and its words.
"""

from __future__ import annotations

import os
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadInvitation, InvitationFailed
from holepunch.identity import Identity
from holepunch.rendezvous.invitation import Greeting, InvitationCode, InvitationExchange
from holepunch.rendezvous.invitationwords import WORDS

CODE = InvitationCode(7, ("crossword", "atlas"))
WORD = st.sampled_from(WORDS)
CODES = st.builds(InvitationCode, st.integers(1, 999_999_999), st.tuples(WORD, WORD))
ALICE = Greeting(peerID=Identity.generate().peerID, name="alice")


def distance(one: str, other: str) -> int:
    """
    How many letters are wrong, missing, additional or swapped.
    """
    rows = [[i + j for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            rows[i][j] = min(
                rows[i - 1][j] + 1,
                rows[i][j - 1] + 1,
                rows[i - 1][j - 1] + (one[i - 1] != other[j - 1]),
            )
            if i > 1 and j > 1 and one[i - 2 : i] == other[j - 2 : j][::-1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


class WordTests(SynchronousTestCase):
    """
    The words.
    """

    def test_words(self) -> None:
        """
        There are 512 words of 4 to 9 plain letters, so a code has 18 bits.
        """
        self.assertEqual((len(WORDS), len(set(WORDS))), (512, 512))
        for word in WORDS:
            self.assertRegex(word, r"^[a-z]{4,9}$")

    def test_apart(self) -> None:
        """
        No word becomes another one by one slip.
        """
        near = [
            (one, other)
            for one, other in combinations(WORDS, 2)
            if abs(len(one) - len(other)) < 2 and len(set(one) ^ set(other)) < 3
            if distance(one, other) < 2
        ]
        self.assertEqual(near, [])


class CodeTests(SynchronousTestCase):
    """
    L{InvitationCode}.
    """

    @given(CODES, st.sampled_from(["-", " ", " - "]), st.booleans())
    def test_typed(self, code: InvitationCode, dash: str, isLoud: bool) -> None:
        """
        A code is read as it was written, in any case, with dashes or spaces.
        """
        text = str(code).replace("-", dash)
        self.assertEqual(InvitationCode.parse(f" {text.upper() if isLoud else text}\n"), code)

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """
        Any other text is refused by one sentence.
        """
        try:
            code = InvitationCode.parse(text)
        except BadInvitation as error:
            self.assertTrue(str(error))
        else:
            self.assertEqual(InvitationCode.parse(str(code)), code)

    def test_hint(self) -> None:
        """
        A slip is told, with the word that was probably meant.
        """
        error = self.assertRaises(BadInvitation, InvitationCode.parse, "7-crosword-atlas")
        self.assertIn("is it crossword?", str(error))
        for text in ("7", "crossword-atlas", "7-atlas", "0-opal-atlas", "7-opal-opal-opal"):
            error = self.assertRaises(BadInvitation, InvitationCode.parse, text)
            self.assertIn("7-crossword-atlas", str(error))

    def test_random(self) -> None:
        """
        Every word can be chosen, at either place.
        """
        made = [InvitationCode.make(1, os.urandom).words for _ in range(8000)]
        for place in (0, 1):
            self.assertEqual({words[place] for words in made}, set(WORDS))

    def test_secret(self) -> None:
        """
        The words are not in what is written for programmers, such as a traceback.
        """
        self.assertNotIn("atlas", repr(CODE))


class GreetingTests(SynchronousTestCase):
    """
    L{Greeting}.
    """

    def test_roundTrip(self) -> None:
        """
        It is read as it was written, and a sealed one fits into a message.
        """
        long = Greeting(peerID=ALICE.peerID, name="a" * 63, isConnecting=False)
        for greeting in (ALICE, long, Greeting(peerID=ALICE.peerID)):
            self.assertEqual(Greeting.decode(greeting.encode()), greeting)
        self.assertLess(len(long.encode()) + 33 + 16, 600)

    @given(st.binary() | st.text().map(str.encode) | st.sampled_from([b"[]", b"{}", b"[" * 9999]))
    def test_anything(self, data: bytes) -> None:
        """
        Anything else is refused by one sentence.
        """
        self.assertRaises(InvitationFailed, Greeting.decode, data)

    def test_mistakes(self) -> None:
        """
        Names that break a terminal, and values of another kind, are refused.
        """
        good = ALICE.encode()
        for old, new in (
            (b"alice", b"a\\u001b[31m"),
            (b"true", b'"true"'),
            (b'"alice"', b"7"),
            (ALICE.peerID.text.encode(), b"scribble"),
        ):
            self.assertRaises(InvitationFailed, Greeting.decode, good.replace(old, new))


class ExchangeTests(SynchronousTestCase):
    """
    L{InvitationExchange}.
    """

    def meet(self, one: InvitationCode, other: InvitationCode) -> tuple[InvitationExchange, ...]:
        inviting = InvitationExchange(one, True, os.urandom)
        accepting = InvitationExchange(other, False, os.urandom)
        inviting.receiveHalf(accepting.half)
        accepting.receiveHalf(inviting.half)
        return inviting, accepting

    def test_sameCode(self) -> None:
        """
        With the same code, each side reads what the other one has sealed.
        """
        inviting, accepting = self.meet(CODE, CODE)
        self.assertEqual(accepting.open(inviting.seal(ALICE)), ALICE)
        self.assertEqual(inviting.open(accepting.seal(ALICE)), ALICE)

    def test_otherCode(self) -> None:
        """
        With different codes, or another number, neither side does.
        """
        for other in (InvitationCode(7, ("atlas", "crossword")), InvitationCode(8, CODE.words)):
            inviting, accepting = self.meet(CODE, other)
            self.assertRaises(InvitationFailed, accepting.open, inviting.seal(ALICE))
            self.assertRaises(InvitationFailed, inviting.open, accepting.seal(ALICE))

    def test_reflected(self) -> None:
        """
        Nobody is made to believe what he said himself.
        """
        inviting, _ = self.meet(CODE, CODE)
        self.assertRaises(InvitationFailed, inviting.open, inviting.seal(ALICE))
        alone = InvitationExchange(CODE, True, os.urandom)
        self.assertRaises(InvitationFailed, alone.receiveHalf, alone.half)

    def test_order(self) -> None:
        """
        Nothing is sealed or opened too early, and a half is taken once.
        """
        inviting, accepting = self.meet(CODE, CODE)
        self.assertRaises(InvitationFailed, inviting.receiveHalf, accepting.half)
        early = InvitationExchange(CODE, True, os.urandom)
        self.assertRaises(InvitationFailed, early.seal, ALICE)
        self.assertRaises(InvitationFailed, early.open, b"")

    @given(st.binary(max_size=40))
    def test_anything(self, half: bytes) -> None:
        """
        Whatever comes for a half is taken, or refused by one sentence.
        """
        exchange = InvitationExchange(CODE, True, lambda size: bytes(range(size)))
        try:
            exchange.receiveHalf(half)
        except InvitationFailed as error:
            self.assertIn("makes no sense", str(error))
