"""
Priorities of candidates and of candidate pairs (RFC 8445 sections 5.1.2 and 6.1.2.3).

Owns: the two formulas, and our preferences that go into them.
Knows nothing of: sessions, or which pair wins in the end (see L{NominationStrategy}).
Driven by: whoever makes local candidates (L{gatheredCandidate}), and L{CheckList}.
"""

from __future__ import annotations

import zlib

from holepunch.address import Family, Transport, TransportAddress
from holepunch.punch.candidate import Candidate, CandidateType, TCPType

TYPE_PREFERENCE = {
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.PORT_MAPPED: 105,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.PREDICTED: 90,
    CandidateType.RELAYED: 5,
}
"""
Type preferences of the preferred transport (RFC 8445 section 5.1.2.2).
"""

OTHER_TRANSPORT_PENALTY = 5
"""
What the transport that is not preferred loses of its type preference (RFC 6544 section 4.2).

Smaller than the distance of any two types that work, so the transport decides only between paths of
one kind: a private path over UDP stays better than a public one over TCP.
"""


def typePreference(
    kind: CandidateType, transport: Transport, preferred: Transport = Transport.TCP
) -> int:
    """
    The most significant part of a candidate's priority, 0 to 126.
    """
    preference = TYPE_PREFERENCE[kind]
    return preference if transport is preferred else preference - OTHER_TRANSPORT_PENALTY


def localPreference(
    kind: CandidateType, address: TransportAddress, preferred: Family, interface: int
) -> int:
    """
    The middle part of a candidate's priority: private before public, then the order of the
    interfaces, then the family. So IPv6 and IPv4 take turns (RFC 8421 section 4).

    Only host candidates can be private: a reflexive address in a private range is seen from outside
    of some NAT.

    @param interface: The place of the address among those of its family, best first.
    """
    preference = (0x3FFF - min(max(interface, 0), 0x3FFF)) << 1
    if kind is CandidateType.HOST and (address.isPrivate or address.isLoopback):
        preference |= 0x8000
    if address.family is preferred:
        preference |= 1
    return preference


def candidatePriority(typePreference: int, localPreference: int, component: int = 1) -> int:
    """
    Combine the preferences into the priority of a candidate.

    RFC 8445 section 5.1.2.1::

        priority = (2^24)*(type preference) + (2^8)*(local preference) + (2^0)*(256 - component ID)
    """
    return (typePreference << 24) + (localPreference << 8) + (256 - component)


def reflexivePriority(local: Candidate, preferred: Transport = Transport.TCP) -> int:
    """
    The PRIORITY of a check from C{local}: its own, were it a peer-reflexive candidate.

    RFC 8445 section 7.1.1: computed with the type preference of peer-reflexive candidates.
    """
    kind = CandidateType.PEER_REFLEXIVE
    if local.type is CandidateType.RELAYED:
        kind = CandidateType.RELAYED
    return (typePreference(kind, local.transport, preferred) << 24) | (local.priority & 0xFFFFFF)


def pairPriority(controlling: int, controlled: int) -> int:
    """
    Combine two candidates' priorities into that of their pair; both sides get the same.

    RFC 8445 section 6.1.2.3::

        pair priority = 2^32*MIN(G,D) + 2*MAX(G,D) + (G>D?1:0)
    """
    smaller, larger = sorted((controlling, controlled))
    return (smaller << 32) + 2 * larger + (1 if controlling > controlled else 0)


def gatheredCandidate(
    kind: CandidateType,
    transport: Transport,
    address: TransportAddress,
    *,
    base: TransportAddress | None = None,
    server: str = "",
    interface: int = 0,
    preferredTransport: Transport = Transport.TCP,
    preferredFamily: Family = Family.IPV6,
    tcpType: TCPType = TCPType.SIMULTANEOUS_OPEN,
) -> Candidate:
    """
    Make a local candidate, with its priority and foundation.

    @param base: The local address that was bound, where it differs from C{address}.
    @param server: What told us the address, if anything: it is part of the foundation (RFC 8445
        section 5.1.1.3).
    @param interface: The place of the base among those of its family, best first.
    """
    sendingAddress = base if base is not None else address
    origin = f"{kind.value} {transport.value} {sendingAddress.host} {server}"
    return Candidate(
        foundation=str(zlib.crc32(origin.encode("utf-8"))),
        transport=transport,
        priority=candidatePriority(
            typePreference(kind, transport, preferredTransport),
            localPreference(kind, address, preferredFamily, interface),
        ),
        address=address,
        type=kind,
        related=base if base != address else None,
        tcpType=tcpType if transport is Transport.TCP else None,
        base=base,
    )
