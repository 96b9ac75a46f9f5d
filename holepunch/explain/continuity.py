"""
Connections that could move: how they went on when a path was lost, and why it was.

Owns: the interruptions, and what shows where they come from.
Knows nothing of: how the first path was found.
Driven by: L{holepunch.explain.success}.
"""

from __future__ import annotations

import itertools

import attrs

from holepunch.address import Transport
from holepunch.explain.case import Case, Evidence
from holepunch.explain.cause import Cause
from holepunch.explain.side import Side
from holepunch.explain.wording import listed, plain
from holepunch.peer.events import (
    Disconnected,
    InterfacesChanged,
    Mapped,
    Moved,
    PeerEvent,
    Registered,
    Suspected,
)
from holepunch.punch import EventKind

# Between what broke a path and what tells of it lie at most so many seconds, before and after.
_BEFORE, _AFTER = 12.0, 30.0
_MOST = 6
# What follows sooner belongs together.
_MOMENT = 1.0
_GOODBYE = "the other side closed the path"


@attrs.frozen(kw_only=True)
class Interruption:
    """
    A path fell silent, and something else took its place.

    @ivar seconds: How long that took.
    @ivar where: Which way the connection went from then on.
    @ivar shown: What shows that the other side is seen elsewhere since, if that is all.
    """

    side: Side
    at: float
    seconds: float
    where: str
    shown: Evidence | None = None


@attrs.frozen(kw_only=True)
class Course:
    """
    What became of a connection after its first path.

    @ivar cause: C{None} where nothing is worth a name.
    """

    cause: Cause | None
    sentences: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def courseOf(case: Case) -> Course:
    """
    Follow a connection that could move.
    """
    lost = _lost(case)
    if lost is not None:
        side, evidence = lost
        words = f"Later the connection was lost for {side.name}: {evidence.text}."
        return Course(cause=Cause.PATH_LOST, sentences=(words,), evidence=(*_told(case), evidence))
    interruptions = [each for side in case.sides for each in _interruptions(side)]
    if not interruptions:
        interruptions = [each for side in case.sides for each in _roaming(case, side)]
    if not interruptions:
        return Course(cause=None, sentences=_plannedMove(case), evidence=_told(case))
    first = min(interruptions, key=lambda each: each.at)
    course = _reason(case, first)
    seconds = max(each.seconds for each in interruptions)
    after = f", after about {seconds:.1f} s" if seconds else ""
    words = f"For {first.side.name} the connection went on {first.where}{after}."
    return attrs.evolve(
        course,
        sentences=(*course.sentences, words),
        evidence=(*course.evidence, *_told(case)),
    )


def _interruptions(side: Side) -> list[Interruption]:
    """
    Where the connection had to take another way, and went on there for a while.
    """
    silentAt: float | None = None
    path = None if side.connected is None else side.connected.path
    found = []
    told: list[Suspected | Moved] = sorted([*side.doubts, *side.moves], key=lambda each: each.at)
    ends = [*(each.at for each in side.moves), _endOf(side)]
    for event in told:
        if isinstance(event, Suspected) or event.path is None:
            silentAt = event.at if silentAt is None else silentAt
            continue
        # Nobody goes back to the relay without need.
        isNeeded = silentAt is not None or (path, event.path) == ("direct", "relay")
        until = min((each for each in ends if each > event.at), default=event.at)
        if isNeeded and until - event.at > _MOMENT:
            at = event.at if silentAt is None else silentAt
            seconds = max(event.gap, event.at - at)
            found.append(Interruption(side=side, at=at, seconds=seconds, where=_where(event)))
        silentAt, path = None, event.path
    return found


def _endOf(side: Side) -> float:
    return side.lastAt if side.closed is None else side.closed.at


def _roaming(case: Case, side: Side) -> list[Interruption]:
    """
    Where one and the same path leads to another address of the other side since: its NAT has
    another mapping for it.
    """
    chosen = [each for each in side.ofKind(EventKind.SELECTED) if each.transport is Transport.UDP]
    return [
        Interruption(
            side=side,
            at=later.at,
            seconds=0.0,
            where=f"directly by UDP, {later.local} to {later.remote}",
            shown=case.evidence(side, later.at, f"{later.remote} since, {earlier.remote} before"),
        )
        for earlier, later in itertools.pairwise(chosen)
        if later.at - earlier.at > _MOMENT
        and later.local == earlier.local
        and later.remote != earlier.remote
    ]


def _lost(case: Case) -> tuple[Side, Evidence] | None:
    """
    The end, if it was none that somebody wanted.
    """
    for side in case.sides:
        closed = side.closed
        if closed is not None and closed.error:
            return side, case.evidence(side, closed.at, closed.reason)
    for side in case.sides:
        last = side.moves[-1] if side.moves else None
        isOver = side.closed is not None
        if last is not None and last.path is None and not isOver and not isGoodbye(side, last):
            return side, case.evidence(side, side.moves[-1].at, "there was no path any more")
    return None


