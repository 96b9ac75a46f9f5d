"""
How a NAT follows a TCP connection: the state machine of RFC 6146 section 3.5.2, as RFC 7857
section 2 asks it of every NAT.

Owns: the states, the kinds of segment, and the one table of transitions. Two states are finer than
in the RFC: a connection is established only when a segment acknowledged both SYNs, before which it
is C{OPENING}; and C{CLOSED} tells that the closing handshake is over.
Knows nothing of: addresses, sequence numbers, and how long a state lasts.
Driven by: L{holepunch.nat.device}.
"""

from __future__ import annotations

import enum

from holepunch.nat.effects import Side
from holepunch.nat.packet import TCPFlag


class Segment(enum.Enum):
    """
    What kind of TCP segment it is, as far as the state machine cares.
    """

    SYN = "SYN"
    SYN_ACK = "SYN-ACK"
    PLAIN = "plain"
    FIN = "FIN"
    RST = "RST"


def _segment(flags: int) -> Segment:
    if flags & TCPFlag.RST:
        return Segment.RST
    if flags & TCPFlag.SYN:
        return Segment.SYN_ACK if flags & TCPFlag.ACK else Segment.SYN
    return Segment.FIN if flags & TCPFlag.FIN else Segment.PLAIN


# Arithmetic on enum flags is slow, and this is asked for every packet: indexed by the flags, which
# are nine bits in a TCP header.
SEGMENTS: tuple[Segment, ...] = tuple(_segment(flags) for flags in range(512))


class TCPState(enum.Enum):
    """
    How far a connection has come; the value says it to a person.
    """

    INSIDE_SYN = "SYN from inside"
    OUTSIDE_SYN = "SYN from outside"
    OPENING = "SYN from both sides"
    ESTABLISHED = "established"
    INSIDE_FIN = "FIN from inside"
    OUTSIDE_FIN = "FIN from outside"
    BOTH_FIN = "FIN from both sides"
    CLOSED = "closed"
    RESET = "reset"


# States whose sessions live as long as established connections do; the others are transitory.
ESTABLISHED_STATES = frozenset(
    {TCPState.ESTABLISHED, TCPState.INSIDE_FIN, TCPState.OUTSIDE_FIN},
)

_BEGINNING = {Side.INSIDE: TCPState.INSIDE_SYN, Side.OUTSIDE: TCPState.OUTSIDE_SYN}
_HALF_CLOSED = {Side.INSIDE: TCPState.INSIDE_FIN, Side.OUTSIDE: TCPState.OUTSIDE_FIN}


def _transitions() -> dict[tuple[TCPState, Side, Segment], TCPState]:
    table = {}
    for side, other in ((Side.INSIDE, Side.OUTSIDE), (Side.OUTSIDE, Side.INSIDE)):
        rows = (
            (_BEGINNING[other], Segment.SYN, TCPState.OPENING),  # simultaneous open
            (_BEGINNING[other], Segment.SYN_ACK, TCPState.OPENING),
            (TCPState.OPENING, Segment.SYN_ACK, TCPState.ESTABLISHED),
            (TCPState.OPENING, Segment.PLAIN, TCPState.ESTABLISHED),
            (TCPState.OPENING, Segment.FIN, _HALF_CLOSED[side]),
            (TCPState.OPENING, Segment.RST, TCPState.RESET),
            (TCPState.ESTABLISHED, Segment.FIN, _HALF_CLOSED[side]),
            (TCPState.ESTABLISHED, Segment.RST, TCPState.RESET),
            (_HALF_CLOSED[other], Segment.FIN, TCPState.BOTH_FIN),
            (_HALF_CLOSED[side], Segment.RST, TCPState.RESET),
            (_HALF_CLOSED[other], Segment.RST, TCPState.RESET),
            (TCPState.BOTH_FIN, Segment.PLAIN, TCPState.CLOSED),
            (TCPState.BOTH_FIN, Segment.RST, TCPState.RESET),
            # A RST may be forged: a connection that goes on was not reset.
            (TCPState.RESET, Segment.PLAIN, TCPState.ESTABLISHED),
            # The same pair of endpoints starts anew.
            (TCPState.BOTH_FIN, Segment.SYN, _BEGINNING[side]),
            (TCPState.CLOSED, Segment.SYN, _BEGINNING[side]),
            (TCPState.RESET, Segment.SYN, _BEGINNING[side]),
        )
        for state, segment, following in rows:
            table[state, side, segment] = following
    return table


# (state, where the segment comes from, its kind) -> next state. What is not listed changes nothing.
TRANSITIONS = _transitions()


def firstState(side: Side, segment: Segment) -> TCPState:
    """
    The state of a connection of which the first segment seen came from C{side}.
    """
    return _BEGINNING[side] if segment is Segment.SYN else TCPState.ESTABLISHED
