"""
Gathering candidates (RFC 8445 section 5.1.1) from local ports.

Owns: making host candidates; which assist listeners to ask.
Knows nothing of: sockets. Server-reflexive candidates are told to the other peer by the service,
which believes only what it observed itself.
Driven by: L{holepunch.peer.registration} and L{holepunch.peer.peer}.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from holepunch.address import Family, Transport, TransportAddress
from holepunch.peer.localports import LocalPorts
from holepunch.punch import Candidate, CandidateType, TCPType, gatheredCandidate
from holepunch.punch.priority import OTHER_TRANSPORT_PENALTY


def hostCandidates(ports: LocalPorts, transports: Iterable[Transport]) -> tuple[Candidate, ...]:
    """
    One candidate for each address of this machine and each transport.
    """
    return tuple(
        gatheredCandidate(CandidateType.HOST, transport, base, interface=place)
        for transport in sorted(transports, key=lambda transport: transport.value)
        for family in Family
        for place, base in enumerate(
            base for base in ports.bases(transport) if base.family is family
        )
    )


def waitingCandidates(ports: LocalPorts, transports: Iterable[Transport]) -> tuple[Candidate, ...]:
    """
    The same, of ports on which we wait for the other side's call.
    """
    return tuple(
        attrs.evolve(
            candidate,
            tcpType=None if candidate.tcpType is None else TCPType.PASSIVE,
            isWaiting=True,
        )
        for candidate in hostCandidates(ports, transports)
    )


def forwardedCandidates(
    public: TransportAddress, ports: LocalPorts, transports: Iterable[Transport]
) -> tuple[Candidate, ...]:
    """
    Candidates of a public endpoint from which a router passes everything on to C{ports}.

    To whichever of this machine's addresses: nothing is sent from there before something came.
    """
    return tuple(
        attrs.evolve(
            gatheredCandidate(
                CandidateType.PORT_MAPPED, transport, public, base=base, tcpType=TCPType.PASSIVE
            ),
            isWaiting=True,
        )
        for transport in sorted(transports, key=lambda transport: transport.value)
        for base in ports.bases(transport)
        if base.family is public.family
    )


def preferringUDP(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """
    The same candidates, ranked for a session whose paths all carry datagrams: UDP first.

    What the other side announces is ranked for streams, TCP first (RFC 6544 section 4.2).
    """
    shift = OTHER_TRANSPORT_PENALTY << 24
    return tuple(
        attrs.evolve(
            each,
            priority=min(each.priority + shift, (1 << 31) - 1)
            if each.transport is Transport.UDP
            else max(each.priority - shift, 1),
        )
        for each in candidates
    )


def oneOfEachHost(servers: Iterable[TransportAddress], limit: int) -> tuple[TransportAddress, ...]:
    """
    Choose assist listeners: the first one on each address of the service.

    @param limit: How many, of each address family.
    """
    chosen: list[TransportAddress] = []
    for server in servers:
        ofFamily = [other for other in chosen if other.family is server.family]
        if len(ofFamily) < limit and all(other.host != server.host for other in ofFamily):
            chosen.append(server)
    return tuple(chosen)
