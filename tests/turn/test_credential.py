"""
Tests for L{holepunch.turn.credential}.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from twisted.trial.unittest import SynchronousTestCase

from holepunch.turn import mintCredential
from holepunch.turn.credential import expiryOf, userOf


class CredentialTests(SynchronousTestCase):
    """
    L{mintCredential}.
    """

    def test_form(self) -> None:
        """
        User name and password are those of the TURN REST convention.
        """
        credential = mintCredential(b"secret", "alice", 1700000000)
        expected = hmac.new(b"secret", b"1700000000:alice", hashlib.sha1).digest()
        self.assertEqual(credential.username, "1700000000:alice")
        self.assertEqual(credential.password, base64.b64encode(expected).decode())

    def test_passwordIsNotShown(self) -> None:
        """
        The text form of a credential keeps the password.
        """
        credential = mintCredential(b"secret", "alice", 1)
        self.assertNotIn(credential.password, repr(credential))

    def test_reading(self) -> None:
        """
        A user name tells its time and its user; one that is no ephemeral name has no time.
        """
        self.assertEqual((expiryOf("12:al:ice"), userOf("12:al:ice")), (12, "al:ice"))
        for name in ("alice", "x12:alice", "١٢:alice", "9" * 13 + ":alice", ":alice", ""):
            self.assertIsNone(expiryOf(name))
            self.assertEqual(userOf(name), name)
