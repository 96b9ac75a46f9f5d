"""
Keys from passwords: the short-term and long-term credentials, and USERHASH
(RFC 8489 sections 9.1.1, 9.2.2, 14.4 and 18.5.1).

Owns: preparing texts, and the hashes over them.
Knows nothing of: messages.
Driven by: L{holepunch.stun.credentials}, and whoever holds a password.
"""

from __future__ import annotations

import hashlib
import unicodedata

from holepunch.errors import BadCredentials
from holepunch.stun.values import PasswordAlgorithmNumber

# RFC 8264 section 9: letters, marks, numbers, punctuation, symbols and spaces; what is left out is
# control and format characters, line separators, surrogates, private use and unassigned.
_ALLOWED = frozenset("LMNPS") | {"Zs"}


def opaqueString(text: str) -> str:
    """
    Prepare a password, a user name or a realm: the OpaqueString profile of RFC 8265 section 4.2.

    Unicode spaces become the plain space and the result is in NFC.

    @raise BadCredentials: The text is empty or has a character that may not be in it.
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize(
            "NFC", "".join(" " if unicodedata.category(char) == "Zs" else char for char in text)
        )
        for char in text:
            category = unicodedata.category(char)
            if category not in _ALLOWED and category[0] not in _ALLOWED:
                raise BadCredentials(f"the character U+{ord(char):04X} may not be in a password")
    if not text:
        raise BadCredentials("a password or a user name must not be empty")
    return text


def shortTermKey(password: str) -> bytes:
    """
    The key of a short-term credential, such as a ticket or an ICE password (section 9.1.1).

    @raise BadCredentials: See L{opaqueString}.
    """
    return opaqueString(password).encode()


def longTermKey(
    username: str,
    realm: str,
    password: str,
    algorithm: int = PasswordAlgorithmNumber.MD5,
) -> bytes:
    """
    The key of a long-term credential: MD5, or SHA-256, of C{username:realm:password}
    (sections 9.2.2 and 18.5.1).

    This is what a service stores instead of passwords.

    @raise BadCredentials: See L{opaqueString}; or we do not know C{algorithm}.
    """
    text = ":".join(map(opaqueString, (username, realm, password))).encode()
    if algorithm == PasswordAlgorithmNumber.MD5:
        # MD5 is what the RFC says for old clients; FIPS builds want to hear that we know.
        return hashlib.md5(text, usedforsecurity=False).digest()
    if algorithm == PasswordAlgorithmNumber.SHA256:
        return hashlib.sha256(text).digest()
    raise BadCredentials(f"the password algorithm {algorithm} is unknown")


def userHash(username: str, realm: str) -> bytes:
    """
    USERHASH: the user name, hidden from those who look on (section 14.4).

    @raise BadCredentials: See L{opaqueString}.
    """
    return hashlib.sha256(f"{opaqueString(username)}:{opaqueString(realm)}".encode()).digest()
