"""
One TCP connection of a session, from the first SYN to its end or to the handing over.

Owns: the states of a connection and their transition table, and what is known about it.
Knows nothing of: sockets; other connections; how checks are judged.
Driven by: L{StreamConnections} and L{StreamChecks}.
"""

from __future__ import annotations

import enum

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import LocalProtocolError
from holepunch.punch.checks import BuiltCheck
from holepunch.punch.pair import CandidatePair
from holepunch.stun import Rfc4571Framer

UNPROVEN_LIMIT = 1500
"""
How many bytes a connection may send before it proved the credential.
"""
CHECKS_LIMIT = 16_000
"""
How many bytes of checks a connection may carry at all: each one is answered, read or not.
"""


class ConnectionState(enum.Enum):
    """
    How far a connection has come.
    """

    CONNECTING = "connecting"
    OPEN = "open"
    NOMINATED = "nominated"
    SELECTED = "selected"
    CLOSED = "closed"


class ConnectionEvent(enum.Enum):
    """
    What changes the state of a connection.
    """

    CONNECT = "it was connected"
    NOMINATE = "the controlling side sent a nominating check"
    SELECT = "a nominating check was answered"
    CLOSE = "it was closed or lost"


CONNECTION_TRANSITIONS = {
    (ConnectionState.CONNECTING, ConnectionEvent.CONNECT): ConnectionState.OPEN,
    (ConnectionState.CONNECTING, ConnectionEvent.CLOSE): ConnectionState.CLOSED,
    (ConnectionState.OPEN, ConnectionEvent.NOMINATE): ConnectionState.NOMINATED,
    (ConnectionState.OPEN, ConnectionEvent.SELECT): ConnectionState.SELECTED,  # controlled
    (ConnectionState.OPEN, ConnectionEvent.CLOSE): ConnectionState.CLOSED,
    (ConnectionState.NOMINATED, ConnectionEvent.SELECT): ConnectionState.SELECTED,
    (ConnectionState.NOMINATED, ConnectionEvent.CLOSE): ConnectionState.CLOSED,
    (ConnectionState.SELECTED, ConnectionEvent.CLOSE): ConnectionState.CLOSED,
}


def _framer() -> Rfc4571Framer:
    return Rfc4571Framer(limit=UNPROVEN_LIMIT)


@attrs.define(eq=False, kw_only=True)
class StreamConnection:
    """
    One connection, or the attempt at one.

    @ivar pair: C{None} while an accepted connection from an unforeseen address proved nothing.
    @ivar isActive: This side connected; it sends the first check.
    @ivar isPunch: This side connects only to open the hole (sequential flow).
    @ivar isProven: The other side has shown the credential here.
    @ivar isMuted: What arrives is of no interest any more, but closing would be too early.
    @ivar deadline: When the connection is given up; C{None} for never.
    @ivar since: When it was begun or accepted.
    @ivar openAt: When it was established.
    @ivar sent: The checks under way, at most a plain and a nominating one.
    """

    id: int
    local: TransportAddress
    remote: TransportAddress
    isActive: bool
    since: float
    openAt: float = 0.0
    deadline: float | None
    pair: CandidatePair | None = None
    state: ConnectionState = ConnectionState.CONNECTING
    rtt: float | None = None
    isPunch: bool = False
    isProven: bool = False
    isMuted: bool = False
    sent: list[BuiltCheck] = attrs.field(factory=list)
    sentAt: float = 0.0
    receivedSize: int = 0
    framer: Rfc4571Framer = attrs.field(factory=_framer)

    def move(self, event: ConnectionEvent) -> None:
        """
        Change the state by the table.
        """
        state = CONNECTION_TRANSITIONS.get((self.state, event))
        if state is None:
            raise LocalProtocolError(
                f"connection {self.id}, which is {self.state.value}: {event.value}"
            )
        self.state = state

    @property
    def isReadable(self) -> bool:
        """
        Does what arrives consist of checks?
        """
        return not self.isMuted and self.state in (ConnectionState.OPEN, ConnectionState.NOMINATED)

    @property
    def nominationPatience(self) -> float:
        """
        How long after its nominating check to wait before something else is nominated too.

        Short where a stranger may have accepted us: the other side takes only one nomination, so a
        second one does no harm.
        """
        return 2 * (self.rtt or 0.0) + (1.0 if self.isProven else 0.1)