def isGoodbye(side: Side, event: PeerEvent) -> bool:
    """
    Is it a last move only because the other side said goodbye, on one path after the other?
    """
    if not isinstance(event, Moved) or event.path == "direct":
        return False
    endedAt = None if side.closed is None else side.closed.at
    last = side.moves[-1]
    if endedAt is None and last.path is None:
        goodbyes = [each.at for each in side.ofKind(EventKind.CLOSED)]
        goodbyes += [each.at for each in side.relayPairs if each.reason == _GOODBYE]
        endedAt = last.at if any(abs(last.at - each) < _MOMENT for each in goodbyes) else None
    return endedAt is not None and event.at > endedAt - _MOMENT


def _where(moved: Moved) -> str:
    if moved.path == "relay":
        return "through the relay"
    kind = "" if moved.transport is None else f" by {moved.transport.value.upper()}"
    return f"directly{kind}, {moved.local} to {moved.remote}"


def _plannedMove(case: Case) -> tuple[str, ...]:
    """
    Off the relay.
    """
    for side in case.sides:
        isRelayed = side.connected is not None and side.connected.path == "relay"
        direct = [each for each in side.moves if each.path == "direct"]
        if isRelayed and direct:
            seconds = direct[0].at - side.startedAt
            return (f"It moved off the relay after {seconds:.1f} s and goes {_where(direct[0])}.",)
    return ()


def _told(case: Case) -> tuple[Evidence, ...]:
    """
    The way of the connection.
    """
    found = []
    for side in case.sides:
        for doubt in side.doubts[:_MOST]:
            text = f"the {plain(doubt.path)} path to {doubt.remote} does not answer"
            found.append(case.evidence(side, doubt.at, text))
        for moved in side.moves[:_MOST]:
            if isGoodbye(side, moved):
                continue
            text = "no path" if moved.path is None else f"moved: {_where(moved)}"
            found.append(case.evidence(side, moved.at, text))
    return tuple(sorted(found, key=lambda each: each.at))


# --- why ----------------------------------------------------------------------------------------


def _reason(case: Case, first: Interruption) -> Course:
    """
    What happened at about the time when the path fell silent.
    """
    for side in case.sides:
        changed = _changed(side, first.at)
        if changed is not None:
            at, hosts = changed
            return Course(
                cause=Cause.NETWORK_CHANGED,
                sentences=(f"{side.name}'s machine got other addresses: {plain(hosts)}.",),
                evidence=(case.evidence(side, at, f"addresses: {hosts}"),),
            )
    for look in (_newAddress, _forgotten):
        shown = [(side, found) for side in case.sides if (found := look(case, side, first.at))]
        if len(shown) == 1:
            side, (words, evidence) = shown[0]
            return Course(
                cause=Cause.NAT_RESTARTED,
                sentences=(f"{side.name}'s NAT {words}.",),
                evidence=(evidence,),
            )
    other = case.nameOfOther(first.side)
    if first.shown is not None:
        return Course(
            cause=Cause.NAT_RESTARTED,
            sentences=(f"{other}'s NAT shows it at another address than before.",),
            evidence=(first.shown,),
        )
    words = f"The path between {first.side.name} and {other} fell silent."
    return Course(cause=Cause.PATH_RESTORED, sentences=(words,))


def _changed(side: Side, at: float) -> tuple[float, str] | None:
    """
    The machine's other addresses, by its own word or by those that it punches from.
    """
    for told in side.all(InterfacesChanged):
        if at - _BEFORE <= told.at <= at + _AFTER:
            return told.at, listed(told.hosts) or "none"
    before = {each.local.host for each in side.all(Mapped) if each.at < at}
    for each in side.all(Mapped):
        if at <= each.at <= at + _AFTER and before and each.local.host not in before:
            return each.at, each.local.host
    return None


def _newAddress(case: Case, side: Side, at: float) -> tuple[str, Evidence] | None:
    before = [each for each in side.all(Registered) if each.at < at]
    after = [each for each in side.all(Registered) if at <= each.at <= at + _AFTER]
    if not before or not after or before[-1].observed.host == after[0].observed.host:
        return None
    words = f"got another public address, {after[0].observed.host}"
    text = f"seen at {after[0].observed}, and at {before[-1].observed} before"
    return words, case.evidence(side, after[0].at, text)


def _forgotten(case: Case, side: Side, at: float) -> tuple[str, Evidence] | None:
    """
    Did the way to the service end in the same moment, or is one port shown as another one since?
    """
    words = "forgot its mappings, as at a restart"
    for lost in side.all(Disconnected):
        if lost.isMendable and at - _BEFORE <= lost.at <= at + _AFTER:
            return words, case.evidence(side, lost.at, f"main connection: {lost.reason}")
    for each in side.all(Mapped):
        if not at <= each.at <= at + _AFTER:
            continue
        earlier = [
            old
            for old in side.all(Mapped)
            if old.at < at and (old.local, old.server) == (each.local, each.server)
        ]
        if earlier and earlier[-1].mapped != each.mapped:
            text = f"{each.server} sees {each.local} as {each.mapped}, not {earlier[-1].mapped}"
            return words, case.evidence(side, each.at, text)
    return None
