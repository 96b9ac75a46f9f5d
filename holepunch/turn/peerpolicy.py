"""
Where a relay sends to, and where it never does.

A relay stands where its users do not: without this rule it would be their way into its operator's
network (RFC 8656 section 21.1.3).

Owns: the ranges that are no public addresses, and looking through the ways in which an IPv6 address
can stand for an IPv4 one.
Knows nothing of: permissions; who asks.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from holepunch.errors import BadAddress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The special-purpose address registry (RFC 6890) without the ranges for documentation, which lead
# nowhere, and which labs use as their public addresses.
_CLOSED4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",
    )
)
# Of IPv6 only global unicast is open at all (RFC 4291 section 2.4), and the NAT64 prefix.
_OPEN6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")
# Teredo, ORCHID, and whatever else the IETF keeps for protocols.
_CLOSED6 = (ipaddress.IPv6Network("2001::/23"),)
# ISATAP (RFC 5214 section 6.1): the IPv4 address stands in the last four bytes.
_ISATAP = (0x00005EFE, 0x02005EFE)


def parseNetworks(texts: Iterable[str]) -> tuple[_Network, ...]:
    """
    Read networks such as C{10.0.0.0/8}, or single addresses.

    @raise BadAddress: One is nothing of the kind; the text names it.
    """
    return tuple(map(_parseNetwork, texts))


def _parseNetwork(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise BadAddress(f"{text!r} is no network such as 10.0.0.0/8") from None


class PeerPolicy:
    """
    Decides whether a relay may send to a host.

    @ivar ownHosts: The addresses of the relay itself.
    """

    def __init__(self, ownHosts: Iterable[str], allowed: Iterable[str] = ()) -> None:
        """
        @param ownHosts: Every address of the machine that the relay runs on, its public ones too.
        @param allowed: Networks that are open although they would not be.
        @raise BadAddress: One of either is nothing of the kind.
        """
        self.ownHosts = frozenset(str(_unwrapped(host)) for host in ownHosts)
        self._allowed = parseNetworks(allowed)
        self.allows = lru_cache(maxsize=4096)(self._allows)

    def _allows(self, host: str) -> bool:
        """
        May the relay send to C{host}, an IP literal?
        """
        address = _unwrapped(host)
        if any(address.version == net.version and address in net for net in self._allowed):
            return True
        if str(address) in self.ownHosts:
            return False
        if isinstance(address, ipaddress.IPv4Address):
            return not any(address in network for network in _CLOSED4)
        if address not in _OPEN6 or any(address in network for network in _CLOSED6):
            return False
        return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP


def _unwrapped(host: str) -> _Address:
    """
    The address that a packet to C{host} would come out at, as far as its bits tell.

    @raise BadAddress: C{host} is no IP literal.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        raise BadAddress(f"{host!r} is not an IP address") from None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    number = int(address)
    # IPv4-mapped, IPv4-compatible (RFC 4291 section 2.5.5), NAT64 (RFC 6052).
    isCompatible = number >> 32 == 0 and number > 0xFFFF
    if address.ipv4_mapped is not None or isCompatible or address in _NAT64:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _6TO4:
        return ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    return address
