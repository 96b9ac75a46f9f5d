"""
Transport addresses: an IP address and a port, as one value.

Owns: parsing, normal form, printing, and which ranges count as private.
Knows nothing of: sockets, names to resolve, or which protocol uses the address.
Driven by: every other module; past the edge of a socket no bare tuple is passed on.
"""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache

import attrs

from holepunch.errors import BadAddress


class Transport(enum.Enum):
    """
    What carries a candidate: the transport of RFC 8839 section 5.1.
    """

    UDP = "udp"
    TCP = "tcp"


class Family(enum.Enum):
    """
    The IP version of an address; the value is the STUN family byte (RFC 8489 section 14.1).
    """

    IPV4 = 1
    IPV6 = 2


# Ranges that mean something only inside one network: RFC 1918, RFC 6598 (carrier-grade NAT),
# link-local and unique local addresses.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)


@lru_cache(maxsize=4096)
def _parseHost(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        raise BadAddress(f"{host!r} is not an IP address") from None
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _normalHost(host: str) -> str:
    return str(_parseHost(host))


def isPrivateHost(host: str) -> bool:
    """
    Is C{host} an address that means something only inside one network?

    Private (RFC 1918), carrier-grade NAT (RFC 6598), link-local and unique local addresses are;
    loopback is not: see L{isLoopbackHost}.

    @raise BadAddress: C{host} is not an IP literal.
    """
    parsed = _parseHost(host)
    return any(parsed.version == net.version and parsed in net for net in _PRIVATE)


def isLoopbackHost(host: str) -> bool:
    """
    Is C{host} an address of the loopback interface?

    @raise BadAddress: C{host} is not an IP literal.
    """
    return _parseHost(host).is_loopback


def isUsableHost(host: str) -> bool:
    """
    Can one remote program have C{host} as its address?

    Unspecified, multicast and broadcast addresses cannot.

    @raise BadAddress: C{host} is not an IP literal.
    """
    parsed = _parseHost(host)
    return not (parsed.is_unspecified or parsed.is_multicast or host == "255.255.255.255")


def _checkPort(instance: object, attribute: object, value: int) -> None:
    if not 0 <= value <= 65535:
        raise BadAddress(f"port {value} is not between 0 and 65535")


@attrs.frozen(order=True)
class TransportAddress:
    """
    An IP address and a port (a I{transport address}, RFC 8445 section 4).

    IPv4-mapped IPv6 addresses become the IPv4 address that they stand for, so equal endpoints are
    equal values.

    @ivar host: An IP literal in normal form.
    @ivar port: 0 to 65535; 0 only where a port is still to be chosen.
    @raise BadAddress: C{host} is not an IP literal, or C{port} is out of range.
    """

    host: str = attrs.field(converter=_normalHost)
    port: int = attrs.field(validator=_checkPort)

    @property
    def family(self) -> Family:
        """
        The IP version.
        """
        return Family.IPV6 if ":" in self.host else Family.IPV4

    @property
    def isPrivate(self) -> bool:
        """
        Does the address mean something only inside one network?
        """
        return isPrivateHost(self.host)

    @property
    def isLoopback(self) -> bool:
        """
        Is it an address of the loopback interface?
        """
        return isLoopbackHost(self.host)

    @property
    def packedHost(self) -> bytes:
        """
        The IP address as 4 or 16 bytes in network order.
        """
        return _parseHost(self.host).packed

    @classmethod
    def fromPacked(cls, host: bytes, port: int) -> TransportAddress:
        """
        Build an address from 4 or 16 bytes in network order and a port.

        @raise BadAddress: C{host} has another length.
        """
        if len(host) == 4:
            return cls(str(ipaddress.IPv4Address(host)), port)
        if len(host) == 16:
            return cls(str(ipaddress.IPv6Address(host)), port)
        raise BadAddress(f"an IP address has 4 or 16 bytes, not {len(host)}")

    @classmethod
    def parse(cls, text: str, defaultPort: int | None = None) -> TransportAddress:
        """
        Read C{1.2.3.4:5} or C{[2001:db8::1]:5}.

        @param defaultPort: Used where the text names no port.
        @raise BadAddress: The text is nothing of the kind.
        """
        host, port = splitHostPort(text, defaultPort)
        return cls(host, port)

    def __str__(self) -> str:
        return joinHostPort(self.host, self.port)


def joinHostPort(host: str, port: int) -> str:
    """
    Write C{host:port}, with brackets around an IPv6 literal.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def splitHostPort(text: str, defaultPort: int | None = None) -> tuple[str, int]:
    """
    Read C{host:port}, where host is a name, an IPv4 literal, or an IPv6 literal in brackets.

    @param defaultPort: Used where the text names no port; C{None} demands one.
    @return: The host, not yet resolved, and the port.
    @raise BadAddress: The text is nothing of the kind.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadAddress(f"{text!r} is not [IPv6-address]:port")
        portText = rest[1:] if rest else None
    elif text.count(":") > 1:
        # An IPv6 literal may stand without brackets where no port follows.
        host, portText = _normalHost(text), None
    else:
        host, colon, after = text.partition(":")
        portText = after if colon else None
    if not host:
        raise BadAddress(f"{text!r} names no host")
    if portText is None:
        if defaultPort is None:
            raise BadAddress(f"{text!r} names no port")
        return host, defaultPort
    if not (portText.isascii() and portText.isdigit() and 0 <= int(portText[:6]) <= 65535):
        raise BadAddress(f"{portText!r} is not a port number (0 to 65535)")
    return host, int(portText)
