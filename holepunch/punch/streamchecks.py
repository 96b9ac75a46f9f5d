"""
Connectivity checks over TCP (RFC 6544 sections 6 and 7), and the connections that carry them.

Owns: opening, retrying and closing connections; checks on them, framed by RFC 4571; answering.
Knows nothing of: UDP; which connection is to be nominated; when a session ends.
Driven by: L{PunchSession}, which after every input looks at C{selected}.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress
from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.punch.checklist import CheckList
from holepunch.punch.checks import ROLE_CONFLICT, Authenticator, ReceivedCheck
from holepunch.punch.config import SessionConfig
from holepunch.punch.effects import (
    CloseConnection,
    EventKind,
    OpenConnection,
    SayReady,
    SendStream,
    StartStream,
)
from holepunch.punch.fate import CONNECT_FATES, ConnectFailure, Fate
from holepunch.punch.journal import Journal
from holepunch.punch.nomination import Contender
from holepunch.punch.pacing import Pacer
from holepunch.punch.pair import CandidatePair, PairState
from holepunch.punch.priority import reflexivePriority
from holepunch.punch.role import Role, RoleVerdict
from holepunch.punch.streamconnection import (
    UNPROVEN_LIMIT,
    ConnectionEvent,
    ConnectionState,
    StreamConnection,
)
from holepunch.punch.tcpflow import flowOf
from holepunch.stun import AttributeType, MessageClass, ReceivedMessage, decode, frameRfc4571


class StreamChecks:
    """
    All TCP connections of one session.

    @ivar selected: The connection on which a nominating check was sent and answered.
    @ivar isSelectedLost: It broke afterwards, while the driver still reported to us.
    @ivar mayAccept: Controlled: may a nomination be accepted? Not when a pair over UDP already was.
    """

    def __init__(
        self,
        config: SessionConfig,
        role: Role,
        authenticator: Authenticator,
        checkList: CheckList,
        journal: Journal,
    ) -> None:
        self.selected: StreamConnection | None = None
        self.isSelectedLost = False
        self.mayAccept = True
        self._config = config
        self._role = role
        self._authenticator = authenticator
        self._checkList = checkList
        self._journal = journal
        self._flow = flowOf(config)
        self._pacer = Pacer(config.checkPacing, config.checkBurst)
        self._live: dict[int, StreamConnection] = {}
        self._lastId = 0
        self._isReadyDue = False
        self._isSearching = True

    # --- inputs -----------------------------------------------------------------------------

    def made(self, id: int, local: TransportAddress, now: float) -> None:
        """
        A connect succeeded.
        """
        connection = self._find(id)
        if connection is None:
            return
        connection.move(ConnectionEvent.CONNECT)
        connection.rtt = now - connection.since
        connection.deadline = now + self._config.proofTimeout
        self._trace(now, EventKind.CONNECTED, connection)

    def failed(self, id: int, failure: ConnectFailure, now: float) -> None:
        """
        A connect failed.
        """
        connection = self._find(id)
        if connection is not None:
            self._trace(now, EventKind.CONNECT_FAILED, connection, failure.value)
            self._forget(connection, CONNECT_FATES[failure], now)

    def accepted(self, local: TransportAddress, remote: TransportAddress, now: float) -> int:
        """
        A connection was accepted.

        @return: Its number. It may be closed already, among the effects.
        """
        pair = self._checkList.find(Transport.TCP, local, remote)
        for other in list(self._live.values()):
            if other.state is ConnectionState.CONNECTING and other.pair is pair is not None:
                # The two ends of one 4-tuple: the attempt cannot succeed any more.
                self._close(other)
        connection = self._new(local, remote, False, now, self._config.proofTimeout)
        connection.pair = pair
        connection.move(ConnectionEvent.CONNECT)
        self._trace(now, EventKind.ACCEPTED, connection)
        unproven = sum(not other.isActive and not other.isProven for other in self._live.values())
        if not self._isSearching or unproven > self._config.maximalUnproven:
            self._close(connection)
        return connection.id

    def received(self, id: int, data: bytes, now: float) -> None:
        """
        Take bytes of a connection: checks, up to the one that ends them.
        """
        connection = self._find(id)
        if connection is None or connection.isMuted:
            return
        connection.framer.append(data)
        while connection.isReadable:
            try:
                frame = connection.framer.next()
                if frame is None:
                    break
                message = decode(frame)
            except MalformedMessage:
                self._reject(connection, now)
                break
            connection.receivedSize += len(frame)
            self._receiveMessage(connection, message, now)
            if not connection.isProven and connection.receivedSize > UNPROVEN_LIMIT:
                self._reject(connection, now)

    def lost(self, id: int, now: float) -> None:
        """
        A connection was closed by the other side, or broke.
        """
        connection = self._find(id)
        if connection is None:
            return
        if connection is self.selected:
            self.isSelectedLost = True
        self._trace(now, EventKind.CONNECTION_CLOSED, connection, "by the other side")
        self._forget(connection, Fate.CLOSED_EARLY, now)

    def remoteReady(self, now: float) -> None:
        """
        Sequential flow: the other side's hole is open.
        """
        self._flow.remoteReady()
        for pair in self._checkList.ofTransport(Transport.TCP):
            if pair.retryAt is not None:
                pair.retryAt = now

    def advance(self, now: float) -> None:
        """
        Do what is due: give up connections, open others, say ready.
        """
        for connection in list(self._live.values()):
            if connection.deadline is not None and connection.deadline <= now:
                self._giveUp(connection, now)
        if not self._isSearching or self._authenticator.remote is None:
            return
        for pair in self._checkList.ofTransport(Transport.TCP):
            if pair.retryAt is not None and pair.retryAt <= now:
                pair.repeat()
        while self._pacer.readyAt() <= now and (due := self._nextDue()) is not None:
            self._pacer.take(now)
            self._open(due, now)
        if self._isReadyDue and self._nextDue() is None and not self._isConnecting():
            self._isReadyDue = False
            self._journal.add(SayReady())
            self._journal.trace(now, EventKind.READY_SENT, Transport.TCP)

    def sendFirstChecks(self, now: float) -> None:
        """
        Check the connections that we opened, and on which nothing was sent yet.
        """
        for connection in self._live.values():
            if (
                connection.isActive
                and connection.state is ConnectionState.OPEN
                and not connection.sent
                and not connection.isProven
            ):
                self._sendCheck(connection, now)

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

    # --- nomination -------------------------------------------------------------------------

    def contenders(self) -> list[Contender]:
        """
        The connections that can be nominated: those that we opened, proven or not, and those that
        we accepted and that are proven.
        """
        return [
            Contender(key=live, priority=live.pair.priority, rtt=live.rtt or 0.0)
            for live in self._live.values()
            if live.state is ConnectionState.OPEN
            and live.pair is not None
            and (live.isActive or live.isProven)
            and not live.isMuted
        ]

    def nominate(self, connection: StreamConnection, now: float) -> None:
        """
        Send a nominating check, and have the stream begin in the same flight.
        """
        connection.move(ConnectionEvent.NOMINATE)
        if connection.pair is not None:
            connection.pair.isNominated = True
        self._trace(now, EventKind.NOMINATED, connection)
        self._sendCheck(connection, now, isNominating=True)
        self._journal.add(StartStream(connection.id))

    @property
    def hasNominated(self) -> bool:
        """
        Is there a nomination that the other side may have accepted?
        """
        return any(live.state is ConnectionState.NOMINATED for live in self._live.values())

    def patienceEndsAt(self, now: float) -> float | None:
        """
        Until when to wait for the answer to a nomination; L{None} where nothing is waited for.
        """
        ends = [
            live.sentAt + live.nominationPatience
            for live in self._live.values()
            if live.state is ConnectionState.NOMINATED
        ]
        return max((end for end in ends if end > now), default=None)

    def isHopeless(self) -> bool:
        """
        Have all pairs failed for good, with no connection left?
        """
        if self._live or self._flow.isPatient:
            return False
        return all(
            pair.state is PairState.FAILED and pair.retryAt is None
            for pair in self._checkList.ofTransport(Transport.TCP)
        )

    def stop(self, keep: StreamConnection | None = None) -> None:
        """
        Close every connection but the one that goes on, and open no more.
        """
        self._isSearching = False
        for connection in list(self._live.values()):
            if connection is not keep:
                self._close(connection)
        if keep is not None:
            keep.deadline = None

    # --- connections ------------------------------------------------------------------------

    def _find(self, id: int) -> StreamConnection | None:
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
        for pair in self._checkList.ofTransport(Transport.TCP):
            if pair.state is PairState.WAITING and pair.mayConnect and id(pair) not in busy:
                return pair
        return None

    def _isConnecting(self) -> bool:
        return any(live.state is ConnectionState.CONNECTING for live in self._live.values())

    def _open(self, pair: CandidatePair, now: float) -> None:
        pair.start(now)
        connection = self._new(pair.base, pair.remote.address, True, now, self._flow.attemptTime)
        connection.pair = pair
        self._isReadyDue = self._flow.saysReady
        self._journal.add(OpenConnection(connection.id, connection.local, connection.remote))
        self._trace(now, EventKind.CONNECT_STARTED, connection)

    def _close(self, connection: StreamConnection) -> None:
        connection.move(ConnectionEvent.CLOSE)
        del self._live[connection.id]
        self._journal.add(CloseConnection(connection.id))

    def _forget(self, connection: StreamConnection, fate: Fate, now: float) -> None:
        """
        The connection is gone, or goes now: so much for its pair's try.
        """
        connection.move(ConnectionEvent.CLOSE)
        del self._live[connection.id]
        pair = connection.pair
        if pair is None or any(other.pair is pair for other in self._live.values()):
            return
        if pair.state in (PairState.IN_PROGRESS, PairState.SUCCEEDED):
            pair.fail(fate, self._flow.retryAt(pair, fate, now) if pair.mayConnect else None)

    def _giveUp(self, connection: StreamConnection, now: float) -> None:
        isConnecting = connection.state is ConnectionState.CONNECTING
        fate = Fate.CONNECT_TIMED_OUT if isConnecting else Fate.UNPROVEN
        if not isConnecting and connection.isProven and not connection.isMuted:
            connection.deadline = None
            return
        self._trace(now, EventKind.CONNECT_FAILED, connection, fate.value)
        self._journal.add(CloseConnection(connection.id))
        self._forget(connection, fate, now)

    def _reject(self, connection: StreamConnection, now: float) -> None:
        """
        Whoever is there does not know the credential.
        """
        if connection.state is ConnectionState.CLOSED:
            return
        self._trace(now, EventKind.CHECK_FAILED, connection, Fate.STRANGER.value)
        self._journal.add(CloseConnection(connection.id))
        self._forget(connection, Fate.STRANGER, now)

    def _trace(
        self, now: float, kind: EventKind, connection: StreamConnection, detail: str = ""
    ) -> None:
        self._journal.trace(
            now, kind, Transport.TCP, connection.local, connection.remote, connection.id, detail
        )

    # --- checks -----------------------------------------------------------------------------

    def _sendCheck(
        self, connection: StreamConnection, now: float, isNominating: bool = False
    ) -> None:
        assert connection.pair is not None
        built = self._authenticator.build(connection.pair.local, isNominating)
        connection.sent.append(built)
        connection.sentAt = now
        self._journal.add(SendStream(connection.id, frameRfc4571(built.data)))
        self._trace(now, EventKind.CHECK_SENT, connection, "nominating" if isNominating else "")

    def _receiveMessage(
        self, connection: StreamConnection, message: ReceivedMessage, now: float
    ) -> None:
        if message.messageClass is MessageClass.REQUEST:
            check = self._authenticator.readRequest(message)
            if check is None:
                self._reject(connection, now)
            else:
                self._receiveCheck(connection, check, now)
        elif message.messageClass is not MessageClass.INDICATION:
            self._receiveResponse(connection, message, now)

    def _receiveCheck(self, connection: StreamConnection, check: ReceivedCheck, now: float) -> None:
        self._trace(
            now, EventKind.CHECK_RECEIVED, connection, "nominating" if check.isNominating else ""
        )
        if check.message.unknownRequired:
            self._answer(connection, self._authenticator.buildUnknownAttributes(check))
            return
        if check.remoteTieBreaker is not None:
            verdict = self._role.judge(check.isFromControlling, check.remoteTieBreaker)
            if verdict is RoleVerdict.REFUSED:
                self._answer(connection, self._authenticator.buildRoleConflict(check))
                # Behind a nominating check comes a stream that nobody wants now.
                connection.isMuted = check.isNominating
                return
            if verdict is RoleVerdict.SWITCHED:
                self._roleSwitched(now)
        if connection.state is not ConnectionState.OPEN:
            # Our own nominating check is on its way, and says all.
            return
        if check.isNominating and not self._role.isControlling and not self.mayAccept:
            connection.isMuted = True
            return
        if not self._prove(connection, check.priority, None):
            return
        self._answer(connection, self._authenticator.buildSuccess(check, connection.remote))
        if check.isNominating and not self._role.isControlling:
            self._select(connection)

    def _receiveResponse(
        self, connection: StreamConnection, message: ReceivedMessage, now: float
    ) -> None:
        for built in connection.sent:
            if built.transactionId == message.transactionId:
                break
        else:
            return
        if not self._authenticator.isAuthenticResponse(message):
            self._reject(connection, now)
            return
        connection.sent.remove(built)
        error = message.error
        if error is not None and error.code == ROLE_CONFLICT and not built.isNominating:
            if self._role.refused(built.wasControlling):
                self._roleSwitched(now)
            self._sendCheck(connection, now)
            return
        mapped = message.get(AttributeType.XOR_MAPPED_ADDRESS)
        if message.messageClass is MessageClass.ERROR or mapped is None:
            if error is not None and error.code == ROLE_CONFLICT:
                self._role.refused(built.wasControlling)
                self._roleSwitched(now)
            self._trace(now, EventKind.CHECK_FAILED, connection, Fate.REJECTED.value)
            self._journal.add(CloseConnection(connection.id))
            self._forget(connection, Fate.REJECTED, now)
            return
        self._trace(now, EventKind.CHECK_ANSWERED, connection, f"mapped to {mapped}")
        if not self._prove(connection, 0, now - connection.sentAt):
            return
        pair = connection.pair
        if pair is not None:
            priority = reflexivePriority(pair.local, self._config.preferredTransport)
            self._checkList.learnMapped(pair, mapped, priority)
        if built.isNominating:
            self._select(connection)

    def _prove(self, connection: StreamConnection, priority: int, rtt: float | None) -> bool:
        """
        The other side has shown the credential: the connection has a pair, and the pair is valid.
        """
        pair = connection.pair
        if pair is None:
            pair = self._checkList.find(
                Transport.TCP, connection.local, connection.remote
            ) or self._checkList.learnRemote(
                Transport.TCP, connection.local, connection.remote, priority
            )
            if pair is None:
                self._close(connection)
                return False
            connection.pair = pair
        connection.isProven = True
        if rtt is not None and connection.rtt is None:
            connection.rtt = rtt
        pair.succeed(connection.rtt)
        return True

    def _answer(self, connection: StreamConnection, data: bytes) -> None:
        self._journal.add(SendStream(connection.id, frameRfc4571(data)))

    def _select(self, connection: StreamConnection) -> None:
        connection.move(ConnectionEvent.SELECT)
        connection.deadline = None
        self.selected = connection

    def _roleSwitched(self, now: float) -> None:
        self._checkList.recompute()
        detail = "controlling" if self._role.isControlling else "controlled"
        self._journal.trace(now, EventKind.ROLE_SWITCHED, detail=detail)
