"""
Findings, each with the reason why it is missing where it is.

Owns: when a behaviour could not be determined, and the sentence that says why.
Knows nothing of: which probes are sent when.
Driven by: the plans for UDP (L{holepunch.nat.discoverydatagrams}) and for TCP
(L{holepunch.nat.discoverystreams}).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping
from holepunch.nat.discoveryevidence import (
    Evidence,
    Observation,
    filteringBehaviour,
    possibleMappings,
)
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from holepunch.stun import ChangeRequest

_T = TypeVar("_T", covariant=True)

NO_NAT = "there is no NAT in the way"
TOO_FEW = "too few requests were answered"
_CARRIERS = ipaddress.IPv4Network("100.64.0.0/10")


@attrs.frozen
class Finding(Generic[_T]):
    """
    What was found out.

    @ivar why: Where C{value} is C{None}, why it could not be determined.
    """

    value: _T | None
    why: str | None = None


@attrs.frozen(kw_only=True)
class Undetermined:
    """
    Something that could not be determined.

    @ivar what: One word, such as C{"filtering"}.
    @ivar why: Half a sentence.
    """

    what: str
    why: str


def undetermined(**findings: Finding[object]) -> tuple[Undetermined, ...]:
    """
    Collect what is missing.
    """
    return tuple(
        Undetermined(what=what, why=finding.why)
        for what, finding in findings.items()
        if finding.value is None and finding.why is not None
    )


def isTranslated(observations: Iterable[Observation]) -> bool:
    """
    Does any server see another endpoint than our own?
    """
    return any(each.mapped != each.local for each in observations)


def isDestinationDependent(observations: Sequence[Observation]) -> bool | None:
    """
    Does the mapping of one local endpoint depend on the destination, in whichever way?
    """
    if observations and not isTranslated(observations):
        return False
    if len({each.mapped.host for each in observations}) > 1:
        return None
    left = possibleMappings(observations)
    if Mapping.ENDPOINT_INDEPENDENT not in left:
        return True
    return False if len(left) == 1 else None


def isBehindCarrier(observations: Iterable[Observation]) -> bool | None:
    """
    Does an address from the range for carriers' NATs (RFC 6598) show?

    @return: C{None} where it does not: such a NAT may use any other private range.
    """
    hosts = {host for each in observations for host in (each.local.host, each.mapped.host)}
    return any(ipaddress.ip_address(host) in _CARRIERS for host in hosts) or None


def corners(server: TransportAddress, other: TransportAddress | None) -> list[TransportAddress]:
    """
    More addresses of a server (RFC 5780 section 6.1): one differs in the port, one in the host.

    @param other: What the server itself says; nonsense gives none.
    """
    if other is None or other.family is not server.family or not other.port:
        return []
    if other.host == server.host or other.port == server.port:
        return []
    return [TransportAddress(server.host, other.port), TransportAddress(other.host, server.port)]


def mappingFinding(
    evidence: Evidence, server: TransportAddress, observations: Sequence[Observation]
) -> Finding[Mapping]:
    """
    The mapping behaviour.

    @param observations: Of one local endpoint.
    """
    if observations and not isTranslated(observations):
        return Finding(Mapping.ENDPOINT_INDEPENDENT)
    hosts = {each.mapped.host: str(each.server) for each in observations}
    if len(hosts) > 1:
        seen = ", ".join(f"{host} is what {server} sees" for host, server in hosts.items())
        return Finding(None, f"the servers disagree about our address: {seen}")
    left = possibleMappings(observations)
    if len(left) == 1:
        return Finding(next(iter(left)))
    if not observations and evidence.complaints:
        return Finding(None, "; ".join(evidence.complaints))
    return Finding(None, _whyNoCorners(evidence, server))


def _whyNoCorners(evidence: Evidence, server: TransportAddress) -> str:
    """
    Why a server could not be asked from two sides.
    """
    others = corners(server, evidence.otherAddresses.get(server))
    if not others:
        return f"{server} has no second address (RFC 5780)"
    silent = " and ".join(str(each) for each in others if not evidence.isReached(each))
    return f"{server} names other addresses, of which {silent} gave no proper answer"


def filteringFinding(
    evidence: Evidence,
    server: TransportAddress,
    probes: Sequence[Probe],
    outcomes: Sequence[Outcome],
) -> Finding[Filtering]:
    """
    The filtering behaviour, from the answers that the server was asked to send from elsewhere.

    That an answer came proves something; that none came does so only where the server has that
    other address, and says itself that it follows RFC 5780.
    """
    portCorner, hostCorner = (
        *corners(server, evidence.otherAddresses.get(server)),
        *(None, None),
    )[:2]
    heard: dict[ChangeRequest, bool | None] = {}
    whys: list[str] = []
    for probe, outcome in zip(probes, outcomes, strict=True):
        corner = portCorner if probe.change == ChangeRequest.PORT else hostCorner
        heard[probe.change] = None
        if outcome.fate is Fate.SILENT:
            if corner is not None and evidence.isReached(corner):
                heard[probe.change] = False
            else:
                whys.append(_whyNoCorners(evidence, server))
        elif outcome.fate is not Fate.ANSWERED or outcome.source is None:
            whys.append(f"{server} cannot answer from a second address (CHANGE-REQUEST)")
        elif _isAsAsked(probe.change, server, outcome.source):
            heard[probe.change] = True
        else:
            whys.append(
                f"{server} was asked to answer from elsewhere, but did from a wrong address"
            )
    both = ChangeRequest.HOST | ChangeRequest.PORT
    behaviour = filteringBehaviour(heard[both], heard[ChangeRequest.PORT])
    return Finding(behaviour, whys[0] if whys else None)


def _isAsAsked(change: ChangeRequest, server: TransportAddress, source: TransportAddress) -> bool:
    isOtherHost, isOtherPort = source.host != server.host, source.port != server.port
    return isOtherPort and isOtherHost == bool(change & ChangeRequest.HOST)


def hairpinFinding(
    isHeard: bool | None, isTranslated: bool, mapping: Mapping | None, filtering: Filtering | None
) -> Finding[bool]:
    """
    Whether packets to our own mapped addresses come back.

    Where the mapping depends on the destination, nobody knows the address by which a local endpoint
    may be reached from its own side, unless the filter lets everybody in.

    @param isHeard: C{None}: it could not be tried.
    """
    if not isTranslated:
        return Finding(None, NO_NAT)
    if isHeard is None:
        return Finding(None, TOO_FEW)
    if isHeard:
        return Finding(True)
    isPublicKnown = mapping is Mapping.ENDPOINT_INDEPENDENT
    if isPublicKnown or filtering is Filtering.ENDPOINT_INDEPENDENT:
        return Finding(False)
    if mapping is None:
        return Finding(None, "nothing came back, and the mapping is not known")
    return Finding(None, "each destination has a mapped address of its own")
