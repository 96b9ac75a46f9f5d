"""
One punching port: a TCP port on which a peer listens and from which it connects.

Owns: the listening socket, the connects from its port, and connections that have not yet said
which session they belong to.
Knows nothing of: what a check means; it only reads whom the first one is addressed to.
Driven by: L{holepunch.peer.localports}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure

from holepunch.address import Family, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.hoplimit import limitHops
from holepunch.peer.punchingconnection import ConnectionOwner, PunchingConnection
from holepunch.peer.reactor import PeerReactor
from holepunch.stun import Rfc4571Framer

_UNIDENTIFIED_LIMIT = 64
_UNIDENTIFIED_TIMEOUT = 10.0
_FIRST_CHECK_LIMIT = 1500
_TTL_TIME = 0.05


class _ConnectFactory(ClientFactory):
    """
    Builds the one connection of one connect.
    """

    noisy = False

    def __init__(self, owner: ConnectionOwner, failed: Callable[[Failure], None]) -> None:
        self._owner = owner
        self._failed = failed

    def buildProtocol(self, addr: IAddress | None) -> PunchingConnection:
        return PunchingConnection(self._owner)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._failed(reason)


class _ListenFactory(Factory):
    """
    Builds the connections that come in.
    """

    noisy = False

    def __init__(self, port: StreamPort) -> None:
        self._port = port

    def buildProtocol(self, addr: IAddress | None) -> PunchingConnection:
        return self._port.newUnidentified()


class _Unidentified:
    """
    Reads the first check of a connection that came in, to learn whose it is.
    """

    def __init__(self, port: StreamPort) -> None:
        self._port = port
        self._received = b""
        self._framer = Rfc4571Framer()
        self._connection: PunchingConnection | None = None
        self.timeout: IDelayedCall | None = None

    def expire(self) -> None:
        """
        It said nothing of use in time.
        """
        self._port.forget(self)
        if self._connection is not None:
            self._connection.close()

    def connectionReady(self, connection: PunchingConnection) -> None:
        """
        Wait for its first check.
        """
        self._connection = connection

    def connectionData(self, connection: PunchingConnection, data: bytes) -> None:
        """
        Pass the connection on once its first check is whole.
        """
        self._received += data
        try:
            self._framer.append(data)
            check = self._framer.next()
        except MalformedMessage:
            check = b""
        if check is None:
            if len(self._received) <= _FIRST_CHECK_LIMIT:
                return
            check = b""
        session = self._port.demultiplexer.sessionFor(check)
        self._port.forget(self)
        if session is None:
            connection.close()
        else:
            session.connectionAccepted(connection, self._received)

    def connectionEnded(self, connection: PunchingConnection, reason: Failure) -> None:
        """
        It went away again.
        """
        self._port.forget(self)


class StreamPort:
    """
    A TCP port of one address family, bound to all addresses of this machine.

    @ivar port: The port number.
    """

    port: int

    def __init__(self, reactor: PeerReactor, demultiplexer: Demultiplexer) -> None:
        self._reactor = reactor
        self.demultiplexer = demultiplexer
        # Oldest first.
        self._unidentified: dict[_Unidentified, None] = {}

    def listen(self, family: Family, number: int = 0) -> None:
        """
        Take a port and listen on it.

        @param number: The port; 0 for a free one.

        @raise twisted.internet.error.CannotListenError: The system refused.
        """
        self._any = "::" if family is Family.IPV6 else ""
        # The interface IReactorTCP does not declare yet what the reactors take since Twisted 26.10.
        binding: Any = makeBinding(self._any, number, reuseAddress=True, reusePort=True)
        factory: Any = _ListenFactory(self)
        self._listening = self._reactor.listenTCP(binding, factory, interface=self._any)
        self.port = cast(IPv4Address, self._listening.getHost()).port

    def close(self) -> None:
        """
        Stop listening; connections that belong to sessions stay.
        """
        self._listening.stopListening()
        for unidentified in tuple(self._unidentified):
            unidentified.expire()

    def bindAddress(self, host: str | None = None) -> Any:
        """
        What C{connectTCP} takes as C{bindAddress} to connect from this port.

        @param host: The local address; C{None} lets the system choose.
        """
        return makeBinding(
            self._any if host is None else host, self.port, reuseAddress=True, reusePort=True
        )

    def connect(
        self,
        local: TransportAddress,
        remote: TransportAddress,
        owner: ConnectionOwner,
        failed: Callable[[Failure], None],
        timeout: float,
        ttl: int | None = None,
    ) -> IConnector:
        """
        Connect from this port.

        @param failed: Called when the attempt came to nothing; never after C{IConnector.disconnect}
            of a connection that was made.
        @param timeout: Seconds.
        @param ttl: That of the first SYN, where it can be set; C{None}: the system's.
        """
        connector = self._reactor.connectTCP(
            remote.host,
            remote.port,
            _ConnectFactory(owner, failed),
            timeout=timeout,
            bindAddress=self.bindAddress(local.host),
        )
        # The SYN leaves in the next turn of the reactor.
        if ttl is not None and limitHops(connector, remote.family, ttl):
            self._reactor.callLater(_TTL_TIME, limitHops, connector, remote.family, None)
        return connector

    def newUnidentified(self) -> PunchingConnection:
        """
        A protocol for a connection that comes in.

        Where too many wait, the oldest has to go: a peer says who it is at once.
        """
        if len(self._unidentified) >= _UNIDENTIFIED_LIMIT:
            next(iter(self._unidentified)).expire()
        unidentified = _Unidentified(self)
        unidentified.timeout = self._reactor.callLater(_UNIDENTIFIED_TIMEOUT, unidentified.expire)
        self._unidentified[unidentified] = None
        return PunchingConnection(unidentified)

    def forget(self, unidentified: _Unidentified) -> None:
        """
        It is known now, or gone.
        """
        self._unidentified.pop(unidentified, None)
        if unidentified.timeout is not None and unidentified.timeout.active():
            unidentified.timeout.cancel()
