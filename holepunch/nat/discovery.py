"""
What was found out about a NAT from outside (RFC 4787; RFC 5780 section 4).

Owns: the reports, and what they mean for a person.
Knows nothing of: sockets and STUN messages; how anything is found out.
Driven by: the plans L{holepunch.nat.discoverydatagrams} and L{holepunch.nat.discoverystreams}; read
by L{holepunch.nat.forecast} and C{holepunch check}.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation, Unsolicited, classicName
from holepunch.nat.discoveryevidence import Evidence, Observation, findPorts
from holepunch.nat.discoveryfindings import (
    TOO_FEW,
    Finding,
    Undetermined,
    hairpinFinding,
    isBehindCarrier,
    isDestinationDependent,
    isTranslated,
    mappingFinding,
    undetermined,
)
from holepunch.nat.discoveryhops import isOfCarrier
from holepunch.nat.discoverylifetime import Lifetime
from holepunch.nat.discoverypath import PathReport


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
    @ivar portStep: With sequential ports: from one new mapping to the next.
    @ivar portConfidence: The share of the probes that agree about the ports, from 0 to 1.
    @ivar unsolicited: What is answered to a connection that nobody inside asked for.
    @ivar isBehindCarrier: Is there an address of a carrier's NAT (RFC 6598)?
    @ivar lifetime: Seconds after which an idle mapping is forgotten.
    @ivar undetermined: What could not be determined, and why.
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
    portStep: int | None = None
    portConfidence: float | None = None
    unsolicited: Unsolicited | None = None
    isBehindCarrier: bool | None = None
    lifetime: float | None = None
    undetermined: tuple[Undetermined, ...] = ()
    problem: str | None = None

    @classmethod
    def conclude(
        cls,
        evidence: Evidence,
        server: TransportAddress,
        main: Sequence[Observation],
        fresh: Sequence[Observation],
        *,
        filtering: Finding[Filtering],
        isEchoHeard: bool | None,
        unsolicited: Finding[Unsolicited] | None = None,
    ) -> ProtocolReport:
        """
        Conclude what there is to conclude.

        @param server: The one that was asked most.
        @param main: Of one local endpoint, by several servers.
        @param fresh: Of several local endpoints by one server, in the order of the requests.
        @param isEchoHeard: Did anything come back? C{None}: nothing was sent.
        """
        observations = [*main, *fresh]
        isNAT = isTranslated(observations) if observations else None
        mapping = mappingFinding(evidence, server, main)
        ports = findPorts(fresh)
        hairpin = hairpinFinding(isEchoHeard, isNAT is not False, mapping.value, filtering.value)
        return cls(
            isBlocked=False,
            isTranslated=isNAT,
            local=main[0].local if main else None,
            mapped=main[0].mapped if main else None,
            mapping=mapping.value,
            isDestinationDependent=isDestinationDependent(main),
            filtering=filtering.value,
            isHairpinning=hairpin.value,
            ports=ports.ports if ports else None,
            portStep=ports.step if ports else None,
            portConfidence=ports.confidence if ports else None,
            unsolicited=unsolicited.value if unsolicited else None,
            isBehindCarrier=isBehindCarrier(observations),
            undetermined=undetermined(
                mapping=mapping,
                filtering=filtering,
                hairpin=hairpin,
                ports=Finding(ports, TOO_FEW),
                unsolicited=unsolicited or Finding(None),
            ),
            problem="; ".join(evidence.complaints) or None,
        )

    def besides(self, path: PathReport | None) -> ProtocolReport:
        """
        The same report with what the way tells, too: routers with a carrier's addresses.
        """
        hops = path.nesting.hops if path is not None and path.nesting is not None else ()
        isCarrier = self.isTranslated and any(hop and isOfCarrier(hop) for hop in hops)
        return attrs.evolve(self, isBehindCarrier=True) if isCarrier else self

    def withLifetime(self, finding: Finding[Lifetime]) -> ProtocolReport:
        """
        The same report with the lifetime that was measured.
        """
        lifetime = finding.value
        if lifetime is not None and lifetime.dead is None:
            still = f"a mapping is still there after {lifetime.alive:g} seconds"
            finding = Finding(None, finding.why or still)
        return attrs.evolve(
            self,
            lifetime=lifetime.estimate if lifetime and lifetime.dead else None,
            undetermined=(*self.undetermined, *undetermined(lifetime=finding)),
        )


@attrs.frozen(kw_only=True)
class NATReport:
    """
    What was found out, for both protocols.

    @ivar path: About the way to the server; C{None}: nobody asked.
    """

    udp: ProtocolReport
    tcp: ProtocolReport
    path: PathReport | None = None

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
    if known.isTranslated is None:
        return "Whether there is a NAT could not be found out: name another server by --stun."
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
        " direct paths will work with peers that have a public address or an open NAT; for others,"
        " the port has to be guessed."
    )
