"""
One session: one attempt of two peers to reach each other (RFC 8445 over UDP, RFC 6544 over TCP).

Owns: the state of the session as a whole and its transition table, the choice of what is nominated,
the end.
Knows nothing of: sockets, clocks, and how the two sides exchange candidates.
Driven by: the peer's driver, with one rhythm: an input, then L{PunchSession.takeEffects}, then one
timer at L{PunchSession.nextTimeout}.
"""

from __future__ import annotations

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
    OpenWaitingPort,
    Path,
    PathLost,
    PathSelected,
    SessionFailed,
    StreamData,
)
from holepunch.punch.election import Election
from holepunch.punch.fate import ConnectFailure, Fate
from holepunch.punch.journal import Journal
from holepunch.punch.pair import CandidatePair
from holepunch.punch.role import Role
from holepunch.punch.sessionstate import SESSION_TRANSITIONS, SessionEvent, SessionState
from holepunch.punch.streamchecks import StreamChecks
from holepunch.punch.streamconnection import StreamConnection
from holepunch.punch.streamconnections import StreamConnections
from holepunch.punch.waitingport import WaitingPort
from holepunch.stun import looksLikeStun

_BUFFERED_DATAGRAMS = 16


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
        self._connections = StreamConnections(
            config, self._authenticator, self._checkList, self._journal
        )
        self._streams = StreamChecks(*parts, self._connections)
        self._election = Election(
            config.nomination, self._role, self._checkList, self._datagrams, self._streams
        )
        self._state = SessionState.GATHERING
        self._deadline = now + config.timeout
        self._waitingPort = WaitingPort(config.waitingPortDelay, now)
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
        if self._state.isOver or known == credentials:
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

    def mappedAddressSeen(
        self,
        transport: Transport,
        base: TransportAddress,
        mapped: TransportAddress,
        now: float,
    ) -> None:
        """
        An assist listener saw C{base} at C{mapped}; the other side hears of it from the service.
        """
        self._waitingPort.mapped(transport, base, mapped, now)
        self._turn(now)

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
        The other side said ready.
        """
        if self._state.isSearching:
            self._journal.trace(now, EventKind.READY_RECEIVED, Transport.TCP)
            self._connections.remoteReady(now)
            self._turn(now)

    # --- inputs: the network ----------------------------------------------------------------

    def receiveDatagram(
        self, local: TransportAddress, remote: TransportAddress, data: bytes, now: float
    ) -> None:
        """
        A datagram came from C{remote} to the UDP socket bound to C{local}.
        """
        if self._state.isOver or (self._path is not None and self._path.connection is not None):
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
        self._connections.made(connection, local, now)
        self._turn(now)

    def connectFailed(self, connection: int, reason: ConnectFailure, now: float) -> None:
        """
        The connect that L{OpenConnection} asked for failed.
        """
        self._connections.failed(connection, reason, now)
        self._turn(now)

    def connectionAccepted(
        self, local: TransportAddress, remote: TransportAddress, now: float
    ) -> int:
        """
        A connection came to a punching port, and its first bytes name this session.

        @return: The number of the connection. It may be among the effects as to be closed already.
        """
        connection = self._connections.accepted(local, remote, now)
        self._turn(now)
        return connection

    def receiveStream(self, connection: int, data: bytes, now: float) -> None:
        """
        Bytes came on a connection that is not handed over yet.
        """
        selected = self._streams.selected
        if selected is not None and selected.id == connection:
            if not self._state.isOver:
                self._journal.add(StreamData(connection, data))
            return
        self._streams.received(connection, data, now)
        self._turn(now)

    def connectionLost(self, connection: int, now: float) -> None:
        """
        A connection that is not handed over yet was closed by the other side, or broke.
        """
        self._connections.lost(connection, now)
        self._turn(now)

    # --- inputs: time and the end -----------------------------------------------------------

    def handleTimeout(self, now: float) -> None:
        """
        The moment that L{nextTimeout} named has come.
        """
        self._turn(now)

    def probe(self, now: float) -> None:
        """
        Measure the round trip on the selected path over UDP: L{ProbeAnswered} tells, or nothing.

        @raise LocalProtocolError: There is no such path.
        """
        if self._pair is None or self._path is None or self._path.connection is not None:
            raise LocalProtocolError("only a selected path over UDP can be probed")
        self._datagrams.probe(self._pair, now)

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}; C{None} for never. May be in the past: then at once.
        """
        if self._state.isOver:
            return None
        times = [self._datagrams.nextTimeout(), self._connections.nextTimeout()]
        if self._consent is not None:
            times.append(self._consent.nextTimeout())
        elif self._state.isSearching:
            times += [self._deadline, self._election.wakeAt, self._waitingPort.nextTimeout()]
        return min((at for at in times if at is not None), default=None)

    def close(self, reason: str, now: float) -> None:
        """
        End the session, whatever its state. A connection that was handed over stays open.

        @param reason: A few words, for the trace.
        """
        if not self._state.isOver:
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

    def _move(self, event: SessionEvent) -> None:
        state = SESSION_TRANSITIONS.get((self._state, event))
        if state is None:
            raise LocalProtocolError(f"a session that is {self._state.value}: {event.value}")
        self._state = state

    def _addCandidate(self, candidate: Candidate, isLocal: bool, now: float) -> None:
        if not self._state.isSearching:
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
        if self._state.isOver:
            return
        self._datagrams.advance(now)
        self._connections.advance(now)
        if self._path is not None:
            self._watch(now)
            return
        accepted = self._election.accepted()
        if accepted is None and self._role.isControlling and self._authenticator.remote is not None:
            accepted = self._election.nominate(now)
        if isinstance(accepted, StreamConnection):
            self._selectConnection(accepted, now)
        elif accepted is not None:
            self._selectPair(accepted, now)
        else:
            self._streams.sendFirstChecks(now)
            self._failIfOver(now)
            if self._state.isSearching:
                self._useOtherPort(now)

    def _useOtherPort(self, now: float) -> None:
        if self._waitingPort.opens(now):
            self._journal.add(OpenWaitingPort())
        if self._waitingPort.calls(now):
            for pair in self._checkList.endWaiting():
                self._journal.tracePair(now, EventKind.PAIR_FORMED, pair)

    def _selectPair(self, pair: CandidatePair, now: float) -> None:
        self._datagrams.stopSearching(pair)
        self._connections.stop()
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
        self._connections.stop(connection)
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
        if self._connections.isSelectedLost:
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
        elif (successor := self._datagrams.successor(now)) is not None:
            self._selectPair(successor, now)
        elif consent.isCheckDue(now):
            self._datagrams.askConsent(pair, now)

    def _failIfOver(self, now: float) -> None:
        # Pairs over UDP are tried again until the end.
        isOver = (
            self._isLocalComplete
            and self._isRemoteComplete
            and not self._checkList.ofTransport(Transport.UDP)
            and self._connections.isHopeless()
        )
        if now < self._deadline and not isOver:
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
        self._connections.stop(self._streams.selected)
        self._path = None
        self._buffered.clear()
        self._consent = None
