"""
Tests for L{holepunch.address}.
"""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import (
    Family,
    TransportAddress,
    isLoopbackHost,
    isPrivateHost,
    isUsableHost,
    joinHostPort,
    splitHostPort,
)
from holepunch.errors import BadAddress

addresses = st.builds(
    TransportAddress, st.ip_addresses().map(str), st.integers(min_value=0, max_value=65535)
)


class TransportAddressTests(SynchronousTestCase):
    """
    L{TransportAddress}.
    """

    @given(addresses)
    def test_text(self, address: TransportAddress) -> None:
        """
        An address is read as it was written.
        """
        self.assertEqual(TransportAddress.parse(str(address)), address)

    @given(addresses)
    def test_packed(self, address: TransportAddress) -> None:
        """
        An address is unpacked as it was packed, in the length of its family.
        """
        packed = address.packedHost
        self.assertEqual(len(packed), 4 if address.family is Family.IPV4 else 16)
        self.assertEqual(TransportAddress.fromPacked(packed, address.port), address)

    def test_normal(self) -> None:
        """
        Equal endpoints are equal values, in whatever notation.
        """
        self.assertEqual(TransportAddress("::ffff:10.0.0.1", 5), TransportAddress("10.0.0.1", 5))
        self.assertEqual(TransportAddress("2001:DB8:0:0::1", 5), TransportAddress("2001:db8::1", 5))

    def test_refused(self) -> None:
        """
        What is no IP address, and what is no port, is refused.
        """
        for host in ("", "a.example", "10.0.0", "10.0.0.256", "::g", "10.0.0.1 "):
            self.assertRaises(BadAddress, TransportAddress, host, 5)
        for port in (-1, 65536):
            self.assertRaises(BadAddress, TransportAddress, "10.0.0.1", port)
        self.assertRaises(BadAddress, TransportAddress.fromPacked, bytes(5), 5)

    def test_ranges(self) -> None:
        """
        Private, loopback and unusable addresses are known.
        """
        for host in ("10.1.2.3", "172.31.0.1", "192.168.0.1", "100.127.0.1", "169.254.1.1"):
            self.assertTrue(isPrivateHost(host))
        for host in ("fd00::1", "fe80::1", "::ffff:10.0.0.1"):
            self.assertTrue(isPrivateHost(host))
        for host in ("8.8.8.8", "172.32.0.1", "100.128.0.1", "127.0.0.1", "2001:db8::1", "::1"):
            self.assertFalse(isPrivateHost(host))
        self.assertTrue(isLoopbackHost("127.9.9.9") and isLoopbackHost("::1"))
        for host in ("0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"):
            self.assertFalse(isUsableHost(host))
        self.assertTrue(isUsableHost("10.0.0.1"))

    @given(st.ip_addresses())
    def test_rangesAreApart(self, host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        """
        No address is both private and loopback.
        """
        self.assertFalse(isPrivateHost(str(host)) and isLoopbackHost(str(host)))


class HostPortTests(SynchronousTestCase):
    """
    L{splitHostPort} and L{joinHostPort}.
    """

    def test_split(self) -> None:
        """
        Names, IPv4 and IPv6 literals are read, with or without a port.
        """
        for text, expected in (
            ("a.example:5", ("a.example", 5)),
            ("a.example", ("a.example", 99)),
            ("10.0.0.1:5", ("10.0.0.1", 5)),
            ("[::1]:5", ("::1", 5)),
            ("[::1]", ("::1", 99)),
            ("::1", ("::1", 99)),
        ):
            self.assertEqual(splitHostPort(text, 99), expected)

    def test_refused(self) -> None:
        """
        A missing host, a missing port that is needed, and what is no port are refused.
        """
        for text in ("", ":5", "a:", "a:x", "a:-1", "a:65536", "[::1", "[::1]x", "[]:5", "a:٣"):
            self.assertRaises(BadAddress, splitHostPort, text, 99)
        self.assertRaises(BadAddress, splitHostPort, "a.example")

    @given(st.sampled_from(["a.example", "10.0.0.1", "2001:db8::1"]), st.integers(0, 65535))
    def test_join(self, host: str, port: int) -> None:
        """
        What was joined is split again.
        """
        self.assertEqual(splitHostPort(joinHostPort(host, port)), (host, port))
