"""
Which of the addresses that a peer claims may be told to another peer.

Whoever is told an address sends packets there, so a claim alone must not be enough: nobody can make
peers fire at a victim.

Owns: that rule.
Knows nothing of: sessions; how an address was observed.
Driven by: L{holepunch.rendezvous.session}.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from holepunch.address import TransportAddress, isUsableHost
from holepunch.punch.candidate import Candidate, CandidateType


class Verdict(enum.Enum):
    """
    What becomes of a claimed candidate.
    """

    PASSED = "passed on"
    HELD = "not yet: the service has not seen the peer at that address"
    DROPPED = "never"


def judge(
    candidate: Candidate,
    observed: Collection[TransportAddress],
    observedHosts: Collection[str],
    areBothHere: bool,
) -> Verdict:
    """
    Judge a candidate that a peer claims to have.

    Private addresses pass: they mean something only in the other peer's own network. A public one
    passes where the service itself has seen the peer at that IP address. Server-reflexive ones come
    from the service's own observations, so a claim adds nothing to them.

    @param observed: The endpoints at which the service has seen the peer.
    @param observedHosts: Their IP addresses.
    @param areBothHere: Has the service seen both peers at loopback addresses, so that these mean
        the same to both?
    """
    address = candidate.address
    if address.port == 0 or not isUsableHost(address.host):
        return Verdict.DROPPED
    if candidate.type is CandidateType.SERVER_REFLEXIVE:
        return Verdict.PASSED if address in observed else Verdict.DROPPED
    if address.isLoopback:
        return Verdict.PASSED if areBothHere else Verdict.HELD
    if address.isPrivate or address.host in observedHosts:
        return Verdict.PASSED
    return Verdict.HELD
