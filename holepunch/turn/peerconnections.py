"""
Connections between relayed addresses and peers over TCP (RFC 6062 section 5).

Owns: which connections wait for their client, and which client's connection each is joined to.
Knows nothing of: sockets; what the bytes are.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    AttributeType,
    Message,
    Method,
)
from holepunch.turn.allocation import Allocation
from holepunch.turn.fairshare import Account
from holepunch.turn.relaylimits import RelayLimits
from holepunch.turn.relayrequest import RelayRequest
from holepunch.turn.servereffects import (
    ClosePeer,
    ConnectPeer,
    FiveTuple,
    JoinStreams,
    SendToClient,
    ServerEffect,
)

# Sections 5.2 and 5.3: the connect, and then the client, have 30 seconds each.
_PATIENCE = 30.0

_T = AttributeType


class _State(enum.Enum):
    CONNECTING = "connecting"
    WAITING = "waiting"
    JOINED = "joined"


@attrs.define(kw_only=True, eq=False)
class _Connection:
    number: int
    allocation: Allocation
    peer: TransportAddress
    state: _State
    deadline: float = 0.0
    request: RelayRequest | None = None
    client: FiveTuple | None = None


class PeerConnections:
    """
    All connections to peers of one relay.
    """

    def __init__(
        self,
        limits: RelayLimits,
        randomBytes: Callable[[int], bytes],
        emit: Callable[[ServerEffect], object],
    ) -> None:
        self._limits = limits
        self._randomBytes = randomBytes
        self._emit = emit
        self._connections: dict[int, _Connection] = {}
        # Those that wait for something, in the order of their deadlines.
        self._waiting: dict[int, _Connection] = {}
        self._byAllocation: dict[Allocation, dict[TransportAddress, _Connection]] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def connect(
        self, request: RelayRequest, allocation: Allocation, peer: TransportAddress, now: float
    ) -> None:
        """
        A client wants a connection to a peer.
        """
        if peer in self._byAllocation.get(allocation, {}):
            self._emit(request.refusal(446))
            return
        connection = self._add(allocation, peer, _State.CONNECTING, now, request)
        if connection is None:
            self._emit(request.refusal(508))
            return
        relayed = allocation.relayed[peer.family]
        self._emit(ConnectPeer(connection.number, relayed, peer))

    def connected(self, number: int, now: float) -> None:
        """
        The peer has taken the connection.
        """
        connection = self._connections.get(number)
        if connection is None or connection.request is None:
            self._emit(ClosePeer(number))
            return
        connection.state = _State.WAITING
        self._wait(connection, now)
        self._emit(connection.request.success([Attribute(_T.CONNECTION_ID, number)]))
        connection.request = None

    def failed(self, number: int) -> None:
        """
        The peer has not taken the connection.
        """
        connection = self._remove(number)
        if connection is not None and connection.request is not None:
            self._emit(connection.request.refusal(447))

    def accepted(self, allocation: Allocation, peer: TransportAddress, now: float) -> int | None:
        """
        A peer with a permission has connected to a relayed address.

        @return: The number of its connection; C{None} where there are too many.
        """
        if peer in self._byAllocation.get(allocation, {}):
            return None
        connection = self._add(allocation, peer, _State.WAITING, now)
        if connection is None:
            return None
        attributes = (
            Attribute(_T.CONNECTION_ID, connection.number),
            Attribute(_T.XOR_PEER_ADDRESS, peer),
        )
        message = Message.indication(
            Method.CONNECTION_ATTEMPT, self._randomBytes(TRANSACTION_ID_LENGTH), attributes
        )
        self._emit(SendToClient(allocation.client, message.encode(fingerprint=False)))
        return connection.number

    def bind(self, request: RelayRequest) -> None:
        """
        A client's new connection is to carry a peer's connection.
        """
        number = request.get(_T.CONNECTION_ID)
        connection = self._connections.get(number) if number is not None else None
        if (
            connection is None
            or connection.state is not _State.WAITING
            or connection.allocation.account.user != request.user
            or request.client.transport is not Transport.TCP
        ):
            self._emit(request.refusal(400))
            return
        connection.state = _State.JOINED
        connection.client = request.client
        del self._waiting[connection.number]
        self._emit(request.success())
        self._emit(JoinStreams(connection.number, request.client))

    def ownerOf(self, number: int | None) -> TransportAddress | None:
        """
        The client that a connection is kept for.
        """
        connection = self._connections.get(number) if number is not None else None
        return None if connection is None else connection.allocation.client.client

    def accountOf(self, number: int) -> Account | None:
        """
        Who pays for what a connection carries.
        """
        connection = self._connections.get(number)
        return None if connection is None else connection.allocation.account

    def closed(self, number: int) -> None:
        """
        Either side of a connection is gone.
        """
        self._remove(number)

    def end(self, allocation: Allocation) -> None:
        """
        The allocation is gone, and with it what its peers connected to.
        """
        for connection in list(self._byAllocation.get(allocation, {}).values()):
            self._remove(connection.number)
            self._emit(ClosePeer(connection.number))

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}.
        """
        return next((each.deadline for each in self._waiting.values()), None)

    def handleTimeout(self, now: float) -> None:
        """
        Close what nobody came for.
        """
        for connection in list(self._waiting.values()):
            if connection.deadline > now:
                break
            self.failed(connection.number)
            self._emit(ClosePeer(connection.number))

    def _wait(self, connection: _Connection, now: float) -> None:
        self._waiting.pop(connection.number, None)
        self._waiting[connection.number] = connection
        connection.deadline = now + _PATIENCE

    def _add(
        self,
        allocation: Allocation,
        peer: TransportAddress,
        state: _State,
        now: float,
        request: RelayRequest | None = None,
    ) -> _Connection | None:
        peers = self._byAllocation.setdefault(allocation, {})
        if len(peers) >= self._limits.connections:
            return None
        number = int.from_bytes(self._randomBytes(4), "big")
        while number in self._connections:
            number = (number + 1) & 0xFFFFFFFF
        connection = _Connection(
            number=number,
            allocation=allocation,
            peer=peer,
            state=state,
            request=request,
        )
        self._wait(connection, now)
        self._connections[number] = peers[peer] = connection
        return connection

    def _remove(self, number: int) -> _Connection | None:
        connection = self._connections.pop(number, None)
        if connection is None:
            return None
        self._waiting.pop(number, None)
        peers = self._byAllocation[connection.allocation]
        del peers[connection.peer]
        if not peers:
            del self._byAllocation[connection.allocation]
        return connection
