"""
How far away the device is that has our public address, and whether another one translates before.

Owns: what follows from packets that end on their way (time exceeded, RFC 792): to a server, and to
our own mapped address.
Knows nothing of: sockets, and which probes are sent when (L{holepunch.nat.discoverypath}).
Driven by: L{holepunch.nat.discoverypath}.

A packet to our own mapped address travels towards the device that has it, and no further. So
routers that complain of such packets lie before that device: if there is none, it is the first
router, and the only NAT. A hairpin shows the same by the number of routers that a packet passes
there and back. If the device is further away, the addresses of the routers before it tell whether
the first one translates, too: a home's private address does not travel through a carrier's network,
whatever addresses that has, be they public in looks only. This is a conclusion, no proof.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence

import attrs

from holepunch.address import isPrivateHost
from holepunch.nat.discoveryfindings import NO_NAT
from holepunch.nat.discoveryprobe import Fate, Outcome

_CARRIERS = ipaddress.ip_network("100.64.0.0/10")
_BLOCKS = (
    _CARRIERS,
    *map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")),
)


class Sureness(enum.Enum):
    """
    How sure a conclusion is.
    """

    CERTAIN = "certain"
    LIKELY = "likely"


@attrs.frozen(kw_only=True)
class NestingFinding:
    """
    Whether there are several NATs in a row.

    @ivar why: The evidence; where C{isNested} is C{None}, why it could not be determined.
    @ivar hops: The routers towards the server, the nearest first; C{None}: one that says nothing.
    @ivar distance: Which of them has our public address: 1 is the first.
    """

    isNested: bool | None
    sureness: Sureness | None = None
    why: str
    hops: tuple[str | None, ...] = ()
    distance: int | None = None


def nestingFinding(
    local: str, mapped: str, toServer: Sequence[Outcome], toSelf: Sequence[Outcome]
) -> NestingFinding:
    """
    Conclude what there is to conclude.

    @param local: Our own IP address.
    @param mapped: The one that a server sees.
    @param toServer: What became of packets to a server that were to end after 1, 2, 3… routers.
    @param toSelf: The same for packets to a mapped address of our own.
    """
    hops = _hops(toServer)
    if local == mapped:
        return NestingFinding(isNested=False, sureness=Sureness.CERTAIN, why=NO_NAT, hops=hops)
    distance, sureness = _distance(mapped, toServer, toSelf)
    if distance is None:
        why = "no router on the way says when a packet ends there (ICMP time exceeded)"
        return NestingFinding(isNested=None, why=why, hops=hops)
    if distance == 1:
        why = "the first router has our public address"
        return NestingFinding(isNested=False, sureness=sureness, why=why, hops=hops, distance=1)
    return attrs.evolve(
        _fromAddresses(
            local, distance, [hop for hop in hops[:distance] if hop not in (None, mapped)]
        ),
        hops=hops,
        distance=distance,
    )


def isOfCarrier(host: str) -> bool:
    """
    Is it from the range for carriers' NATs (RFC 6598)?
    """
    return ipaddress.ip_address(host) in _CARRIERS


def _hops(outcomes: Sequence[Outcome]) -> tuple[str | None, ...]:
    found: list[str | None] = []
    for outcome in outcomes:
        if outcome.fate is Fate.ANSWERED:
            break
        found.append(_router(outcome))
    while found and found[-1] is None:
        found.pop()
    return tuple(found)


def _router(outcome: Outcome) -> str | None:
    if outcome.fate is not Fate.EXPIRED or outcome.source is None:
        return None
    return outcome.source.host


def _distance(
    mapped: str, toServer: Sequence[Outcome], toSelf: Sequence[Outcome]
) -> tuple[int | None, Sureness | None]:
    """
    Which router has our public address, and how sure that is.
    """
    for passed, outcome in enumerate(toSelf, 1):
        if outcome.fate is Fate.HEARD:
            # There and back; the turning point is passed at most twice.
            return (passed + 1) // 2, Sureness.CERTAIN
    isGap = False
    for passed, (away, back) in enumerate(zip(toServer, toSelf, strict=False), 1):
        if away.fate is Fate.ANSWERED:
            break
        router, other = _router(back), _router(away)
        if router == mapped or (back.source is not None and back.source.host == mapped):
            return passed, Sureness.CERTAIN
        if router is not None and router == other:
            continue
        if other is not None and not isGap:
            # It complains of others' packets, but not of those for itself; or the one that
            # complains is another one, on the way back.
            return passed, Sureness.LIKELY
        isGap = True
    return None, None


def _fromAddresses(local: str, distance: int, hosts: Sequence[str | None]) -> NestingFinding:
    """
    What the addresses of the routers tell, up to the one with our public address.
    """
    for host in hosts:
        if host is None or not isPrivateHost(local) or _block(host) == _block(local):
            continue
        if isOfCarrier(host):
            why, sureness = (
                f"on the way there is {host}, as in carriers' networks",
                Sureness.CERTAIN,
            )
        elif not isPrivateHost(host):
            why, sureness = f"on the way there is {host}, which is not private", Sureness.CERTAIN
        else:
            why, sureness = (
                f"on the way there is {host}, of another private range",
                Sureness.LIKELY,
            )
        return NestingFinding(
            isNested=True,
            sureness=sureness,
            why=f"our public address is at router {distance}, and {why}",
        )
    return NestingFinding(
        isNested=None,
        why=f"our public address is at router {distance}; whether one before it translates, too,"
        " does not show in their addresses",
    )


def _block(host: str) -> object:
    """
    The private range that an address is from.
    """
    address = ipaddress.ip_address(host)
    return next((block for block in _BLOCKS if address in block), None)
