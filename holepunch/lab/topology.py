"""
What a network of the lab looks like, as a pure value.

Owns: how its parts fit together, the text form of L{Topology.parse}, and the usual scenarios.
Knows nothing of: packets, clocks, or which back end will build the network.
Driven by: tests, C{holepunch lab}; read by L{holepunch.lab.fabric} and both back ends.

One network is the I{core}, where every address is public. Every L{NATSpec} has one more network
behind it. A host or a NAT is C{behind} a NAT, or in the core where C{behind} is C{None}; it reaches
that network over its own link. A packet between two hosts so crosses the link of each of them, and
that of each NAT on the way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import attrs

from holepunch.address import isPrivateHost, isUsableHost
from holepunch.errors import BadTopology
from holepunch.lab.part import DEFAULT_LINK, HostSpec, LinkSpec, NATSpec
from holepunch.nat.behaviour import NAMED_BEHAVIOURS, NATBehaviour
from holepunch.nat.presets import PRESETS

__all__ = ["HostSpec", "LinkSpec", "NATSpec", "Topology", "behaviourNamed"]


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
        self._checkNames()
        self._checkLoops()
        self._checkAddresses()

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

    def natsAbove(self, spec: HostSpec | NATSpec) -> tuple[NATSpec, ...]:
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
            tuple(attrs.evolve(host, link=link) for host in self.hosts),
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
        carrier's NAT before the other two. C{same-subnet:full-cone/full-cone} gives both LANs the
        same subnet, with decoys at the other peer's private address.

        @raise BadTopology: The message names the position, and what was expected there.
        """
        scenario, colon, rest = text.rpartition(":")
        names = rest.split("/")
        if colon:
            return cls._parseScenario(text, scenario, names, link)
        if len(names) > 3:
            column = len("/".join(names[:3])) + 1
            raise BadTopology(
                f"{text!r} names {len(names)} NATs; expected alice's, bob's and a carrier's at "
                f"most, and the end at column {column}"
            )
        behaviours = [_named(text, position) for position in range(len(names))]
        if len(behaviours) == 1:
            return cls.sameNAT(behaviours[0], link)._withKernelNATs({"nat": names[0]})
        alice, bob, carrier = (*behaviours, None)[:3]
        if carrier is None:
            topology = cls.twoNATs(alice, bob, link)
        else:
            topology = cls.twoLevel(alice, bob, carrier, link)
        nats = ("nat-alice", "nat-bob", "carrier")
        return topology._withKernelNATs(dict(zip(nats, names, strict=False)))

    @classmethod
    def _parseScenario(
        cls, text: str, scenario: str, names: Sequence[str], link: LinkSpec
    ) -> Topology:
        if scenario != "same-subnet":
            raise BadTopology(
                f"{text!r}: column 1, {scenario!r}, is no scenario; expected same-subnet: or none"
            )
        behaviours = [_named(text, position) for position in range(len(names))]
        alice, bob, *_ = (*behaviours, None, None)
        if len(behaviours) != 2 or alice is None or bob is None:
            raise BadTopology(
                f"{text!r}: column {len(scenario) + 2}: expected two NATs, as in "
                "same-subnet:full-cone/full-cone"
            )
        topology = cls.sameSubnet(alice, bob, link)
        hosts = (
            attrs.evolve(each, isDecoy=each.name.startswith("decoy-")) for each in topology.hosts
        )
        nats = dict(zip(("nat-alice", "nat-bob"), names, strict=True))
        return attrs.evolve(topology, hosts=tuple(hosts))._withKernelNATs(nats)

    def _withKernelNATs(self, namedBehaviours: dict[str, str]) -> Topology:
        kernels = {nat for nat, behaviour in namedBehaviours.items() if behaviour == "kernel"}
        if not kernels:
            return self
        nats = (attrs.evolve(nat, isKernel=nat.name in kernels) for nat in self.nats)
        return attrs.evolve(self, nats=tuple(nats))

    def _parts(self) -> tuple[HostSpec | NATSpec, ...]:
        return (*self.hosts, *self.nats)

    def _checkNames(self) -> None:
        names: set[str] = set()
        for spec in self._parts():
            if spec.name in names:
                raise BadTopology(f"two parts are named {spec.name!r}")
            names.add(spec.name)
            if spec.behind is not None:
                try:
                    self.nat(spec.behind)
                except BadTopology as error:
                    raise BadTopology(f"{spec.name!r} is behind a NAT, but {error}") from None

    def _checkLoops(self) -> None:
        for nat in self.nats:
            seen = {nat.name}
            above = nat
            while above.behind is not None:
                above = self.nat(above.behind)
                if above.name in seen:
                    raise BadTopology(f"{nat.name!r} is behind itself")
                seen.add(above.name)

    def _checkAddresses(self) -> None:
        taken: dict[tuple[str | None, str], str] = {}
        for spec in self._parts():
            if not spec.addresses:
                raise BadTopology(f"{spec.name!r} has no address")
            for host in spec.addresses:
                self._checkAddress(spec, host)
                owner = taken.setdefault((spec.behind, host), spec.name)
                if owner != spec.name:
                    raise BadTopology(f"{owner!r} and {spec.name!r} both have the address {host}")

    def _checkAddress(self, spec: HostSpec | NATSpec, host: str) -> None:
        if not isUsableHost(host):
            raise BadTopology(f"{spec.name!r} cannot have the address {host}")
        if spec.behind is None:
            if isPrivateHost(host):
                raise BadTopology(f"{spec.name!r} is public, but its address {host} is not")
            return
        outer = self.nat(spec.behind)
        if ":" in host or ipaddress.IPv4Address(host) not in outer.subnet:
            raise BadTopology(f"{spec.name!r} has {host}, which is not in {outer.inside}")
        if host in (outer.gateway, str(outer.subnet[0]), str(outer.subnet[-1])):
            raise BadTopology(f"{spec.name!r} has {host}, which {outer.name!r} needs for itself")
        if isinstance(spec, NATSpec) and spec.subnet.overlaps(outer.subnet):
            raise BadTopology(f"{spec.name!r} has {spec.inside} inside and {outer.inside} outside")


def behaviourNamed(name: str) -> NATBehaviour:
    """
    The behaviour of that name, be it a plain kind of NAT or a device of the field.

    @raise BadTopology: There is none.
    """
    behaviour = NAMED_BEHAVIOURS.get(name) or PRESETS.get(name)
    if behaviour is None:
        raise BadTopology(f"expected one of {_list([*NAMED_BEHAVIOURS, *PRESETS])}")
    return behaviour


def _named(text: str, position: int) -> NATBehaviour | None:
    """
    What the name at a position of a short text means.
    """
    names = text.rpartition(":")[2].split("/")
    name = names[position]
    if name == "none":
        return None
    if name == "kernel":
        return NAMED_BEHAVIOURS["linux-masquerade"]
    try:
        return behaviourNamed(name)
    except BadTopology as error:
        column = text.rfind(":") + 2 + len("/".join(["", *names[:position]]))
        raise BadTopology(
            f"{text!r}: name {position + 1}, {name!r} (column {column}), is no NAT; "
            f"expected none, kernel, or {str(error).removeprefix('expected ')}"
        ) from None


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
