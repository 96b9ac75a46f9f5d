"""
Scenarios: what is made of a network of two NATs.

Owns: IPv6 beside IPv4 or alone, firewalls without NAT, a second interface, and their addresses.
Knows nothing of: packets; how a person names a scenario (L{holepunch.lab.topologytext}).
Driven by: L{holepunch.lab.topology} and L{holepunch.lab.topologytext}.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import attrs

from holepunch.errors import BadTopology
from holepunch.lab.part import DEFAULT_LINK, HostSpec, InterfaceSpec, LinkSpec, NATSpec
from holepunch.nat.behaviour import NAMED_BEHAVIOURS, NATBehaviour

if TYPE_CHECKING:
    from holepunch.lab.topology import Topology

_SERVICE_6 = ("2001:db8:5:1::1", "2001:db8:5:2::1")
# The third number of the public and of the routed addresses of each.
_NUMBERS = {"alice": 1, "bob": 2}


def dualStack(topology: Topology) -> Topology:
    """
    Add IPv6 to a network of two NATs, which become firewalls for it.
    """
    hosts = [attrs.evolve(host, addresses=_both(host)) for host in topology.hosts]
    nats = []
    for nat in topology.nats:
        number = _NUMBERS[nat.name.partition("-")[2]]
        addresses = (*nat.addresses, f"2001:db8:31:{number}::1")
        inside = (*nat.inside, f"2001:db8:{number}::/64")
        nats.append(attrs.evolve(nat, addresses=addresses, inside=inside))
    return attrs.evolve(topology, hosts=tuple(hosts), nats=tuple(nats))


def _both(host: HostSpec) -> tuple[str, ...]:
    if host.name == "rendezvous":
        return (*host.addresses, *_SERVICE_6)
    number = _NUMBERS[host.name]
    further = f"2001:db8:31:{number}::10" if host.behind is None else f"2001:db8:{number}::10"
    return (*host.addresses, further)


def firewalls(topology: Topology) -> Topology:
    """
    Make of two NATs firewalls that translate nothing, with IPv6 beside IPv4.

    @raise BadTopology: One of them is no firewall: its behaviour is not one-to-one.
    """
    moved = {"alice": ("31.11.0.0/24", "31.11.0.10"), "bob": ("31.12.0.0/24", "31.12.0.10")}
    nats = []
    for nat in topology.nats:
        subnet = moved[nat.name.partition("-")[2]][0]
        nats.append(
            attrs.evolve(
                nat,
                addresses=nat.addresses[:1],
                inside=subnet,
                translates=False,
                firewall=nat.behaviour,
            )
        )
    hosts = [
        host if host.behind is None else attrs.evolve(host, addresses=moved[host.name][1])
        for host in topology.hosts
    ]
    return dualStack(attrs.evolve(topology, hosts=tuple(hosts), nats=tuple(nats)))


def onlyIPv6(topology: Topology) -> Topology:
    """
    Take IPv4 from the peers of a network of two firewalls; the service keeps both.
    """
    both = firewalls(topology)
    hosts = tuple(
        host if host.name == "rendezvous" else attrs.evolve(host, addresses=_six(host.addresses))
        for host in both.hosts
    )
    nats = tuple(
        attrs.evolve(nat, addresses=_six(nat.addresses), inside=_six(nat.inside))
        for nat in both.nats
    )
    return attrs.evolve(both, hosts=hosts, nats=nats)


def _six(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in addresses if ipaddress.ip_interface(each).version == 6)


def withMobile(
    topology: Topology, behaviour: NATBehaviour | None, link: LinkSpec = DEFAULT_LINK
) -> Topology:
    """
    Give alice a second interface, C{alice-mobile}: behind C{nat-mobile}, or public.
    """
    addresses, behind = ("31.4.0.10", None) if behaviour is None else ("10.64.0.10", "nat-mobile")
    interface = InterfaceSpec(name="alice-mobile", addresses=addresses, behind=behind, link=link)
    hosts = tuple(
        attrs.evolve(host, interfaces=(interface,)) if host.name == "alice" else host
        for host in topology.hosts
    )
    nats = topology.nats
    if behaviour is not None:
        nats += (
            NATSpec(
                name="nat-mobile",
                behaviour=behaviour,
                addresses="31.4.0.1",
                inside="10.64.0.0/16",
                link=link,
            ),
        )
    return attrs.evolve(topology, hosts=hosts, nats=nats)


def asFirewall(behaviour: NATBehaviour | None) -> NATBehaviour | None:
    """
    The firewall that keeps out whom a behaviour keeps out.

    @raise BadTopology: It is no firewall: it translates.
    """
    if behaviour is not None and not behaviour.isOneToOne:
        known = [name for name, each in NAMED_BEHAVIOURS.items() if each.isOneToOne]
        raise BadTopology(f"expected one of none, {', '.join(known)}, which translate nothing")
    return behaviour
