"""
Why checks and connects did not come through.

Owns: the rules for that, in their order: what excludes most comes first.
Knows nothing of: sessions that never came to checks.
Driven by: L{holepunch.explain.explanation}.
"""

from __future__ import annotations

from holepunch.address import Transport, isPrivateHost
from holepunch.explain import mappings
from holepunch.explain.case import Case, Evidence
from holepunch.explain.cause import Cause
from holepunch.explain.finding import Finding, Rule
from holepunch.explain.side import Side
from holepunch.explain.wording import listed, times
from holepunch.punch import ConnectFailure, EventKind, PunchEvent

_BLOCKED = {Transport.UDP: Cause.UDP_BLOCKED, Transport.TCP: Cause.TCP_BLOCKED}
_REFUSED = (ConnectFailure.REFUSED.value, ConnectFailure.RESET.value)


def loss(case: Case) -> Finding | None:
    """
    Something came through after all.
    """
    for kind in case.transports:
        proofs = [(side, each) for side in case.sides for each in side.proofs(kind)]
        if not proofs:
            continue
        sent = sum(
            each.transport is kind
            for side in case.sides
            for each in side.ofKind(EventKind.CHECK_SENT)
        )
        side, first = proofs[0]
        return Finding(
            cause=Cause.LOSS,
            sentences=(
                f"The way by {kind.value.upper()} is open, for {len(proofs)} of the checks and"
                " answers arrived; but not enough of them for an agreement in time.",
            ),
            evidence=(
                case.evidence(side, first.at, f"{first.kind.value}: {first.remote}"),
                case.evidence(side, side.endedAt, f"{sent} checks were sent in all"),
            ),
        )
    return None


def blockedTransport(case: Case) -> Finding | None:
    """
    A network passes nothing of the transport.
    """
    found: dict[str, list[Evidence]] = {}
    for kind in case.transports:
        blocked = {
            name: shown
            for name, own, other in case.views()
            if (shown := mappings.blocked(case, own, other, kind))
        }
        if not blocked:
            # By this one something could have come through.
            return None
        found.update(blocked)
    if not found:
        return None
    kind = case.transports[0]
    verb = kind.value.upper() if len(case.transports) == 1 else "Neither transport"
    sentence = f"{verb} does not get through at {listed(found)}"
    if len(found) == 2:
        sentence += ", or the service's assist listeners do not answer"
    return Finding(
        cause=_BLOCKED[kind],
        sentences=(f"{sentence}.",),
        evidence=tuple(each for shown in found.values() for each in shown),
    )


def mapping(case: Case) -> Finding | None:
    """
    Another port for each destination.
    """
    for kind in case.transports:
        shown = {
            name: found
            for name, own, other in case.views()
            if (found := mappings.differing(case, own, other, kind))
        }
        if not shown:
            continue
        names = [name for name, _, _ in case.views()]
        evidence = tuple(each for found in shown.values() for each in found)
        if len(shown) == 2:
            return Finding(
                cause=Cause.BOTH_MAP_BY_DESTINATION,
                sentences=(
                    f"The NATs of {listed(names)} both give one local port another public port for"
                    " each destination. The ports at which the service saw the two are not those at"
                    " which they meet, and neither can know them.",
                ),
                evidence=evidence,
            )
        (mapper,) = shown
        filterer = next(name for name in names if name != mapper)
        return Finding(
            cause=Cause.MAPPING_MEETS_FILTER,
            sentences=(
                f"{mapper}'s NAT gives one local port another public port for each destination."
                f" {filterer} sends to the port that the service saw, and lets in answers from"
                " there only; what comes from the new port is dropped.",
            ),
            evidence=evidence,
        )
    return None


def hairpin(case: Case) -> Finding | None:
    """
    One NAT outside of both.
    """
    hosts = mappings.sharedHosts(case)
    if not hosts:
        return None
    host, side = min(hosts), case.focus
    names = [name for name, _, _ in case.views()]
    return Finding(
        cause=Cause.NO_HAIRPIN,
        sentences=(
            f"{listed(names)} have the same public address, {host}: they are behind one NAT."
            " What one sends to the other's public address would have to come back inside there,"
            " and did not; nor do their private addresses reach each other.",
        ),
        evidence=tuple(
            case.evidence(each, each.startedAt, f"seen by the service at {host}")
            for each in case.sides
            if host in each.publicHosts
        )
        or (case.evidence(side, side.startedAt, f"the other side was seen at {host}"),),
    )


