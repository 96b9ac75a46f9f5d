"""
The TCP connections of a session: opening them from the punching port, trying again, closing them
(RFC 6544 sections 5.1 and 7).

Owns: which connections there are, their time limits, and what their end means for their pair.
Knows nothing of: what is said on a connection; nomination.
Driven by: L{PunchSession}, for what happens to sockets; L{StreamChecks}, for what is proven.
"""

from __future__ import annotations

from collections.abc import Iterable

from holepunch.address import Transport, TransportAddress
from holepunch.errors import LocalProtocolError
from holepunch.punch.checklist import CheckList
from holepunch.punch.checks import Authenticator
from holepunch.punch.config import SessionConfig
from holepunch.punch.effects import CloseConnection, EventKind, OpenConnection, SayReady
from holepunch.punch.fate import CONNECT_FATES, ConnectFailure, Fate
from holepunch.punch.journal import Journal
from holepunch.punch.pacing import Pacer
from holepunch.punch.pair import CandidatePair, PairState
from holepunch.punch.streamconnection import (
    ConnectionEvent,
    ConnectionState,
    StreamConnection,
)
from holepunch.punch.tcpflow import flowOf


class StreamConnections:
    """
    All TCP connections of one session, but those that are gone.

    @ivar isSelectedLost: The selected connection broke while the driver still reported to us.
    """

    def __init__(
        self,
        config: SessionConfig,
        authenticator: Authenticator,
        checkList: CheckList,
        journal: Journal,
    ) -> None:
        self.isSelectedLost = False
        self._config = config
        self._authenticator = authenticator
        self._checkList = checkList
        self._journal = journal
        self._flow = flowOf(config)
        self._pacer = Pacer(config.checkPacing, config.checkBurst)
        self._live: dict[int, StreamConnection] = {}
        self._lastId = 0
        self._isReadyDue = False
        self._isSearching = True

    @property
    def live(self) -> Iterable[StreamConnection]:
        """
        The connections, and the attempts at one.
        """
        return list(self._live.values())

    # --- inputs -----------------------------------------------------------------------------

    def made(self, id: int, local: TransportAddress, now: float) -> None:
        """
        A connect succeeded.
        """
        connection = self.find(id)
        if connection is None:
            return
        connection.move(ConnectionEvent.CONNECT)
        connection.rtt = now - connection.since
        connection.openAt = now
        # Twice as long as for a stranger who connected to us: an answer that is lost several times
        # comes late, because TCP doubles the time between its repetitions.
        connection.deadline = now + 2 * self._config.proofTimeout
        self.trace(now, EventKind.CONNECTED, connection)

    def failed(self, id: int, failure: ConnectFailure, now: float) -> None:
        """
        A connect failed.
        """
        connection = self.find(id)
        if connection is not None:
            self.trace(now, EventKind.CONNECT_FAILED, connection, failure.value)
            self.forget(connection, CONNECT_FATES[failure], now)

    def accepted(self, local: TransportAddress, remote: TransportAddress, now: float) -> int:
        """
        A connection was accepted.

        @return: Its number. It may be closed already, among the effects.
        """
        unproven = sum(not other.isActive and not other.isProven for other in self._live.values())
        connection = self._new(local, remote, False, now, self._config.proofTimeout)
        connection.openAt = now
        connection.move(ConnectionEvent.CONNECT)
        self.trace(now, EventKind.ACCEPTED, connection)
        if not self._isSearching or unproven >= self._config.maximalUnproven:
            self.close(connection)
            return connection.id
        connection.pair = self._checkList.find(Transport.TCP, local, remote)
        for other in self.live:
            isSame = other.local == local and other.remote == remote
            if isSame and other.state is ConnectionState.CONNECTING:
                # The two ends of one 4-tuple: the attempt cannot succeed any more.
                self.close(other)
        return connection.id

    def lost(self, id: int, now: float) -> None:
        """
        A connection was closed by the other side, or broke.
        """
        connection = self.find(id)
        if connection is None:
            return
        if connection.state is ConnectionState.SELECTED:
            self.isSelectedLost = True
        self.trace(now, EventKind.CONNECTION_CLOSED, connection, "by the other side")
        self.forget(connection, Fate.CLOSED_EARLY, now)

    def remoteReady(self, now: float) -> None:
        """
        The other side said that it is ready.
        """
        self._flow.remoteReady(self._checkList.ofTransport(Transport.TCP), now)

    def advance(self, now: float) -> None:
        """
        Do what is due: give up connections, open others, say ready.
        """
        for connection in list(self._live.values()):
            if connection.deadline is not None and connection.deadline <= now:
                isConnecting = connection.state is ConnectionState.CONNECTING
                fate = Fate.CONNECT_TIMED_OUT if isConnecting else Fate.UNPROVEN
                self.reject(connection, fate, now)
        if not self._isSearching or self._authenticator.remote is None:
            return
        pairs = self._checkList.ofTransport(Transport.TCP)
        if self._flow.isReadyDue(pairs, now):
            self._sayReady(now)
        for pair in pairs:
            if pair.retryAt is not None and pair.retryAt <= now:
                pair.repeat()
        while self._pacer.readyAt() <= now and (due := self._nextDue()) is not None:
            self._pacer.take(now)
            self._open(due, now)
        if self._isReadyDue and self._nextDue() is None and not self._isPunching():
            self._isReadyDue = False
            self._sayReady(now)

    def _sayReady(self, now: float) -> None:
        self._journal.add(SayReady())
        self._journal.trace(now, EventKind.READY_SENT, Transport.TCP)

    def nextTimeout(self) -> float | None:
        """
        When L{advance} has something to do.
        """
        times = [live.deadline for live in self._live.values() if live.deadline is not None]
        if self._isSearching and self._authenticator.remote is not None:
            times += [
                pair.retryAt
                for pair in self._checkList.ofTransport(Transport.TCP)
                if pair.retryAt is not None
            ]
            if self._nextDue() is not None:
                times.append(self._pacer.readyAt())
        return min(times, default=None)

    def isHopeless(self) -> bool:
        """
        Have all pairs failed for good, with no connection left?
        """
        pairs = self._checkList.ofTransport(Transport.TCP)
        if self._live or (pairs and self._flow.isPatient):
            return False
        return all(pair.state is PairState.FAILED and pair.retryAt is None for pair in pairs)

    def stop(self, keep: StreamConnection | None = None) -> None:
        """
        Close every connection but the one that goes on, and open no more.
        """
        self._isSearching = False
        for connection in list(self._live.values()):
            if connection is not keep:
                self.close(connection)
        if keep is not None:
            keep.deadline = None

    # --- connections ------------------------------------------------------------------------

    def find(self, id: int) -> StreamConnection | None:
        """
        The connection of a number; C{None} where it is gone.

        @raise LocalProtocolError: There never was one.
        """
        if not 0 < id <= self._lastId:
            raise LocalProtocolError(f"this session has no connection {id}")
        return self._live.get(id)

    def _new(
        self,
        local: TransportAddress,
        remote: TransportAddress,
        isActive: bool,
        now: float,
        patience: float,
    ) -> StreamConnection:
        self._lastId += 1
        connection = StreamConnection(
            id=self._lastId,
            local=local,
            remote=remote,
            isActive=isActive,
            since=now,
            deadline=now + patience,
        )
        self._live[connection.id] = connection
        return connection

    def _nextDue(self) -> CandidatePair | None:
        if not self._flow.mayConnect:
            return None
        busy = {id(live.pair) for live in self._live.values()}
        for pair in self._checkList.inCheckOrder(Transport.TCP):
            if pair.state is PairState.WAITING and pair.mayConnect and id(pair) not in busy:
                return pair
        return None

    def _isPunching(self) -> bool:
        return any(
            live.isPunch and live.state is ConnectionState.CONNECTING
            for live in self._live.values()
        )

    def _open(self, pair: CandidatePair, now: float) -> None:
        isPunch, ttl = self._flow.isPunch(pair), self._flow.ttl(pair)
        self._isReadyDue = self._isReadyDue or self._flow.saysReady(pair)
        pair.start(now)
        patience = self._config.punchTime if isPunch else self._flow.attemptTime
        connection = self._new(pair.base, pair.remote.address, True, now, patience)
        connection.pair = pair
        connection.isPunch = isPunch
        self._journal.add(OpenConnection(connection.id, connection.local, connection.remote, ttl))
        detail = "" if ttl is None else f"TTL {ttl}"
        self.trace(now, EventKind.CONNECT_STARTED, connection, detail)

    def close(self, connection: StreamConnection) -> None:
        """
        Close a connection, or give up the attempt; its pair does not care.
        """
        connection.move(ConnectionEvent.CLOSE)
        del self._live[connection.id]
        self._journal.add(CloseConnection(connection.id))

    def forget(self, connection: StreamConnection, fate: Fate, now: float) -> None:
        """
        The connection is gone. Where it was all that its pair had, that try has failed.
        """
        connection.move(ConnectionEvent.CLOSE)
        del self._live[connection.id]
        pair = connection.pair
        if pair is None or any(other.pair is pair for other in self._live.values()):
            return
        if pair.state in (PairState.IN_PROGRESS, PairState.SUCCEEDED):
            retryAt = None
            if pair.mayConnect:
                retryAt = self._flow.retryAt(pair, fate, connection.since, now)
            pair.fail(fate, retryAt)

    def reject(self, connection: StreamConnection, fate: Fate, now: float) -> None:
        """
        Close a connection, or give up the attempt, for the reason that C{fate} says.
        """
        self.trace(now, EventKind.CONNECTION_CLOSED, connection, fate.value)
        self._journal.add(CloseConnection(connection.id))
        self.forget(connection, fate, now)

    def trace(
        self, now: float, kind: EventKind, connection: StreamConnection, detail: str = ""
    ) -> None:
        """
        Tell of something on a connection.
        """
        self._journal.trace(
            now, kind, Transport.TCP, connection.local, connection.remote, connection.id, detail
        )
