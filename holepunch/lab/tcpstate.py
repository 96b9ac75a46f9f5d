"""
The states of a TCP connection (RFC 9293 section 3.3.2), and what leads from one to the next.

Owns: the transition table.
Knows nothing of: sequence numbers, timers, sockets.
Driven by: L{holepunch.lab.simulatedtcp}.
"""

from __future__ import annotations

import enum

from holepunch.errors import LocalProtocolError


class TCPState(enum.Enum):
    """
    The state of one end of a connection.
    """

    CLOSED = "CLOSED"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSING = "CLOSING"
    CLOSE_WAIT = "CLOSE-WAIT"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"


class TCPEvent(enum.Enum):
    """
    What moves a connection on.
    """

    CONNECT = "the program connects"
    ACCEPT = "a SYN reaches a listener"
    SYN = "a SYN arrives"
    SYN_ACKNOWLEDGED = "our SYN is acknowledged"
    SHUT_DOWN = "the program has nothing more to send"
    FIN = "a FIN arrives"
    FIN_ACKNOWLEDGED = "our FIN is acknowledged"
    END = "reset, given up or expired"


_S, _E = TCPState, TCPEvent

TRANSITIONS: dict[tuple[TCPState, TCPEvent], TCPState] = {
    (_S.CLOSED, _E.CONNECT): _S.SYN_SENT,
    (_S.CLOSED, _E.ACCEPT): _S.SYN_RECEIVED,
    # Simultaneous open: both ends have sent a SYN, and each sees the other's.
    (_S.SYN_SENT, _E.SYN): _S.SYN_RECEIVED,
    (_S.SYN_SENT, _E.SYN_ACKNOWLEDGED): _S.ESTABLISHED,
    (_S.SYN_RECEIVED, _E.SYN_ACKNOWLEDGED): _S.ESTABLISHED,
    (_S.SYN_RECEIVED, _E.SHUT_DOWN): _S.FIN_WAIT_1,
    (_S.ESTABLISHED, _E.SHUT_DOWN): _S.FIN_WAIT_1,
    (_S.ESTABLISHED, _E.FIN): _S.CLOSE_WAIT,
    (_S.FIN_WAIT_1, _E.FIN_ACKNOWLEDGED): _S.FIN_WAIT_2,
    (_S.FIN_WAIT_1, _E.FIN): _S.CLOSING,
    (_S.FIN_WAIT_2, _E.FIN): _S.TIME_WAIT,
    (_S.CLOSING, _E.FIN_ACKNOWLEDGED): _S.TIME_WAIT,
    (_S.CLOSE_WAIT, _E.SHUT_DOWN): _S.LAST_ACK,
    (_S.LAST_ACK, _E.FIN_ACKNOWLEDGED): _S.CLOSED,
    **{(state, _E.END): _S.CLOSED for state in TCPState},
}


def nextState(state: TCPState, event: TCPEvent) -> TCPState:
    """
    The state after C{event}.

    @raise LocalProtocolError: The event cannot happen in that state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise LocalProtocolError(f"{event.value!r} cannot happen in {state.value}") from None
