"""
Whether the parts of a topology fit together.

Owns: the checks: of names, of NATs behind themselves, of addresses.
Knows nothing of: what the parts are for.
Driven by: L{holepunch.lab.topology}.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from holepunch.address import isPrivateHost, isUsableHost
from holepunch.errors import BadTopology
from holepunch.lab.part import LEAST_MTU_6, NATSpec, Part, Subnet

if TYPE_CHECKING:
    from holepunch.lab.topology import Topology


def check(topology: Topology) -> None:
    """
    Check a topology.

    @raise BadTopology: Its parts do not fit together; the message says which and why.
    """
    _checkNames(topology)
    _checkLoops(topology)
    _checkAddresses(topology)
    _checkRoutes(topology)


def _checkNames(topology: Topology) -> None:
    names: set[str] = set()
    for part in topology.parts:
        if part.name in names:
            raise BadTopology(f"two parts are named {part.name!r}")
        names.add(part.name)
        if part.behind is not None:
            try:
                topology.nat(part.behind)
            except BadTopology as error:
                raise BadTopology(f"{part.name!r} is behind a NAT, but {error}") from None


def _checkLoops(topology: Topology) -> None:
    for nat in topology.nats:
        seen = {nat.name}
        above = nat
        while above.behind is not None:
            above = topology.nat(above.behind)
            if above.name in seen:
                raise BadTopology(f"{nat.name!r} is behind itself")
            seen.add(above.name)


def _checkAddresses(topology: Topology) -> None:
    taken: dict[tuple[str | None, str], str] = {}
    for part in topology.parts:
        if not part.addresses:
            raise BadTopology(f"{part.name!r} has no address")
        for host in part.addresses:
            _checkAddress(topology, part, host)
            owner = taken.setdefault((part.behind, host), part.name)
            if owner != part.name:
                raise BadTopology(f"{owner!r} and {part.name!r} both have the address {host}")
        if part.link.mtu < LEAST_MTU_6 and any(":" in host for host in part.addresses):
            raise BadTopology(
                f"{part.name!r} has an IPv6 address, so the mtu of its link is at least "
                f"{LEAST_MTU_6}, not {part.link.mtu}"
            )


def _checkAddress(topology: Topology, part: Part, host: str) -> None:
    if not isUsableHost(host):
        raise BadTopology(f"{part.name!r} cannot have the address {host}")
    if part.behind is None:
        if isPrivateHost(host):
            raise BadTopology(f"{part.name!r} is public, but its address {host} is not")
        return
    outer = topology.nat(part.behind)
    subnet = outer.subnetOf(host)
    if subnet is None:
        raise BadTopology(f"{part.name!r} has {host}, which is not in {' or '.join(outer.inside)}")
    if host in (*outer.gateways, str(subnet[0]), str(subnet[-1])):
        raise BadTopology(f"{part.name!r} has {host}, which {outer.name!r} needs for itself")
    if isinstance(part, NATSpec):
        for inner in part.subnets:
            if _overlap(inner, subnet):
                raise BadTopology(f"{part.name!r} has {inner} inside and {subnet} outside")


def _checkRoutes(topology: Topology) -> None:
    """
    Check that where an address is not translated, one NAT alone leads to it.
    """
    known: list[tuple[str | None, Subnet, NATSpec]] = []
    for nat in topology.nats:
        for subnet in nat.routed:
            for network, other, owner in known:
                if network == nat.behind and _overlap(subnet, other):
                    raise BadTopology(
                        f"{owner.name!r} and {nat.name!r} both lead to {subnet}: "
                        "the addresses inside are known outside"
                    )
            known.append((nat.behind, subnet, nat))
            if nat.behind is None and isPrivateHost(str(subnet.network_address)):
                raise BadTopology(f"{nat.name!r} does not translate {subnet}, which is not public")
    for part in topology.parts:
        for host in part.addresses:
            for network, subnet, owner in known:
                if network == part.behind and ipaddress.ip_address(host) in subnet:
                    raise BadTopology(f"{part.name!r} has {host}, which is inside {owner.name!r}")


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and (
        one.network_address in other or other.network_address in one
    )
