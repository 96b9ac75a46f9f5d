"""
One session as a case to be solved: both sides of it, where both are known.

Owns: which session the traces are about, who asked, and the clocks of two machines.
Knows nothing of: causes.
Driven by: L{holepunch.explain.explanation}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from holepunch.address import Transport
from holepunch.errors import BadTrace
from holepunch.explain.record import Trace
from holepunch.explain.side import Side
from holepunch.explain.wording import plain
from holepunch.peer.events import (
    Failed,
    Introduced,
    PeerEvent,
    Punched,
    Refused,
    Requested,
)

# Two clocks that differ by less are as good as one: the service's words take as long as that.
_SAME_CLOCK = 0.25


@attrs.frozen(kw_only=True)
class Evidence:
    """
    One thing that a trace tells.

    @ivar at: Seconds after the session's beginning.
    @ivar name: Whose trace tells it.
    """

    at: float
    name: str
    text: str


@attrs.frozen(kw_only=True)
class Case:
    """
    One session, or a vain request for one.

    @ivar asking: The peer that asked, if its trace is there.
    @ivar asked: The other one, likewise.
    """

    asking: Side | None
    asked: Side | None

    @property
    def focus(self) -> Side:
        """
        The side whose outcome is explained.
        """
        side = self.asking or self.asked
        assert side is not None
        return side

    @property
    def sides(self) -> tuple[Side, ...]:
        """
        Those that are known, the asking one first.
        """
        return tuple(each for each in (self.asking, self.asked) if each is not None)

    def other(self, side: Side) -> Side | None:
        """
        The opposite of a side.
        """
        return self.asked if side is self.asking else self.asking

    def nameOfOther(self, side: Side) -> str:
        """
        What to call the opposite of a side.
        """
        other, first = self.other(side), side.introduced or side.refused
        if other is not None:
            name = other.name
        elif first is not None:
            name = plain(first.remoteName or first.remotePeer.short)
        else:
            name = plain(side.requested.target) if side.requested is not None else "somebody"
        return name if name != side.name else f"the other {name}"

    @property
    def transports(self) -> tuple[Transport, ...]:
        """
        What the session was punched with.
        """
        return tuple(dict.fromkeys(kind for side in self.sides for kind in side.transports))

    def views(self) -> Iterator[tuple[str, Side | None, Side | None]]:
        """
        Both peers: the name, the peer's own trace and that of the other one, where they are known.
        """
        focus = self.focus
        other = self.other(focus)
        yield focus.name, focus, other
        yield self.nameOfOther(focus), other, focus

    def evidence(self, side: Side, at: float, text: str) -> Evidence:
        """
        Note what the trace of a side tells.
        """
        return Evidence(at=at - self.focus.startedAt, name=side.name, text=plain(text))


def openCase(traces: Sequence[Trace]) -> Case:
    """
    Find out what one or two traces have in common.

    @raise BadTrace: Nothing; or there are more than two.
    """
    if not 1 <= len(traces) <= 2:
        raise BadTrace("give the trace of one peer, or those of both")
    if len(traces) == 1:
        return _oneSided(traces[0])
    first, second = traces
    if first.peer == second.peer:
        raise BadTrace("both traces are of the same peer: give those of the two sides")
    common = [found for found in (_common(first, second), _common(second, first)) if found]
    if common:
        return max(common, key=lambda case: case.focus.startedAt)
    for find in (_vain, _idle):
        for asking, asked in ((first, second), (second, first)):
            found = find(asking, asked)
            if found is not None:
                return found
    raise BadTrace("the two traces have no session in common")


def _oneSided(trace: Trace) -> Case:
    events = [
        each for each in trace.events if isinstance(each, Requested | Refused) or _isBeginning(each)
    ]
    last = events[-1] if events else None
    if isinstance(last, Refused):
        return Case(asking=None, asked=Side(trace, last.session))
    if isinstance(last, Introduced):
        side = Side(trace, last.session)
        if last.isRequester:
            return Case(asking=side, asked=None)
        return Case(asking=None, asked=side)
    return Case(asking=Side(trace, None), asked=None)


def _isBeginning(event: PeerEvent) -> bool:
    """
    Is it an introduction, and not one for another path of a connection?
    """
    return isinstance(event, Introduced) and event.continues is None


def _common(asking: Trace, asked: Trace) -> Case | None:
    """
    The last session that one peer asked for, with the other one.
    """
    for each in reversed(asking.events):
        if isinstance(each, Requested) and _isFor(each, asked):
            # It was asked for once more, in vain.
            return None
        if (
            isinstance(each, Introduced)
            and _isBeginning(each)
            and each.isRequester
            and each.remotePeer == asked.peer
        ):
            other = _onClockOf(each, asked)
            return Case(asking=Side(asking, each.session), asked=Side(other, each.session))
    return None


def _isFor(request: Requested, asked: Trace) -> bool:
    return request.target in (asked.name, asked.peer.text)


def _vain(asking: Trace, asked: Trace) -> Case | None:
    """
    A request that led to no session.
    """
    events = [
        each
        for each in asking.events
        if isinstance(each, Requested)
        or (isinstance(each, Introduced) and _isBeginning(each) and each.isRequester)
    ]
    if not (events and isinstance(events[-1], Requested) and _isFor(events[-1], asked)):
        return None
    refusals = [
        each
        for each in asked.events
        if isinstance(each, Refused) and each.remotePeer == asking.peer
    ]
    answers = [each for each in asking.events if isinstance(each, Failed) and each.session is None]
    session = None
    if refusals and answers:
        # The refusal sets the clocks, as an introduction does.
        asked = _together(asked, answers[-1].at - refusals[-1].at)
        session = refusals[-1].session
    return Case(asking=Side(asking, None), asked=Side(asked, session))


def _idle(asking: Trace, asked: Trace) -> Case | None:
    """
    A peer that never came to ask, because something went wrong before.
    """
    hasAsked = any(isinstance(each, Requested | Introduced) for each in asking.events)
    hasFailed = asking.ended is not None and asking.ended.error not in (None, "CancelledError")
    return Case(asking=Side(asking, None), asked=None) if hasFailed and not hasAsked else None


# --- clocks -------------------------------------------------------------------------------------


def _onClockOf(introduced: Introduced, trace: Trace) -> Trace:
    """
    The service tells both sides in the same moment: that sets the clocks.
    """
    for each in trace.events:
        if isinstance(each, Introduced) and each.session == introduced.session:
            return _together(trace, introduced.at - each.at)
    return trace


def _together(trace: Trace, offset: float) -> Trace:
    return _shifted(trace, offset) if abs(offset) > _SAME_CLOCK else trace


def _shifted(trace: Trace, offset: float) -> Trace:
    ended = trace.ended
    return attrs.evolve(
        trace,
        events=tuple(_shiftedEvent(each, offset) for each in trace.events),
        ended=None if ended is None else attrs.evolve(ended, at=ended.at + offset),
    )


def _shiftedEvent(event: PeerEvent, offset: float) -> PeerEvent:
    if isinstance(event, Punched):
        step = attrs.evolve(event.event, at=event.event.at + offset)
        return attrs.evolve(event, at=event.at + offset, event=step)
    return attrs.evolve(event, at=event.at + offset)
