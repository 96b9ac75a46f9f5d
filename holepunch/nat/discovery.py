"""
What can be concluded about a NAT from outside (RFC 4787; RFC 5780 section 4).

Owns: the conclusions, from mapped addresses that STUN servers observed and from answers that came
or did not come; and what they mean for a person.
Knows nothing of: sockets and STUN messages.
Driven by: L{holepunch.peer.discovery}, which makes the observations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation, classicName

_LARGEST_STEP = 64


@attrs.frozen(kw_only=True)
class Observation:
    """
    How one server saw one local endpoint.

    @ivar server: Where the request went.
    @ivar mapped: Where it came from, as the server saw it.
    """

    local: TransportAddress
    server: TransportAddress
    mapped: TransportAddress


@attrs.frozen(kw_only=True)
class ProtocolReport:
    """
    What was found out for UDP, or for TCP. C{None} is "could not be determined".

    @ivar isBlocked: Do no answers come at all?
    @ivar isTranslated: Is there a NAT?
    @ivar local: Our own endpoint.
    @ivar mapped: The same as the first server saw it.
    @ivar isDestinationDependent: Does the mapping depend on the destination, in whichever way?
    @ivar isHairpinning: Do packets to our own mapped address come back?
    @ivar lifetime: Seconds after which an idle mapping is forgotten.
    @ivar problem: Why nothing was found out.
    """

    isBlocked: bool | None = None
    isTranslated: bool | None = None
    local: TransportAddress | None = None
    mapped: TransportAddress | None = None
    mapping: Mapping | None = None
    isDestinationDependent: bool | None = None
    filtering: Filtering | None = None
    isHairpinning: bool | None = None
    ports: PortAllocation | None = None
    lifetime: float | None = None
    problem: str | None = None

    @classmethod
    def conclude(
        cls,
        observations: Sequence[Observation],
        *,
        filtering: Filtering | None = None,
        isHairpinning: bool | None = None,
    ) -> ProtocolReport:
        """
        Conclude what there is to conclude.

        @param observations: At least one, in the order in which the requests were sent.
        """
        first = observations[0]
        isTranslated = any(each.mapped != each.local for each in observations)
        left = frozenset({Mapping.ENDPOINT_INDEPENDENT})
        if isTranslated:
            left = possibleMappings(each for each in observations if each.local == first.local)
        return cls(
            isBlocked=False,
            isTranslated=isTranslated,
            local=first.local,
            mapped=first.mapped,
            mapping=next(iter(left)) if len(left) == 1 else None,
            isDestinationDependent=None
            if Mapping.ENDPOINT_INDEPENDENT in left and len(left) > 1
            else Mapping.ENDPOINT_INDEPENDENT not in left,
            filtering=filtering,
            isHairpinning=isHairpinning,
            ports=portAllocation(observations),
        )


@attrs.frozen(kw_only=True)
class NATReport:
    """
    What was found out, for both protocols.
    """

    udp: ProtocolReport
    tcp: ProtocolReport

    @property
    def classic(self) -> str | None:
        """
        The classic name (RFC 3489 section 5), which is about UDP.
        """
        udp = self.udp
        if udp.isBlocked:
            return "blocked"
        if udp.isTranslated is False and udp.filtering is not None:
            isOpen = udp.filtering is Filtering.ENDPOINT_INDEPENDENT
            return "open internet" if isOpen else "symmetric UDP firewall"
        if udp.isTranslated and udp.isDestinationDependent:
            return "symmetric"
        if udp.isTranslated and udp.mapping is not None and udp.filtering is not None:
            return classicName(udp.mapping, udp.filtering)
        return None


def possibleMappings(observations: Iterable[Observation]) -> frozenset[Mapping]:
    """
    Which mapping behaviours explain the observations of one local endpoint (RFC 5780 section 4.3).

    Each pair of servers rules some out; where too few servers were asked, several are left.
    """
    left = set(Mapping)
    for one, other in combinations(observations, 2):
        isSame = one.mapped == other.mapped
        if one.server.host != other.server.host:
            if isSame:
                left &= {Mapping.ENDPOINT_INDEPENDENT}
            else:
                left -= {Mapping.ENDPOINT_INDEPENDENT}
        elif one.server.port != other.server.port:
            if isSame:
                left -= {Mapping.ADDRESS_AND_PORT_DEPENDENT}
            else:
                left &= {Mapping.ADDRESS_AND_PORT_DEPENDENT}
    return frozenset(left)


def portAllocation(observations: Sequence[Observation]) -> PortAllocation | None:
    """
    How external ports are chosen, as far as it shows in the order of the observations.
    """
    firsts = {each.local: each.mapped for each in reversed(observations)}
    if all(local.port == mapped.port for local, mapped in firsts.items()):
        return PortAllocation.PRESERVED if firsts else None
    ports = list(dict.fromkeys(each.mapped.port for each in observations))
    steps = [after - before for before, after in pairwise(ports)]
    if len(steps) < 2:
        return None
    isOneWay = all(step > 0 for step in steps) or all(step < 0 for step in steps)
    isSequential = isOneWay and max(map(abs, steps)) <= _LARGEST_STEP
    return PortAllocation.SEQUENTIAL if isSequential else PortAllocation.RANDOM


def filteringBehaviour(
    isOtherHostHeard: bool | None, isOtherPortHeard: bool | None
) -> Filtering | None:
    """
    Who may send to a mapped address that has sent to one server only (RFC 5780 section 4.4).

    @param isOtherHostHeard: Did an answer from another host, and another port, come in?
    @param isOtherPortHeard: Did one from the same host, and another port?
        C{None} for each: the server could not send it.
    """
    if isOtherHostHeard:
        return Filtering.ENDPOINT_INDEPENDENT
    if isOtherHostHeard is None or isOtherPortHeard is None:
        return None
    if isOtherPortHeard:
        return Filtering.ADDRESS_DEPENDENT
    return Filtering.ADDRESS_AND_PORT_DEPENDENT


def explain(report: NATReport) -> str:
    """
    What a report means for somebody who wants direct paths: one sentence.
    """
    udp, tcp = report.udp, report.tcp
    if udp.isBlocked and tcp.isBlocked is False:
        return "UDP is blocked here: only TCP paths can work."
    if tcp.isBlocked and udp.isBlocked is False:
        return "TCP to the server is blocked here: only UDP paths can work."
    known = udp if udp.isTranslated is not None else tcp
    if known.isTranslated is False:
        if known.filtering is Filtering.ENDPOINT_INDEPENDENT:
            return "There is no NAT: every peer can reach this machine directly."
        return "There is no NAT: direct paths will work with nearly every peer."
    if known.isDestinationDependent is None:
        return (
            "There is a NAT; how it maps could not be found out with this server:"
            " name a second one, with another address, by --stun."
        )
    if not known.isDestinationDependent:
        if known.filtering in (Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT):
            return "There is a NAT that is easy to punch: direct paths will work with every peer."
        return (
            "There is a NAT that is good to punch: direct paths will work with every peer but those"
            " behind a NAT that chooses random ports for each destination."
        )
    if known.ports is PortAllocation.RANDOM:
        return (
            "There is a NAT that chooses a random port for each destination: direct paths will work"
            " with peers that have a public address or an open NAT; others need a relay."
        )
    return (
        "There is a NAT that chooses a port for each destination, but one that can be guessed:"
        " direct paths will work with most peers."
    )
