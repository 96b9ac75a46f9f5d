"""
Network interfaces of the lab: pairs of them, with their addresses and routes.

Owns: what C{ip link}, C{ip address}, C{ip route} and C{ethtool -K} would do.
Knows nothing of: frames; who reads the near end.
Driven by: the engine, while it builds the lab.

ARP is off on the far end: the kernel then sends every packet out, whichever address it thinks to be
its neighbour's. So a wire needs no address resolution, and a LAN no switch that floods.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
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


@attrs.frozen(kw_only=True)
class Interface:
    """
    What the far end of a wire is to be.

    @ivar name: Its name inside the namespace.
    @ivar addresses: Its IPv4 addresses.
    @ivar prefix: How many bits of them are the subnet's.
    @ivar isDefault: Is it the way to everywhere else?
    @ivar mtu: The longest IP packet that it sends.
    @ivar gateway: The router on that way; C{None}: there is none, the wire itself leads there.
    """

    name: str = "eth0"
    addresses: tuple[str, ...]
    prefix: int = 32
    isDefault: bool = True
    gateway: str | None = None
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
    Make a new namespace habitable: a loopback interface, every port for everybody, no IPv6 chatter.
    """
    namespace.setting("ipv6.conf.default.disable_ipv6", 1, isOptional=True)
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
    with far.entered(), _routes() as routes:
        index = socket.if_nametoindex(interface.name)
        flags = _UP | _NO_ARP
        routes.link("set", index=index, mtu=interface.mtu, flags=flags, change=flags)
        _assign(routes, index, interface)


def setAddresses(far: NetworkNamespace, interface: Interface) -> None:
    """
    Give an interface that is there these addresses, this MTU and this way out, in place of all
    others.
    """
    with far.entered(), _routes() as routes:
        index = socket.if_nametoindex(interface.name)
        routes.link("set", index=index, mtu=interface.mtu)
        # The routes go with the addresses.
        routes.flush_addr(index=index)
        _assign(routes, index, interface)


def _assign(routes: IPRoute, index: int, interface: Interface) -> None:
    for address in interface.addresses:
        routes.addr("add", index=index, address=address, prefixlen=interface.prefix)
    if interface.isDefault:
        way = {} if interface.gateway is None else {"gateway": interface.gateway}
        routes.route("add", family=socket.AF_INET, dst="default", oif=index, **way)


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
