"""
Proving a password without showing it, in the way of SCRAM (RFC 5802 and RFC 7677), with scrypt.

The peer shows that it knows the password, the service that it knows what was stored of it, and
neither tells the other anything that is of use elsewhere. What differs from SCRAM-SHA-256: a salted
password is made by scrypt (RFC 7914), which costs an attacker memory, and not by PBKDF2; and every
proof is bound to its TLS connection (RFC 9266).

Owns: the formulas, their limits, and the text of what is stored.
Knows nothing of: connections, users, files.
Driven by: L{holepunch.rendezvous.authentication} and L{holepunch.rendezvous.authenticationclient}.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable

import attrs

from holepunch.errors import BadCredentials

KEY_SIZE = 32
SALT_SIZE = 16
_NONCE = re.compile(r"[!-+\--~]{16,256}\Z")
_USER = re.compile(r"[^\s:,#\x00-\x1f\x7f]{1,64}\Z")
_MAX_MEMORY = 256 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Cost:
    """
    What it takes to try one password.

    @ivar logN: Of scrypt's N; 15 is 32 MiB of memory, where C{r} is 8.
    """

    logN: int = 15
    r: int = 8
    p: int = 3

    @property
    def isBearable(self) -> bool:
        """
        Is it enough, and not so much that it would harm whoever pays it?

        Where it were less, somebody posing as the service could try passwords cheaply, by the proof
        that it was shown.
        """
        return (
            14 <= self.logN <= 20
            and 8 <= self.r <= 32
            and 1 <= self.p <= 16
            and 128 * self.r << self.logN <= _MAX_MEMORY
        )


@attrs.frozen(kw_only=True)
class StoredPassword:
    """
    What a service keeps of a password. Nobody can log in by it, nor read the password in it.
    """

    salt: bytes = attrs.field(repr=False)
    cost: Cost
    storedKey: bytes = attrs.field(repr=False)
    serverKey: bytes = attrs.field(repr=False)

    @classmethod
    def derive(cls, salted: bytes, salt: bytes, cost: Cost) -> StoredPassword:
        """
        Make it from a salted password.
        """
        return cls(
            salt=salt,
            cost=cost,
            storedKey=hashlib.sha256(_hmac(salted, b"Client Key")).digest(),
            serverKey=_hmac(salted, b"Server Key"),
        )

    @classmethod
    def make(
        cls, password: str, randomBytes: Callable[[int], bytes], cost: Cost | None = None
    ) -> StoredPassword:
        """
        Make it from a password.
        """
        cost = cost if cost is not None else Cost()
        salt = randomBytes(SALT_SIZE)
        return cls.derive(saltPassword(password, salt, cost), salt, cost)

    @classmethod
    def parse(cls, text: str) -> StoredPassword:
        """
        Read what L{format} wrote.

        @raise ValueError: It is something else.
        """
        kind, logN, r, p, *keys = text.split("$")
        salt, storedKey, serverKey = (_decode(each) for each in keys)
        cost = Cost(logN=_number(logN), r=_number(r), p=_number(p))
        if kind != "scrypt" or not cost.isBearable or not 8 <= len(salt) <= 64:
            raise ValueError("this was not made by holepunch passwd")
        if len(storedKey) != KEY_SIZE or len(serverKey) != KEY_SIZE:
            raise ValueError("a key has another length")
        return cls(salt=salt, cost=cost, storedKey=storedKey, serverKey=serverKey)

    def format(self) -> str:
        """
        The text of a password file: C{scrypt$LOG-N$R$P$SALT$STORED-KEY$SERVER-KEY}.
        """
        keys = (encode(each) for each in (self.salt, self.storedKey, self.serverKey))
        return "$".join(("scrypt", str(self.cost.logN), str(self.cost.r), str(self.cost.p), *keys))

    def accepts(self, proof: bytes, message: bytes) -> bool:
        """
        Does a proof show the password? In constant time.

        @param message: What L{LoginExchange.message} gives.
        """
        if len(proof) != KEY_SIZE:
            return False
        clientKey = _xor(proof, _hmac(self.storedKey, message))
        return hmac.compare_digest(hashlib.sha256(clientKey).digest(), self.storedKey)

    def sign(self, message: bytes) -> bytes:
        """
        The service's own proof.
        """
        return _hmac(self.serverKey, message)


@attrs.frozen(kw_only=True)
class LoginExchange:
    """
    One login, as both sides see it.

    @ivar clientNonce: The peer's; what the service adds makes it C{nonce}.
    @ivar binding: What ties it to the TLS connection.
    """

    user: str
    clientNonce: str
    nonce: str
    salt: bytes
    cost: Cost
    binding: bytes = attrs.field(repr=False)

    @property
    def message(self) -> bytes:
        """
        What both sides prove over: the AuthMessage of RFC 5802, section 3, of which the second part
        has scrypt's C{r} and C{p}, too.
        """
        user = self.user.replace("=", "=3D").replace(",", "=2C")
        bound = encode(b"p=tls-exporter,," + self.binding)
        cost = f"i={1 << self.cost.logN},b={self.cost.r},p={self.cost.p}"
        return (
            f"n={user},r={self.clientNonce},"
            f"r={self.nonce},s={encode(self.salt)},{cost},"
            f"c={bound},r={self.nonce}"
        ).encode()

    def prove(self, salted: bytes) -> bytes:
        """
        The peer's proof.
        """
        clientKey = _hmac(salted, b"Client Key")
        return _xor(clientKey, _hmac(hashlib.sha256(clientKey).digest(), self.message))

    def isSigned(self, salted: bytes, signature: bytes) -> bool:
        """
        Did the other side know what was stored of the password? In constant time.
        """
        expected = StoredPassword.derive(salted, self.salt, self.cost).sign(self.message)
        return hmac.compare_digest(expected, signature)


def saltPassword(password: str, salt: bytes, cost: Cost) -> bytes:
    """
    What takes an attacker so long.
    """
    return hashlib.scrypt(
        unicodedata.normalize("NFC", password).encode("utf-8"),
        salt=salt,
        n=1 << cost.logN,
        r=cost.r,
        p=cost.p,
        maxmem=2 * _MAX_MEMORY,
        dklen=KEY_SIZE,
    )


def checkUser(user: str) -> str:
    """
    Make sure that C{user} can be a user name, and give it in its normal form.

    @raise BadCredentials: It cannot.
    """
    user = unicodedata.normalize("NFC", user)
    if not _USER.match(user) or not user.isprintable():
        raise BadCredentials(
            "a user name has 1 to 64 characters, and no space, comma, colon or # among them"
        )
    return user


def isNonce(text: str) -> bool:
    """
    Can C{text} be a nonce: printable ASCII without commas, and neither too short nor too long?
    """
    return bool(_NONCE.match(text))


def encode(data: bytes) -> str:
    """
    Base64 (RFC 4648 section 4).
    """
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("this is no base64") from None
    if encode(data) != text:
        raise ValueError("this is no base64 as it is written")
    return data


def _number(text: str) -> int:
    if not re.match(r"[1-9][0-9]{0,2}\Z", text):
        raise ValueError("this is no number")
    return int(text)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
