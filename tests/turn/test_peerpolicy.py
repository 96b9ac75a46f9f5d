"""
Tests for L{holepunch.turn.peerpolicy}.
"""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadAddress
from holepunch.turn import PeerPolicy
from tests.stun.strategies import REPEATABLE

OWN = ("198.51.100.1", "2001:db8::1")
CLOSED = (
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "2001::1",
    "2001:10::1",
    "100::1",
    "64:ff9b:1::1",
    "fec0::1",
    "2a00::5efe:a00:1",
    "2a00::200:5efe:c0a8:1",
    *OWN,
)
OPEN = ("8.8.8.8", "203.0.113.9", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1")


def disguises(host: str) -> list[str]:
    """
    IPv6 addresses that stand for an IPv4 address.
    """
    number = int(ipaddress.IPv4Address(host))
    numbers = [
        0xFFFF << 32 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80 | 1,
    ]
    if number > 0xFFFF:
        numbers.append(number)
    return [str(ipaddress.IPv6Address(each)) for each in numbers]


class PeerPolicyTests(SynchronousTestCase):
    """
    L{PeerPolicy}.
    """

    def setUp(self) -> None:
        self.policy = PeerPolicy(OWN)

    def test_closed(self) -> None:
        """
        Private, special and own addresses are closed.
        """
        for host in CLOSED:
            self.assertFalse(self.policy.allows(host), host)

    def test_open(self) -> None:
        """
        Public addresses are open.
        """
        for host in OPEN:
            self.assertTrue(self.policy.allows(host), host)

    @REPEATABLE
    @given(st.ip_addresses(v=4).map(str))
    def test_disguised(self, host: str) -> None:
        """
        An IPv6 address that stands for an IPv4 address is as open as that.
        """
        for disguise in disguises(host):
            self.assertEqual(self.policy.allows(host), self.policy.allows(disguise), disguise)

    def test_disguisedPrivate(self) -> None:
        """
        A private address is found in each of its disguises, and so is the relay's own.
        """
        for host in ("10.0.0.1", "127.0.0.1", OWN[0]):
            for disguise in disguises(host):
                self.assertFalse(self.policy.allows(disguise), disguise)

    def test_allowed(self) -> None:
        """
        What the operator allows is open, disguised or not, and nothing beside it.
        """
        policy = PeerPolicy(OWN, ["10.1.0.0/16", OWN[0]])
        for host in ("10.1.2.3", "::ffff:10.1.2.3", OWN[0]):
            self.assertTrue(policy.allows(host), host)
        for host in ("10.2.0.1", "127.0.0.1", OWN[1]):
            self.assertFalse(policy.allows(host), host)

    def test_mistakes(self) -> None:
        """
        What is no address and no network is refused by name.
        """
        self.assertRaises(BadAddress, PeerPolicy, OWN, ["10.0.0.1/8"])
        self.assertRaises(BadAddress, PeerPolicy, ["example.org"])
        self.assertRaises(BadAddress, self.policy.allows, "example.org")
