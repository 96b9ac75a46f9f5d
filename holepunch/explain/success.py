"""
Sessions that found a path: which one, why that one, and how it ended.

Owns: the words for that.
Knows nothing of: sessions that failed.
Driven by: L{holepunch.explain.explanation}.
"""

from __future__ import annotations

from holepunch.address import Transport, isPrivateHost
from holepunch.explain import mappings
from holepunch.explain.case import Case, Evidence
from holepunch.explain.cause import Cause
from holepunch.explain.continuity import courseOf
from holepunch.explain.finding import Finding
from holepunch.explain.relay import directFinding, relayNote
from holepunch.explain.side import Side
from holepunch.explain.wording import listed, plain
from holepunch.peer.events import Connected
from holepunch.punch import EventKind
from holepunch.rendezvous.introduction import RelayPolicy

_ABOUT_TO_PROVE = 0.5
_LOST = ("PathLost", "ConnectionLost", "ConnectionAborted", "LocalStreamFailed")


def connected(case: Case) -> Finding | None:
    """
    There was a path; is it what ended?
    """
    side = next((each for each in case.sides if each.connected is not None), None)
    if side is None or side.connected is None:
        return None
    path = side.connected
    sentences = (_course(case, side, path), *_why(case, side, path))
    evidence = [
        case.evidence(side, each.at, f"{each.kind.value}: {each.local} to {each.remote}")
        for each in side.ofKind(EventKind.SELECTED)[:1]
    ]
    evidence.append(case.evidence(side, path.at, "connected"))
    if any(each.isLink for each in case.sides):
        return _moving(case, sentences, evidence)
    lost = _loss(case)
    if lost is None:
        strangers = _strangers(case)
        if strangers is not None:
            sentences = (*sentences, strangers.text.capitalize() + ".")
            evidence.append(strangers)
        return Finding(cause=Cause.CONNECTED, sentences=sentences, evidence=tuple(evidence))
    seconds = lost.at - (path.at - case.focus.startedAt)
    words = f"{seconds:.1f} s later the path was lost: {lost.text}"
    if len(case.sides) == 1 and path.transport is Transport.UDP:
        words += f"; or {case.nameOfOther(side)} closed it, and its goodbye was lost"
    return Finding(
        cause=Cause.PATH_LOST,
        sentences=(*sentences, f"{words}."),
        evidence=(*evidence, lost),
    )


def _moving(case: Case, sentences: tuple[str, ...], evidence: list[Evidence]) -> Finding:
    """
    A connection that could move: which way did it go in the end?
    """
    course = courseOf(case)
    evidence += [each for side in case.sides if (each := relayNote(case, side))]
    cause = course.cause
    if cause is None:
        cause = Cause.CONNECTED
        isRelayed = all(_staysRelayed(side) for side in case.sides if side.connected is not None)
        if isRelayed and _isWanted(case):
            sentences = (*sentences, "Nothing but a relay was wanted (--relay only).")
        elif isRelayed:
            cause = Cause.CONNECTED_BY_RELAY
            direct = directFinding(case)
            if direct is None:
                words = "Why no direct path came through does not show: there was too little time."
                sentences = (*sentences, words)
            else:
                sentences = (*sentences, *direct.sentences)
                evidence += direct.evidence
    return Finding(
        cause=cause,
        sentences=(*sentences, *course.sentences),
        evidence=(*evidence, *course.evidence),
    )


def _staysRelayed(side: Side) -> bool:
    isRelayed = side.connected is not None and side.connected.path == "relay"
    return isRelayed and not any(each.path == "direct" for each in side.moves)


def _isWanted(case: Case) -> bool:
    """
    Was nothing but a relay allowed?
    """
    return any(
        each.introduced is not None and each.introduced.relay is RelayPolicy.ONLY
        for each in case.sides
    )


def _isClosed(side: Side, at: float) -> bool:
    """
    Had that side closed the path before?
    """
    return any(each.at < at for each in side.ofKind(EventKind.CLOSED)) or (
        side.trace.ended is not None and side.trace.ended.at < at
    )


def _course(case: Case, side: Side, path: Connected) -> str:
    other = case.nameOfOther(side)
    words = "through a relay" if path.path == "relay" else "directly"
    return (
        f"{side.name} and {other} connected {words} by {path.transport.value.upper()}"
        f" after {path.seconds * 1000:.0f} ms: {path.local} to {path.remote}."
    )


def _why(case: Case, side: Side, path: Connected) -> list[str]:
    """
    Why it is that path.
    """
    other = case.nameOfOther(side)
    if path.path == "relay":
        return []
    if path.candidate == "host" and isPrivateHost(path.remote.host):
        return [
            "Both are in one private network, and the way inside is preferred to the one through"
            " the NAT."
        ]
    if path.candidate == "host":
        return [f"{other} has a public address of its own, so there was no hole to be punched."]
    sentences = []
    if path.candidate == "prflx":
        sentences.append(
            f"The address of {other} showed only when its checks came: its NAT uses another port"
            " there than towards the service."
        )
    elif path.remote.host in mappings.sharedHosts(case):
        sentences.append("Both are behind one NAT, which turned the packets back inside.")
    else:
        sentences.append(
            f"The path leads to where the service saw {other}: each side's packets opened its own"
            " NAT for those of the other one."
        )
    private = [
        each
        for each in side.ofKind(EventKind.CHECK_FAILED, EventKind.CONNECT_FAILED)
        if each.remote is not None and isPrivateHost(each.remote.host)
    ]
    tried = [each.address for each in side.remoteCandidates if each.address.isPrivate]
    if private or tried:
        hosts = dict.fromkeys(
            [each.remote.host for each in private if each.remote] + [each.host for each in tried]
        )
        sentences.append(f"The private address {listed(list(hosts)[:3], 'or')} led nowhere.")
    return sentences


def _strangers(case: Case) -> Evidence | None:
    for side in case.sides:
        chosen = [each.at for each in side.ofKind(EventKind.SELECTED)]
        for each in side.strangers():
            # The peer itself may have been about to prove itself there, too.
            if chosen and chosen[0] - each.at < _ABOUT_TO_PROVE:
                continue
            isUsed = side.connected is not None and each.remote == side.connected.remote
            if not isUsed and each.remote is not None and isPrivateHost(each.remote.host):
                text = f"somebody else answers at {each.remote.host} and was not taken for the peer"
                return case.evidence(side, each.at, text)
    return None


def _loss(case: Case) -> Evidence | None:
    """
    How the path ended, if not because somebody closed it.
    """
    for side in case.sides:
        other = case.other(side)
        for each in side.ofKind(EventKind.LOST):
            # A goodbye over UDP may not arrive: a path that was closed there is lost here.
            if other is None or not _isClosed(other, each.at):
                return case.evidence(side, each.at, each.detail)
    for side in case.sides:
        ended = side.trace.ended
        if side.connected is not None and ended is not None and ended.error in _LOST:
            return case.evidence(side, ended.at, plain(ended.reason))
    return None
