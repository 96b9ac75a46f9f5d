"""
Asking the assist listeners what our mapped addresses are, with a ticket.

The answer tells us; the ticket tells the service, which passes on to the other peer only what it
observed itself. Without a ticket, any STUN server can be asked.

Owns: Binding requests over UDP (sent again until answered, and repeated to keep a mapping warm) and
over TCP, on connections that stay open until the session ends: some NATs drop a mapping with the
connection that made it.
Knows nothing of: sessions and candidates.
Driven by: L{holepunch.peer.registration} (warm UDP mappings) and L{holepunch.peer.driver}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IConnector, IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.peer.datagramport import DatagramPort
from holepunch.peer.localports import LocalPorts
from holepunch.peer.punchingconnection import PunchingConnection
from holepunch.peer.streamport import StreamPort
from holepunch.rendezvous.introduction import Ticket
from holepunch.stun import (
    Attribute,
    AttributeType,
    ClientTransaction,
    Message,
    MessageClass,
    Method,
    StunFramer,
    decode,
)

_CONNECT_TIMEOUT = 10.0

MappedCallback = Callable[[Transport, TransportAddress, TransportAddress, TransportAddress], None]


class AssistRequests(Protocol):
    """
    What a session needs of those who tell mapped addresses.
    """

    def askByUDP(self) -> None:
        """
        Ask from each UDP socket.
        """

    def askByTCP(self) -> None:
        """
        Ask from the punching port.
        """

    def stop(self) -> None:
        """
        Ask no more.
        """


class _Query:
    """
    Requests from one local endpoint to one assist listener.
    """

    def __init__(
        self,
        client: AssistClient,
        transport: Transport,
        base: TransportAddress,
        server: TransportAddress,
    ) -> None:
        self._client = client
        self._clock = client.clock
        self._transport = transport
        self._base = base
        self._server = server
        self._transaction: ClientTransaction | None = None
        self.isSettled = False

    def _request(self) -> bytes:
        ticket = self._client.ticket
        if ticket is None:
            plain = Message.request(Method.BINDING, self._client.randomBytes(12))
            # Some old servers take FINGERPRINT for an error.
            return plain.encode(fingerprint=False)
        request = Message.request(
            Method.BINDING,
            self._client.randomBytes(12),
            (Attribute(AttributeType.USERNAME, ticket.username(str(self._base.port))),),
        )
        return request.encode(integrityKey=ticket.key)

    def _isAnswered(self, data: bytes) -> bool:
        """
        Is C{data} the authentic response that is waited for? Pass on the mapped address in it.
        """
        try:
            message = decode(data)
        except MalformedMessage:
            return False
        ticket = self._client.ticket
        if (
            self._transaction is None
            or not self._transaction.matches(message)
            or (ticket is not None and not message.isIntegrityValid(ticket.key))
        ):
            return False
        self._transaction = None
        self.isSettled = True
        mapped = message.get(AttributeType.XOR_MAPPED_ADDRESS)
        if message.messageClass is MessageClass.SUCCESS and isinstance(mapped, TransportAddress):
            self._client.mapped(self._transport, self._base, mapped, self._server)
        return True


class _DatagramQuery(_Query):
    """
    Over UDP.
    """

    def __init__(
        self,
        client: AssistClient,
        port: DatagramPort,
        server: TransportAddress,
        repeatInterval: float | None,
    ) -> None:
        super().__init__(client, Transport.UDP, port.base, server)
        self._port = port
        self._repeatInterval = repeatInterval
        self._call: IDelayedCall | None = None
        self._isStopped = False

    def start(self) -> None:
        """
        Send a request.
        """
        self._port.addRoute(self._server, self)
        request = self._request()
        self._transaction = ClientTransaction(request, self._clock.seconds())
        self._port.send(self._server, request)
        self._wait()

    def _wait(self) -> None:
        if self._isStopped:
            # Whoever heard of the mapped address ended it all.
            return
        now = self._clock.seconds()
        timeout = self._transaction.nextTimeout() if self._transaction is not None else None
        if timeout is not None:
            self._call = self._clock.callLater(max(0.0, timeout - now), self._timedOut)
        elif self._repeatInterval is not None:
            self._call = self._clock.callLater(self._repeatInterval, self.start)

    def _timedOut(self) -> None:
        if self._transaction is not None:
            again = self._transaction.handleTimeout(self._clock.seconds())
            if again is not None:
                self._port.send(self._server, again)
            self._wait()

    def datagramReceived(
        self, local: TransportAddress, remote: TransportAddress, data: bytes
    ) -> None:
        """
        The assist listener answers, or somebody who pretends to be it.
        """
        if self._isAnswered(data):
            self._cancel()
            self._wait()

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._isStopped = True
        self._port.removeRoutes(self)
        self._cancel()


class _StreamQuery(_Query):
    """
    Over TCP, from a punching port.
    """

    def __init__(
        self,
        client: AssistClient,
        port: StreamPort,
        base: TransportAddress,
        server: TransportAddress,
    ) -> None:
        super().__init__(client, Transport.TCP, base, server)
        self._port = port
        self._framer = StunFramer()
        self._connector: IConnector | None = None

    def start(self) -> None:
        """
        Connect; the request follows when the connection is there.
        """
        self._connector = self._port.connect(
            self._base, self._server, self, self._connectFailed, _CONNECT_TIMEOUT
        )

    def connectionReady(self, connection: PunchingConnection) -> None:
        """
        Connected: send the request.
        """
        request = self._request()
        self._transaction = ClientTransaction(request, self._clock.seconds(), reliable=True)
        connection.send(request)

    def connectionData(self, connection: PunchingConnection, data: bytes) -> None:
        """
        The answer.
        """
        try:
            for message in self._framer.feed(data):
                self._isAnswered(message)
        except MalformedMessage:
            connection.close()

    def connectionEnded(self, connection: PunchingConnection, reason: Failure) -> None:
        """
        The service closed the connection.
        """
        self._connector = None
        self.isSettled = True

    def _connectFailed(self, reason: Failure) -> None:
        self._connector = None
        self.isSettled = True

    def stop(self) -> None:
        """
        Close the connection.
        """
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.disconnect()


class AssistClient:
    """
    The assist requests of one registration or session.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ports: LocalPorts,
        servers: Sequence[TransportAddress],
        ticket: Ticket | None,
        randomBytes: Callable[[int], bytes],
        mapped: MappedCallback,
    ) -> None:
        """
        @param servers: The assist listeners to ask.
        @param ticket: C{None} where they are any STUN servers.
        @param mapped: Called with the transport, our local endpoint, the mapped address and the
            server's, for each answer.
        """
        self.clock = clock
        self.ticket = ticket
        self.randomBytes = randomBytes
        self.mapped = mapped
        self._ports = ports
        self._servers = tuple(servers)
        self._queries: list[_DatagramQuery | _StreamQuery] = []

    @property
    def isSettled(self) -> bool:
        """
        Has every listener answered, or turned out not to be there?
        """
        return all(query.isSettled for query in self._queries)

    def askByUDP(self, repeatInterval: float | None = None) -> None:
        """
        Ask each listener from each UDP socket.

        @param repeatInterval: Ask again after so many seconds, until stopped, to keep the mapping.
        """
        for port in self._ports.datagramPorts():
            for server in self._servers:
                if server.family is port.base.family:
                    self._start(_DatagramQuery(self, port, server, repeatInterval))

    def askByTCP(self) -> None:
        """
        Connect to each listener from the punching port, and ask.
        """
        for base in self._ports.bases(Transport.TCP):
            port = self._ports.streamPort(base.family)
            for server in self._servers:
                if port is not None and server.family is base.family:
                    self._start(_StreamQuery(self, port, base, server))

    def _start(self, query: _DatagramQuery | _StreamQuery) -> None:
        self._queries.append(query)
        query.start()

    def stop(self) -> None:
        """
        Close all connections and ask no more.
        """
        queries, self._queries = self._queries, []
        for query in queries:
            query.stop()
