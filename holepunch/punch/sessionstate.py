"""
The states of a session as a whole, and the one table of its transitions.

Owns: the table.
Knows nothing of: what is done in a transition.
Driven by: L{PunchSession}.
"""

from __future__ import annotations

import enum


class SessionState(enum.Enum):
    """
    Where a session stands.
    """

    GATHERING = "gathering"
    CHECKING = "checking"
    SELECTED = "selected"
    LOST = "lost"
    FAILED = "failed"
    CLOSED = "closed"

    @property
    def isSearching(self) -> bool:
        """
        Is a path still looked for?
        """
        return self in (SessionState.GATHERING, SessionState.CHECKING)

    @property
    def isOver(self) -> bool:
        """
        Will nothing happen any more?
        """
        return self in (SessionState.LOST, SessionState.FAILED, SessionState.CLOSED)


class SessionEvent(enum.Enum):
    """
    What changes the state of a session.
    """

    CREDENTIALS_KNOWN = "the remote credentials came"
    SELECT = "a path was nominated"
    LOSE = "the path broke"
    FAIL = "no path was found"
    CLOSE = "the driver closed the session"


SESSION_TRANSITIONS = {
    (SessionState.GATHERING, SessionEvent.CREDENTIALS_KNOWN): SessionState.CHECKING,
    (SessionState.GATHERING, SessionEvent.SELECT): SessionState.SELECTED,  # controlled, over TCP
    (SessionState.GATHERING, SessionEvent.FAIL): SessionState.FAILED,
    (SessionState.GATHERING, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.CHECKING, SessionEvent.SELECT): SessionState.SELECTED,
    (SessionState.CHECKING, SessionEvent.FAIL): SessionState.FAILED,
    (SessionState.CHECKING, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.SELECTED, SessionEvent.CREDENTIALS_KNOWN): SessionState.SELECTED,
    (SessionState.SELECTED, SessionEvent.SELECT): SessionState.SELECTED,  # a better pair, over UDP
    (SessionState.SELECTED, SessionEvent.LOSE): SessionState.LOST,
    (SessionState.SELECTED, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.LOST, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.FAILED, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.CLOSED, SessionEvent.CLOSE): SessionState.CLOSED,
}
"""
What may happen when; anything else is misuse (L{LocalProtocolError}).
"""
