"""
Leave to use a relay: where it is, and a credential that is good for a while.

Owns: the value that a registration brings along.
Knows nothing of: the relay; how the credential was made.
Driven by: the service, which gives it with a registration, and the peer, which allocates with it.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class RelayGrant:
    """
    A TURN server and a long-term credential (RFC 8656) that is limited in time.

    @ivar servers: Its addresses as URIs (RFC 7065), such as
        C{turn:192.0.2.1:3478?transport=udp}; the preferred one first.
    @ivar realm: The realm of the credential; empty where the service does not know it.
    @ivar nonce: A nonce that is good at this moment, to save a round trip; may be empty.
    @ivar lifetime: Seconds that the credential is good for.
    """

    username: str
    password: str = attrs.field(repr=False)
    realm: str = ""
    nonce: str = ""
    lifetime: float
    servers: tuple[str, ...]
