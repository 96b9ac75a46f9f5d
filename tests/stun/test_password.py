"""
Tests for L{holepunch.stun.password}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadCredentials
from holepunch.stun import longTermKey, opaqueString, shortTermKey, userHash
from tests.stun import vectors
from tests.stun.strategies import REPEATABLE


class OpaqueStringTests(SynchronousTestCase):
    """
    L{opaqueString}.
    """

    def test_plain(self) -> None:
        """
        A text of plain ASCII is left as it is, upper case and spaces too.
        """
        self.assertEqual(opaqueString("Correct horse, battery"), "Correct horse, battery")

    def test_spaces(self) -> None:
        """
        Every kind of space becomes the plain one.
        """
        self.assertEqual(opaqueString("a\u00a0b\u3000c"), "a b c")

    def test_composed(self) -> None:
        """
        The two ways to write an accent give one password.
        """
        self.assertEqual(opaqueString("e\u0301"), opaqueString("\u00e9"))

    def test_widthIsKept(self) -> None:
        """
        Letters that only look alike stay different, unlike with SASLprep.
        """
        self.assertNotEqual(opaqueString("\u2168"), "IX")

    def test_refused(self) -> None:
        """
        Empty texts, control characters and invisible characters are refused.
        """
        for text in ("", "a\0b", "tab\t", "soft\u00adhyphen", "line\u2028", "\ud800", "\ue000"):
            with self.assertRaises(BadCredentials, msg=repr(text)):
                opaqueString(text)

    @REPEATABLE
    @given(st.text())
    def test_idempotent(self, text: str) -> None:
        """
        Preparing twice is preparing once.
        """
        try:
            once = opaqueString(text)
        except BadCredentials:
            return
        self.assertEqual(opaqueString(once), once)


class KeyTests(SynchronousTestCase):
    """
    Keys and hashes.
    """

    def test_md5(self) -> None:
        """
        The key of the example in RFC 8489 section 9.2.2.
        """
        self.assertEqual(
            longTermKey("user", "realm", "pass").hex(), "8493fbc53ba582fb4c044c456bdc40eb"
        )

    def test_sha256(self) -> None:
        """
        A SHA-256 key has 32 bytes and differs with each of the three texts.
        """
        keys = {
            longTermKey(user, realm, password, 2)
            for user in "ab"
            for realm in "ab"
            for password in "ab"
        }
        self.assertEqual(len(keys), 8)
        self.assertEqual({len(key) for key in keys}, {32})

    def test_unknownAlgorithm(self) -> None:
        """
        An algorithm that nobody knows is refused.
        """
        with self.assertRaises(BadCredentials):
            longTermKey("user", "realm", "pass", 3)

    def test_shortTerm(self) -> None:
        """
        A short-term key is the prepared password.
        """
        self.assertEqual(
            shortTermKey(vectors.SHORT_TERM_PASSWORD), vectors.SHORT_TERM_PASSWORD.encode()
        )

    def test_userHash(self) -> None:
        """
        A user hash has 32 bytes and does not contain the name.
        """
        hashed = userHash("alice", "example.org")
        self.assertEqual(len(hashed), 32)
        self.assertNotEqual(hashed, userHash("bob", "example.org"))
