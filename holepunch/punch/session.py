"""
One session: one attempt of two peers to reach each other (RFC 8445 over UDP, RFC 6544 over TCP).

Owns: the state of the session as a whole and its transition table, the choice of what is nominated,
the end.
Knows nothing of: sockets, clocks, and how the two sides exchange candidates.
Driven by: the peer's driver, with one rhythm: an input, then L{PunchSession.takeEffects}, then one
timer at L{PunchSession.nextTimeout}.
"""

from __future__ import annotations

import enum
from collections import deque

from holepunch.address import Transport, TransportAddress
from holepunch.errors import LocalProtocolError
from holepunch.punch.candidate import Candidate
from holepunch.punch.checklist import CheckList
from holepunch.punch.checks import Authenticator
from holepunch.punch.config import SessionConfig
from holepunch.punch.consent import Consent
from holepunch.punch.credentials import Credentials
from holepunch.punch.datagramchecks import DatagramChecks
from holepunch.punch.diagnosis import explainFailure
from holepunch.punch.effects import (
    DatagramReceived,
    Effect,
    EventKind,
    Path,
    PathLost,
    PathSelected,
    SessionFailed,
    StreamData,
)
from holepunch.punch.fate import ConnectFailure, Fate
from holepunch.punch.journal import Journal
from holepunch.punch.nomination import Pending
from holepunch.punch.pair import CandidatePair, PairState
from holepunch.punch.role import Role
from holepunch.punch.streamchecks import StreamChecks
from holepunch.punch.streamconnection import StreamConnection
from holepunch.stun import looksLikeStun

_BUFFERED_DATAGRAMS = 16


class SessionState(enum.Enum):
    """
    Where a session stands.
    """

    GATHERING = "gathering"
    CHECKING = "checking"
    SELECTED = "selected"
    LOST = "lost"
    FAILED = "failed"
    CLOSED = "closed"


class SessionEvent(enum.Enum):
    """
    What changes the state of a session.
    """

    CREDENTIALS_KNOWN = "the remote credentials came"
    SELECT = "a path was nominated"
    LOSE = "the path broke"
    FAIL = "no path was found"
    CLOSE = "the driver closed the session"


SESSION_TRANSITIONS = {
    (SessionState.GATHERING, SessionEvent.CREDENTIALS_KNOWN): SessionState.CHECKING,
    (SessionState.GATHERING, SessionEvent.SELECT): SessionState.SELECTED,  # controlled, over TCP
    (SessionState.GATHERING, SessionEvent.FAIL): SessionState.FAILED,
    (SessionState.GATHERING, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.CHECKING, SessionEvent.SELECT): SessionState.SELECTED,
    (SessionState.CHECKING, SessionEvent.FAIL): SessionState.FAILED,
    (SessionState.CHECKING, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.SELECTED, SessionEvent.CREDENTIALS_KNOWN): SessionState.SELECTED,
    (SessionState.SELECTED, SessionEvent.SELECT): SessionState.SELECTED,  # a better pair, over UDP
    (SessionState.SELECTED, SessionEvent.LOSE): SessionState.LOST,
    (SessionState.SELECTED, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.LOST, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.FAILED, SessionEvent.CLOSE): SessionState.CLOSED,
    (SessionState.CLOSED, SessionEvent.CLOSE): SessionState.CLOSED,
}

_ENDED = (SessionState.LOST, SessionState.FAILED, SessionState.CLOSED)


