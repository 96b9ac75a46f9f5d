"""
What the relay did, or could have done.

Owns: the rules for sessions that a relay should have carried; advice where there was none.
Knows nothing of: why no direct path came through, but by asking the rules for that.
Driven by: L{holepunch.explain.explanation}, L{holepunch.explain.success}.
"""

from __future__ import annotations

import attrs

from holepunch.address import Transport
from holepunch.explain.case import Case, Evidence, openCase
from holepunch.explain.cause import Cause
from holepunch.explain.finding import Finding, Rule
from holepunch.explain.paths import PUNCHING
from holepunch.explain.record import Trace
from holepunch.explain.side import Side
from holepunch.explain.wording import plain
from holepunch.peer.events import PairNews, RelayNews, RelayTold
from holepunch.punch import EventKind
from holepunch.rendezvous.introduction import RelayPolicy

_BY_ERROR = {
    "RelayRefused": Cause.RELAY_REFUSED,
    "RelayFull": Cause.RELAY_FULL,
}
_WORDS = {
    Cause.RELAY_REFUSED: "the relay refused the credential",
    Cause.RELAY_FULL: "the relay had no room for it",
    Cause.RELAY_UNREACHABLE: "the relay did not answer",
}
# What a relay carries all the same.
_RELAYABLE = frozenset(
    (
        Cause.BOTH_MAP_BY_DESTINATION,
        Cause.MAPPING_MEETS_FILTER,
        Cause.NO_HAIRPIN,
        Cause.UDP_BLOCKED,
        Cause.TCP_BLOCKED,
        Cause.RESET_ON_THE_WAY,
        Cause.ANSWERED_FOR_THE_PEER,
        Cause.DECOY,
        Cause.NO_ROUTE,
        Cause.NOTHING_CAME_THROUGH,
        Cause.NO_COMMON_FAMILY,
    )
)
# Who waits for less than that has not waited for the relay, nor for checks.
_PATIENCE = 3.0
# How long a path is up at least before something must have come of the handshake on it.
_HANDSHAKE = 3.0


def directFinding(case: Case) -> Finding | None:
    """
    Why no direct path came through; C{None} where there was too little time to tell.
    """
    found = next((found for rule in PUNCHING if (found := rule(case))), None)
    isSilence = found is not None and found.cause is Cause.NOTHING_CAME_THROUGH
    side = case.focus
    return None if isSilence and side.endedAt - side.startedAt < _PATIENCE else found


def whyRelayed(trace: Trace) -> Cause | None:
    """
    Why a connection of which one side is known goes through the relay; C{None} where that does not
    show, or not yet.
    """
    found = directFinding(openCase([trace]))
    return found.cause if found is not None and found.cause in _RELAYABLE else None


# --- rules --------------------------------------------------------------------------------------


def stalled(case: Case) -> Finding | None:
    """
    There is a path for checks, and the handshake with its large packets gets nowhere.
    """
    for side in case.sides:
        upAt = _upAt(side)
        lost = side.ofKind(EventKind.LOST)
        if upAt is None or side.connected or lost or side.lastAt - upAt < _HANDSHAKE:
            continue
        return Finding(
            cause=Cause.LARGE_PACKETS_LOST,
            sentences=(
                f"There was a path between {side.name} and {case.nameOfOther(side)}, and checks"
                " passed on it, but the handshake, whose packets have 1200 bytes and more, never"
                " came to its end.",
            ),
            evidence=(
                case.evidence(side, upAt, "a path was nominated"),
                case.evidence(side, side.lastAt, side.reason or "the handshake was not finished"),
            ),
        )
    return None


def _upAt(side: Side) -> float | None:
    """
    When there was a path for datagrams.
    """
    times = [each.at for each in side.ofKind(EventKind.SELECTED) if each.transport is Transport.UDP]
    times += [each.at for each in side.relayPairs if each.news is PairNews.PROVEN]
    return min(times, default=None)


