"""
What can end a session from outside of the punching: the service, the other peer, this machine.

Owns: the rules for that, in their order.
Knows nothing of: NATs.
Driven by: L{holepunch.explain.explanation}.
"""

from __future__ import annotations

from holepunch.explain.case import Case, Evidence
from holepunch.explain.cause import Cause
from holepunch.explain.finding import Finding, Rule
from holepunch.explain.relay import noRelay, stalled
from holepunch.explain.side import STOPPED, Side
from holepunch.explain.wording import capitalized, times
from holepunch.peer.access import NOT_LET_IN
from holepunch.punch import ConnectFailure, EventKind

_BY_ERROR = {
    "LoginRequired": Cause.LOGIN_REFUSED,
    "LoginFailed": Cause.LOGIN_REFUSED,
    "LoginUnsupported": Cause.LOGIN_REFUSED,
    "InvitationFailed": Cause.INVITATION_FAILED,
    "BadInvitation": Cause.INVITATION_FAILED,
    "PeerIdentityChanged": Cause.PEER_KEY_CHANGED,
    "ServiceNotProven": Cause.WRONG_IDENTITY,
    "UnknownPeer": Cause.PEER_UNKNOWN,
    "PeerNotListening": Cause.PEER_NOT_LISTENING,
    "SessionRefused": Cause.PEER_REFUSED,
    "PeerVanished": Cause.PEER_VANISHED,
    "WrongPeer": Cause.WRONG_IDENTITY,
    "ServiceIdentityChanged": Cause.WRONG_IDENTITY,
    "RendezvousUnreachable": Cause.SERVICE_UNREACHABLE,
    "UnknownHost": Cause.SERVICE_UNREACHABLE,
    "NameTaken": Cause.SERVICE_REFUSED,
    "PeerReplaced": Cause.SERVICE_REFUSED,
    "BadName": Cause.SERVICE_REFUSED,
    "PeerIsSelf": Cause.SERVICE_REFUSED,
    "TooManyRequests": Cause.SERVICE_REFUSED,
    "NoLocalPort": Cause.LOCAL_PORTS,
    "CannotListen": Cause.LOCAL_PORTS,
}
# The errors that end a session under way, and say it all.
_BY_SESSION_ERROR = {
    "PeerVanished": Cause.PEER_VANISHED,
    "WrongPeer": Cause.WRONG_IDENTITY,
}
_NO_PORT = "no local port could be opened"
_CANCELLED = "the session was cancelled"
# Seconds that a trace may be silent for before the other side gives up.
_SILENCE = 2.0


def _ending(case: Case, side: Side, text: str) -> Evidence:
    ended = side.trace.ended
    at = side.failed.at if side.failed else ended.at if ended else side.lastAt
    return case.evidence(side, at, text)


def _said(case: Case, cause: Cause, *sentences: str) -> Finding:
    side = case.focus
    words = f"the session failed: {side.reason}" if side.failed else f"it ended: {side.reason}"
    return Finding(cause=cause, sentences=sentences, evidence=(_ending(case, side, words),))


def unreachableService(case: Case) -> Finding | None:
    """
    The peer never got as far as being registered, and nobody had refused it.
    """
    side = case.focus
    isRefused = side.error not in (None, "RendezvousUnreachable", "CancelledError")
    if side.isRegistered or not side.disconnections or isRefused:
        return None
    last = side.disconnections[-1]
    if last.reason.startswith(_NO_PORT):
        return Finding(
            cause=Cause.LOCAL_PORTS,
            sentences=(f"{side.name} could not open any local port to punch from.",),
            evidence=(case.evidence(side, last.at, last.reason),),
        )
    return Finding(
        cause=Cause.SERVICE_UNREACHABLE,
        sentences=(f"{side.name} never reached the rendezvous service.",),
        evidence=(case.evidence(side, last.at, last.reason),),
    )


def lostService(case: Case) -> Finding | None:
    """
    The main connection broke while it was needed.
    """
    for side in case.sides:
        if not side.isRegistered or not side.disconnections:
            continue
        lost = side.disconnections[0]
        return Finding(
            cause=Cause.SERVICE_LOST,
            sentences=(
                f"{side.name} lost its connection to the rendezvous service while the two were"
                " looking for a path, so they could not tell each other where they are.",
            ),
            evidence=(case.evidence(side, lost.at, f"main connection: {lost.reason}"),),
        )
    side = case.focus
    if side.session is None and side.requested is not None and side.error == "SessionTimedOut":
        return _said(
            case,
            Cause.SERVICE_LOST,
            f"{side.name} was registered, but the rendezvous service never answered its request.",
        )
    return None


def notLetIn(case: Case) -> Finding | None:
    """
    The peer's user has decided so.
    """
    for side in case.sides:
        if side.refused is None:
            continue
        name, reason = case.nameOfOther(side), side.refused.reason
        isDecided = reason.startswith(NOT_LET_IN)
        shown = f"{name} has the ID {side.refused.remotePeer}" if isDecided else reason
        return Finding(
            cause=Cause.NOT_LET_IN if isDecided else Cause.PEER_REFUSED,
            sentences=(f"{side.name} did not let {name} in.",),
            evidence=(case.evidence(side, side.refused.at, shown),),
        )
    side = case.focus
    if side.error == "SessionRefused" and side.reason.startswith(NOT_LET_IN):
        return _said(
            case, Cause.NOT_LET_IN, f"{case.nameOfOther(side)} did not let {side.name} in."
        )
    return None