class PunchSession:
    """
    The core of one session.

    C{now} is monotonic seconds, never earlier than in the call before. What the network did wrong
    is dropped or ends a pair; only misuse by the caller raises (L{LocalProtocolError}). Inputs that
    come after the end are ignored: the network does not know of it yet.
    """

    def __init__(self, config: SessionConfig, now: float) -> None:
        """
        @param now: The session's time-out counts from here.
        """
        tieBreaker = config.tieBreaker
        if tieBreaker is None:
            tieBreaker = int.from_bytes(config.randomBytes(8), "big")
        self._config = config
        self._role = Role(config.isControlling, tieBreaker)
        self._authenticator = Authenticator(
            config.localCredentials, self._role, config.randomBytes, config.preferredTransport
        )
        self._checkList = CheckList(
            self._role,
            config.randomBytes,
            config.transports,
            config.maximalCandidates,
            config.maximalPairs,
        )
        self._journal = Journal()
        parts = (config, self._role, self._authenticator, self._checkList, self._journal)
        self._datagrams = DatagramChecks(*parts)
        self._streams = StreamChecks(*parts)
        self._state = SessionState.GATHERING
        self._deadline = now + config.timeout
        self._wakeAt: float | None = None
        self._isLocalComplete = False
        self._isRemoteComplete = False
        self._buffered: deque[DatagramReceived] = deque(maxlen=_BUFFERED_DATAGRAMS)
        self._path: Path | None = None
        self._pair: CandidatePair | None = None
        self._consent: Consent | None = None
        if config.remoteCredentials is not None:
            self.setRemoteCredentials(config.remoteCredentials, now)

    # --- looking ----------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """
        Where the session stands.
        """
        return self._state

    @property
    def isControlling(self) -> bool:
        """
        Does this side nominate? The repair of a role conflict may change it.
        """
        return self._role.isControlling

    @property
    def selectedPath(self) -> Path | None:
        """
        The path, once it was selected, as long as it lives.
        """
        return self._path

    @property
    def localCandidates(self) -> tuple[Candidate, ...]:
        """
        This side's candidates.
        """
        return self._checkList.localCandidates

    @property
    def remoteCandidates(self) -> tuple[Candidate, ...]:
        """
        The other side's candidates, announced and learned.
        """
        return self._checkList.remoteCandidates

    @property
    def pairs(self) -> tuple[CandidatePair, ...]:
        """
        All pairs, best first, for reports. Do not change them.
        """
        return tuple(self._checkList.pairs)

    def isSelected(self, local: TransportAddress, remote: TransportAddress) -> bool:
        """
        Is a datagram between these two on the selected path? If so, and if it is not STUN, the
        driver may take it as application data without asking further.
        """
        path = self._path
        return (
            path is not None
            and path.connection is None
            and path.remote == remote
            and path.local == local
        )

    # --- inputs: what was agreed ------------------------------------------------------------

    def setRemoteCredentials(self, credentials: Credentials, now: float) -> None:
        """
        The other side's credentials have come: checks can begin.

        @raise LocalProtocolError: There are others already.
        """
        known = self._authenticator.remote
        if self._hasEnded or known == credentials:
            return
        if known is not None:
            raise LocalProtocolError("the remote credentials of a session never change")
        self._move(SessionEvent.CREDENTIALS_KNOWN)
        self._authenticator.setRemote(credentials)
        if self._path is None:
            self._datagrams.credentialsKnown(now)
        self._turn(now)

    def addLocalCandidate(self, candidate: Candidate, now: float) -> None:
        """
        Use a candidate of this side.
        """
        self._addCandidate(candidate, True, now)

    def addRemoteCandidate(self, candidate: Candidate, now: float) -> None:
        """
        Use a candidate that the other side announced. What is of no use is ignored.
        """
        self._addCandidate(candidate, False, now)

    def endOfLocalCandidates(self, now: float) -> None:
        """
        This side has no more candidates: when all pairs have failed, the session has.
        """
        self._isLocalComplete = True
        self._turn(now)

    def endOfRemoteCandidates(self, now: float) -> None:
        """
        The other side has no more candidates: when all pairs have failed, the session has.
        """
        self._isRemoteComplete = True
        self._turn(now)

    def remoteReady(self, now: float) -> None:
        """
        Sequential flow: the other side said ready.
        """
        if self._isSearching:
            self._journal.trace(now, EventKind.READY_RECEIVED, Transport.TCP)
            self._streams.remoteReady(now)
            self._turn(now)

    # --- inputs: the network ----------------------------------------------------------------

    def receiveDatagram(
        self, local: TransportAddress, remote: TransportAddress, data: bytes, now: float
    ) -> None:
        """
        A datagram came from C{remote} to the UDP socket bound to C{local}.
        """
        if self._hasEnded or (self._path is not None and self._path.connection is not None):
            return
        if looksLikeStun(data):
            self._datagrams.receive(local, remote, data, now)
            self._turn(now)
            return
        pair = self._checkList.find(Transport.UDP, local, remote)
        if pair is None or not pair.isRemoteProven:
            return
        if self._path is not None:
            self._journal.add(DatagramReceived(data, remote))
        elif len(self._buffered) < _BUFFERED_DATAGRAMS:
            self._buffered.append(DatagramReceived(data, remote))

    def connectionMade(self, connection: int, local: TransportAddress, now: float) -> None:
        """
        The connect that L{OpenConnection} asked for succeeded.

        @param local: The local address of the connection.
        """
        self._streams.made(connection, local, now)
        self._turn(now)

    def connectFailed(self, connection: int, reason: ConnectFailure, now: float) -> None:
        """
        The connect that L{OpenConnection} asked for failed.
        """
        self._streams.failed(connection, reason, now)
        self._turn(now)

    def connectionAccepted(
        self, local: TransportAddress, remote: TransportAddress, now: float
    ) -> int:
        """
        A connection came to a punching port, and its first bytes name this session.

        @return: The number of the connection. It may be among the effects as to be closed already.
        """
        connection = self._streams.accepted(local, remote, now)
        self._turn(now)
        return connection

    def receiveStream(self, connection: int, data: bytes, now: float) -> None:
        """
        Bytes came on a connection that is not handed over yet.
        """
        selected = self._streams.selected
        if selected is not None and selected.id == connection:
            if not self._hasEnded:
                self._journal.add(StreamData(connection, data))
            return
        self._streams.received(connection, data, now)
        self._turn(now)

    def connectionLost(self, connection: int, now: float) -> None:
        """
        A connection that is not handed over yet was closed by the other side, or broke.
        """
        self._streams.lost(connection, now)
        self._turn(now)

    # --- inputs: time and the end -----------------------------------------------------------

    def handleTimeout(self, now: float) -> None:
        """
        The moment that L{nextTimeout} named has come.
        """
        self._turn(now)

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}; L{None} for never. May be in the past: then at once.
        """
        if self._hasEnded:
            return None
        times = [self._datagrams.nextTimeout(), self._streams.nextTimeout()]
        if self._consent is not None:
            times.append(self._consent.nextTimeout())
        elif self._isSearching:
            times += [self._deadline, self._wakeAt]
        return min((at for at in times if at is not None), default=None)

    def close(self, reason: str, now: float) -> None:
        """
        End the session, whatever its state. A connection that was handed over stays open.

        @param reason: A few words, for the trace.
        """
        if not self._hasEnded:
            self._end(SessionEvent.CLOSE, now)
            self._journal.trace(now, EventKind.CLOSED, detail=reason)
        else:
            self._move(SessionEvent.CLOSE)

    def takeEffects(self) -> list[Effect]:
        """
        Everything to be done since the last call, in order.
        """
        return self._journal.take()

    # --- deciding ---------------------------------------------------------------------------

    @property
    def _hasEnded(self) -> bool:
        return self._state in _ENDED

    @property
    def _isSearching(self) -> bool:
        return self._state in (SessionState.GATHERING, SessionState.CHECKING)

    def _move(self, event: SessionEvent) -> None:
        state = SESSION_TRANSITIONS.get((self._state, event))
        if state is None:
            raise LocalProtocolError(f"a session that is {self._state.value}: {event.value}")
        self._state = state

    def _addCandidate(self, candidate: Candidate, isLocal: bool, now: float) -> None:
        if not self._isSearching:
            return
        kind = EventKind.LOCAL_CANDIDATE if isLocal else EventKind.REMOTE_CANDIDATE
        add = self._checkList.addLocal if isLocal else self._checkList.addRemote
        pairs = add(candidate)
        if pairs is None:
            kind = EventKind.CANDIDATE_IGNORED
        self._journal.trace(now, kind, candidate.transport, detail=candidate.format())
        for pair in pairs or ():
            self._journal.tracePair(now, EventKind.PAIR_FORMED, pair)
        self._turn(now)

    def _turn(self, now: float) -> None:
        """
        Every input ends here: send what is due, then see what follows from what is known.
        """
        if self._hasEnded:
            return
        self._datagrams.advance(now)
        self._streams.advance(now)
        if self._path is not None:
            self._watch(now)
        elif not self._selectNominated(now):
            if self._role.isControlling and self._authenticator.remote is not None:
                self._nominate(now)
            if self._path is None:
                self._streams.sendFirstChecks(now)
                self._failIfOver(now)

    def _selectNominated(self, now: float) -> bool:
        """
        Was a nomination accepted?
        """
        datagrams = self._datagrams
        if self._streams.selected is not None:
            self._selectConnection(self._streams.selected, now)
            return True
        if self._role.isControlling:
            chosen = datagrams.confirmed
        else:
            chosen = datagrams.chosen
            # Only one nomination is accepted, and this one is, even if its pair is not valid yet.
            self._streams.mayAccept = chosen is None
        if chosen is None or not chosen.hasSucceeded:
            return False
        self._selectPair(chosen, now)
        return True

    def _nominate(self, now: float) -> None:
        datagrams, streams = self._datagrams, self._streams
        self._wakeAt = streams.patienceEndsAt(now)
        if self._wakeAt is not None or datagrams.unconfirmed is not None:
            return
        pending = [
            Pending(priority=pair.priority, startedAt=pair.startedAt)
            for pair in self._checkList.pairs
            if pair.state is PairState.IN_PROGRESS and pair.startedAt is not None
        ]
        contenders = datagrams.contenders() + streams.contenders()
        choice = self._config.nomination.choose(contenders, pending, now)
        self._wakeAt = choice.wakeAt
        if choice.contender is None:
            return
        key = choice.contender.key
        if isinstance(key, StreamConnection):
            streams.nominate(key, now)
            self._wakeAt = streams.patienceEndsAt(now)
        elif isinstance(key, CandidatePair):
            datagrams.nominate(key, now)
            # The pair is proven, so the path can be used in the same flight. But where a connection
            # was nominated before, the other side may already have accepted that one: its answer
            # decides.
            if not streams.hasNominated:
                self._selectPair(key, now)

    def _selectPair(self, pair: CandidatePair, now: float) -> None:
        self._datagrams.stopSearching(pair)
        self._streams.stop()
        self._pair = pair
        self._consent = Consent(
            pair,
            self._config.keepaliveInterval,
            self._config.consentTimeout,
            self._config.randomBytes,
            now,
        )
        self._select(pair, None, now)
        while self._buffered:
            self._journal.add(self._buffered.popleft())

    def _selectConnection(self, connection: StreamConnection, now: float) -> None:
        assert connection.pair is not None
        self._datagrams.stop()
        self._streams.stop(connection)
        self._buffered.clear()
        self._select(connection.pair, connection, now)
        rest = connection.framer.takeBuffered()
        if rest:
            self._journal.add(StreamData(connection.id, rest))

    def _select(self, pair: CandidatePair, connection: StreamConnection | None, now: float) -> None:
        self._move(SessionEvent.SELECT)
        pair.fate = Fate.SELECTED
        self._path = Path(
            transport=pair.transport,
            local=pair.base,
            remote=pair.remote.address,
            localCandidate=pair.mapped if pair.mapped is not None else pair.local,
            remoteCandidate=pair.remote,
            connection=None if connection is None else connection.id,
            rtt=pair.rtt,
        )
        self._journal.tracePair(now, EventKind.SELECTED, pair, connection=self._path.connection)
        self._journal.add(PathSelected(self._path))

    def _watch(self, now: float) -> None:
        """
        Keep the selected path, or see that it is lost.
        """
        if self._streams.isSelectedLost:
            self._lose("the connection was closed", now)
            return
        consent, pair = self._consent, self._pair
        if consent is None or pair is None:
            return
        if self._datagrams.isNominationFailed:
            self._lose("the other side never confirmed the path", now)
        elif consent.expiresAt <= now:
            self._lose(
                f"the other side has not answered for {self._config.consentTimeout:g} s", now
            )
        elif not self._role.isControlling and self._isBetterChosen(pair):
            assert self._datagrams.chosen is not None
            self._selectPair(self._datagrams.chosen, now)
        elif consent.isCheckDue(now):
            self._datagrams.askConsent(pair, now)

    def _isBetterChosen(self, pair: CandidatePair) -> bool:
        chosen = self._datagrams.chosen
        return chosen is not None and chosen is not pair and chosen.hasSucceeded

    def _failIfOver(self, now: float) -> None:
        isComplete = self._isLocalComplete and self._isRemoteComplete
        hasHope = any(pair.transport is Transport.UDP for pair in self._checkList.pairs)
        if now < self._deadline and (not isComplete or hasHope or not self._streams.isHopeless()):
            return
        reason = explainFailure(
            self._checkList.pairs,
            self._config.transports,
            bool(self._checkList.localCandidates),
            bool(self._checkList.remoteCandidates),
            self._authenticator.remote is not None,
        )
        self._end(SessionEvent.FAIL, now)
        self._journal.trace(now, EventKind.FAILED, detail=str(reason))
        self._journal.add(SessionFailed(reason))

    def _lose(self, reason: str, now: float) -> None:
        self._end(SessionEvent.LOSE, now)
        self._journal.trace(now, EventKind.LOST, detail=reason)
        self._journal.add(PathLost(reason))

    def _end(self, event: SessionEvent, now: float) -> None:
        self._move(event)
        self._datagrams.stop()
        self._streams.stop(self._streams.selected)
        self._path = None
        self._buffered.clear()
        self._consent = None
        self._wakeAt = None
