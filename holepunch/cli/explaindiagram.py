"""
The sequence diagram that goes with an explanation, from the traces of both sides or from one.

Owns: bounding what is drawn; the picture of a session of which one side is known.
Knows nothing of: how a diagram is drawn.
Driven by: L{holepunch.cli.explain}.
"""

from __future__ import annotations

import itertools
from collections import Counter

import attrs

from holepunch.address import TransportAddress, isPrivateHost
from holepunch.cli.sequencediagram import (
    Message,
    MessageKind,
    Note,
    Participant,
    ParticipantKind,
    SequenceDiagram,
)
from holepunch.cli.sessiondiagram import SERVICE, diagramSession
from holepunch.cli.sessionrelay import RELAY, allocationArrows, moveNotes
from holepunch.explain import Cause, Explanation
from holepunch.explain.continuity import isGoodbye
from holepunch.explain.side import Side
from holepunch.peer.events import Mapped, PairNews, PeerEvent, Punched
from holepunch.punch import ConnectFailure, EventKind, PunchEvent

# A picture has no place for more.
_MOST_STEPS = 300
_MOST_TRIES = 3
_LONGEST_NAME = 16
_FLIGHT = 0.02
_RESERVED = (SERVICE, RELAY, "NAT")
# What happens so long after a path was chosen is not the search for it.
_AFTERWARDS = 2.0


def drawExplanation(explanation: Explanation) -> SequenceDiagram:
    """
    Draw the session that was explained.
    """
    case = explanation.case
    subtitle = " ".join(explanation.sentences)
    asking, asked = case.asking, case.asked
    if asking is not None and asked is not None and asking.introduced and asked.introduced:
        one, two = _names(asking.name, asked.name)
        conclusion = "" if explanation.cause is Cause.PATH_LOST else _lastPath(asking)
        diagram = diagramSession((one, _bounded(asking)), (two, _bounded(asked)), conclusion)
        return attrs.evolve(diagram, subtitle=subtitle)
    side = case.focus
    name, other = _names(side.name, case.nameOfOther(side))
    return _OneSided(side, name, other).draw(explanation.title, subtitle)


def _names(one: str, other: str) -> tuple[str, str]:
    """
    Names that fit into a picture, and are those of two participants and of nothing else.
    """
    found: list[str] = []
    for name in (one, other):
        short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        while short in (*_RESERVED, *found) or short.endswith("NAT"):
            short += "*"
        found.append(short)
    return found[0], found[1]


def _lastPath(side: Side) -> str:
    """
    What the connection went by in the end.
    """
    moves = [each for each in side.moves if not isGoodbye(side, each)]
    paths = [each for each in (side.connected, *moves) if each is not None and each.path]
    if not paths or paths[-1].transport is None:
        return ""
    return f"{paths[-1].path} {paths[-1].transport.value.upper()} path"


def _bounded(side: Side) -> list[PeerEvent]:
    """
    The events to draw: not too many, none from before the session but what is needed to understand
    it, and in the order of time even where a clock was set back.
    """
    events = [
        each
        for each in side.trace.events
        if getattr(each, "session", side.session) in (None, side.session)
        and not isGoodbye(side, each)
    ]
    chosen = [each.at for each in side.ofKind(EventKind.SELECTED)]
    until = min(chosen, default=float("inf")) + _AFTERWARDS
    steps = [each for each in events if isinstance(each, Punched) and each.at < until]
    ends = [
        each
        for each in events
        if isinstance(each, Punched) and each.event.kind in (EventKind.SELECTED, EventKind.LOST)
    ]
    drawn = {id(each) for each in (*steps[:_MOST_STEPS], *ends[:2])}
    others = itertools.count()
    bounded = [
        each
        for each in events
        if (id(each) in drawn if isinstance(each, Punched) else next(others) < _MOST_STEPS)
    ]
    return _inOrder(bounded)


def _inOrder(events: list[PeerEvent]) -> list[PeerEvent]:
    latest = float("-inf")
    found: list[PeerEvent] = []
    for event in events:
        latest = max(latest, event.at)
        if isinstance(event, Punched):
            event = attrs.evolve(event, event=attrs.evolve(event.event, at=latest))
        found.append(attrs.evolve(event, at=latest))
    return found


