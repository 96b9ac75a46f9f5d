"""
One TCP connection of a punching port: checks first, then the application's stream.

Owns: passing bytes to whoever the connection belongs to at the moment.
Knows nothing of: what the bytes mean.
Driven by: the TCP transport; L{holepunch.peer.driver} (its session) and
L{holepunch.peer.streamport} (while nobody knows yet which session it belongs to).
"""

from __future__ import annotations

from typing import Protocol, cast

from twisted.internet.interfaces import ITCPTransport, ITransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.peer.keepalive import keepAlive


class PunchedStream(Protocol):
    """
    What follows the checks on a connection.
    """

    def makeConnection(self, transport: ITransport) -> None:
        """
        Whom to write to.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes arrived behind the last check.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """

    def abandon(self) -> None:
        """
        Close the connection once what was written has left, or when that takes too long.
        """


class ConnectionOwner(Protocol):
    """
    Whoever takes what arrives on a connection.
    """

    def connectionReady(self, connection: PunchingConnection) -> None:
        """
        The connection is there.
        """

    def connectionData(self, connection: PunchingConnection, data: bytes) -> None:
        """
        Bytes arrived.
        """

    def connectionEnded(self, connection: PunchingConnection, reason: Failure) -> None:
        """
        The connection is gone.
        """


class PunchingConnection(TwistedProtocol):
    """
    A TCP connection whose first bytes are checks (RFC 4571 frames), and whose rest is TLS, or
    further frames.

    @ivar local: Our endpoint.
    @ivar remote: The other side's endpoint.
    """

    local: TransportAddress
    remote: TransportAddress

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._stream: PunchedStream | None = None
        self._isHandedOver = False

    @property
    def _tcp(self) -> ITCPTransport:
        return cast(ITCPTransport, self.transport)

    def connectionMade(self) -> None:
        """
        Note the endpoints; tell NATs on the way, and the kernel, to keep the connection alive.
        """
        here, there = self._tcp.getHost(), self._tcp.getPeer()
        self.local = TransportAddress(here.host, here.port)
        self.remote = TransportAddress(there.host, there.port)
        self._tcp.setTcpNoDelay(True)
        keepAlive(self._tcp)
        self._owner.connectionReady(self)

    def setOwner(self, owner: ConnectionOwner) -> None:
        """
        From now on, C{owner} takes what arrives.
        """
        self._owner = owner

    def startStream(self, stream: PunchedStream) -> None:
        """
        Let C{stream} write to this connection; what arrives still goes to the owner.
        """
        self._stream = stream
        stream.makeConnection(cast(ITransport, self.transport))

    def handOver(self) -> None:
        """
        The checks are over: all further bytes belong to the stream.
        """
        self._isHandedOver = True

    def dataReceived(self, data: bytes) -> None:
        """
        Pass bytes on.
        """
        if self._isHandedOver and self._stream is not None:
            self._stream.dataReceived(data)
        else:
            self._owner.connectionData(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass the end on.
        """
        if self._stream is not None:
            self._stream.connectionLost(reason)
        self._owner.connectionEnded(self, reason)

    def send(self, data: bytes) -> None:
        """
        Send bytes.
        """
        self._tcp.write(data)

    def close(self) -> None:
        """
        Close after what was written has left.
        """
        if self._stream is not None:
            self._stream.abandon()
        else:
            self._tcp.loseConnection()
