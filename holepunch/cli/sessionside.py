"""
One side of one session, as its peer's events tell it.

Owns: which events belong to the session, where the peer can be seen at, its connects and checks.
Knows nothing of: what the other side saw; diagrams.
Driven by: L{holepunch.cli.sessiondiagram}.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import BadAddress
from holepunch.peer.events import (
    Connected,
    Failed,
    Introduced,
    Mapped,
    Moved,
    PeerEvent,
    Punched,
    Registered,
    RelayTold,
    Requested,
    Signalled,
)
from holepunch.punch import EventKind, PunchEvent

_Event = TypeVar("_Event", bound=PeerEvent)
_MAPPED = "mapped to "
_SETTLED = 2.0


@attrs.define(eq=False)
class Connect:
    """
    One TCP connect of this side.

    @ivar connectedAt: When it succeeded, if it did.
    @ivar failure: Why it failed, if it is known.
    """

    local: TransportAddress
    remote: TransportAddress
    startedAt: float
    connectedAt: float | None = None
    failedAt: float | None = None
    failure: str = ""


def lastRequestedSession(events: Iterable[PeerEvent]) -> str | None:
    """
    The session that this peer asked for last.
    """
    introduced = [
        each
        for each in events
        if isinstance(each, Introduced) and each.isRequester and each.continues is None
    ]
    return introduced[-1].session if introduced else None


class SessionSide:
    """
    What one peer saw of one session.

    @ivar name: What to call the peer.
    @ivar relayNews: What relays told the peer.
    """

    def __init__(self, name: str, events: Sequence[PeerEvent], session: str) -> None:
        self.name = name
        self._events = [each for each in events if getattr(each, "session", None) == session]
        self._before = [each for each in events if isinstance(each, Registered | Mapped)]
        self._requests = [each for each in events if isinstance(each, Requested)]
        self.relayNews = [each for each in events if isinstance(each, RelayTold)]
        self._introduced = self._first(Introduced)
        self.connected = self._first(Connected)
        self.failed = self._first(Failed)
        self.punches = [each.event for each in self.of(Punched)]
        self._seenAt = self._collectAddresses()

    def of(self, kind: type[_Event]) -> list[_Event]:
        """
        The session's events of one kind.
        """
        return [each for each in self._events if isinstance(each, kind)]

    def _first(self, kind: type[_Event]) -> _Event | None:
        return next(iter(self.of(kind)), None)

    def ofKind(self, *kinds: EventKind) -> list[PunchEvent]:
        """
        The steps of the punching of some kinds.
        """
        return [each for each in self.punches if each.kind in kinds]

    @property
    def startedAt(self) -> float:
        """
        When the peer asked for the session, or heard of it.
        """
        if self._introduced is None:
            return 0.0
        at = self._introduced.at
        requests = [each.at for each in self._requests if each.at <= at]
        return requests[-1] if self._introduced.isRequester and requests else at

    @property
    def settledAt(self) -> float:
        """
        When it was clear which way the connection goes, and a little more.
        """
        times = [each.at for each in self._events if isinstance(each, Connected | Moved)]
        return max(times, default=float("inf")) + _SETTLED

    @property
    def introducedAt(self) -> float | None:
        """
        When the service introduced the other peer.
        """
        return None if self._introduced is None else self._introduced.at

    @property
    def transport(self) -> Transport | None:
        """
        That of the path, or else what was punched with.
        """
        if self.connected is not None:
            return self.connected.transport
        return next((each.transport for each in self.punches if each.transport), None)

    @property
    def selectedAt(self) -> float | None:
        """
        When this side chose the path; it heeds checks no longer from then on.
        """
        return next((each.at for each in self.ofKind(EventKind.SELECTED)), None)

    # --- addresses ------------------------------------------------------------------------------

    @property
    def registered(self) -> Registered | None:
        """
        The registration that was valid at the session's beginning.
        """
        at = self.startedAt
        found = [each for each in self._before if isinstance(each, Registered) and each.at <= at]
        return found[-1] if found else None

    @property
    def natHost(self) -> str | None:
        """
        The public address of this side's NAT; L{None} where there is no NAT.
        """
        registered = self.registered
        return registered.observed.host if registered and registered.isBehindNAT else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """
        The addresses of the machine itself that the session used.
        """
        return tuple(dict.fromkeys(each.local.host for each in self.punches if each.local))

    def isSeenAt(self, local: TransportAddress, remote: TransportAddress) -> bool:
        """
        Is C{remote} an address at which the other side sees our C{local}?
        """
        return remote == local or remote in self._seenAt[local]

    def _collectAddresses(self) -> dict[TransportAddress, set[TransportAddress]]:
        seenAt: dict[TransportAddress, set[TransportAddress]] = defaultdict(set)
        registered = self.registered
        for event in self._before:
            if isinstance(event, Mapped):
                seenAt[event.local].add(event.mapped)
        for step in self.punches:
            if step.local is None:
                continue
            if registered is not None and step.transport is Transport.TCP:
                # The main connection is made from the punching port.
                seenAt[step.local].add(registered.observed)
            if step.kind is EventKind.CHECK_ANSWERED and step.detail.startswith(_MAPPED):
                with contextlib.suppress(BadAddress):
                    mapped = TransportAddress.parse(step.detail.removeprefix(_MAPPED))
                    seenAt[step.local].add(mapped)
        return seenAt

    # --- connects -------------------------------------------------------------------------------

    def connects(self) -> list[Connect]:
        """
        The connects, in order.
        """
        found: dict[Any, Connect] = {}
        for step in self.punches:
            if step.kind is EventKind.CONNECT_STARTED and step.local and step.remote:
                found[step.connection] = Connect(step.local, step.remote, step.at)
            connect = found.get(step.connection)
            if connect is None or connect.connectedAt is not None:
                continue
            if step.kind is EventKind.CONNECTED:
                connect.connectedAt = step.at
            elif step.kind is EventKind.CONNECT_FAILED:
                connect.failedAt, connect.failure = step.at, step.detail
        return list(found.values())

    def signals(self, kind: str, isOutgoing: bool) -> list[float]:
        """
        When messages of a kind went over the main connection.
        """
        return [
            each.at
            for each in self.of(Signalled)
            if each.kind == kind and each.isOutgoing is isOutgoing
        ]
