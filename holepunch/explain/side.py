"""
One side of a session, as its own trace tells it.

Owns: which events belong to the session; what they say about NATs, candidates, checks and connects.
Knows nothing of: the other side's trace; causes.
Driven by: L{holepunch.explain.case}.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TypeVar

from holepunch.address import Transport, TransportAddress, isPrivateHost
from holepunch.errors import BadCandidate
from holepunch.explain.record import Trace
from holepunch.explain.wording import plain
from holepunch.peer.events import (
    Closed,
    Connected,
    Disconnected,
    Failed,
    Introduced,
    Mapped,
    Moved,
    PeerEvent,
    Punched,
    Refused,
    Registered,
    RelayPair,
    RelayTold,
    Requested,
    Secured,
    Suspected,
)
from holepunch.punch import Candidate, CandidateType, EventKind, PunchEvent

STOPPED = "the peer was stopped"
"""
What a peer says that ends by itself.
"""

_Event = TypeVar("_Event", bound=PeerEvent)
_PROOFS = (EventKind.CHECK_ANSWERED, EventKind.CHECK_RECEIVED)


class Side:
    """
    What one peer recorded of one session, or of its vain request for one.

    @ivar name: What to call the peer.
    @ivar session: C{None} where there was no introduction.
    @ivar startedAt: When the peer asked for the session, or heard of it.
    """

    def __init__(self, trace: Trace, session: str | None) -> None:
        self.trace = trace
        self.session = session
        self.name = plain(trace.label)
        self._own = [
            each
            for each in trace.events
            if session is not None and getattr(each, "session", None) == session
        ]
        self.introduced = self._first(Introduced)
        self.connected = self._first(Connected)
        self.failed = self._first(Failed)
        self.refused = self._first(Refused)
        self.secured = self._first(Secured)
        self.closed = self._first(Closed)
        self.moves = [each for each in self._own if isinstance(each, Moved)]
        self.doubts = [each for each in self._own if isinstance(each, Suspected)]
        self.relayPairs = [each for each in self._own if isinstance(each, RelayPair)]
        self.requested = self._lastRequest()
        self.steps = [each.event for each in self._own if isinstance(each, Punched)]
        self.startedAt = self._start()
        self.remoteCandidates = self._candidates(EventKind.REMOTE_CANDIDATE)
        self.localCandidates = self._candidates(EventKind.LOCAL_CANDIDATE)

    def _first(self, kind: type[_Event]) -> _Event | None:
        return next((each for each in self._own if isinstance(each, kind)), None)

    def all(self, kind: type[_Event]) -> list[_Event]:
        """
        All events of a kind in the trace, of whatever session.
        """
        return [each for each in self.trace.events if isinstance(each, kind)]

    def _lastRequest(self) -> Requested | None:
        requests = self.all(Requested)
        if self.introduced is not None:
            if not self.introduced.isRequester:
                return None
            requests = [each for each in requests if each.at <= self.introduced.at]
        return requests[-1] if requests else None

    def _start(self) -> float:
        if self.requested is not None:
            return self.requested.at
        first = self.introduced or self.refused
        if first is not None:
            return first.at
        return self.trace.events[0].at if self.trace.events else 0.0

    def _candidates(self, kind: EventKind, until: float = float("inf")) -> tuple[Candidate, ...]:
        found = []
        for step in self.ofKind(kind):
            if step.at > until:
                continue
            with contextlib.suppress(BadCandidate):
                found.append(Candidate.parse(step.detail))
        return tuple(found)

    # --- the course -----------------------------------------------------------------------------

    def ofKind(self, *kinds: EventKind) -> list[PunchEvent]:
        """
        The steps of the punching of some kinds.
        """
        return [each for each in self.steps if each.kind in kinds]

    @property
    def lastAt(self) -> float:
        """
        When the trace ends.
        """
        times = [each.at for each in self.trace.events[-1:]]
        if self.trace.ended is not None:
            times.append(self.trace.ended.at)
        return max(times, default=0.0)

    @property
    def endedAt(self) -> float:
        """
        When the search for a path had its outcome, or else the trace its end. A relay does not end
        it: something better is looked for.
        """
        if self.connected is not None and self.connected.path == "relay":
            ends = [each.at for each in self.moves if each.path == "direct"]
            ends += [each.at for each in self.ofKind(EventKind.FAILED, EventKind.CLOSED)]
            return min(ends, default=self.lastAt)
        outcome = self.connected or self.failed
        return self.lastAt if outcome is None else outcome.at

    @property
    def isRegistered(self) -> bool:
        """
        Was the peer ever known to the service?
        """
        return bool(self.all(Registered))

    @property
    def registered(self) -> Registered | None:
        """
        The registration at the session's beginning.
        """
        found = [each for each in self.all(Registered) if each.at <= self.startedAt]
        return found[-1] if found else None

    @property
    def isLink(self) -> bool:
        """
        Could the connection have gone another way?
        """
        return bool(self.secured or self.closed or self.moves or self.relayPairs)

    @property
    def relayNews(self) -> list[RelayTold]:
        """
        What relays told, until the search was over.
        """
        return [each for each in self.all(RelayTold) if each.at <= self.endedAt]

    @property
    def attempts(self) -> list[Introduced | Failed]:
        """
        The further sessions in which the connection looked for another path.
        """
        return [
            each
            for each in self.trace.events
            if isinstance(each, Introduced | Failed)
            and self.session is not None
            and each.continues == self.session
        ]

    @property
    def disconnections(self) -> list[Disconnected]:
        """
        The losses of the main connection between the session's beginning and outcome, or all of
        those of a peer that has no session; not that by which it said goodbye.
        """
        since = self.startedAt if self.isRegistered else float("-inf")
        return [
            each
            for each in self.all(Disconnected)
            if since <= each.at <= self.endedAt and each.reason != STOPPED
        ]

    @property
    def error(self) -> str | None:
        """
        The class of the error that ended the command, unless the session had an end of its own.
        """
        return None if self.trace.ended is None else self.trace.ended.error

    @property
    def reason(self) -> str:
        """
        Why there was no path, in the words of the trace.
        """
        if self.failed is not None:
            return plain(self.failed.reason)
        ended = self.trace.ended
        if ended is not None and ended.error is not None:
            return plain(ended.reason or ended.error)
        return ""

    @property
    def transports(self) -> tuple[Transport, ...]:
        """
        What was punched with.
        """
        return tuple(dict.fromkeys(each.transport for each in self.localCandidates))

    # --- NATs -----------------------------------------------------------------------------------

    def mapped(self, transport: Transport) -> list[Mapped]:
        """
        What assist listeners told of the session's local ports.
        """
        return [
            each
            for each in self.all(Mapped)
            if each.transport is transport
            and each.session in (None, self.session)
            and each.at <= self.endedAt
        ]

    def differingMappings(self, transport: Transport) -> list[Mapped]:
        """
        What shows that the NAT maps one local port differently for each destination.
        """
        byLocal: dict[TransportAddress, dict[TransportAddress, Mapped]] = defaultdict(dict)
        for each in self.mapped(transport):
            if each.at >= self.startedAt:
                byLocal[each.local].setdefault(each.server, each)
        for byServer in byLocal.values():
            if len({each.mapped for each in byServer.values()}) > 1:
                return list(byServer.values())
        return []

    def serversAsked(self, transport: Transport) -> int:
        """
        How many assist listeners answered during the session.
        """
        found = {each.server for each in self.mapped(transport) if each.at >= self.startedAt}
        return len(found)

    @property
    def publicHosts(self) -> frozenset[str]:
        """
        The addresses that this side has outside.
        """
        hosts = {each.mapped.host for kind in Transport for each in self.mapped(kind)}
        if self.registered is not None:
            hosts.add(self.registered.observed.host)
        return frozenset(host for host in hosts if not isPrivateHost(host))

    @property
    def isBehindNAT(self) -> bool:
        """
        Does the service see this side at another address than it has?
        """
        return self.registered is not None and self.registered.isBehindNAT

    def reflexiveOfPeer(
        self, transport: Transport, within: float = float("inf")
    ) -> tuple[Candidate, ...]:
        """
        Where the service saw the other side.

        @param within: In the first seconds of the session.
        """
        return tuple(
            each
            for each in self._candidates(EventKind.REMOTE_CANDIDATE, self.startedAt + within)
            if each.transport is transport and each.type is CandidateType.SERVER_REFLEXIVE
        )

    # --- checks and connects --------------------------------------------------------------------

    def proofs(self, transport: Transport) -> list[PunchEvent]:
        """
        What the other side sent and only the other side could have sent.
        """
        return [each for each in self.ofKind(*_PROOFS) if each.transport is transport]

    def strangers(self) -> list[PunchEvent]:
        """
        Connections that somebody accepted who never proved to be the peer.
        """
        proven = {each.connection for each in self.proofs(Transport.TCP)}
        return [each for each in self.ofKind(EventKind.CONNECTED) if each.connection not in proven]

    def failedConnects(self, *details: str) -> list[PunchEvent]:
        """
        Connects that failed in one of some ways.
        """
        return [each for each in self.ofKind(EventKind.CONNECT_FAILED) if each.detail in details]
