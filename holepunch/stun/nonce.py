"""
Nonces of the long-term credential: the cookie with the security features, and nonces that a server
recognises without remembering them (RFC 8489 sections 9.2, 9.2.1 and 18.1).

Owns: what is in a nonce, and whether it is one of ours and still fresh.
Knows nothing of: passwords; messages.
Driven by: L{holepunch.stun.credentials}.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac

from holepunch.address import TransportAddress

_COOKIE = b"obMatJos2"
_COOKIE_LENGTH = len(_COOKIE) + 4
_STAMP_LENGTH = 8
_TAG_LENGTH = 16


class SecurityFeature(enum.IntFlag):
    """
    The bits of the nonce cookie; section 18.1 counts them from the most significant of 24.

    The nonce in appendix B.1 has other bits set, and no section that would explain them.
    """

    PASSWORD_ALGORITHMS = 1 << 23
    USERNAME_ANONYMITY = 1 << 22


def securityFeatures(nonce: bytes) -> SecurityFeature | None:
    """
    What the nonce cookie promises; C{None} where the nonce has no cookie: an older server made it.
    """
    if not nonce.startswith(_COOKIE):
        return None
    try:
        bits = base64.b64decode(nonce[len(_COOKIE) : _COOKIE_LENGTH], validate=True)
    except binascii.Error:
        return None
    if len(bits) != 3:
        return None
    known = SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY
    return SecurityFeature(int.from_bytes(bits, "big") & known)


class NonceMint:
    """
    Makes nonces and recognises them. It remembers none: a nonce carries the moment at which it was
    made, and a tag by which nobody else can make one or change its cookie.

    A nonce is valid for one source only, as section 9.2.4 demands. One that is handed out together
    with a credential, before anybody knows the source, is valid for one user instead, from any port
    of one host: see L{mintFor}.
    """

    def __init__(self, secret: bytes, features: SecurityFeature, lifetime: float = 600.0) -> None:
        """
        @param secret: At least 16 random bytes; the nonces of another secret are not recognised.
        @param features: What the cookie promises.
        @param lifetime: Seconds for which a nonce is valid.
        """
        self._secret = secret
        self._lifetime = lifetime
        self._cookie = _COOKIE + base64.b64encode(features.to_bytes(3, "big"))

    def _tag(self, stamp: bytes, bound: str) -> bytes:
        text = b"\0".join((self._cookie, stamp, bound.encode()))
        return hmac.digest(self._secret, text, "sha256")[:_TAG_LENGTH]

    def _mint(self, bound: str, now: float) -> bytes:
        stamp = int(now * 1000).to_bytes(_STAMP_LENGTH, "big")
        return self._cookie + base64.b64encode(stamp + self._tag(stamp, bound))

    def mint(self, source: TransportAddress, now: float) -> bytes:
        """
        A nonce for C{source}.
        """
        return self._mint(str(source), now)

    def mintFor(self, username: str, host: str, now: float) -> bytes:
        """
        A nonce for one user who will come from C{host}, by any port.
        """
        return self._mint(_boundTo(username, host), now)

    def isValid(self, nonce: bytes, source: TransportAddress, now: float) -> bool:
        """
        Did we make C{nonce} for C{source}, not too long ago?
        """
        return self._isValid(nonce, str(source), now)

    def isValidFor(self, nonce: bytes, username: str, source: TransportAddress, now: float) -> bool:
        """
        Did we make C{nonce} for C{source}, or for that user at its host, not too long ago?
        """
        bound = _boundTo(username, source.host)
        return self._isValid(nonce, str(source), now) or self._isValid(nonce, bound, now)

    def _isValid(self, nonce: bytes, bound: str, now: float) -> bool:
        if not nonce.startswith(self._cookie):
            return False
        try:
            body = base64.b64decode(nonce[_COOKIE_LENGTH:], validate=True)
        except binascii.Error:
            return False
        stamp, tag = body[:_STAMP_LENGTH], body[_STAMP_LENGTH:]
        if not hmac.compare_digest(tag, self._tag(stamp, bound)):
            return False
        return now - int.from_bytes(stamp, "big") / 1000 <= self._lifetime


def _boundTo(username: str, host: str) -> str:
    # No transport address has a space in it.
    return f"{host} {username}"
