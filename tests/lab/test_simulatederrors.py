"""
Tests for L{holepunch.lab.simulatederrors}: what a simulated UDP socket tells of its packets.
"""

from __future__ import annotations

import errno
import struct
from typing import Any

from holepunch.lab.simulatederrors import ERROR_OPTIONS, MSG_ERRQUEUE, TTL_OPTIONS
from holepunch.lab.simulatedsocket import DatagramSocket
from tests.lab.test_simulatedudp import UDPTestCase

_SERVER = ("5.1.0.1", 3478)


class ErrorQueueTests(UDPTestCase):
    """
    C{IP_RECVERR} and C{IP_TTL}.
    """

    def setUp(self) -> None:
        self.build("port-restricted/none")
        kernel = self.internet.host("alice").reactor.kernel
        self.socket = DatagramSocket(kernel, 2)
        self.socket.bind(("192.168.1.10", 0))

    def sendWithTTL(self, ttl: int, address: tuple[str, int] = _SERVER) -> None:
        self.socket.setsockopt(*TTL_OPTIONS[0], ttl)
        self.socket.sendto(b"hello", address)
        self.internet.advance(0.1)

    def hear(self) -> Any:
        data, [(level, kind, value)], flags, address = self.socket.recvmsg(100, 100, MSG_ERRQUEUE)
        self.assertEqual(((level, kind), flags), (ERROR_OPTIONS[0], MSG_ERRQUEUE))
        self.assertEqual((data, address), (b"hello", _SERVER))
        return struct.unpack_from("=IBBB", value)

    def test_timeExceeded(self) -> None:
        """
        A packet that ends at a router leaves its error in the queue; one that may go on, none.
        """
        self.socket.setsockopt(*ERROR_OPTIONS[0], 1)
        self.sendWithTTL(1)
        self.assertEqual(self.hear(), (errno.EHOSTUNREACH, 2, 11, 0))
        self.sendWithTTL(-1)
        self.assertEqual(len(self.server.received), 1)
        self.assertRaises(BlockingIOError, self.socket.recvmsg, 100, 100, MSG_ERRQUEUE)

    def test_portUnreachable(self) -> None:
        """
        A closed port is told of as well, though the socket is connected to nobody.
        """
        self.socket.setsockopt(*ERROR_OPTIONS[0], 1)
        self.socket.sendto(b"hello", ("5.1.0.1", 9))
        self.internet.advance(0.1)
        _, [(_, _, value)], _, address = self.socket.recvmsg(100, 100, MSG_ERRQUEUE)
        self.assertEqual(struct.unpack_from("=IBBB", value), (errno.ECONNREFUSED, 2, 3, 3))
        self.assertEqual(address, ("5.1.0.1", 9))

    def test_unasked(self) -> None:
        """
        Without the option, there is no queue.
        """
        self.sendWithTTL(1)
        self.assertRaises(BlockingIOError, self.socket.recvmsg, 100, 100, MSG_ERRQUEUE)
