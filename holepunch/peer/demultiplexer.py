"""
Which session a packet or connection belongs to, when several sessions share one local port.

Owns: the table of local username fragments (RFC 8445 section 7.3).
Knows nothing of: sockets; what a session does with what it gets.
Driven by: L{holepunch.peer.datagramport} and L{holepunch.peer.streamport}, which look sessions up;
L{holepunch.peer.driver}, which enters them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holepunch.address import TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.stun import AttributeType, MessageClass, decode

if TYPE_CHECKING:
    from holepunch.peer.punchingconnection import PunchingConnection


class DatagramSink(Protocol):
    """
    Something that takes datagrams: a session, or a request to an assist listener.
    """

    def datagramReceived(
        self, local: TransportAddress, remote: TransportAddress, data: bytes
    ) -> None:
        """
        A datagram came from C{remote} to the socket of C{local}.
        """


class SessionSink(DatagramSink, Protocol):
    """
    A session, as the local ports see it.
    """

    def connectionAccepted(self, connection: PunchingConnection, data: bytes) -> None:
        """
        A connection came in whose first bytes, C{data}, name this session.
        """


class Demultiplexer:
    """
    The sessions of one peer, by local username fragment.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, SessionSink] = {}

    def enter(self, fragment: str, session: SessionSink) -> None:
        """
        From now on, checks for C{fragment} go to C{session}.
        """
        self._sessions[fragment] = session

    def leave(self, fragment: str) -> None:
        """
        The session has ended.
        """
        self._sessions.pop(fragment, None)

    def knows(self, fragment: str) -> bool:
        """
        Is there a session of this local username fragment?
        """
        return fragment in self._sessions

    def sessionFor(self, data: bytes) -> SessionSink | None:
        """
        The session that the check in C{data} names; its integrity is not yet verified.

        @return: C{None} when C{data} is no request with a USERNAME of the form C{local:remote}
            (RFC 8445 section 7.2.2), or when there is no such session.
        """
        try:
            message = decode(data)
        except MalformedMessage:
            return None
        username = message.get(AttributeType.USERNAME)
        if message.messageClass is not MessageClass.REQUEST or not isinstance(username, str):
            return None
        return self._sessions.get(username.partition(":")[0])