def answered(case: Case) -> Finding | None:
    """
    Somebody accepted, and was not the peer.
    """
    strangers = _ofAll(case, Side.strangers)
    public = [each for each in strangers if not _isPrivate(each[1])]
    if public:
        side, step = public[0]
        return Finding(
            cause=Cause.ANSWERED_FOR_THE_PEER,
            sentences=(
                f"Somebody accepted {side.name}'s connection to {case.nameOfOther(side)}'s public"
                f" address {step.remote}, but never proved to be {case.nameOfOther(side)}.",
            ),
            evidence=_steps(case, public, "connected, and nobody there knew the credential"),
        )
    if not strangers:
        return None
    side, step = strangers[0]
    return Finding(
        cause=Cause.DECOY,
        sentences=(
            f"In {side.name}'s network somebody else has {case.nameOfOther(side)}'s private address"
            f" {_host(step)}, and was not taken for the peer. By the public address nothing came.",
        ),
        evidence=_steps(case, strangers, "connected, and nobody there knew the credential"),
    )


def refused(case: Case) -> Finding | None:
    """
    RST instead of silence.
    """
    steps = [
        each
        for each in _ofAll(case, lambda side: side.failedConnects(*_REFUSED))
        if not _isPrivate(each[1])
    ]
    if not steps:
        return None
    side, step = steps[0]
    return Finding(
        cause=Cause.RESET_ON_THE_WAY,
        sentences=(
            f"{side.name}'s connects to {step.remote}, {case.nameOfOther(side)}'s public address,"
            f" were {step.detail} {times(len(steps))}: a device on the way answers with resets,"
            " before the hole is open.",
        ),
        evidence=_steps(case, steps, "the connect was refused or reset"),
    )


def noRoute(case: Case) -> Finding | None:
    """
    No way to the peer.
    """
    steps = [
        each
        for each in _ofAll(case, lambda side: side.failedConnects(ConnectFailure.UNREACHABLE.value))
        if not _isPrivate(each[1])
    ]
    if not steps:
        return None
    side, step = steps[0]
    return Finding(
        cause=Cause.NO_ROUTE,
        sentences=(f"From {side.name} there is no way to {step.remote}.",),
        evidence=_steps(case, steps, "the connect failed: no route"),
    )


def nothing(case: Case) -> Finding | None:
    """
    Silence, although no NAT explains it.
    """
    tried = [
        (side, each)
        for side in case.sides
        for each in side.ofKind(EventKind.CHECK_SENT, EventKind.CONNECT_STARTED)
    ]
    if not tried:
        return None
    sentences = [
        f"{listed(name for name, _, _ in case.views())} sent to each other"
        f" ({times(len(tried))} in what was recorded), and nothing of it arrived."
    ]
    views, kinds = list(case.views()), case.transports
    unknown = [
        name
        for name, own, other in views
        if not all(mappings.isMappingKnown(case, own, other, kind) for kind in kinds)
    ]
    if unknown:
        sentences.append(f"How the NAT of {listed(unknown, 'or')} maps is not known.")
    return Finding(
        cause=Cause.NOTHING_CAME_THROUGH,
        sentences=tuple(sentences),
        evidence=_steps(case, tried, "sent, without an answer"),
    )


PUNCHING: tuple[Rule, ...] = (
    loss,
    blockedTransport,
    mapping,
    hairpin,
    answered,
    refused,
    noRoute,
    nothing,
)


# --- what the rules have in common --------------------------------------------------------------


def _ofAll(case: Case, of: object) -> list[tuple[Side, PunchEvent]]:
    assert callable(of)
    return [(side, each) for side in case.sides for each in of(side)]


def _isPrivate(step: PunchEvent) -> bool:
    return step.remote is not None and isPrivateHost(step.remote.host)


def _host(step: PunchEvent) -> str:
    return "" if step.remote is None else step.remote.host


def _steps(case: Case, steps: list[tuple[Side, PunchEvent]], words: str) -> tuple[Evidence, ...]:
    """
    The first step towards each address of each side.
    """
    first: dict[tuple[str, object], Evidence] = {}
    for side, step in steps:
        text = f"{step.remote}: {words}"
        first.setdefault((side.name, step.remote), case.evidence(side, step.at, text))
    return tuple(first.values())[:8]
