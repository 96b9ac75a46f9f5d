"""
Where a rendezvous service is, and which key it is expected to show: C{[ID@]HOST[:PORT]}.

Owns: that text.
Knows nothing of: connections; the file of known services (L{holepunch.rendezvous.knownservices}).
Driven by: the client, and whoever reads the text from a person.
"""

from __future__ import annotations

import attrs

from holepunch.address import joinHostPort, splitHostPort
from holepunch.identity import PeerID

DEFAULT_PORT = 4460


@attrs.frozen
class ServiceLocation:
    """
    A rendezvous service, as a person names it.

    @ivar host: A domain name or an IP literal.
    @ivar expected: The peer ID that the service must prove, when the person gave it.
    """

    host: str
    port: int = DEFAULT_PORT
    expected: PeerID | None = None

    @classmethod
    def parse(cls, text: str) -> ServiceLocation:
        """
        Read C{[ID@]HOST[:PORT]}.

        @raise BadPeerID: There is something before an C{@} that is no peer ID.
        @raise BadAddress: The rest is no host and port.
        """
        idText, at, address = text.rpartition("@")
        host, port = splitHostPort(address, DEFAULT_PORT)
        return cls(host, port, PeerID(idText) if at else None)

    @property
    def address(self) -> str:
        """
        C{HOST:PORT}, without the expected peer ID.
        """
        return joinHostPort(self.host, self.port)

    def __str__(self) -> str:
        return self.address if self.expected is None else f"{self.expected}@{self.address}"
