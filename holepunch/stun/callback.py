"""
Behaviour discovery over TCP: the server connects to its client from elsewhere (our extension of RFC
5780 section 7.2, which knows CHANGE-REQUEST over UDP only).

Owns: what a server says of a connection that failed, as an error response that RFC 6062 section 4.3
has for such a thing.
Knows nothing of: sockets; who asks, and who connects.
Driven by: L{holepunch.rendezvous.callback}, which says it, and
L{holepunch.peer.discoverystreams}, which reads it.
"""

from __future__ import annotations

import enum

#: I{Connection Timeout or Failure}.
CALL_FAILED = 447


class CallFailure(enum.Enum):
    """
    What became of the connection; the value is the reason phrase.
    """

    REFUSED = "Refused"
    UNREACHABLE = "Unreachable"
    SILENT = "Timeout"

    @classmethod
    def read(cls, reason: str) -> CallFailure | None:
        """
        What a reason phrase says; C{None}: nothing that we know.
        """
        return next((each for each in cls if each.value == reason), None)
