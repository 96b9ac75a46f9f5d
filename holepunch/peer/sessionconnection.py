"""
One TCP connection of a session, or the attempt to make one, by the core's number.

Owns: what belongs together: the number, the connector, the connection and its stream.
Knows nothing of: what arrives; it passes that on with the number.
Driven by: the TCP transport, through L{PunchingConnection}; L{holepunch.peer.driver}.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IConnector
from twisted.python.failure import Failure

from holepunch.peer.framedpath import FramedPath
from holepunch.peer.punchingconnection import PunchingConnection
from holepunch.peer.securestream import SecureStream


class ConnectionDriver(Protocol):
    """
    What a connection tells its session.
    """

    def connectionMade(self, connection: SessionConnection) -> None:
        """
        One of our connects succeeded.
        """

    def connectFailed(self, connection: SessionConnection, reason: Failure) -> None:
        """
        One of our connects came to nothing.
        """

    def streamReceived(self, connection: SessionConnection, data: bytes) -> None:
        """
        Bytes came in on a connection that still carries checks.
        """

    def connectionLost(self, connection: SessionConnection, reason: Failure) -> None:
        """
        A connection is gone.
        """


class SessionConnection:
    """
    A connection of a session, or the attempt to make one.

    @ivar number: The core's name for it.
    @ivar connector: Where we connect: the attempt.
    @ivar punching: The connection, once it is there.
    @ivar stream: The TLS stream, or the path for datagrams, on it, once that has begun.
    """

    def __init__(self, driver: ConnectionDriver, number: int) -> None:
        self._driver = driver
        self.number = number
        self.connector: IConnector | None = None
        self.punching: PunchingConnection | None = None
        self.stream: SecureStream | FramedPath | None = None

    def connectionReady(self, connection: PunchingConnection) -> None:
        """
        The connect succeeded.
        """
        self.punching = connection
        self._driver.connectionMade(self)

    def connectFailed(self, reason: Failure) -> None:
        """
        The connect came to nothing.
        """
        self._driver.connectFailed(self, reason)

    def connectionData(self, connection: PunchingConnection, data: bytes) -> None:
        """
        Checks arrive.
        """
        self._driver.streamReceived(self, data)

    def connectionEnded(self, connection: PunchingConnection, reason: Failure) -> None:
        """
        The connection is gone.
        """
        self._driver.connectionLost(self, reason)

    def close(self) -> None:
        """
        Give up the attempt, or close the connection.
        """
        if self.punching is not None:
            self.punching.close()
        elif self.connector is not None:
            self.connector.disconnect()
