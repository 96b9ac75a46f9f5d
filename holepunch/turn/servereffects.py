"""
What the relay asks its sockets to do, and what it tells: the values that C{takeEffects} returns.

Owns: the effects of the server's side, and the 5-tuple of a client.
Knows nothing of: how an effect is carried out.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}; read by the adapter.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from holepunch.address import Transport, TransportAddress


@attrs.frozen
class FiveTuple:
    """
    Who talks to the relay (RFC 8656 section 3): what identifies an allocation.

    @ivar server: The address of the relay that the client talks to.
    """

    transport: Transport
    server: TransportAddress
    client: TransportAddress


@attrs.frozen
class SendToClient:
    """
    Send one message to a client: a datagram, or the next bytes of its stream.

    @ivar mayBeDropped: It carries somebody's datagram: drop it where the client does not read.
    """

    client: FiveTuple
    data: bytes
    mayBeDropped: bool = False


@attrs.frozen
class SendToPeer:
    """
    Send a datagram from a relayed address.

    @ivar isWhole: With the DF bit, or not at all (RFC 8656 section 14).
    """

    relayed: TransportAddress
    peer: TransportAddress
    data: bytes
    isWhole: bool = False


@attrs.frozen
class OpenRelay:
    """
    Bind a socket to a relayed address, and tell C{relayOpened} or C{relayFailed}. Over TCP it
    listens.
    """

    transport: Transport
    relayed: TransportAddress


@attrs.frozen
class CloseRelay:
    """
    Close the socket of a relayed address.
    """

    transport: Transport
    relayed: TransportAddress


@attrs.frozen
class AllocationMade:
    """
    A client has a relayed address.
    """

    client: FiveTuple
    username: str
    relayed: TransportAddress


@attrs.frozen
class AllocationEnded:
    """
    A client has a relayed address no more.
    """

    client: FiveTuple
    username: str
    relayed: TransportAddress


@attrs.frozen
class ConnectPeer:
    """
    Connect from a relayed address to a peer, and tell C{peerConnected} or C{peerConnectFailed}.
    """

    connection: int
    relayed: TransportAddress
    peer: TransportAddress


@attrs.frozen
class JoinStreams:
    """
    From now on a client's connection carries the bytes of a peer's connection, and nothing else.
    """

    connection: int
    client: FiveTuple


@attrs.frozen
class ClosePeer:
    """
    Close a peer's connection, and the client's that is joined to it.
    """

    connection: int


ServerEffect: TypeAlias = (
    SendToClient
    | SendToPeer
    | OpenRelay
    | CloseRelay
    | AllocationMade
    | AllocationEnded
    | ConnectPeer
    | JoinStreams
    | ClosePeer
)
