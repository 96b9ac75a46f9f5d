"""
Tests for L{holepunch.rendezvous.scram}, L{holepunch.rendezvous.passwords} and
L{holepunch.rendezvous.attempts}.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.checkers import ICredentialsChecker
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.errors import BadCredentials, CannotRead
from holepunch.interfaces import IStoredPasswords
from holepunch.rendezvous.attempts import Attempts
from holepunch.rendezvous.passwords import PasswordFile, parsePasswords
from holepunch.rendezvous.scram import (
    Cost,
    LoginExchange,
    StoredPassword,
    checkUser,
    isNonce,
    saltPassword,
)

CHEAP = Cost(logN=14, r=8, p=1)
SALT = bytes(range(16))
SALTED = saltPassword("secret", SALT, CHEAP)
STORED = StoredPassword.derive(SALTED, SALT, CHEAP)
EXCHANGE = LoginExchange(
    user="alice",
    clientNonce="c" * 24,
    nonce="c" * 24 + "s" * 24,
    salt=SALT,
    cost=CHEAP,
    binding=bytes(32),
)


class ExchangeTests(SynchronousTestCase):
    """
    The formulas.
    """

    def test_vector(self) -> None:
        """
        What is proven over, and the proof, are those that the protocol's description gives.
        """
        self.assertEqual(
            EXCHANGE.message,
            b"n=alice,r=cccccccccccccccccccccccc,"
            b"r=ccccccccccccccccccccccccssssssssssssssssssssssss,"
            b"s=AAECAwQFBgcICQoLDA0ODw==,i=16384,b=8,p=1,"
            b"c=cD10bHMtZXhwb3J0ZXIsLAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,"
            b"r=ccccccccccccccccccccccccssssssssssssssssssssssss",
        )
        expected = hashlib.scrypt(b"secret", salt=SALT, n=16384, r=8, p=1, dklen=32)
        self.assertEqual(SALTED, expected)

    def test_right(self) -> None:
        """
        The right password proves itself both ways.
        """
        self.assertTrue(STORED.accepts(EXCHANGE.prove(SALTED), EXCHANGE.message))
        self.assertTrue(EXCHANGE.isSigned(SALTED, STORED.sign(EXCHANGE.message)))

    def test_wrong(self) -> None:
        """
        Another password, and anything else that differs, proves nothing.
        """
        proof = EXCHANGE.prove(SALTED)
        for changed in (
            attrs.evolve(EXCHANGE, user="bob"),
            attrs.evolve(EXCHANGE, nonce="c" * 24 + "t" * 24),
            attrs.evolve(EXCHANGE, binding=bytes(31) + b"x"),
            attrs.evolve(EXCHANGE, cost=Cost(logN=15, r=8, p=1)),
        ):
            self.assertFalse(STORED.accepts(proof, changed.message))
            self.assertFalse(changed.isSigned(SALTED, STORED.sign(EXCHANGE.message)))
        other = saltPassword("Secret", SALT, CHEAP)
        self.assertFalse(STORED.accepts(EXCHANGE.prove(other), EXCHANGE.message))

    @given(st.binary(max_size=40))
    def test_anything(self, proof: bytes) -> None:
        """
        Bytes that were not proven are not accepted, whatever their length.
        """
        self.assertFalse(STORED.accepts(proof, EXCHANGE.message))

    def test_unlikeStored(self) -> None:
        """
        What is stored is not what logs in: who steals it has neither password nor proof.
        """
        self.assertFalse(STORED.accepts(STORED.storedKey, EXCHANGE.message))
        self.assertFalse(STORED.accepts(STORED.serverKey, EXCHANGE.message))

    def test_unicode(self) -> None:
        """
        The two ways of writing an accent are one password and one name.
        """
        one, other = "caf\u00e9", "cafe\u0301"
        self.assertEqual(saltPassword(one, SALT, CHEAP), saltPassword(other, SALT, CHEAP))
        self.assertEqual(checkUser(one), checkUser(other))

    def test_userNames(self) -> None:
        """
        Names that would break a file, a message or a terminal are refused.
        """
        for user in ("", "a b", "a:b", "a,b", "a#b", "a\n", "\x1b[31m", "a" * 65, "\u202ea"):
            self.assertRaises(BadCredentials, checkUser, user)
        self.assertEqual(checkUser("alice@example.org"), "alice@example.org")

    def test_nonces(self) -> None:
        """
        A nonce is printable, without commas, and neither too short nor endless.
        """
        self.assertTrue(isNonce("a" * 16))
        for text in ("a" * 15, "a" * 257, "a" * 20 + ",", "a" * 20 + "\n", "\u00e9" * 20):
            self.assertFalse(isNonce(text))

    def test_bearable(self) -> None:
        """
        The default cost is bearable; less, or very much more, is not.
        """
        self.assertTrue(Cost().isBearable and CHEAP.isBearable)
        for cost in (
            Cost(logN=13),
            Cost(r=1),
            Cost(p=0),
            Cost(p=17),
            Cost(logN=20, r=32),
            Cost(logN=10**9),
            Cost(logN=-1),
        ):
            self.assertFalse(cost.isBearable)


class PasswordFileTests(SynchronousTestCase):
    """
    L{PasswordFile}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.file = PasswordFile(self.path)

    def test_interfaces(self) -> None:
        """
        It is a checker for C{twisted.cred}, which knows what is stored.
        """
        verifyObject(ICredentialsChecker, self.file)
        verifyObject(IStoredPasswords, self.file)

    def test_set(self) -> None:
        """
        A user is added once, and changed after that; other lines stay as they are.
        """
        self.path.write_text("# users\n\n")
        self.assertTrue(self.file.setPassword("alice", STORED))
        self.assertTrue(self.file.setPassword("bob", STORED))
        other = StoredPassword.make("other", os.urandom, CHEAP)
        self.assertFalse(self.file.setPassword("alice", other))
        self.assertEqual(self.file.users(), ("alice", "bob"))
        self.assertEqual(self.file.storedPassword("alice"), other)
        self.assertEqual(self.file.storedPassword("bob"), STORED)
        self.assertIsNone(self.file.storedPassword("carol"))
        self.assertTrue(self.path.read_text().startswith("# users\n\n"))
        self.assertTrue(self.file.remove("alice"))
        self.assertFalse(self.file.remove("alice"))
        self.assertEqual(self.file.users(), ("bob",))

    def test_notThere(self) -> None:
        """
        The password is nowhere in the file.
        """
        self.file.setPassword("alice", StoredPassword.make("secret", os.urandom, CHEAP))
        self.assertNotIn("secret", self.path.read_text())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_otherFile(self) -> None:
        """
        A file of another kind is refused, not repeated, and not written to.
        """
        short = "alice:scrypt$1$8$1$AA==$AA==$AA=="
        for line in ("alice:hunter2", "alice:$6$x$y", "hunter2", short):
            self.path.write_text(f"{line}\n")
            error = self.assertRaises(CannotRead, self.file.setPassword, "bob", STORED)
            self.assertIn("line 1", str(error))
            self.assertNotIn("hunter2", str(error))
            self.assertEqual(self.path.read_text(), f"{line}\n")

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """
        Any text is read as passwords, or refused by one sentence.
        """
        try:
            list(parsePasswords(text.split("\n"), "here"))
        except CannotRead as error:
            self.assertIn("here, line", str(error))

    @given(
        st.builds(
            StoredPassword,
            salt=st.binary(min_size=8, max_size=64),
            cost=st.builds(Cost, logN=st.integers(14, 17), p=st.integers(1, 16)),
            storedKey=st.binary(min_size=32, max_size=32),
            serverKey=st.binary(min_size=32, max_size=32),
        )
    )
    def test_roundTrip(self, stored: StoredPassword) -> None:
        """
        What was written is read.
        """
        self.assertEqual(StoredPassword.parse(stored.format()), stored)


