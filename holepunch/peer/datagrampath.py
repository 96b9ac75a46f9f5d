"""
A punched UDP path: datagrams of the application between two peers.

Owns: the short way of application data between the socket and the application.
Knows nothing of: checks and consent, which its session goes on with.
Driven by: L{holepunch.peer.driver}, and the application.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from holepunch.address import TransportAddress
from holepunch.errors import PeerClosed
from holepunch.identity import PeerID
from holepunch.peer.datagramport import DatagramPort
from holepunch.peer.openpath import PairPath
from holepunch.punch import Path, SessionConfig
from holepunch.punch.goodbye import buildGoodbye, isGoodbye
from holepunch.stun import looksLikeStun


class _PathSession(Protocol):
    """
    What a path needs of its session.
    """

    def probe(self) -> None:
        """
        Send a check at once.
        """

    def end(self, reason: Exception) -> None:
        """
        Close.
        """


class DatagramPath(PairPath):
    """
    Datagrams to and from one peer, over a hole in the NATs.

    They are neither encrypted nor proven by themselves: the session's checks keep strangers away
    from the path, but bring your own encryption.
    """

    def __init__(
        self,
        clock: IReactorTime,
        port: DatagramPort,
        path: Path,
        addresses: tuple[PeerID, PeerID],
        config: SessionConfig,
        session: _PathSession,
    ) -> None:
        super().__init__(clock, path, addresses)
        self._config = config
        self._port = port
        self._session = session
        self.moved(path)

    def moved(self, path: Path) -> None:
        """
        The session selected this pair.
        """
        self.path = path
        self._local, self._remote = path.local, path.remote

    # --- the application ------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """
        Send one datagram; after the path is lost, it goes nowhere.

        @param data: At most 65,507 bytes; about 1,200 pass everywhere.
        @raise ValueError: C{data} would be taken for STUN (RFC 8489 section 5), which a first byte
            above 3 excludes.
        """
        if looksLikeStun(data):
            raise ValueError("these bytes would be taken for STUN: begin with another byte")
        if self._reason is None:
            self._port.send(self.path.remote, data)

    def sendMany(self, datagrams: Sequence[bytes]) -> None:
        """
        Send several datagrams, which is quicker than one by one.

        @raise ValueError: One of them would be taken for STUN.
        """
        if any(map(looksLikeStun, datagrams)):
            raise ValueError("these bytes would be taken for STUN: begin with another byte")
        if self._reason is None:
            self._port.sendMany(self.path.remote, datagrams)

    def probe(self) -> None:
        """
        Send a check.
        """
        self._session.probe()

    def close(self) -> None:
        """
        Close the path.
        """
        self._session.end(PeerClosed("the path was closed"))

    # --- the session ----------------------------------------------------------------------------

    def sayGoodbye(self) -> None:
        """
        Let the other side know that the path is closed.
        """
        config = self._config
        if config.remoteCredentials is not None:
            self._port.send(
                self.path.remote,
                buildGoodbye(config.localCredentials, config.remoteCredentials, config.randomBytes),
            )

    def isGoodbye(self, data: bytes) -> bool:
        """
        Does the other side say so?
        """
        config = self._config
        return config.remoteCredentials is not None and isGoodbye(
            data, config.localCredentials, config.remoteCredentials
        )

    def takes(self, local: TransportAddress, remote: TransportAddress, data: bytes) -> bool:
        """
        The short way: if C{data} is the application's, deliver it.
        """
        if looksLikeStun(data):
            return False
        # The same two objects come again and again, and comparing what is in them takes longer.
        if local is not self._local or remote is not self._remote:
            path = self.path
            if remote != path.remote or local != path.local:
                return False
            self._local, self._remote = local, remote
        self.deliver(data)
        return True
