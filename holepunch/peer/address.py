"""
The address of one end of a punched path, as Twisted's transports report it.

Owns: L{PunchedAddress}.
Knows nothing of: sockets.
Driven by: the transports of L{holepunch.peer}.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.identity import PeerID


@implementer(IAddress)
@attrs.frozen(kw_only=True)
class PunchedAddress:
    """
    One end of a punched path: the real endpoint and who is behind it.

    It has the attributes of C{twisted.internet.address.IPv4Address} and, besides, the peer ID.

    @ivar type: C{"TCP"} or C{"UDP"}.
    @ivar host: An IP literal.
    @ivar peerID: Proven by TLS for streams; named by the rendezvous service for bare datagrams.
    """

    type: str
    host: str
    port: int
    peerID: PeerID

    @classmethod
    def of(cls, transport: Transport, address: TransportAddress, peerID: PeerID) -> PunchedAddress:
        """
        Build it from the values that the cores use.
        """
        return cls(type=transport.name, host=address.host, port=address.port, peerID=peerID)
