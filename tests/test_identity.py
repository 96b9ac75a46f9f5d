"""
Tests for L{holepunch.identity}.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadIdentity, BadPeerID
from holepunch.identity import Identity, PeerID, configurationFile

IDENTITY = Identity.generate()


class PeerIDTests(SynchronousTestCase):
    """
    L{PeerID}.
    """

    @given(st.binary(min_size=32, max_size=32))
    def test_roundTrip(self, raw: bytes) -> None:
        """
        A peer ID is the public key in 52 letters and digits, and gives it back.
        """
        peerID = PeerID.fromPublicKey(raw)
        self.assertRegex(peerID.text, "^[a-z2-7]{52}$")
        self.assertEqual(peerID.publicKey, raw)
        self.assertEqual(PeerID(str(peerID)), peerID)
        self.assertTrue(peerID.text.startswith(peerID.short))

    @given(st.text(max_size=60))
    def test_otherTexts(self, text: str) -> None:
        """
        Every key has one text, and other texts are no peer IDs.
        """
        if PeerID.looksLike(text):
            self.assertEqual(PeerID.fromPublicKey(PeerID(text).publicKey).text, text)
        else:
            self.assertRaises(BadPeerID, PeerID, text)

    def test_notCanonical(self) -> None:
        """
        Upper case, and bits beyond the key, make no second text for the same key.
        """
        text = PeerID.fromPublicKey(bytes(32)).text
        self.assertFalse(PeerID.looksLike(text.upper()))
        self.assertFalse(PeerID.looksLike(text[:-1] + "b"))
        self.assertRaises(BadPeerID, PeerID.fromPublicKey, bytes(31))

    def test_signature(self) -> None:
        """
        A signature proves who signed, and what.
        """
        signature = IDENTITY.sign(b"data")
        self.assertTrue(IDENTITY.peerID.verify(signature, b"data"))
        self.assertFalse(IDENTITY.peerID.verify(signature, b"other"))
        self.assertFalse(Identity.generate().peerID.verify(signature, b"data"))
        self.assertFalse(IDENTITY.peerID.verify(b"short", b"data"))

    def test_certificate(self) -> None:
        """
        The certificate carries the key; one with another kind of key carries no peer ID.
        """
        self.assertEqual(PeerID.fromCertificate(IDENTITY.certificate()), IDENTITY.peerID)


class IdentityFileTests(SynchronousTestCase):
    """
    The file that keeps an identity.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "identity.pem"

    def assertRefused(self, fragment: str) -> None:
        error = self.assertRaises(BadIdentity, Identity.load, self.path)
        self.assertIn(fragment, str(error))
        self.assertIn(str(self.path), str(error))

    def write(self, data: bytes, mode: int = 0o600) -> None:
        self.path.write_bytes(data)
        self.path.chmod(mode)

    def pem(self, key: object = IDENTITY.privateKey) -> bytes:
        data: bytes = key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return data

    def test_saved(self) -> None:
        """
        What was saved is loaded again, and only the owner may read it.
        """
        IDENTITY.save(self.path)
        self.assertEqual(Identity.load(self.path).peerID, IDENTITY.peerID)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), ["identity.pem"])

    def test_created(self) -> None:
        """
        A missing file is made when that is wanted, once; and so is the configuration directory.
        """
        self.patch(os, "environ", {**os.environ, "XDG_CONFIG_HOME": str(self.directory / "new")})
        for path in (self.path, Path(configurationFile("identity.pem"))):
            first = Identity.load(path, create=True)
            self.assertEqual(Identity.load(path, create=True).peerID, first.peerID)

    def test_noFolder(self) -> None:
        """
        Another directory that does not exist is not made: it is more likely misspelt.
        """
        self.path = self.directory / "below" / "identity.pem"
        error = self.assertRaises(BadIdentity, Identity.load, self.path, create=True)
        self.assertIn(f"there is no folder {self.path.parent}", str(error))
        self.assertEqual(os.listdir(self.directory), [])

    def test_neverOverwritten(self) -> None:
        """
        Saving replaces no file.
        """
        self.write(b"precious")
        self.assertRaises(BadIdentity, IDENTITY.save, self.path)
        self.assertEqual(self.path.read_bytes(), b"precious")
        self.assertEqual(os.listdir(self.directory), ["identity.pem"])

    def test_noFileName(self) -> None:
        """
        What cannot be the name of a file is told so.
        """
        self.assertRaises(BadIdentity, Identity.load, "identity\0.pem")

    def test_missing(self) -> None:
        """
        A missing file is named, and how to make one.
        """
        self.assertRefused("holepunch id")

    def test_unreadable(self) -> None:
        """
        What cannot be read as a file is named.
        """
        self.path.mkdir()
        self.assertRefused("cannot read")

    def test_tooOpen(self) -> None:
        """
        A key that other users can read is not used.
        """
        for mode in (0o640, 0o604, 0o660, 0o644):
            self.write(self.pem(), mode)
            self.assertRefused("chmod 600")

    def test_notAKey(self) -> None:
        """
        A file that holds something else, or another kind of key, or a locked one, is not used.
        """
        locked = IDENTITY.privateKey.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        other = self.pem(ec.generate_private_key(ec.SECP256R1()))
        for data in (b"", b"garbage", b"\xff" * 100, self.pem()[:60], locked, other):
            self.write(data)
            self.assertRefused(str(self.path))

    def test_unwritable(self) -> None:
        """
        A place where nothing can be written is named.
        """
        error = self.assertRaises(BadIdentity, Identity.load, "/dev/null/key", create=True)
        self.assertIn("/dev/null/key", str(error))

    def test_secret(self) -> None:
        """
        The private key is no part of what is printed.
        """
        self.assertEqual(repr(IDENTITY), "Identity()")


class RaceTests(SynchronousTestCase):
    """
    Two programs that make the same identity file.
    """

    def test_otherWasFirst(self) -> None:
        """
        Who comes second takes the identity that the first one made.
        """
        path = Path(self.mktemp())
        first = Identity.generate()
        generate = Identity.generate

        def slowly() -> Identity:
            first.save(path)
            return generate()

        self.patch(Identity, "generate", slowly)
        self.assertEqual(Identity.load(path, create=True).peerID, first.peerID)
