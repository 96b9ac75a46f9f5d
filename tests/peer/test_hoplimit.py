"""
Tests of L{holepunch.peer.hoplimit}.
"""

from __future__ import annotations

import socket

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Family
from holepunch.peer.hoplimit import limitHops


@attrs.define
class Transport:
    """
    As much of a transport as counts.
    """

    socket: socket.socket | None


@attrs.define
class Connector:
    """
    As much of a connector as counts.
    """

    transport: Transport | None


class LimitTests(SynchronousTestCase):
    """
    Setting the TTL of real sockets.
    """

    def test_set(self) -> None:
        """
        It is set, and set back to what it was.
        """
        for family, own, option in (
            (Family.IPV4, socket.AF_INET, (socket.IPPROTO_IP, socket.IP_TTL)),
            (Family.IPV6, socket.AF_INET6, (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)),
        ):
            with socket.socket(own, socket.SOCK_STREAM) as connecting:
                before = connecting.getsockopt(*option)
                connector = Connector(Transport(connecting))
                self.assertTrue(limitHops(connector, family, 3))
                self.assertEqual(connecting.getsockopt(*option), 3)
                self.assertTrue(limitHops(connector, family, None))
                self.assertEqual(connecting.getsockopt(*option), before)

    def test_impossible(self) -> None:
        """
        Where there is no socket, or it is closed, nothing happens.
        """
        closed = socket.socket()
        closed.close()
        for connector in (
            Connector(None),
            Connector(Transport(None)),
            Connector(Transport(closed)),
        ):
            self.assertFalse(limitHops(connector, Family.IPV4, 3))
