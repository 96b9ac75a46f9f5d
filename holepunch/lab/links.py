"""
Network interfaces of the lab: pairs of them, with their addresses and routes.

Owns: what C{ip link}, C{ip address}, C{ip route} and C{ethtool -K} would do.
Knows nothing of: frames; who reads the near end.
Driven by: the engine, while it builds the lab.

ARP is off on the far end, and neighbour discovery with it: the kernel then sends every packet out,
whichever address it thinks to be its neighbour's. So a wire needs no address resolution, and a LAN
no switch that floods. Nor are there router advertisements: addresses and routes are given.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator

import attrs
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from holepunch.errors import LabError
from holepunch.lab.frames import HOST_MAC, WIRE_MAC
from holepunch.lab.isolation import NetworkNamespace
from holepunch.lab.part import DEFAULT_MTU

# linux/if.h, linux/sockios.h, linux/ethtool.h.
_UP = 0x1
_NO_ARP = 0x80
_SIOCETHTOOL = 0x8946
_SEND_CHECKSUM, _SEGMENTATION, _GENERIC_SEGMENTATION = 0x17, 0x1F, 0x24
_LOOPBACK = 1
_LONGEST = 65535
# linux/if_addr.h.
_NO_DETECTION = 0x02
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
# Routes of what is bound to an address: a table for each interface.
_FIRST_TABLE = 100
_METRIC = 100


@attrs.frozen(kw_only=True)
class Interface:
    """
    What the far end of a wire is to be.

    @ivar name: Its name inside the namespace.
    @ivar addresses: Its addresses, each with the length of its subnet's prefix: C{10.0.0.2/8}.
    @ivar isDefault: Is it the way to everywhere else?
    @ivar gateways: The routers on that way, one of each IP version; where there is none, the wire
        itself leads there.
    @ivar number: Of several ways out of a namespace, which. What is bound to an address leaves by
        the interface that has it; all else leaves by number 0. C{None}: there is only one.
    @ivar subnets: What else the wire leads to.
    @ivar mtu: The longest IP packet that it sends.
    """

    name: str = "eth0"
    addresses: tuple[str, ...]
    isDefault: bool = True
    gateways: tuple[str, ...] = ()
    number: int | None = None
    subnets: tuple[str, ...] = ()
    mtu: int = DEFAULT_MTU


@contextlib.contextmanager
def _routes() -> Iterator[IPRoute]:
    """
    Interfaces and routes of the namespace that this process is in now.

    @raise LabError: The kernel refused something.
    """
    try:
        with IPRoute() as routes:
            yield routes
    except NetlinkError as error:
        raise LabError(f"The kernel refuses to set up an interface: {error}") from error


def furnish(namespace: NetworkNamespace) -> None:
    """
    Make a new namespace habitable: a loopback interface, every port for everybody, no IPv6 but that
    of the lab.
    """
    namespace.setting("ipv6.conf.default.disable_ipv6", 1, isOptional=True)
    for name in ("accept_ra", "accept_dad", "router_solicitations", "autoconf"):
        namespace.setting(f"ipv6.conf.default.{name}", 0, isOptional=True)
    namespace.setting("ipv4.ip_unprivileged_port_start", 0, isOptional=True)
    namespace.setting("ipv4.conf.all.rp_filter", 0, isOptional=True)
    namespace.setting("ipv4.conf.default.rp_filter", 0, isOptional=True)
    with namespace.entered(), _routes() as routes:
        routes.link("set", index=_LOOPBACK, flags=_UP, change=_UP)


def layLink(far: NetworkNamespace, interface: Interface, near: str) -> None:
    """
    Make a pair of interfaces: C{near} here, the other in the namespace C{far}.
    """
    with _routes() as routes:
        peer = {"ifname": interface.name, "address": _text(HOST_MAC), "net_ns_fd": far.fd}
        routes.link("add", kind="veth", ifname=near, address=_text(WIRE_MAC), peer=peer)
        # The kernel of the far end cuts packets; here they pass as they are.
        index = socket.if_nametoindex(near)
        routes.link("set", index=index, mtu=_LONGEST, flags=_UP, change=_UP)
    _permitIPv6(far, interface)
    with far.entered(), _routes() as routes:
        index = socket.if_nametoindex(interface.name)
        flags = _UP | _NO_ARP
        routes.link("set", index=index, mtu=interface.mtu, flags=flags, change=flags)
        _assign(routes, index, interface)


def _permitIPv6(far: NetworkNamespace, interface: Interface) -> None:
    if any(":" in address for address in interface.addresses):
        # Where it cannot be permitted, it could not be forbidden either.
        far.setting(f"ipv6.conf.{interface.name}.disable_ipv6", 0, isOptional=True)


def setAddresses(far: NetworkNamespace, interface: Interface) -> None:
    """
    Give an interface that is there these addresses, this MTU and this way out, in place of all
    others.
    """
    _permitIPv6(far, interface)
    with far.entered(), _routes() as routes:
        index = socket.if_nametoindex(interface.name)
        routes.link("set", index=index, mtu=interface.mtu)
        # The routes go with the addresses.
        routes.flush_addr(index=index)
        if interface.number is not None:
            for family in _FAMILIES.values():
                routes.flush_rules(family=family, table=_FIRST_TABLE + interface.number)
        _assign(routes, index, interface)


def _assign(routes: IPRoute, index: int, interface: Interface) -> None:
    for address in map(ipaddress.ip_interface, interface.addresses):
        host, length = str(address.ip), address.network.prefixlen
        # An IPv6 address is used at once: nobody else on the wire could have it.
        flags = {"flags": _NO_DETECTION} if address.version == 6 else {}
        routes.addr("add", index=index, address=host, prefixlen=length, **flags)
        if interface.number is not None:
            family, longest = _FAMILIES[address.version], address.max_prefixlen
            table = _FIRST_TABLE + interface.number
            rule = {"family": family, "src": host, "src_len": longest, "table": table}
            routes.rule("add", priority=table, **rule)
    for text in interface.subnets:
        family = _FAMILIES[ipaddress.ip_network(text).version]
        routes.route("replace", family=family, dst=text, oif=index)
    if interface.isDefault:
        gateways = {ipaddress.ip_address(each).version: each for each in interface.gateways}
        for version in {ipaddress.ip_interface(each).version for each in interface.addresses}:
            way = {"gateway": gateways[version]} if version in gateways else {}
            default = {"family": _FAMILIES[version], "dst": "default", "oif": index, **way}
            if interface.number is None:
                routes.route("replace", **default)
            else:
                routes.route("replace", priority=_METRIC + interface.number, **default)
                routes.route("replace", table=_FIRST_TABLE + interface.number, **default)


def disableOffload(far: NetworkNamespace, name: str) -> None:
    """
    Have the kernel finish checksums and cut TCP into segments before a packet leaves C{name}.
    """
    with far.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for command in (_SEND_CHECKSUM, _SEGMENTATION, _GENERIC_SEGMENTATION):
            value = array.array("I", [command, 0])
            request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
            fcntl.ioctl(handle, _SIOCETHTOOL, request)


def _text(mac: bytes) -> str:
    return mac.hex(":")
