"""
What the NAT of each side does, as far as the traces show it.

Owns: the sentences.
Knows nothing of: causes.
Driven by: L{holepunch.explain.explanation}.
"""

from __future__ import annotations

from holepunch.address import Transport
from holepunch.explain import mappings
from holepunch.explain.case import Case
from holepunch.explain.side import Side
from holepunch.explain.wording import listed


def natReports(case: Case) -> tuple[str, ...]:
    """
    One sentence for each side of a session.
    """
    if case.focus.introduced is None:
        return ()
    return tuple(_report(case, name, own, other) for name, own, other in case.views())


def _report(case: Case, name: str, own: Side | None, other: Side | None) -> str:
    if own is not None and own.registered is not None and not own.isBehindNAT:
        return f"{name} is behind no NAT."
    hosts = sorted(_hosts(own, other))
    where = f", at {listed(hosts[:3])}" if hosts else ""
    words = [f"{name} is behind a NAT{where}" if own is not None else f"{name} was seen{where[1:]}"]
    if own is None and not hosts:
        return f"Of {name}'s NAT nothing is known."
    known = [each for each in case.transports if mappings.isMappingKnown(case, own, other, each)]
    moving = [each for each in known if mappings.differing(case, own, other, each)]
    steady = [each for each in known if each not in moving]
    if moving:
        words.append(f"it gives each destination another port ({_kinds(moving)}; symmetric)")
    if steady:
        words.append(f"it keeps one port for all destinations ({_kinds(steady)})")
    if not known:
        words.append("how it chooses ports is not known")
    return "; ".join(words) + "."


def _hosts(own: Side | None, other: Side | None) -> frozenset[str]:
    if own is not None:
        return own.publicHosts
    kinds = (
        []
        if other is None
        else [each for kind in Transport for each in other.reflexiveOfPeer(kind)]
    )
    return frozenset(each.address.host for each in kinds)


def _kinds(kinds: list[Transport]) -> str:
    return listed(each.value.upper() for each in kinds)
