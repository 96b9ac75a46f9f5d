"""
Credentials limited in time, in the way of the TURN REST convention
(draft-uberti-behave-turn-rest, which coturn calls C{use-auth-secret}).

Whoever shares a secret with the relay makes credentials for it; the relay needs no list of users.

Owns: how user name and password are made, and what a user name says.
Knows nothing of: STUN; which relay a credential is for.
Driven by: the rendezvous service, which hands them to registered peers, and L{RelayServer}.
"""

from __future__ import annotations

import base64
import hmac

import attrs

_SEPARATOR = ":"


@attrs.frozen
class EphemeralCredential:
    """
    A user name and a password that a relay accepts for some time.
    """

    username: str
    password: str = attrs.field(repr=False)


def passwordFor(secret: bytes, username: str) -> str:
    """
    The password that belongs to a user name.
    """
    return base64.b64encode(hmac.digest(secret, username.encode(), "sha1")).decode("ascii")


def mintCredential(secret: bytes, user: str, expiresAt: int) -> EphemeralCredential:
    """
    Make a credential.

    @param secret: Shared with the relay.
    @param user: Who it is for: all credentials of one user share its quotas.
    @param expiresAt: Unix time in seconds.
    """
    username = f"{expiresAt}{_SEPARATOR}{user}"
    return EphemeralCredential(username, passwordFor(secret, username))


def expiryOf(username: str) -> int | None:
    """
    Until when a user name is good, in Unix time; C{None} where it is no ephemeral one.
    """
    expiry, separator, _ = username.partition(_SEPARATOR)
    # The length keeps int() from working on what no clock shows.
    if not separator or not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12):
        return None
    return int(expiry)


def userOf(username: str) -> str:
    """
    Who a user name is for: the name without the time in front of it.
    """
    return username if expiryOf(username) is None else username.partition(_SEPARATOR)[2]