class _OneSided:
    """
    The picture of what one side saw: what came to it, and what it sent.
    """

    def __init__(self, side: Side, name: str, other: str) -> None:
        self._side = side
        self._name = name
        self._other = other
        self._messages: list[Message] = []
        self._vain: dict[str, None] = {}
        introduced = side.introduced
        waited = introduced.at - side.startedAt if introduced is not None else 0.0
        self._flight = waited / 2 if 0.0 < waited < 1.0 else _FLIGHT

    def draw(self, title: str, subtitle: str) -> SequenceDiagram:
        """
        All that is known.
        """
        self._addService()
        self._addRelay()
        answered = {each.remote for each in self._side.ofKind(EventKind.CHECK_ANSWERED)}
        tries: Counter[tuple[EventKind, str]] = Counter()
        for step in self._side.steps[:_MOST_STEPS]:
            if step.remote is None:
                continue
            if isPrivateHost(step.remote.host) and step.remote not in answered:
                self._vain[step.remote.host] = None
                continue
            tries[(step.kind, step.remote.host)] += 1
            if tries[(step.kind, step.remote.host)] <= _MOST_TRIES:
                self._addStep(step, step.remote in answered)
        self._messages.sort(key=lambda each: each.sentAt)
        tried = ", ".join(self._vain)
        return SequenceDiagram(
            title=title,
            subtitle=subtitle,
            participants=(
                Participant(name=self._name, kind=ParticipantKind.PEER, detail=self._host()),
                Participant(name=SERVICE, kind=ParticipantKind.SERVICE),
                *self._relay(),
                Participant(name=self._other, kind=ParticipantKind.PEER, detail="not seen"),
            ),
            messages=tuple(self._messages),
            notes=self._notes(),
            footnote=f"Private addresses, tried in vain: {tried}." if tried else "",
        )

    def _host(self) -> str:
        return next((each.address.host for each in self._side.localCandidates), "")

    def _add(self, sentAt: float, arrivedAt: float, ends: tuple[str, str], label: str) -> None:
        kind = MessageKind.PUNCH
        if RELAY in ends:
            kind = MessageKind.RELAY
        elif SERVICE in ends:
            kind = MessageKind.ASSIST if label.startswith("STUN") else MessageKind.SIGNAL
        elif "success" in label or "nominating" in label:
            kind = MessageKind.PROOF
        begin = self._side.startedAt
        self._messages.append(
            Message(
                sentAt=max(0.0, sentAt - begin),
                arrivedAt=max(0.0, sentAt - begin, arrivedAt - begin),
                sender=ends[0],
                receiver=ends[1],
                label=label,
                kind=kind,
            )
        )

    def _addService(self) -> None:
        side, flight = self._side, self._flight
        out, back = (self._name, SERVICE), (SERVICE, self._name)
        if side.requested is not None:
            at = side.requested.at
            self._add(at, at + flight, out, f"request: reach {self._other}")
        if side.introduced is not None:
            at = side.introduced.at
            words = "introduction" if side.introduced.isRequester else "offer"
            self._add(at - flight, at, back, f"{words}: {self._other}")
        elif side.requested is not None and side.trace.ended is not None and side.reason:
            at = side.trace.ended.at
            self._add(at - flight, at, back, "refused")
        told: set[TransportAddress] = set()
        for each in self._mappings():
            if each.mapped not in told:
                told.add(each.mapped)
                self._add(each.at - flight, each.at, back, f"STUN: you are {each.mapped}")
        for lost in side.disconnections[:_MOST_TRIES]:
            self._add(lost.at, lost.at + flight, out, "main connection lost")

    def _relay(self) -> tuple[Participant, ...]:
        isThere = any(RELAY in (each.sender, each.receiver) for each in self._messages)
        return (Participant(name=RELAY, kind=ParticipantKind.SERVICE),) if isThere else ()

    def _addRelay(self) -> None:
        side = self._side
        out, back = (self._name, RELAY), (RELAY, self._name)
        for each in allocationArrows(side.relayNews, side.startedAt, side.lastAt, self._flight):
            self._add(each.sentAt, each.arrivedAt, out if each.isOutgoing else back, each.label)
        for pair in side.relayPairs[:_MOST_TRIES]:
            if pair.news is PairNews.CHECKED:
                self._add(pair.at, pair.at + self._flight, out, f"check for {self._other}")
            elif pair.news is PairNews.PROVEN:
                self._add(pair.at - self._flight, pair.at, back, f"proof of {self._other}")

    def _mappings(self) -> list[Mapped]:
        return [
            each
            for each in self._side.trace.events
            if isinstance(each, Mapped)
            and each.session is not None
            and each.session == self._side.session
        ][:20]

    def _addStep(self, step: PunchEvent, isAnswered: bool) -> None:
        out, back = (self._name, self._other), (self._other, self._name)
        at, flight = step.at, self._flight
        silent = "" if isAnswered else ", unanswered"
        word = "nominating check" if step.detail == "nominating" else "check"
        if step.kind is EventKind.CHECK_SENT:
            self._add(at, at + flight, out, word + silent)
        elif step.kind is EventKind.CHECK_RECEIVED:
            self._add(at - flight, at, back, word)
        elif step.kind is EventKind.CHECK_ANSWERED:
            self._add(at - flight, at, back, "success")
        elif step.kind is EventKind.CONNECT_STARTED:
            self._add(at, at + flight, out, "SYN")
        elif step.kind is EventKind.CONNECTED:
            self._add(at - flight, at, back, "SYN ACK")
        elif step.kind is EventKind.CONNECT_FAILED and step.detail in _RESETS:
            self._add(at - flight, at, back, "RST")

    def _notes(self) -> tuple[Note, ...]:
        side = self._side
        found = []
        outcome = side.connected or side.failed
        if outcome is not None:
            words = "connected" if outcome is side.connected else "no path"
            found.append((outcome.at, words))
        elif side.trace.ended is not None and side.error is not None:
            found.append((side.trace.ended.at, "failed"))
        found += [(each.at, "path lost") for each in side.ofKind(EventKind.LOST)[:1]]
        found += moveNotes(
            [*(each for each in side.moves if not isGoodbye(side, each)), *side.doubts]
        )
        return tuple(
            Note(at=max(0.0, at - side.startedAt), participant=self._name, text=text)
            for at, text in found
        )


_RESETS = (ConnectFailure.REFUSED.value, ConnectFailure.RESET.value)
