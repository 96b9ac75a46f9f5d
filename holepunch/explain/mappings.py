"""
What both traces together tell of the two NATs.

Owns: how either NAT maps, whether it passes a transport at all, whether both are the same one; each
with what shows it.
Knows nothing of: causes.
Driven by: L{holepunch.explain.paths}.
"""

from __future__ import annotations

import itertools

from holepunch.address import Transport, isPrivateHost
from holepunch.explain.case import Case, Evidence
from holepunch.explain.side import Side
from holepunch.explain.wording import listed

# How long an assist listener may take to answer.
_PATIENCE = 1.5
# Later than this the service may have seen another port of the peer, on which it waits to be called
# (L{holepunch.punch.waitingport}); earlier only where the first port showed two addresses already.
_FIRST = 1.5


def differing(case: Case, own: Side | None, other: Side | None, kind: Transport) -> list[Evidence]:
    """
    What shows that a peer's NAT maps by destination: what assist listeners told the peer, or else
    what the service told the other one.

    @param own: The peer's trace; C{other} that of the other one.
    """
    if own is not None:
        found = own.differingMappings(kind)
        if found:
            return [
                case.evidence(
                    own,
                    each.at,
                    f"{each.server} sees {kind.value} {each.local} as {each.mapped}",
                )
                for each in found[:3]
            ]
    if other is None:
        return []
    candidates = sorted(other.reflexiveOfPeer(kind, _FIRST), key=lambda each: each.foundation)
    for _, group in itertools.groupby(candidates, key=lambda each: each.foundation):
        addresses = list(dict.fromkeys(each.address for each in group))
        if len(addresses) > 1:
            name = case.nameOfOther(other)
            text = f"the service saw one {kind.value} port of {name} at {listed(addresses[:3])}"
            return [case.evidence(other, other.startedAt, text)]
    return []


def isMappingKnown(case: Case, own: Side | None, other: Side | None, kind: Transport) -> bool:
    """
    Would L{differing} have found anything?
    """
    if own is not None:
        return not own.isBehindNAT or own.serversAsked(kind) > 1
    # One observation may be all that the service made.
    return bool(differing(case, own, other, kind))


def blocked(case: Case, own: Side | None, other: Side | None, kind: Transport) -> list[Evidence]:
    """
    What shows that a peer's network passes nothing of a transport.
    """
    if own is not None:
        hasAsked = kind in own.transports and own.endedAt - own.startedAt > _PATIENCE
        if not hasAsked or own.serversAsked(kind) or own.proofs(kind):
            return []
        text = f"no assist listener answered by {kind.value}"
        return [case.evidence(own, own.endedAt, text)]
    if other is None or kind is not Transport.UDP or not other.remoteCandidates:
        # By TCP the service sees at least the main connection.
        return []
    ofKind = [each for each in other.remoteCandidates if each.transport is kind]
    arePrivate = all(isPrivateHost(each.address.host) for each in ofKind)
    if not ofKind or not arePrivate or other.endedAt - other.startedAt <= _PATIENCE:
        return []
    name = case.nameOfOther(other)
    text = f"the service never saw {name} by {kind.value}: only private addresses came"
    return [case.evidence(other, other.endedAt, text)]


def sharedHosts(case: Case) -> frozenset[str]:
    """
    The public addresses that both sides have: those of a NAT that both are behind.
    """
    side, other = case.focus, case.other(case.focus)
    ours = side.publicHosts if side.isBehindNAT else frozenset()
    if other is not None and other.publicHosts:
        theirs = other.publicHosts
    else:
        kinds = [each for kind in Transport for each in side.reflexiveOfPeer(kind)]
        theirs = frozenset(each.address.host for each in kinds)
    return ours & theirs
