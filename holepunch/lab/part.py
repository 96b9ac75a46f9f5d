"""
The parts of a topology: hosts, NATs and links, as pure values.

Owns: the values, and what each of them can check for itself.
Knows nothing of: how the parts fit together.
Driven by: L{holepunch.lab.topology}.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, BadTopology
from holepunch.nat.behaviour import NAMED_BEHAVIOURS, NATBehaviour

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

#: That of Ethernet.
DEFAULT_MTU = 1500
#: However they are cut, IP packets need not be shorter (RFC 791); with IPv6, than the other (RFC
#: 8200 section 5).
LEAST_MTU, LEAST_MTU_6 = 68, 1280
_LONGEST_PACKET = 65535


def _checkShare(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise BadTopology(f"{attribute.name} is a share from 0 to 1, not {value}")


def _checkSeconds(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value < 3600.0:
        raise BadTopology(f"{attribute.name} is a number of seconds from 0 to 3600, not {value}")


def _checkRate(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value < 1e12:
        raise BadTopology(f"{attribute.name} is a number of bits a second, not {value}")


def _checkMTU(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not LEAST_MTU <= value <= _LONGEST_PACKET:
        raise BadTopology(
            f"{attribute.name} is a number of bytes from {LEAST_MTU} to {_LONGEST_PACKET}, "
            f"not {value}"
        )


def _checkName(instance: object, attribute: object, value: str) -> None:
    if not value or not all(part.isalnum() for part in value.split("-")):
        raise BadTopology(f"{value!r} is no name: use letters, digits and single dashes")


def _normalHosts(hosts: tuple[str, ...] | list[str] | str) -> tuple[str, ...]:
    if isinstance(hosts, str):
        hosts = (hosts,)
    try:
        return tuple(TransportAddress(host, 0).host for host in hosts)
    except BadAddress as error:
        raise BadTopology(str(error)) from None


@lru_cache
def _parseSubnet(text: str) -> Subnet:
    try:
        subnet = ipaddress.ip_network(text)
    except ValueError as error:
        raise BadTopology(f"{text!r} is no subnet: {error}") from None
    if subnet.num_addresses < 4:
        raise BadTopology(f"{text!r} has no room for a gateway and hosts")
    return subnet


def _normalSubnets(texts: tuple[str, ...] | list[str] | str) -> tuple[str, ...]:
    if isinstance(texts, str):
        texts = (texts,)
    subnets = [_parseSubnet(text) for text in texts]
    if len({subnet.version for subnet in subnets}) != len(subnets):
        raise BadTopology("a NAT has at most one subnet inside of each IP version")
    return tuple(str(subnet) for subnet in subnets)


def _checkFirewall(instance: object, attribute: object, value: NATBehaviour) -> None:
    if not value.isOneToOne:
        raise BadTopology("a firewall leaves ports as they are: expected a one-to-one behaviour")


@attrs.frozen(kw_only=True)
class LinkSpec:
    """
    How one link treats the packets of either direction.

    @ivar latency: One way, in seconds.
    @ivar jitter: Up to so many seconds more, at random; packets stay in order.
    @ivar loss: The share of packets that vanish.
    @ivar reorder: The share of packets that are held back, so that later ones overtake them.
    @ivar duplicate: The share of packets that arrive twice.
    @ivar rate: So many bits a second in each direction; 0: no limit.
    @ivar mtu: The longest IP packet that it carries, in bytes. A longer one is cut into fragments
        if its sender allows that; otherwise it is lost, and its sender told by an ICMP error.
    @ivar isBlackHole: Nobody is told: neither the sender of a packet that was too long, nor a host
        at the end of the link about its MTU.
    @ivar losesFragments: IP fragments vanish on it.
    @ivar queue: With a rate: a packet that would have to wait longer, in seconds, is lost.
    """

    latency: float = attrs.field(default=0.005, validator=_checkSeconds)
    jitter: float = attrs.field(default=0.0, validator=_checkSeconds)
    loss: float = attrs.field(default=0.0, validator=_checkShare)
    reorder: float = attrs.field(default=0.0, validator=_checkShare)
    duplicate: float = attrs.field(default=0.0, validator=_checkShare)
    rate: float = attrs.field(default=0.0, validator=_checkRate)
    queue: float = attrs.field(default=0.2, validator=_checkSeconds)
    mtu: int = attrs.field(default=DEFAULT_MTU, validator=_checkMTU)
    isBlackHole: bool = False
    losesFragments: bool = False

    @property
    def interfaceMTU(self) -> int:
        """
        What a host at the end of the link takes for its MTU.
        """
        return max(self.mtu, DEFAULT_MTU) if self.isBlackHole else self.mtu


DEFAULT_LINK = LinkSpec()


@attrs.frozen(kw_only=True)
class InterfaceSpec:
    """
    One more interface of a machine.

    @ivar name: Of the interface; no other part of the network has it.
    @ivar addresses: As for L{HostSpec}, and so are C{behind} and C{link}.
    """

    name: str = attrs.field(validator=_checkName)
    addresses: tuple[str, ...] = attrs.field(converter=_normalHosts)
    behind: str | None = None
    link: LinkSpec = DEFAULT_LINK


@attrs.frozen(kw_only=True)
class HostSpec:
    """
    One machine with a network interface, or several.

    @ivar addresses: The IP addresses of its interface; one string for a single address.
    @ivar behind: The name of the NAT whose inside network it is in; C{None}: the public core.
    @ivar link: What joins it to that network.
    @ivar interfaces: Its further interfaces. What is bound to no address leaves by the first.
    @ivar isDecoy: In the namespace back end, have a stranger there who accepts every TCP
        connection and answers every datagram.
    """

    name: str = attrs.field(validator=_checkName)
    addresses: tuple[str, ...] = attrs.field(converter=_normalHosts)
    behind: str | None = None
    link: LinkSpec = DEFAULT_LINK
    interfaces: tuple[InterfaceSpec, ...] = ()
    isDecoy: bool = False

    @property
    def allInterfaces(self) -> tuple[HostSpec | InterfaceSpec, ...]:
        """
        The first, which has the host's own name, and the further ones.
        """
        return (self, *self.interfaces)

    @property
    def allAddresses(self) -> tuple[str, ...]:
        """
        Those of all interfaces.
        """
        return tuple(address for each in self.allInterfaces for address in each.addresses)


@attrs.frozen(kw_only=True)
class NATSpec:
    """
    One NAT and the network inside it; or a firewall without NAT.

    IPv6 is never translated: the hosts inside have public addresses, and a firewall before them.

    @ivar behaviour: What it does to packets of IPv4.
    @ivar addresses: Its external IP addresses; one string for a single address.
    @ivar inside: The subnet inside, such as C{192.168.1.0/24}, or one of IPv4 and one of IPv6.
    @ivar translates: If not, IPv4 addresses stay as they are, too, and C{behaviour} is that of a
        firewall: one-to-one.
    @ivar firewall: What it does to packets of IPv6; it is one-to-one.
    @ivar behind: The name of the NAT that it is behind itself; C{None}: the public core.
    @ivar link: What joins its outside to that network.
    @ivar isKernel: In the namespace back end, let the kernel's own masquerade do the work; the
        simulated back end follows C{behaviour}.
    """

    name: str = attrs.field(validator=_checkName)
    behaviour: NATBehaviour
    addresses: tuple[str, ...] = attrs.field(converter=_normalHosts)
    inside: tuple[str, ...] = attrs.field(converter=_normalSubnets)
    behind: str | None = None
    link: LinkSpec = DEFAULT_LINK
    isKernel: bool = False
    translates: bool = True
    firewall: NATBehaviour = attrs.field(
        default=NAMED_BEHAVIOURS["firewall"], validator=_checkFirewall
    )

    def __attrs_post_init__(self) -> None:
        if not self.translates and not self.behaviour.isOneToOne:
            raise BadTopology(
                f"{self.name!r} translates nothing: expected a one-to-one behaviour, as firewall"
            )

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """
        C{inside}, parsed.
        """
        return tuple(_parseSubnet(text) for text in self.inside)

    @property
    def routed(self) -> tuple[Subnet, ...]:
        """
        The subnets of which the addresses are known outside: those that are not translated.
        """
        return tuple(each for each in self.subnets if each.version == 6 or not self.translates)

    @property
    def gateways(self) -> tuple[str, ...]:
        """
        The NAT's own addresses in the network inside: the first of each subnet.
        """
        return tuple(str(subnet.network_address + 1) for subnet in self.subnets)

    def subnetOf(self, host: str) -> Subnet | None:
        """
        The subnet inside that an address belongs to.
        """
        parsed = ipaddress.ip_address(host)
        return next((each for each in self.subnets if parsed in each), None)


Part = HostSpec | InterfaceSpec | NATSpec
