"""
Connectivity checks over TCP (RFC 6544 section 7.1), framed by RFC 4571.

Owns: checks on established connections, answering, and where the checks end and the stream begins.
Knows nothing of: UDP; how connections come to be, which is nominated, when a session ends.
Driven by: L{PunchSession}, which after every input looks at C{selected}.
"""

from __future__ import annotations

from holepunch.address import Transport
from holepunch.errors import MalformedMessage
from holepunch.punch.checklist import CheckList
from holepunch.punch.checks import ROLE_CONFLICT, Authenticator, ReceivedCheck
from holepunch.punch.config import SessionConfig
from holepunch.punch.effects import (
    EventKind,
    SendStream,
    StartStream,
)
from holepunch.punch.fate import Fate
from holepunch.punch.journal import Journal
from holepunch.punch.nomination import Contender
from holepunch.punch.priority import reflexivePriority
from holepunch.punch.role import Role
from holepunch.punch.roleconflicts import RoleConflicts
from holepunch.punch.streamconnection import (
    CHECKS_LIMIT,
    UNPROVEN_LIMIT,
    ConnectionEvent,
    ConnectionState,
    StreamConnection,
)
from holepunch.punch.streamconnections import StreamConnections
from holepunch.stun import AttributeType, MessageClass, ReceivedMessage, decode, frameRfc4571


