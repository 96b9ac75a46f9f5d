"""
What a network of the lab looks like, as a pure value.

Owns: its parts, how one finds them, and the usual scenarios.
Knows nothing of: packets, clocks, or which back end will build the network.
Driven by: tests, C{holepunch lab}; read by L{holepunch.lab.fabric} and both back ends.

One network is the I{core}, where every address is public. Every L{NATSpec} has one more network
behind it. A host or a NAT is C{behind} a NAT, or in the core where C{behind} is C{None}; it reaches
that network over its own link. A packet between two hosts so crosses the link of each of them, and
that of each NAT on the way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import attrs

from holepunch.errors import BadTopology
from holepunch.lab.part import DEFAULT_LINK, HostSpec, InterfaceSpec, LinkSpec, NATSpec, Part
from holepunch.lab.topologycheck import check
from holepunch.lab.topologytext import behaviourNamed, parseText
from holepunch.nat.behaviour import NATBehaviour

__all__ = ["HostSpec", "InterfaceSpec", "LinkSpec", "NATSpec", "Topology", "behaviourNamed"]


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


@attrs.frozen
class Topology:
    """
    A whole network.

    @raise BadTopology: The parts do not fit together; the message says which and why.
    """

    hosts: tuple[HostSpec, ...]
    nats: tuple[NATSpec, ...] = ()

    def __attrs_post_init__(self) -> None:
        check(self)

    def host(self, name: str) -> HostSpec:
        """
        The host of that name.

        @raise BadTopology: There is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        known = _list(each.name for each in self.hosts)
        raise BadTopology(f"there is no host {name!r}, only {known}")

    def nat(self, name: str) -> NATSpec:
        """
        The NAT of that name.

        @raise BadTopology: There is none.
        """
        for nat in self.nats:
            if nat.name == name:
                return nat
        known = _list(each.name for each in self.nats)
        raise BadTopology(f"there is no NAT {name!r}, only {known}")

    @property
    def parts(self) -> tuple[Part, ...]:
        """
        Everything that has a link: hosts, their further interfaces, NATs.
        """
        interfaces = (each for host in self.hosts for each in host.allInterfaces)
        return (*interfaces, *self.nats)

    def natsAbove(self, spec: Part) -> tuple[NATSpec, ...]:
        """
        The NATs between C{spec} and the core, the nearest first.
        """
        found: list[NATSpec] = []
        while spec.behind is not None:
            spec = self.nat(spec.behind)
            found.append(spec)
        return tuple(found)

    def withLinks(self, link: LinkSpec) -> Topology:
        """
        The same network with C{link} for every link.
        """
        return Topology(
            tuple(
                attrs.evolve(
                    host,
                    link=link,
                    interfaces=tuple(attrs.evolve(each, link=link) for each in host.interfaces),
                )
                for host in self.hosts
            ),
            tuple(attrs.evolve(nat, link=link) for nat in self.nats),
        )

    @classmethod
    def twoNATs(
        cls,
        alice: NATBehaviour | None,
        bob: NATBehaviour | None,
        link: LinkSpec = DEFAULT_LINK,
    ) -> Topology:
        """
        Each peer behind its own NAT, or public where the behaviour is C{None}.
        """
        return cls(
            (_rendezvous(link), _alice(alice, link), _bob(bob, link)),
            (
                *_nats("nat-alice", alice, "31.1.0.1", "192.168.1.0/24", link),
                *_nats("nat-bob", bob, "31.2.0.1", "192.168.2.0/24", link),
            ),
        )

    @classmethod
    def onePublic(cls, behaviour: NATBehaviour, link: LinkSpec = DEFAULT_LINK) -> Topology:
        """
        Alice behind a NAT, bob public: the case for a reverse connection.
        """
        return cls.twoNATs(behaviour, None, link)

    @classmethod
    def sameNAT(cls, behaviour: NATBehaviour | None, link: LinkSpec = DEFAULT_LINK) -> Topology:
        """
        Both peers on one LAN behind one NAT, C{nat}; C{None} leaves both public.
        """
        if behaviour is None:
            return cls.twoNATs(None, None, link)
        return cls(
            (
                _rendezvous(link),
                HostSpec(name="alice", addresses="192.168.1.10", behind="nat", link=link),
                HostSpec(name="bob", addresses="192.168.1.20", behind="nat", link=link),
            ),
            _nats("nat", behaviour, "31.1.0.1", "192.168.1.0/24", link),
        )

    @classmethod
    def twoLevel(
        cls,
        alice: NATBehaviour | None,
        bob: NATBehaviour | None,
        carrier: NATBehaviour,
        link: LinkSpec = DEFAULT_LINK,
    ) -> Topology:
        """
        Each peer behind its own NAT, and both of those behind a carrier's NAT, C{carrier}.

        Whether the two can meet is a question of the carrier's hairpin. C{None} puts the peer
        itself into the carrier's network.
        """
        inside = "carrier"
        return cls(
            (
                _rendezvous(link),
                _alice(alice, link, inside, "100.64.1.10"),
                _bob(bob, link, inside, "100.64.2.10"),
            ),
            (
                *_nats("carrier", carrier, "31.3.0.1", "100.64.0.0/10", link),
                *_nats("nat-alice", alice, "100.64.1.1", "192.168.1.0/24", link, inside),
                *_nats("nat-bob", bob, "100.64.2.1", "192.168.2.0/24", link, inside),
            ),
        )

    @classmethod
    def sameSubnet(
        cls, alice: NATBehaviour, bob: NATBehaviour, link: LinkSpec = DEFAULT_LINK
    ) -> Topology:
        """
        Two homes with the same private subnet, and strangers at the other peer's private address.

        On alice's LAN C{decoy-bob} has bob's private address, on bob's LAN C{decoy-alice} has
        alice's: whoever is reached there must not be taken for the peer.
        """
        subnet = "192.168.1.0/24"
        return cls(
            (
                _rendezvous(link),
                HostSpec(name="alice", addresses="192.168.1.10", behind="nat-alice", link=link),
                HostSpec(name="decoy-bob", addresses="192.168.1.20", behind="nat-alice", link=link),
                HostSpec(name="bob", addresses="192.168.1.20", behind="nat-bob", link=link),
                HostSpec(name="decoy-alice", addresses="192.168.1.10", behind="nat-bob", link=link),
            ),
            (
                *_nats("nat-alice", alice, "31.1.0.1", subnet, link),
                *_nats("nat-bob", bob, "31.2.0.1", subnet, link),
            ),
        )

    @classmethod
    def parse(cls, text: str, link: LinkSpec = DEFAULT_LINK) -> Topology:
        """
        Build the network that a short text names.

        C{port-restricted/symmetric} puts alice and bob behind a NAT each; C{none} leaves a peer
        public; C{kernel} is a NAT by the kernel's masquerade. C{full-cone} alone puts both on one
        LAN behind one NAT. A third name, as in C{full-cone/full-cone/full-cone}, is that of a
        carrier's NAT before the other two. A scenario stands before the names:

          - C{same-subnet:full-cone/full-cone} gives both LANs the same subnet, with decoys at the
            other peer's private address;
          - C{dual-stack:home-router/symmetric} adds IPv6, for which both are firewalls;
          - C{firewalls:firewall/firewall} has no NAT, for IPv4 nor IPv6;
          - C{ipv6:firewall/firewall} is the same without IPv4;
          - C{two-interfaces:home-router/symmetric/carrier-grade} gives alice a second interface
            behind the third.

        @raise BadTopology: The message names the position, and what was expected there.
        """
        return parseText(cls, text, link)


