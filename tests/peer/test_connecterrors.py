"""
Tests for L{holepunch.peer.connecterrors}.
"""

from __future__ import annotations

import errno

from twisted.internet.error import (
    ConnectBindError,
    TimeoutError,
    UserError,
    getConnectError,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.connecterrors import classify
from holepunch.punch import ConnectFailure


class ClassifyTests(SynchronousTestCase):
    """
    What the reactor says, in the core's words.
    """

    def test_numbers(self) -> None:
        """
        Each error number of the system has its meaning.
        """
        for number, expected in {
            errno.ECONNREFUSED: ConnectFailure.REFUSED,
            errno.ECONNRESET: ConnectFailure.RESET,
            errno.ETIMEDOUT: ConnectFailure.TIMED_OUT,
            errno.EHOSTUNREACH: ConnectFailure.UNREACHABLE,
            errno.ENETUNREACH: ConnectFailure.UNREACHABLE,
            errno.EADDRNOTAVAIL: ConnectFailure.ADDRESS_IN_USE,
            errno.EADDRINUSE: ConnectFailure.ADDRESS_IN_USE,
            errno.EPERM: ConnectFailure.OTHER,
        }.items():
            error = getConnectError((number, "text"))
            self.assertIs(classify(Failure(error)), expected)

    def test_classes(self) -> None:
        """
        So have the reactor's own errors.
        """
        self.assertIs(classify(Failure(TimeoutError())), ConnectFailure.TIMED_OUT)
        self.assertIs(classify(Failure(ConnectBindError())), ConnectFailure.ADDRESS_IN_USE)
        self.assertIs(classify(Failure(UserError())), ConnectFailure.OTHER)
