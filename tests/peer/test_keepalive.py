"""
Tests for L{holepunch.peer.keepalive}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.keepalive import keepAlive


class _Transport:
    """
    As much of a TCP transport as keepalive needs, over a real socket.
    """

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self.isKeptAlive = False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.isKeptAlive = enabled

    def getHandle(self) -> object:
        return self.handle


class KeepAliveTests(SynchronousTestCase):
    """
    The options of a real socket.
    """

    def test_belowTwentySeconds(self) -> None:
        """
        The kernel probes an idle connection before 20 seconds, and gives it up after about 30.
        """
        with socket.socket() as handle:
            transport: Any = _Transport(handle)
            keepAlive(transport)
            self.assertTrue(transport.isKeptAlive)
            idle = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            interval = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            count = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            self.assertLess(idle, 20)
            self.assertLessEqual(idle + interval * count, 30)

    def test_noSocket(self) -> None:
        """
        A transport that is no socket is only told to keep alive.
        """
        transport: Any = _Transport(None)
        keepAlive(transport)
        self.assertTrue(transport.isKeptAlive)
