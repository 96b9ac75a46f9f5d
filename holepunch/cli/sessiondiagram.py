"""
Makes a sequence diagram of one session out of what both peers saw.

Owns: who takes part; the arrows to and from the rendezvous service; the words around the picture.
Knows nothing of: how a diagram is drawn, or where the traces come from.
Driven by: C{holepunch demo}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from holepunch.address import Transport, TransportAddress
from holepunch.cli.sequencediagram import (
    Hole,
    MessageKind,
    Note,
    Participant,
    ParticipantKind,
    SequenceDiagram,
)
from holepunch.cli.sessionarrows import SAME_FLIGHT, Arrows
from holepunch.cli.sessionrelay import RELAY, allocationArrows, moveNotes, relayedCheck
from holepunch.cli.sessionside import SessionSide, lastRequestedSession
from holepunch.errors import BadTrace
from holepunch.peer.events import Mapped, Moved, PeerEvent, RelayPair, Suspected

SERVICE = "rendezvous"
# What has room on one arrow.
_MOST_ADDRESSES = 2


def diagramSession(
    requester: tuple[str, Sequence[PeerEvent]],
    responder: tuple[str, Sequence[PeerEvent]],
    conclusion: str = "",
) -> SequenceDiagram:
    """
    Make the diagram of the last session that C{requester} asked for.

    @param requester: The peer's name and events; C{responder} likewise.
    @param conclusion: What the path was good for, if there is one.
    @raise BadTrace: The two have no session in common.
    """
    session = lastRequestedSession(requester[1])
    if session is None:
        raise BadTrace("the first trace is of no peer that asked for a session")
    asking, asked = SessionSide(*requester, session), SessionSide(*responder, session)
    if asking.introducedAt is None or asked.introducedAt is None:
        raise BadTrace("the two traces have no session in common")
    return _Builder(asking, asked).build(conclusion)


class _Builder:
    """
    One diagram in the making.
    """

    def __init__(self, asking: SessionSide, asked: SessionSide) -> None:
        self._asking = asking
        self._asked = asked
        self._sides = (asking, asked)
        self._hasOneNAT = asking.natHost is not None and asking.natHost == asked.natHost
        self._nats = {side: self._natName(side) for side in self._sides}
        assert asking.introducedAt is not None
        # Half the round trip to the service, for want of anything better.
        flight = (asking.introducedAt - asking.startedAt) / 2
        self._arrows = Arrows(self._sides, self._nats, flight)

    def build(self, conclusion: str) -> SequenceDiagram:
        """
        Go through everything that happened.
        """
        arrows = self._arrows
        self._addIntroduction()
        for side in self._sides:
            arrows.addConnects(side)
        for side in self._sides:
            arrows.addChecks(side)
            self._addReady(side)
            self._addAssist(side)
            self._addRelay(side)
        self._addHandshakeEnd()
        return SequenceDiagram(
            title=self._title(),
            subtitle=self._outcome(),
            participants=self._participants(),
            messages=arrows.messages(),
            holes=tuple(Hole(at=at, nat=nat) for nat, at in arrows.holes.items()),
            notes=self._notes(),
            conclusion=conclusion,
            footnote=self._footnote(),
        )

    def _natName(self, side: SessionSide) -> str | None:
        if side.natHost is None:
            return None
        return "NAT" if self._hasOneNAT else f"{side.name}'s NAT"

    # --- arrows to and from the service ---------------------------------------------------------

    def _addIntroduction(self) -> None:
        arrows, kind = self._arrows, MessageKind.SIGNAL
        request = f"request: reach {self._asked.name}"
        half = arrows.begin + arrows.flight
        arrows.add(arrows.begin, half, self._asking.name, SERVICE, request, kind)
        for side, words in ((self._asking, "introduction"), (self._asked, "offer")):
            other = arrows.other(side)
            if other.natHost is not None:
                words += f": {other.name} at {other.natHost}"
            assert side.introducedAt is not None
            arrows.add(half, side.introducedAt, SERVICE, side.name, words, kind)

    def _addReady(self, side: SessionSide) -> None:
        arrows, kind = self._arrows, MessageKind.SIGNAL
        other = arrows.other(side)
        words = f"ready: {side.name} listens"
        departures = side.signals("ready", isOutgoing=True)
        arrivals = other.signals("ready", isOutgoing=False)
        lastAt = -math.inf
        for sentAt, arrivedAt in zip(departures, arrivals, strict=False):
            if sentAt < lastAt + SAME_FLIGHT:
                # Said for each of several pairs.
                continue
            lastAt = sentAt
            half = (sentAt + arrivedAt) / 2
            arrows.add(sentAt, half, side.name, SERVICE, words, kind)
            arrows.add(half, arrivedAt, SERVICE, other.name, words, kind)

    def _addAssist(self, side: SessionSide) -> None:
        # What comes when there is a path already only confirms what was known.
        ends = [each.selectedAt for each in self._sides if each.selectedAt is not None]
        told: set[TransportAddress] = set()
        flights: list[tuple[float, list[str]]] = []
        for event in side.of(Mapped):
            if event.mapped in told or any(event.at >= end for end in ends):
                continue
            told.add(event.mapped)
            at, addresses = flights[-1] if flights else (-math.inf, [""])
            host = addresses[0].rpartition(":")[0]
            # Several ports of one host have room on one arrow.
            if host == str(event.mapped).rpartition(":")[0] and event.at <= at + SAME_FLIGHT:
                addresses.append(f":{event.mapped.port}")
            else:
                flights.append((event.at, [str(event.mapped)]))
        for at, addresses in flights:
            more = "…" if len(addresses) > _MOST_ADDRESSES else ""
            words = f"STUN: you are {', '.join(addresses[:_MOST_ADDRESSES])}{more}"
            sentAt = at - self._arrows.flight
            self._arrows.add(sentAt, at, SERVICE, side.name, words, MessageKind.ASSIST)

    def _addRelay(self, side: SessionSide) -> None:
        arrows, kind = self._arrows, MessageKind.RELAY
        for each in allocationArrows(side.relayNews, arrows.begin, side.settledAt, arrows.flight):
            ends = (side.name, RELAY) if each.isOutgoing else (RELAY, side.name)
            arrows.add(each.sentAt, each.arrivedAt, *ends, each.label, kind)
        other = arrows.other(side)
        check = relayedCheck(side.of(RelayPair), other.of(RelayPair))
        if check is not None:
            sentAt, arrivedAt = check
            half = (sentAt + arrivedAt) / 2
            arrows.add(sentAt, half, side.name, RELAY, f"check for {other.name}", kind)
            arrows.add(half, arrivedAt, RELAY, other.name, f"check of {side.name}", kind)

    @property
    def _hasRelay(self) -> bool:
        begin = self._arrows.begin
        return any(
            side.of(RelayPair) or any(each.at >= begin for each in side.relayNews)
            for side in self._sides
        )

    def _addHandshakeEnd(self) -> None:
        asking, asked = (side.connected for side in self._sides)
        if asking and asked and asking.transport is Transport.TCP and asked.at > asking.at:
            words = "TLS finished, first data"
            self._arrows.between(self._asking, asking.at, asked.at, words, MessageKind.STREAM)

    # --- the rest -------------------------------------------------------------------------------

    def _participants(self) -> tuple[Participant, ...]:
        asking, asked = (
            Participant(name=side.name, kind=ParticipantKind.PEER, detail=", ".join(side.hosts[:1]))
            for side in self._sides
        )
        left, right = (
            [Participant(name=name, kind=ParticipantKind.NAT, detail=side.natHost or "")]
            if name is not None
            else []
            for side, name in self._nats.items()
        )
        services = [Participant(name=SERVICE, kind=ParticipantKind.SERVICE)]
        if self._hasRelay:
            services.append(Participant(name=RELAY, kind=ParticipantKind.SERVICE))
        if self._hasOneNAT:
            return (asking, asked, *left, *services)
        return (asking, *left, *services, *right, asked)

    def _title(self) -> str:
        transport = self._asking.transport
        words = f"{self._asking.name} reaches {self._asked.name}"
        if transport is not None:
            words += f" by {transport.value.upper()}"
        if transport is Transport.TCP:
            isSequential = any(side.signals("ready", isOutgoing=True) for side in self._sides)
            words += f", {'sequential' if isSequential else 'simultaneous'} flow"
        return words

    def _outcome(self) -> str:
        path, failed = self._asking.connected, self._asking.failed
        if path is not None:
            return (
                f"A {path.path} path, {path.local} to {path.remote}, "
                f"{path.seconds * 1000:.0f} ms after the request."
            )
        return f"It failed: {failed.reason}" if failed is not None else "It has not ended yet."

    def _notes(self) -> tuple[Note, ...]:
        begin = self._arrows.begin
        told = [
            (side, at, text)
            for side in self._sides
            if side.connected is not None
            for at, text in (
                (side.connected.at, "connected"),
                *moveNotes([*side.of(Moved), *side.of(Suspected)]),
            )
        ]
        return tuple(
            Note(at=at - begin, participant=side.name, text=text)
            for side, at, text in sorted(told, key=lambda each: each[1])
        )

    def _footnote(self) -> str:
        tried = ", ".join(f"{host} (by {name})" for host, name in self._arrows.vain.items())
        return f"Private addresses, tried in vain: {tried}." if tried else ""