def noRelay(case: Case) -> Finding | None:
    """
    Nothing but a relay was wanted, and there is none.
    """
    side = case.focus
    isOnly = side.requested is not None and side.requested.relay is RelayPolicy.ONLY
    if not isOnly or _isOffered(case) is not False:
        return None
    return Finding(
        cause=Cause.NO_RELAY,
        sentences=(f"{side.name} wanted nothing but a relay, and the service offers none.",),
        evidence=(case.evidence(side, side.startedAt, "--relay only"),),
    )


def relayFailed(case: Case) -> Finding | None:
    """
    A relay would have helped, and did not.
    """
    if not any(side.relayNews for side in case.sides):
        return None
    for side in case.sides:
        told = side.relayNews
        if any(each.news is RelayNews.ALLOCATED for each in told):
            continue
        failures = [each for each in told if each.news is RelayNews.FAILED]
        isSilent = bool(told) and side.endedAt - told[0].at > _PATIENCE
        if failures or isSilent:
            return _failure(case, side, told, failures)
    # This side has an address there, and the other one's never came.
    side = case.focus
    isMet = any(each.news is not PairNews.LOST for each in side.relayPairs)
    if case.other(side) is None and not isMet:
        cause, name = Cause.RELAY_UNREACHABLE, case.nameOfOther(side)
        words = f"{name} got no address at the relay"
        return _withDirect(case, cause, words, (_shown(case, side, side.relayNews[-1]),))
    return None


def _failure(case: Case, side: Side, told: list[RelayTold], failures: list[RelayTold]) -> Finding:
    causes = [_BY_ERROR.get(each.error, Cause.RELAY_UNREACHABLE) for each in failures]
    cause = next(
        (each for each in causes if each is not Cause.RELAY_UNREACHABLE), Cause.RELAY_UNREACHABLE
    )
    words = f"{side.name} asked for the relay, but {_WORDS[cause]}"
    shown = tuple(_shown(case, side, each) for each in (failures or told)[:4])
    return _withDirect(case, cause, words, shown)


def _shown(case: Case, side: Side, told: RelayTold) -> Evidence:
    reason = f": {told.reason}" if told.reason else ""
    return case.evidence(side, told.at, f"{told.server}: {told.news.value}{reason}")


def _withDirect(case: Case, cause: Cause, words: str, shown: tuple[Evidence, ...]) -> Finding:
    direct = directFinding(case)
    sentences = direct.sentences if direct is not None else ()
    evidence = direct.evidence if direct is not None else ()
    return Finding(
        cause=cause,
        sentences=(*sentences, f"{words}."),
        evidence=(*evidence, *shown),
    )


RELAYING: tuple[Rule, ...] = (relayFailed,)


# --- advice -------------------------------------------------------------------------------------


def withAdvice(case: Case, finding: Finding) -> Finding:
    """
    Add what a relay would have done, where none was there.
    """
    if finding.cause not in _RELAYABLE:
        return finding
    sentence = remedy = ""
    wish = None if case.focus.requested is None else case.focus.requested.relay
    isOffered = _isOffered(case)
    if wish is RelayPolicy.NEVER:
        sentence = "A relay was not wanted (--relay never)."
        remedy = "Allow the relay (--relay auto)." if isOffered else ""
    elif isOffered is False:
        sentence = "The service offers no relay, which would have carried it all the same."
        remedy = "Let the service offer a relay (twistd holepunch --relay HOST:PORT)."
    return attrs.evolve(
        finding,
        sentences=(*finding.sentences, sentence) if sentence else finding.sentences,
        remedy=remedy,
    )


def _isOffered(case: Case) -> bool | None:
    """
    Does the service have a relay? C{None}: nobody knows.
    """
    known = [side.registered.relays for side in case.sides if side.registered is not None]
    found = [relays for relays in known if relays is not None]
    return any(found) if found else None


def relayNote(case: Case, side: Side) -> Evidence | None:
    """
    By which way the relay was reached.
    """
    for each in side.relayNews:
        if each.news is RelayNews.ALLOCATED:
            text = f"{plain(each.server)} gave {each.relayed}"
            return case.evidence(side, each.at, text)
    return None
