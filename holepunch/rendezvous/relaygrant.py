"""
Leave to use a relay: where it is, and a credential that is good for a while.

Owns: the value that a registration brings along, and the addresses in it.
Knows nothing of: the relay; how the credential was made.
Driven by: the service, which gives it with a registration, and the peer, which allocates with it.
"""

from __future__ import annotations

import re

import attrs

from holepunch.address import Transport
from holepunch.errors import BadAddress

_URI = re.compile(r"(turns?):(\[[^\]]*\]|[^:?\[\]]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?\Z")
_PORT = 3478
_SECURE_PORT = 5349


@attrs.frozen(kw_only=True)
class RelayServer:
    """
    Where a relay is, and how it is talked to.

    @ivar host: A name or an IP literal.
    @ivar isSecure: By TLS, over TCP.
    """

    host: str
    port: int
    transport: Transport = Transport.UDP
    isSecure: bool = False

    @classmethod
    def parse(cls, uri: str) -> RelayServer:
        """
        Read a URI of RFC 7065.

        @raise BadAddress: It is none that is of use here.
        """
        match = _URI.match(uri)
        if match is None:
            raise BadAddress(f"{uri[:80]!r} is no address of a relay")
        scheme, host, port, transport = match.groups()
        isSecure = scheme == "turns"
        if isSecure and transport == "udp":
            raise BadAddress("a relay is not talked to by DTLS here")
        number = int(port) if port else _SECURE_PORT if isSecure else _PORT
        if not 0 < number < 65536:
            raise BadAddress(f"{number} is no port")
        return cls(
            host=host.strip("[]"),
            port=number,
            transport=Transport.TCP if isSecure else Transport(transport or "udp"),
            isSecure=isSecure,
        )

    def format(self) -> str:
        """
        The URI.
        """
        scheme = "turns" if self.isSecure else "turn"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}:{host}:{self.port}?transport={self.transport.value}"


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