class StreamChecks:
    """
    The checks on all TCP connections of one session.

    @ivar selected: The connection on which a nominating check was sent and answered.
    @ivar mayAccept: Controlled: may a nomination be accepted? Not when a pair over UDP already was.
    """

    def __init__(
        self,
        config: SessionConfig,
        role: Role,
        authenticator: Authenticator,
        checkList: CheckList,
        journal: Journal,
        connections: StreamConnections,
    ) -> None:
        self.selected: StreamConnection | None = None
        self.mayAccept = True
        self._config = config
        self._role = role
        self._authenticator = authenticator
        self._checkList = checkList
        self._journal = journal
        self._connections = connections
        self._conflicts = RoleConflicts(role, checkList, journal)

    # --- inputs -----------------------------------------------------------------------------

    def received(self, id: int, data: bytes, now: float) -> None:
        """
        Take bytes of a connection: checks, up to the one that ends them.
        """
        connection = self._connections.find(id)
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
                self._connections.reject(connection, Fate.STRANGER, now)
                break
            connection.receivedSize += len(frame)
            self._receiveMessage(connection, message, now)
            limit = CHECKS_LIMIT if connection.isProven else UNPROVEN_LIMIT
            if connection.receivedSize > limit and connection.isReadable:
                fate = Fate.REJECTED if connection.isProven else Fate.STRANGER
                self._connections.reject(connection, fate, now)

    def sendFirstChecks(self, now: float) -> None:
        """
        Check the connections that we opened, and on which nothing was sent yet.
        """
        for connection in self._connections.live:
            if (
                connection.isActive
                and connection.state is ConnectionState.OPEN
                and not connection.sent
                and not connection.isProven
            ):
                self._sendCheck(connection, now)

    # --- nomination -------------------------------------------------------------------------

    def contenders(self) -> list[Contender]:
        """
        The connections that can be nominated: those that we opened, proven or not, and those that
        we accepted and that are proven.
        """
        return [
            Contender(
                key=live,
                priority=live.pair.priority,
                remoteHost=live.remote.host,
                since=live.openAt,
                rtt=live.rtt or 0.0,
            )
            for live in self._connections.live
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
        self._connections.trace(now, EventKind.NOMINATED, connection)
        self._sendCheck(connection, now, isNominating=True)
        self._journal.add(StartStream(connection.id))

    @property
    def hasNominated(self) -> bool:
        """
        Is there a nomination that the other side may have accepted?
        """
        return any(live.state is ConnectionState.NOMINATED for live in self._connections.live)

    def patienceEndsAt(self, now: float) -> float | None:
        """
        Until when to wait for the answer to a nomination; C{None} where nothing is waited for.
        """
        ends = [
            live.sentAt + live.nominationPatience
            for live in self._connections.live
            if live.state is ConnectionState.NOMINATED
        ]
        return max((end for end in ends if end > now), default=None)

    # --- checks -----------------------------------------------------------------------------

    def _sendCheck(
        self, connection: StreamConnection, now: float, isNominating: bool = False
    ) -> None:
        assert connection.pair is not None
        built = self._authenticator.build(connection.pair.local, isNominating)
        connection.sent.append(built)
        connection.sentAt = now
        self._journal.add(SendStream(connection.id, frameRfc4571(built.data)))
        self._connections.trace(
            now, EventKind.CHECK_SENT, connection, "nominating" if isNominating else ""
        )

    def _receiveMessage(
        self, connection: StreamConnection, message: ReceivedMessage, now: float
    ) -> None:
        if message.messageClass is MessageClass.REQUEST:
            check = self._authenticator.readRequest(message)
            if check is None:
                self._connections.reject(connection, Fate.STRANGER, now)
            else:
                self._receiveCheck(connection, check, now)
        elif message.messageClass is not MessageClass.INDICATION:
            self._receiveResponse(connection, message, now)

    def _receiveCheck(self, connection: StreamConnection, check: ReceivedCheck, now: float) -> None:
        self._connections.trace(
            now, EventKind.CHECK_RECEIVED, connection, "nominating" if check.isNominating else ""
        )
        if check.message.unknownRequired:
            self._answer(connection, self._authenticator.buildUnknownAttributes(check))
            return
        if not self._conflicts.admits(check, now):
            self._answer(connection, self._authenticator.buildRoleConflict(check))
            # Behind a nominating check comes a stream that nobody wants now.
            connection.isMuted = check.isNominating
            return
        if connection.state is ConnectionState.NOMINATED:
            # Our own nominating check is on its way, and says all; unless we may not nominate any
            # more.
            if not self._role.isControlling:
                self._connections.reject(connection, Fate.REJECTED, now)
            return
        if check.isNominating and not self._role.isControlling and not self.mayAccept:
            connection.isMuted = True
            return
        if not self._prove(connection, check.priority, None, now):
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
            self._connections.reject(connection, Fate.STRANGER, now)
            return
        connection.sent.remove(built)
        if message.error is not None and message.error.code == ROLE_CONFLICT:
            self._conflicts.refused(built, now)
            if not built.isNominating:
                # Behind a nominating check nothing may follow but the stream.
                if connection.state is ConnectionState.OPEN:
                    self._sendCheck(connection, now)
                return
        mapped = message.get(AttributeType.XOR_MAPPED_ADDRESS)
        if message.messageClass is MessageClass.ERROR or mapped is None:
            self._connections.reject(connection, Fate.REJECTED, now)
            return
        self._connections.trace(now, EventKind.CHECK_ANSWERED, connection, f"mapped to {mapped}")
        if not self._prove(connection, 0, now - connection.sentAt, now):
            return
        pair = connection.pair
        if pair is not None:
            priority = reflexivePriority(pair.local, self._config.preferredTransport)
            self._checkList.learnMapped(pair, mapped, priority)
        if built.isNominating:
            self._select(connection)

    def _prove(
        self, connection: StreamConnection, priority: int, rtt: float | None, now: float
    ) -> bool:
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
                self._connections.close(connection)
                return False
            connection.pair = pair
        connection.isProven = True
        connection.deadline = None
        if rtt is not None and connection.rtt is None:
            connection.rtt = rtt
        pair.succeed(connection.rtt, now)
        return True

    def _answer(self, connection: StreamConnection, data: bytes) -> None:
        self._journal.add(SendStream(connection.id, frameRfc4571(data)))

    def _select(self, connection: StreamConnection) -> None:
        connection.move(ConnectionEvent.SELECT)
        connection.deadline = None
        self.selected = connection