def namedError(case: Case) -> Finding | None:
    """
    The error says it all.
    """
    side = case.focus
    cause = _BY_SESSION_ERROR.get(side.failed.error) if side.failed is not None else None
    if cause is None and side.connected is None:
        cause = _BY_ERROR.get(side.error or "")
    if cause is None:
        return None
    if cause is Cause.PEER_UNKNOWN:
        return _unknownPeer(case)
    return _said(case, cause, capitalized(side.reason.rstrip(".")) + ".")


def _unknownPeer(case: Case) -> Finding:
    side, other = case.focus, case.other(case.focus)
    finding = _said(
        case,
        Cause.PEER_UNKNOWN,
        f"The rendezvous service knows no peer {case.nameOfOther(side)}.",
    )
    if other is None or not other.isRegistered:
        return finding
    return Finding(
        cause=finding.cause,
        sentences=(*finding.sentences, f"{other.name} was registered, but not at that moment."),
        evidence=(*finding.evidence, case.evidence(other, other.lastAt, "its trace ends")),
    )


def stopped(case: Case) -> Finding | None:
    """
    One of the two programs ended, or was cut off, in the middle.
    """
    for side in case.sides:
        other = case.other(side)
        isOwn = side is case.focus
        if side.connected is not None:
            continue
        if side.failed is None:
            # Was the other one left waiting?
            if other is not None and side.session and other.endedAt > side.lastAt + _SILENCE:
                return Finding(
                    cause=Cause.PEER_VANISHED,
                    sentences=(
                        f"{side.name}'s trace ends in the middle of the session: the program was"
                        " killed, or its machine was cut off.",
                    ),
                    evidence=(case.evidence(side, side.lastAt, "its trace ends"),),
                )
        elif side.reason == STOPPED and (not isOwn or side.error not in (None, "CancelledError")):
            gone = case.nameOfOther(side) if isOwn else side.name
            return Finding(
                cause=Cause.PEER_VANISHED,
                sentences=(f"{gone} was stopped before there was a path.",),
                evidence=(_ending(case, side, side.reason),),
            )
        elif side.reason in (_CANCELLED, STOPPED):
            return _cancelled(case, side)
    side = case.focus
    if side.connected is None and side.failed is None and side.error == "CancelledError":
        return _cancelled(case, side) if side.requested or side.session else None
    return None


def _cancelled(case: Case, side: Side) -> Finding:
    return Finding(
        cause=Cause.CANCELLED,
        sentences=(f"{side.name} gave up before the session had an outcome.",),
        evidence=(_ending(case, side, "given up"),),
    )


def noCommonFamily(case: Case) -> Finding | None:
    """
    IPv4 here, IPv6 there.
    """
    side = case.focus
    here = {each.address.family for each in side.localCandidates}
    there = {each.address.family for each in side.remoteCandidates}
    if not here or not there or here & there:
        return None
    ours, theirs = ("IPv4", "IPv6") if min(f.value for f in here) == 1 else ("IPv6", "IPv4")
    return Finding(
        cause=Cause.NO_COMMON_FAMILY,
        sentences=(
            f"{side.name} has {ours} addresses only, and {case.nameOfOther(side)} {theirs} ones.",
        ),
        evidence=(
            case.evidence(side, side.startedAt, f"local candidates: {ours} only"),
            case.evidence(side, side.startedAt, f"the other side's candidates: {theirs} only"),
        ),
    )


def localPorts(case: Case) -> Finding | None:
    """
    Connects that never left this machine.
    """
    for side in case.sides:
        busy = side.failedConnects(ConnectFailure.ADDRESS_IN_USE.value)
        started = side.ofKind(EventKind.CONNECT_STARTED)
        if busy and len(busy) == len(side.ofKind(EventKind.CONNECT_FAILED)) >= len(started) // 2:
            return Finding(
                cause=Cause.LOCAL_PORTS,
                sentences=(
                    f"{side.name} could not connect from its local port {busy[0].local}: another"
                    " program may hold it.",
                ),
                evidence=(
                    case.evidence(
                        side,
                        busy[0].at,
                        f"connect to {busy[0].remote} failed {times(len(busy))}: address in use",
                    ),
                ),
            )
    return None


def unfinished(case: Case) -> Finding | None:
    """
    The trace ends before there is an outcome.
    """
    side = case.focus
    if side.connected is not None or side.failed is not None or side.error is not None:
        return None
    if side.session is None and side.requested is None and side.isRegistered:
        return Finding(
            cause=Cause.NO_SESSION,
            sentences=(f"{side.name} registered and waited; nobody asked for it.",),
        )
    return Finding(
        cause=Cause.UNFINISHED,
        sentences=(f"{side.name}'s trace ends before the session had an outcome.",),
        evidence=(case.evidence(side, side.lastAt, "the trace ends"),),
    )


BEFORE_PUNCHING: tuple[Rule, ...] = (
    unreachableService,
    notLetIn,
    noRelay,
    namedError,
    stalled,
    lostService,
    stopped,
    noCommonFamily,
    localPorts,
    unfinished,
)
