"""
Topologies as short texts: C{port-restricted/symmetric}.

Owns: the grammar, the names of scenarios, and where in the text an error is.
Knows nothing of: the networks (L{holepunch.lab.topology}, L{holepunch.lab.scenario}).
Driven by: L{Topology.parse<holepunch.lab.topology.Topology.parse>}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from holepunch.errors import BadTopology
from holepunch.lab.part import LinkSpec
from holepunch.lab.scenario import asFirewall, dualStack, firewalls, onlyIPv6, withMobile
from holepunch.nat.behaviour import NAMED_BEHAVIOURS, NATBehaviour
from holepunch.nat.presets import PRESETS

if TYPE_CHECKING:
    from holepunch.lab.topology import Topology

_Behaviours = list[NATBehaviour | None]
_SCENARIOS = ("same-subnet", "dual-stack", "firewalls", "ipv6", "two-interfaces")


def behaviourNamed(name: str) -> NATBehaviour:
    """
    The behaviour of that name, be it a plain kind of NAT or a device of the field.

    @raise BadTopology: There is none.
    """
    behaviour = NAMED_BEHAVIOURS.get(name) or PRESETS.get(name)
    if behaviour is None:
        known = _list([*NAMED_BEHAVIOURS, *PRESETS])
        raise BadTopology(f"{name!r} is no kind of NAT; expected one of {known}")
    return behaviour


def parseText(kind: type[Topology], text: str, link: LinkSpec) -> Topology:
    """
    See L{Topology.parse<holepunch.lab.topology.Topology.parse>}, the method of C{kind}.
    """
    scenario, colon, rest = text.rpartition(":")
    names = rest.split("/")
    if colon and scenario not in _SCENARIOS:
        known = _list(f"{each}:" for each in _SCENARIOS)
        raise BadTopology(
            f"{text!r}: column 1, {scenario!r}, is no scenario; expected one of {known} or none"
        )
    most = 3 if scenario in ("", "two-interfaces") else 2
    if len(names) > most:
        column = len(scenario) + bool(colon) + len("/".join(names[:most])) + 1
        others = "" if most == 2 else " and alice's mobile one" if scenario else " and a carrier's"
        raise BadTopology(
            f"{text!r} names {len(names)} NATs; expected alice's, bob's{others} at "
            f"most, and the end at column {column}"
        )
    behaviours = [_named(text, position) for position in range(len(names))]
    isSame = scenario == "same-subnet"
    if scenario and (len(names) < most or (isSame and None in behaviours)):
        example = "firewall" if scenario in ("firewalls", "ipv6") else "full-cone"
        raise BadTopology(
            f"{text!r}: column {len(scenario) + 2}: expected {'three' if most == 3 else 'two'} "
            f"NATs, as in {scenario}:{'/'.join([example] * most)}"
        )
    topology = _network(kind, scenario, behaviours, text, link)
    third = "nat-mobile" if scenario else "carrier"
    nats = ("nat",) if len(names) == 1 else ("nat-alice", "nat-bob", third)
    return _withKernelNATs(topology, dict(zip(nats, names, strict=False)))


def _network(
    kind: type[Topology], scenario: str, behaviours: _Behaviours, text: str, link: LinkSpec
) -> Topology:
    if len(behaviours) == 1:
        return kind.sameNAT(behaviours[0], link)
    alice, bob, third = (*behaviours, None)[:3]
    if scenario == "same-subnet":
        assert alice is not None and bob is not None
        topology = kind.sameSubnet(alice, bob, link)
        hosts = (
            attrs.evolve(each, isDecoy=each.name.startswith("decoy-")) for each in topology.hosts
        )
        return attrs.evolve(topology, hosts=tuple(hosts))
    if scenario in ("firewalls", "ipv6"):
        for position in range(2):
            _checkFirewall(text, position, behaviours[position])
    two = kind.twoNATs(alice, bob, link)
    if scenario == "two-interfaces":
        return withMobile(two, third, link)
    if scenario:
        return {"dual-stack": dualStack, "firewalls": firewalls, "ipv6": onlyIPv6}[scenario](two)
    return two if third is None else kind.twoLevel(alice, bob, third, link)


def _checkFirewall(text: str, position: int, behaviour: NATBehaviour | None) -> None:
    try:
        asFirewall(behaviour)
    except BadTopology as error:
        raise _wrong(text, position, "is no firewall", str(error)) from None


def _withKernelNATs(topology: Topology, namedBehaviours: dict[str, str]) -> Topology:
    kernels = {nat for nat, behaviour in namedBehaviours.items() if behaviour == "kernel"}
    if not kernels:
        return topology
    nats = (attrs.evolve(nat, isKernel=nat.name in kernels) for nat in topology.nats)
    return attrs.evolve(topology, nats=tuple(nats))


def _named(text: str, position: int) -> NATBehaviour | None:
    """
    What the name at a position of a short text means.
    """
    name = text.rpartition(":")[2].split("/")[position]
    if name == "none":
        return None
    if name == "kernel":
        return NAMED_BEHAVIOURS["linux-masquerade"]
    try:
        return behaviourNamed(name)
    except BadTopology as error:
        expected = f"expected none, kernel, or {str(error).removeprefix('expected ')}"
        raise _wrong(text, position, "is no NAT", expected) from None


def _wrong(text: str, position: int, what: str, expected: str) -> BadTopology:
    names = text.rpartition(":")[2].split("/")
    column = text.rfind(":") + 2 + len("/".join(["", *names[:position]]))
    return BadTopology(
        f"{text!r}: name {position + 1}, {names[position]!r} (column {column}), {what}; {expected}"
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