class AttemptsTests(SynchronousTestCase):
    """
    L{Attempts}.
    """

    def test_limit(self) -> None:
        """
        After so many failures one has to wait, and successes do not count.
        """
        attempts = Attempts(3, 10.0, 100)
        for _ in range(2):
            attempts.begin("a", 0.0)
        self.assertEqual(attempts.wait("a", 0.0), 0.0)
        attempts.begin("a", 0.0)
        self.assertEqual(attempts.wait("a", 0.0), 10.0)
        self.assertEqual(attempts.wait("b", 0.0), 0.0)
        attempts.succeed("a")
        self.assertEqual(attempts.wait("a", 0.0), 0.0)
        attempts.begin("a", 0.0)
        self.assertAlmostEqual(attempts.wait("a", 4.0), 6.0)
        self.assertEqual(attempts.wait("a", 10.0), 0.0)

    def test_capacity(self) -> None:
        """
        Memory is bounded: the longest silent one is forgotten. A clock that goes back harms nobody.
        """
        attempts = Attempts(1, 10.0, 2)
        for key in ("a", "b", "a", "c"):
            attempts.begin(key, 5.0)
        self.assertEqual(attempts.wait("b", 5.0), 0.0)
        self.assertGreater(attempts.wait("a", 0.0), 0.0)
        attempts.succeed("nobody")
