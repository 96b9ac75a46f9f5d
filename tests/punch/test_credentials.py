"""
Tests of L{holepunch.punch.credentials}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.punch import Credentials


class CredentialsTests(SynchronousTestCase):
    """
    What a session's credentials may be.
    """

    def test_generate(self) -> None:
        """
        Fresh credentials come from the given randomness alone, and are long enough.
        """
        made = Credentials.generate(lambda size: bytes(range(size)))
        self.assertEqual(made, Credentials.generate(lambda size: bytes(range(size))))
        self.assertEqual((len(made.ufrag), len(made.password)), (8, 32))

    def test_limits(self) -> None:
        """
        Too short, and characters other than the RFC's, are refused.
        """
        long = "p" * 22
        for ufrag, password in (
            ("abc", long),
            ("ab:d", long),
            ("abcd", "p" * 21),
            ("abcd\n", long),
        ):
            self.assertRaises(ValueError, Credentials, ufrag, password)

    def test_secret(self) -> None:
        """
        The password does not show.
        """
        self.assertNotIn("p" * 22, repr(Credentials("abcd", "p" * 22)))
