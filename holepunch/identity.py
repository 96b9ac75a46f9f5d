"""
Who a peer is: an Ed25519 key, the peer ID derived from it, and the file that keeps it.

Owns: making, reading and writing keys; peer IDs; the self-signed certificate that carries the key
into TLS.
Knows nothing of: connections. L{holepunch.rendezvous} and L{holepunch.peer} pin the identity.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import stat
import sys
import tempfile
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from holepunch.errors import BadIdentity, BadPeerID

_ID_LENGTH = 52


def configurationFile(name: str) -> str:
    """
    Where this user's file of that name is: in C{$XDG_CONFIG_HOME/holepunch}, or the system's like.
    """
    if os.name == "nt":
        home = os.environ.get("APPDATA", "~")
    elif sys.platform == "darwin":
        home = "~/Library/Application Support"
    else:
        home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return os.path.join(os.path.expanduser(home), "holepunch", name)


def _rawPublicKey(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@attrs.frozen(order=True)
class PeerID:
    """
    The public name of an identity: its Ed25519 public key (32 bytes) in lower-case base32.

    @ivar text: The 52 characters.

    @raise BadPeerID: C{text} is something else.
    """

    text: str = attrs.field()

    @text.validator
    def _checkText(self, attribute: object, value: str) -> None:
        if not self.looksLike(value):
            raise BadPeerID(f"{value[:80]!r} is not a peer ID")

    @staticmethod
    def looksLike(text: str) -> bool:
        """
        Has C{text} the form of a peer ID?
        """
        if len(text) != _ID_LENGTH:
            return False
        try:
            raw = base64.b32decode(text.upper() + "====")
        except ValueError:
            return False
        return base64.b32encode(raw).decode().rstrip("=").lower() == text

    @classmethod
    def fromPublicKey(cls, raw: bytes) -> PeerID:
        """
        The peer ID of a raw Ed25519 public key of 32 bytes.
        """
        if len(raw) != 32:
            raise BadPeerID(f"an Ed25519 public key has 32 bytes, not {len(raw)}")
        return cls(base64.b32encode(raw).decode().rstrip("=").lower())

    @classmethod
    def fromCertificate(cls, certificate: x509.Certificate) -> PeerID:
        """
        The peer ID that a TLS certificate proves.

        @raise BadPeerID: The certificate carries no Ed25519 key.
        """
        try:
            key = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):
            raise BadPeerID("the certificate carries no usable key") from None
        if not isinstance(key, Ed25519PublicKey):
            raise BadPeerID("the certificate carries no Ed25519 key")
        return cls.fromPublicKey(_rawPublicKey(key))

    @property
    def publicKey(self) -> bytes:
        """
        The 32 bytes of the Ed25519 public key.
        """
        return base64.b32decode(self.text.upper() + "====")

    @property
    def short(self) -> str:
        """
        The first eight characters, for people to read; never for comparing.
        """
        return self.text[:8]

    def verify(self, signature: bytes, data: bytes) -> bool:
        """
        Did this identity sign C{data}?
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.publicKey).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return self.text


@attrs.frozen(eq=False)
class Identity:
    """
    An Ed25519 private key and the L{PeerID} that belongs to it.
    """

    privateKey: Ed25519PrivateKey = attrs.field(repr=False)

    @property
    def peerID(self) -> PeerID:
        """
        The public side of this identity.
        """
        return PeerID.fromPublicKey(_rawPublicKey(self.privateKey.public_key()))

    @classmethod
    def generate(cls) -> Identity:
        """
        A new identity, kept nowhere yet.
        """
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, create: bool = False) -> Identity:
        """
        Read an identity from a PEM file (PKCS #8) that only its owner may read.

        @param create: Make a new identity there when the file does not exist; its folder only
            where it is the one of L{configurationFile}.
        @raise BadIdentity: The file is missing, unreadable, open to other users, or not such a key.
        """
        file = Path(path)
        try:
            with file.open("rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                data = opened.read(65536)
        except FileNotFoundError:
            if create:
                identity = cls.generate()
                # Another program may make one in the same moment: then that is the identity.
                return identity if identity._write(file) else cls.load(file)
            raise BadIdentity(f"there is no identity file at {file}: run `holepunch id`") from None
        except OSError as error:
            raise BadIdentity(f"cannot read the identity file {file}: {error.strerror}") from None
        except ValueError:
            raise BadIdentity(f"{str(file)!r} cannot be the name of a file") from None
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise BadIdentity(f"{file} does not hold a private key in PEM form") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise BadIdentity(f"the key in {file} is not an Ed25519 key")
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise BadIdentity(f"other users can read the identity file {file}: run chmod 600 on it")
        return cls(key)

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the identity to a new file with mode 600, whole or not at all.

        @raise BadIdentity: The file exists already, or cannot be written.
        """
        if not self._write(Path(path)):
            raise BadIdentity(f"{path} exists already")

    def _write(self, file: Path) -> bool:
        """
        Write a new file.

        @return: False when there is one already.
        """
        pem = self.privateKey.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        try:
            # Any other folder that is not there is more likely misspelt.
            if file.parent == Path(configurationFile(file.name)).parent:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes the file with mode 600; link() replaces no file that came first.
            handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".identity-")
            try:
                with os.fdopen(handle, "wb") as opened:
                    opened.write(pem)
                    opened.flush()
                    os.fsync(opened.fileno())
                os.link(temporary, file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        except FileExistsError:
            return False
        except FileNotFoundError:
            raise BadIdentity(
                f"cannot write the identity file {file}: there is no folder {file.parent}"
            ) from None
        except OSError as error:
            raise BadIdentity(f"cannot write the identity file {file}: {error.strerror}") from None
        return True

    def sign(self, data: bytes) -> bytes:
        """
        A 64-byte Ed25519 signature over C{data} (RFC 8032).
        """
        return self.privateKey.sign(data)

    def certificate(self) -> x509.Certificate:
        """
        A self-signed certificate that carries this identity's key into TLS.

        Its dates say nothing: only the key is compared, as SSH does.
        """
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.peerID.text)])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.privateKey.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))
            .not_valid_after(datetime.datetime(2999, 12, 31, tzinfo=datetime.timezone.utc))
            .sign(self.privateKey, None)
        )
