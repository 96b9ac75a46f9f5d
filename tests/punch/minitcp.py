"""
Just enough TCP for connection set-up through NATs: SYNs that cross, refusals, data in order.

Owns: the connections of one host.
Knows nothing of: windows, congestion, time-wait; data is never lost, only SYNs are.
Driven by: L{tests.punch.station}.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from holepunch.address import TransportAddress
from holepunch.nat import Packet, Protocol, TCPFlag
from tests.punch.wire import Network, Wire

_SYN_TIMES = (0.0, 1.0, 3.0, 7.0)


class MiniState(enum.Enum):
    """
    As in RFC 9293, as far as there is.
    """

    SYN_SENT = 1
    SYN_RECEIVED = 2
    ESTABLISHED = 3
    CLOSED = 4


@attrs.define(eq=False)
class MiniConnection:
    """
    One connection.

    @ivar isActive: It began with our own SYN.
    """

    local: TransportAddress
    remote: TransportAddress
    isActive: bool
    state: MiniState
    made: Callable[[MiniConnection], None]
    failed: Callable[[MiniConnection], None]
    received: Callable[[MiniConnection, bytes], None]
    lost: Callable[[MiniConnection], None]
    ttl: int | None = None
    sentCount: int = 0
    expected: int = 0
    waiting: dict[int, bytes | None] = attrs.field(factory=dict)


def _nothing(*_: object) -> None:
    """
    No callback.
    """


@attrs.define(eq=False)
class MiniTCP:
    """
    The TCP of one host.

    @ivar accepted: What to call with a connection that somebody opened to us.
    """

    wire: Wire
    network: Network
    accepted: Callable[[MiniConnection], None]
    listening: set[TransportAddress] = attrs.field(factory=set)
    connections: dict[tuple[TransportAddress, TransportAddress], MiniConnection] = attrs.field(
        factory=dict
    )

    def connect(
        self,
        local: TransportAddress,
        remote: TransportAddress,
        made: Callable[[MiniConnection], None],
        failed: Callable[[MiniConnection], None],
        received: Callable[[MiniConnection, bytes], None],
        lost: Callable[[MiniConnection], None],
        ttl: int | None = None,
    ) -> MiniConnection | None:
        """
        Open a connection; L{None} where these two addresses have one.

        @param ttl: Of the first SYN.
        """
        if (local, remote) in self.connections:
            return None
        connection = MiniConnection(
            local, remote, True, MiniState.SYN_SENT, made, failed, received, lost, ttl
        )
        self.connections[local, remote] = connection
        for delay in _SYN_TIMES:
            self.wire.callLater(delay, lambda: self._sendSYN(connection))
        return connection

    def write(self, connection: MiniConnection, data: bytes | None) -> None:
        """
        Send data; L{None} is a FIN.
        """
        number = connection.sentCount
        connection.sentCount += 1
        flags = TCPFlag.ACK | (TCPFlag.PSH if data is not None else TCPFlag.FIN)
        self._send(connection, flags, (number, data))

    def close(self, connection: MiniConnection) -> None:
        """
        Close, or give up a connect without a packet.
        """
        if connection.state is MiniState.ESTABLISHED:
            self.write(connection, None)
        self._remove(connection)

    def _remove(self, connection: MiniConnection) -> None:
        connection.state = MiniState.CLOSED
        if self.connections.get((connection.local, connection.remote)) is connection:
            del self.connections[connection.local, connection.remote]

    def _sendSYN(self, connection: MiniConnection) -> None:
        if connection.state is MiniState.SYN_SENT:
            self._send(connection, TCPFlag.SYN, ttl=connection.ttl)
            connection.ttl = None
        elif connection.state is MiniState.SYN_RECEIVED:
            self._send(connection, TCPFlag.SYN | TCPFlag.ACK)

    def _send(
        self,
        connection: MiniConnection,
        flags: TCPFlag,
        payload: object = b"",
        ttl: int | None = None,
    ) -> None:
        packet = Packet(
            Protocol.TCP,
            connection.local,
            connection.remote,
            flags=flags,
            payload=payload,
            ttl=64 if ttl is None else ttl,
        )
        self.wire.send(self.network, packet)

    def receive(self, packet: Packet) -> None:
        """
        Take a TCP packet, or an ICMP error about one.
        """
        if packet.icmp is not None:
            about = packet.icmp.original
            connection = self.connections.get((about.source, about.destination))
            if connection is not None and connection.state is MiniState.SYN_SENT:
                self._remove(connection)
                connection.failed(connection)
            return
        local, remote = packet.destination, packet.source
        connection = self.connections.get((local, remote))
        flags = packet.flags
        if connection is None:
            self._receiveNew(packet)
        elif flags & TCPFlag.RST:
            wasEstablished = connection.state is MiniState.ESTABLISHED
            self._remove(connection)
            if not wasEstablished and connection.isActive:
                connection.failed(connection)
            else:
                connection.lost(connection)
        elif flags & TCPFlag.SYN and flags & TCPFlag.ACK:
            self._send(connection, TCPFlag.ACK, (-1, b""))
            self._establish(connection)
        elif flags & TCPFlag.SYN:
            if connection.state is MiniState.SYN_SENT:
                connection.state = MiniState.SYN_RECEIVED
            self._send(connection, TCPFlag.SYN | TCPFlag.ACK)
        else:
            self._establish(connection)
            self._receiveData(connection, *packet.payload)

    def _receiveNew(self, packet: Packet) -> None:
        local, remote = packet.destination, packet.source
        if packet.flags & TCPFlag.RST:
            return
        if packet.flags & TCPFlag.ACK or local not in self.listening:
            answer = Packet(
                Protocol.TCP, local, remote, flags=TCPFlag.RST | TCPFlag.ACK, payload=b""
            )
            self.wire.send(self.network, answer)
            return
        connection = MiniConnection(
            local,
            remote,
            False,
            MiniState.SYN_RECEIVED,
            self.accepted,
            _nothing,
            _nothing,
            _nothing,
        )
        self.connections[local, remote] = connection
        for delay in _SYN_TIMES:
            self.wire.callLater(delay, lambda: self._sendSYN(connection))

    def _establish(self, connection: MiniConnection) -> None:
        if connection.state in (MiniState.SYN_SENT, MiniState.SYN_RECEIVED):
            connection.state = MiniState.ESTABLISHED
            connection.made(connection)

    def _receiveData(self, connection: MiniConnection, number: int, data: bytes | None) -> None:
        if number >= 0:
            connection.waiting[number] = data
        while connection.expected in connection.waiting:
            chunk = connection.waiting.pop(connection.expected)
            connection.expected += 1
            if connection.state is not MiniState.ESTABLISHED:
                return
            if chunk is None:
                self._remove(connection)
                connection.lost(connection)
            else:
                connection.received(connection, chunk)
