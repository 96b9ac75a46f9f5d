"""
What the reactor says about a failed connect, in the words of the punching core.

Owns: the translation.
Knows nothing of: sessions.
Driven by: L{holepunch.peer.driver}.
"""

from __future__ import annotations

import errno

from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.python.failure import Failure

from holepunch.punch import ConnectFailure

_BY_NUMBER = {
    errno.ECONNRESET: ConnectFailure.RESET,
    errno.EADDRINUSE: ConnectFailure.ADDRESS_IN_USE,
    errno.EADDRNOTAVAIL: ConnectFailure.ADDRESS_IN_USE,
    errno.EHOSTUNREACH: ConnectFailure.UNREACHABLE,
    errno.ENETUNREACH: ConnectFailure.UNREACHABLE,
    errno.ETIMEDOUT: ConnectFailure.TIMED_OUT,
}

_BY_CLASS = (
    (ConnectionRefusedError, ConnectFailure.REFUSED),
    (NoRouteError, ConnectFailure.UNREACHABLE),
    ((TCPTimedOutError, TimeoutError), ConnectFailure.TIMED_OUT),
    (ConnectBindError, ConnectFailure.ADDRESS_IN_USE),
)


def classify(reason: Failure) -> ConnectFailure:
    """
    How did the connect fail?
    """
    error = reason.value
    number = getattr(error, "osError", None)
    if isinstance(error, ConnectError) and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    for kind, failure in _BY_CLASS:
        if isinstance(error, kind):
            return failure
    return ConnectFailure.OTHER
