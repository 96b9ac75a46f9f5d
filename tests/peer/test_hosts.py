"""
Tests for L{holepunch.peer.hosts}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.interfaces import IHostAddresses
from holepunch.peer.hosts import (
    FixedHostAddresses,
    SystemHostAddresses,
    chooseHosts,
    isLocalService,
)


class ChooseHostsTests(SynchronousTestCase):
    """
    Which addresses are worth a candidate.
    """

    def test_useless(self) -> None:
        """
        Loopback, link-local, multicast and unspecified addresses, and what is no address, are left
        out; IPv4 comes first.
        """
        hosts = [
            "2001:db8::1",
            "127.0.0.1",
            "::1",
            "fe80::1%eth0",
            "fe80::2",
            "169.254.1.1",
            "224.0.0.1",
            "0.0.0.0",
            "nonsense",
            "192.168.1.2",
            "192.168.1.2",
        ]
        self.assertEqual(chooseHosts(hosts), ("192.168.1.2", "2001:db8::1"))

    def test_loopback(self) -> None:
        """
        Loopback is kept for a service on this machine.
        """
        self.assertEqual(chooseHosts(["127.0.0.1"], withLoopback=True), ("127.0.0.1",))
        self.assertTrue(isLocalService("localhost") and isLocalService("127.0.0.1"))
        self.assertTrue(isLocalService("::1") and isLocalService("test.localhost"))
        self.assertFalse(isLocalService("rendezvous.example.org") or isLocalService("5.1.0.1"))

    def test_bounded(self) -> None:
        """
        A machine with many addresses offers eight.
        """
        self.assertEqual(len(chooseHosts(f"10.0.0.{number}" for number in range(1, 100))), 8)

    def test_system(self) -> None:
        """
        The system's addresses are IP literals, loopback among them.
        """
        addresses = SystemHostAddresses()
        verifyObject(IHostAddresses, addresses)
        self.assertIn("127.0.0.1", addresses.hostAddresses())

    def test_fixed(self) -> None:
        """
        A program may name the addresses itself.
        """
        addresses = FixedHostAddresses(["10.0.0.1"])
        verifyObject(IHostAddresses, addresses)
        self.assertEqual(addresses.hostAddresses(), ("10.0.0.1",))