def _rendezvous(link: LinkSpec) -> HostSpec:
    return HostSpec(name="rendezvous", addresses=("5.1.0.1", "5.2.0.1"), link=link)


def _alice(
    nat: NATBehaviour | None,
    link: LinkSpec,
    outer: str | None = None,
    outerAddress: str = "31.1.0.10",
) -> HostSpec:
    if nat is None:
        return HostSpec(name="alice", addresses=outerAddress, behind=outer, link=link)
    return HostSpec(name="alice", addresses="192.168.1.10", behind="nat-alice", link=link)


def _bob(
    nat: NATBehaviour | None,
    link: LinkSpec,
    outer: str | None = None,
    outerAddress: str = "31.2.0.10",
) -> HostSpec:
    if nat is None:
        return HostSpec(name="bob", addresses=outerAddress, behind=outer, link=link)
    return HostSpec(name="bob", addresses="192.168.2.10", behind="nat-bob", link=link)


def _nats(
    name: str,
    behaviour: NATBehaviour | None,
    address: str,
    inside: str,
    link: LinkSpec,
    behind: str | None = None,
) -> tuple[NATSpec, ...]:
    if behaviour is None:
        return ()
    addresses: tuple[str, ...] = (address,)
    if behaviour.isOneToOne:
        addresses += (str(ipaddress.IPv4Address(address) + 1),)
    return (
        NATSpec(
            name=name,
            behaviour=behaviour,
            addresses=addresses,
            inside=inside,
            behind=behind,
            link=link,
        ),
    )
