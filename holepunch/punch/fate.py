"""
How candidate pairs end, in words for a person.

Owns: the fates of a pair, and the ways in which a connect can fail.
Knows nothing of: timers, STUN, or what follows from a fate (see L{explainFailure}).
Driven by: L{DatagramChecks} and L{StreamConnections}, which record the fates.
"""

from __future__ import annotations

import enum


class ConnectFailure(enum.Enum):
    """
    How a connect ended that did not succeed.
    """

    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed out"
    UNREACHABLE = "no route"
    ADDRESS_IN_USE = "address in use"
    OTHER = "failed"


class Fate(enum.Enum):
    """
    How a candidate pair ended, or where it stands; the value completes the pair's sentence.
    """

    NOT_TRIED = "was not tried yet"
    IN_PROGRESS = "was still being checked"
    UNANSWERED = "got no answer to its checks"
    ASYMMETRIC = "was answered from another address than was asked"
    REJECTED = "was answered with a STUN error"
    REFUSED = "was refused: nobody listens there, or a NAT answers for the peer"
    RESET = "was reset by the other side or by a NAT"
    CONNECT_TIMED_OUT = "got no answer to its connects"
    UNREACHABLE = "has no route"
    ADDRESS_IN_USE = "could not use the local port"
    CONNECT_FAILED = "could not be connected"
    STRANGER = "reached a stranger, who does not know the session's credential"
    UNPROVEN = "connected, but nobody there proved the session's credential in time"
    CLOSED_EARLY = "connected, and was closed before the credential was proven"
    VALID = "worked, but was not nominated"
    SELECTED = "was selected"


CONNECT_FATES = {
    ConnectFailure.REFUSED: Fate.REFUSED,
    ConnectFailure.RESET: Fate.RESET,
    ConnectFailure.TIMED_OUT: Fate.CONNECT_TIMED_OUT,
    ConnectFailure.UNREACHABLE: Fate.UNREACHABLE,
    ConnectFailure.ADDRESS_IN_USE: Fate.ADDRESS_IN_USE,
    ConnectFailure.OTHER: Fate.CONNECT_FAILED,
}
