"""
The memory of a NAT: mappings, and the sessions that keep them alive.

Owns: the indexes by which a packet finds its session, the idle timers, and the limits' counts.
Knows nothing of: behaviours and packets; which session may exist is the device's decision.
Driven by: L{holepunch.nat.device}.

A mapping lives as long as one of its sessions does. After L{SessionTable.expire}, the tables hold
what is alive and nothing else, so that nobody who looks things up has to compare moments.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.packet import Protocol
from holepunch.nat.session import Domain, MappingRecord, MappingView, Session

# Protocol, local host and port, remote host and port. Plain strings and integers, because hashing
# them is what a forwarded packet costs.
SessionKey = tuple[Protocol, str, int, str, int]


@attrs.define(eq=False)
class HostRecord:
    """
    An internal host that has mappings, all on one external host (paired pooling).
    """

    externalHost: str
    mappingCount: int = 0


def _key(mapping: MappingRecord, local: TransportAddress, remote: TransportAddress) -> SessionKey:
    return (mapping.protocol, local.host, local.port, remote.host, remote.port)


class SessionTable:
    """
    All mappings and sessions of one device.

    @ivar outbound: Sessions by internal and remote endpoint.
    @ivar inbound: Sessions by external and remote endpoint.
    @ivar mappings: By protocol, internal endpoint and domain.
    @ivar hosts: The internal hosts that have mappings.
    @ivar sessionCount: How many sessions are alive.
    @ivar nextExpiryAt: No session ends before this moment.
    """

    def __init__(self) -> None:
        self.outbound: dict[SessionKey, Session] = {}
        self.inbound: dict[SessionKey, Session] = {}
        self.mappings: dict[tuple[Protocol, TransportAddress, Domain], MappingRecord] = {}
        self.hosts: dict[str, HostRecord] = {}
        self.sessionCount = 0
        self.nextExpiryAt = math.inf
        self._users: dict[tuple[Protocol, str, int], dict[Domain, MappingRecord]] = {}
        self._portCounts: Counter[tuple[Protocol, str]] = Counter()
        # A heap with one valid entry a session, moved on only when its moment has come.
        self._queue: list[tuple[float, int, Session]] = []
        self._serial = itertools.count()

    def usersOf(self, protocol: Protocol, host: str, port: int) -> dict[Domain, MappingRecord]:
        """
        The mappings that share one external endpoint, by the domain in which each holds.
        """
        return self._users.get((protocol, host, port), {})

    def usedPorts(self, protocol: Protocol, host: str) -> int:
        """
        How many ports of an external host have a mapping.
        """
        return self._portCounts[protocol, host]

    def addMapping(self, mapping: MappingRecord) -> None:
        """
        Remember a mapping. A session must follow, or it would never be forgotten.
        """
        protocol, internal, external = mapping.protocol, mapping.internal, mapping.external
        self.mappings[protocol, internal, mapping.domain] = mapping
        users = self._users.setdefault((protocol, external.host, external.port), {})
        if not users:
            self._portCounts[protocol, external.host] += 1
        users[mapping.domain] = mapping
        host = self.hosts.setdefault(internal.host, HostRecord(external.host))
        host.mappingCount += 1

    def addSession(self, session: Session) -> None:
        """
        Remember a session of a mapping, the only one of its internal and remote endpoints.
        """
        mapping = session.mapping
        mapping.sessions[session] = None
        self.outbound[_key(mapping, session.internal, session.remote)] = session
        self.inbound[_key(mapping, session.external, session.remote)] = session
        self.sessionCount += 1
        self._enqueue(session)

    def restart(self, session: Session, now: float) -> None:
        """
        Start the session's timer anew with its present timeout, be it shorter than before.
        """
        session.expiresAt = now + session.timeout
        if session.expiresAt < session.queuedAt:
            self._enqueue(session)

    def expire(self, now: float) -> None:
        """
        Forget the sessions that end at or before C{now}, mappings without sessions, and mappings
        that have lived their time.
        """
        queue = self._queue
        while queue and queue[0][0] <= now:
            moment, _, session = heapq.heappop(queue)
            if moment != session.queuedAt or session not in session.mapping.sessions:
                continue
            if session.expiresAt <= now or session.mapping.endsAt <= now:
                self._removeSession(session)
            else:
                self._enqueue(session)
        self.nextExpiryAt = queue[0][0] if queue else math.inf

    def removeMapping(self, mapping: MappingRecord) -> None:
        """
        Forget a mapping with all its sessions.
        """
        for session in list(mapping.sessions):
            self._removeSession(session)

    def views(self) -> tuple[MappingView, ...]:
        """
        All mappings, oldest first.
        """
        return tuple(
            MappingView(
                protocol=mapping.protocol,
                internal=mapping.internal,
                external=mapping.external,
                remotes=tuple(session.remote for session in mapping.sessions),
                expiresAt=min(mapping.expiresAt, mapping.endsAt),
            )
            for mapping in self.mappings.values()
        )

    def clear(self) -> None:
        """
        Forget everything.
        """
        for table in (self.outbound, self.inbound, self.mappings, self.hosts, self._users):
            table.clear()
        self._portCounts.clear()
        self._queue.clear()
        self.sessionCount = 0
        self.nextExpiryAt = math.inf

    def _enqueue(self, session: Session) -> None:
        if len(self._queue) > 2 * self.sessionCount + 64:
            self._queue = [
                entry
                for entry in self._queue
                if entry[0] == entry[2].queuedAt and entry[2] in entry[2].mapping.sessions
            ]
            heapq.heapify(self._queue)
        session.queuedAt = min(session.expiresAt, session.mapping.endsAt)
        heapq.heappush(self._queue, (session.queuedAt, next(self._serial), session))
        self.nextExpiryAt = self._queue[0][0]

    def _removeSession(self, session: Session) -> None:
        mapping = session.mapping
        del mapping.sessions[session]
        self.sessionCount -= 1
        del self.outbound[_key(mapping, session.internal, session.remote)]
        del self.inbound[_key(mapping, session.external, session.remote)]
        if session.isContacted:
            mapping.contactedHosts[session.remote.host] -= 1
            if not mapping.contactedHosts[session.remote.host]:
                del mapping.contactedHosts[session.remote.host]
        if not mapping.sessions:
            self._removeRecord(mapping)

    def _removeRecord(self, mapping: MappingRecord) -> None:
        protocol, internal, external = mapping.protocol, mapping.internal, mapping.external
        del self.mappings[protocol, internal, mapping.domain]
        users = self._users[protocol, external.host, external.port]
        del users[mapping.domain]
        if not users:
            del self._users[protocol, external.host, external.port]
            self._portCounts[protocol, external.host] -= 1
        host = self.hosts[internal.host]
        host.mappingCount -= 1
        if not host.mappingCount:
            del self.hosts[internal.host]
