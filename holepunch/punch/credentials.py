"""
The credentials of a session (RFC 8445 section 5.3): what proves that a check comes from the peer.

Owns: the pair of user name fragment and password, and how a fresh one is made.
Knows nothing of: how credentials travel to the other peer; STUN.
Driven by: the rendezvous service, which mints both sides' credentials, and L{Authenticator}.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import attrs

ICE_CHARACTERS = "A-Za-z0-9+/"
"""
The C{ice-char} of RFC 8839 section 5.1, as the inside of a regular expression's character class.
"""


@attrs.frozen
class Credentials:
    """
    One side's user name fragment and password for one session.

    A check carries both fragments as USERNAME, and is keyed with the password of the side that
    receives it (RFC 8445 section 7.2.2).

    @ivar ufrag: 4 to 256 characters of C{A-Za-z0-9+/}.
    @ivar password: 22 to 256 of the same.
    """

    ufrag: str = attrs.field(
        validator=attrs.validators.matches_re(rf"[{ICE_CHARACTERS}]{{4,256}}\Z")
    )
    password: str = attrs.field(
        repr=False, validator=attrs.validators.matches_re(rf"[{ICE_CHARACTERS}]{{22,256}}\Z")
    )

    @classmethod
    def generate(cls, randomBytes: Callable[[int], bytes]) -> Credentials:
        """
        Make credentials with 48 bits in the fragment and 192 bits in the password.

        @param randomBytes: Such as C{os.urandom}.
        """
        return cls(
            base64.b64encode(randomBytes(6)).decode("ascii"),
            base64.b64encode(randomBytes(24)).decode("ascii"),
        )
