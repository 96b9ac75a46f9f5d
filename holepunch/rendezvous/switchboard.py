"""
The switchboard: sessions between registered peers, and what is passed from one side to the other.

Owns: sessions from request to end, tickets, and what the service's own observations are used for.
Knows nothing of: connections but their numbers; Twisted; clocks and randomness, which go in.
Driven by: the L{Exchange<holepunch.rendezvous.exchange.Exchange>}, which carries out the effects.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import SessionRefused, TooManyRequests, UnknownSession
from holepunch.punch.candidate import Candidate, CandidateType
from holepunch.punch.config import TCPFlow
from holepunch.punch.credentials import Credentials
from holepunch.rendezvous.introduction import (
    Answer,
    EndReason,
    Introduction,
    IntroductionPolicy,
    RelayPolicy,
    SessionEnd,
    Ticket,
    Use,
)
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.registry import Observation, Registration
from holepunch.rendezvous.session import Session, Side
from holepunch.rendezvous.tickets import TicketBook, TicketHolder

# What one message of the main connection carries; the rest follows in others.
_CANDIDATES_AT_ONCE = 32


@attrs.frozen
class Introduce:
    """
    Answer the request of C{connection} for a session.
    """

    connection: int
    introduction: Introduction


@attrs.frozen
class OfferSession:
    """
    Offer C{connection} a session, and bring its answer to L{Switchboard.answer}.
    """

    connection: int
    introduction: Introduction


@attrs.frozen
class PassCandidates:
    """
    Tell C{connection} of further candidates of the other side.
    """

    connection: int
    sessionID: str
    candidates: tuple[Candidate, ...]


@attrs.frozen
class PassReady:
    """
    Tell C{connection} that the other side is ready.
    """

    connection: int
    sessionID: str


@attrs.frozen
class PassEnd:
    """
    Tell C{connection} that a session is over, perhaps before it was introduced.
    """

    connection: int
    sessionID: str
    end: SessionEnd


@attrs.frozen
class Observed:
    """
    A peer was seen at a mapped address, ahead of any session.
    """

    connection: int
    observation: Observation


Effect = Introduce | OfferSession | PassCandidates | PassReady | PassEnd | Observed


class Switchboard:
    """
    All sessions of a service.

    @param randomBytes: Such as C{os.urandom}.
    """

    def __init__(self, limits: Limits, randomBytes: Callable[[int], bytes]) -> None:
        self._limits = limits
        self._randomBytes = randomBytes
        self._tickets = TicketBook(randomBytes)
        self._registrationTickets: dict[int, Ticket] = {}
        # Every session lives equally long, so the first one is the first to expire.
        self._sessions: dict[str, Session] = {}
        self._ofConnection: dict[int, dict[str, Session]] = {}
        self._effects: list[Effect] = []
        self._relayHosts: frozenset[str] | None = None
        self._relayed: dict[int, TransportAddress] = {}
        self.refusedCandidates = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def takeEffects(self) -> list[Effect]:
        """
        Take what is to be done, in order.
        """
        effects, self._effects = self._effects, []
        return effects

    def nextTimeout(self) -> float | None:
        """
        When L{handleTimeout} is to be called.
        """
        for session in self._sessions.values():
            return session.expiresAt
        return None

    def handleTimeout(self, now: float) -> None:
        """
        End the sessions whose time is up.
        """
        expired = [each for each in self._sessions.values() if each.expiresAt <= now]
        for session in expired:
            self._end(session, SessionEnd(EndReason.EXPIRED))

    # --- connections ---

    def ticketFor(self, connection: int, now: float) -> Ticket:
        """
        The ticket of a registration, for as long as the main connection lasts.
        """
        ticket = self._registrationTickets.get(connection)
        if ticket is None:
            ticket = self._tickets.issue(TicketHolder(connection), now)
            self._registrationTickets[connection] = ticket
        return ticket

    def connectionLost(self, connection: int) -> None:
        """
        A main connection is gone: its sessions end, and its tickets are good no longer.
        """
        for session in list(self._ofConnection.get(connection, {}).values()):
            self._end(session, SessionEnd(EndReason.VANISHED), besides=connection)
        self._relayed.pop(connection, None)
        ticket = self._registrationTickets.pop(connection, None)
        if ticket is not None:
            self._tickets.revoke(ticket)

    # --- the relay ---

    def offerRelay(self, hosts: Iterable[str]) -> None:
        """
        There is a relay.

        @param hosts: Where relayed addresses are that only the peers know of.
        """
        self._relayHosts = frozenset(hosts)

    def relayed(self, connection: int, address: TransportAddress) -> None:
        """
        The relay has given the peer of a main connection an address.
        """
        self._relayed[connection] = address
        for session in self._ofConnection.get(connection, {}).values():
            side = session.sideOf(connection)
            before = len(side.candidates)
            session.relayed(side, address)
            self._passCandidates(session, side, side.candidates[before:])

    # --- sessions ---

    def request(
        self,
        requester: Registration,
        target: Registration,
        *,
        transports: Sequence[Transport],
        flow: TCPFlow,
        candidates: Sequence[Candidate],
        use: Use = Use.STREAMS,
        relay: RelayPolicy = RelayPolicy.NEVER,
        continues: str | None = None,
        application: str | None = None,
        now: float,
    ) -> str:
        """
        C{requester} asks to be introduced to C{target}.

        @param candidates: Those of the ports that the requester will use; none when these are the
            registered ones. Relayed ones do not count.
        @param continues: The session whose streams are to go on. Where the target accepts no
            sessions, it is told first, and the requester nothing before it has agreed.
        @return: The session's ID. L{Introduce}, or L{PassEnd} where it is not to be, follows.
        @raise TooManyRequests: The requester has too many sessions.
        @raise SessionRefused: The target has too many, or the two share no transport.
        """
        if not transports or len(set(transports)) != len(transports):
            raise SessionRefused("the request names no transport, or one twice")
        if self._count(requester.connection, True) >= self._limits.sessionsPerPeer:
            raise TooManyRequests("this peer has too many sessions under way")
        if self._count(target.connection, False) >= self._limits.offersPerPeer:
            raise SessionRefused("the peer has too many sessions under way")
        if self._relayHosts is None:
            if relay is RelayPolicy.ONLY:
                raise SessionRefused("this rendezvous service has no relay")
            relay = RelayPolicy.NEVER
        sessionID = base64.b32encode(self._randomBytes(10)).decode("ascii").lower()
        session = Session(
            sessionID=sessionID,
            requester=self._side(requester, sessionID, now),
            target=self._side(target, sessionID, now),
            transports=tuple(transports),
            flow=flow,
            expiresAt=now + self._limits.sessionLifetime,
            isAwaitingAnswer=target.policy is IntroductionPolicy.ASK or not target.accepts,
            use=use,
            relay=relay,
            relayHosts=self._relayHosts or frozenset(),
            continues=continues,
            application=application,
        )
        if session.isMovable:
            for side in session.sides:
                side.relayCredentials = Credentials.generate(self._randomBytes)
        self._sessions[sessionID] = session
        for side in session.sides:
            self._ofConnection.setdefault(side.connection, {})[sessionID] = session
        session.requester.hasOwnPorts = any(
            each.type is not CandidateType.RELAYED for each in candidates
        )
        for side in session.sides:
            if not side.hasOwnPorts:
                side.claim(side.registration.candidates, self._limits.candidatesPerSession)
        session.requester.claim(candidates, self._limits.candidatesPerSession)
        self._recall(session, now)
        if not session.isAwaitingAnswer:
            self._introduce(session, session.requester)
        self._introduce(session, session.target)
        return sessionID

    def answer(self, sessionID: str, connection: int, answer: Answer) -> None:
        """
        The peer that was asked for has answered the offer.
        """
        session = self._ofConnection.get(connection, {}).get(sessionID)
        if session is None:
            return
        if not answer.isAccepted:
            text = answer.text or "the peer refused the session"
            self._end(session, SessionEnd(EndReason.REFUSED, text), besides=connection)
            return
        self.addCandidates(sessionID, connection, answer.candidates)
        if session.isAwaitingAnswer:
            session.isAwaitingAnswer = False
            self._introduce(session, session.requester)
            if session.target.isReady:
                self._effects.append(PassReady(session.requester.connection, sessionID))

    def addCandidates(
        self, sessionID: str, connection: int, candidates: Iterable[Candidate]
    ) -> None:
        """
        A side has further candidates.

        @raise UnknownSession: It has no such session.
        """
        session = self._find(sessionID, connection)
        side = session.sideOf(connection)
        side.claim(candidates, self._limits.candidatesPerSession)
        self._passCandidates(session, side, session.release(side))

    def ready(self, sessionID: str, connection: int) -> None:
        """
        A side is ready.

        @raise UnknownSession: It has no such session.
        """
        session = self._find(sessionID, connection)
        side = session.sideOf(connection)
        side.isReady = True
        other = session.other(side)
        if other.isIntroduced:
            self._effects.append(PassReady(other.connection, sessionID))

    def endSession(self, sessionID: str, connection: int, end: SessionEnd) -> None:
        """
        A side ends a session, if it has not ended already.
        """
        session = self._ofConnection.get(connection, {}).get(sessionID)
        if session is not None:
            self._end(session, end, besides=connection)

    # --- observations ---

    def keyFor(self, username: str, now: float) -> bytes | None:
        """
        The key for an assist request's MESSAGE-INTEGRITY, if its ticket is good.
        """
        return self._tickets.keyFor(username, now)

    def observe(
        self, username: str, transport: Transport, address: TransportAddress, now: float
    ) -> None:
        """
        An assist request with a good ticket came from C{address}.
        """
        holder = self._tickets.holderOf(username, now)
        if holder is None:
            return
        sessions = self._ofConnection.get(holder.connection, {})
        if holder.sessionID is None:
            observation = Observation(transport, address, now)
            self._effects.append(Observed(holder.connection, observation))
            concerned = [
                session
                for session in sessions.values()
                if not session.sideOf(holder.connection).hasOwnPorts
            ]
        else:
            concerned = [sessions[holder.sessionID]]
        for session in concerned:
            self._observe(session, session.sideOf(holder.connection), transport, address)

    # --- inside ---

    def _side(self, registration: Registration, sessionID: str, now: float) -> Side:
        holder = TicketHolder(registration.connection, sessionID)
        return Side(
            registration=registration,
            credentials=Credentials.generate(self._randomBytes),
            ticket=self._tickets.issue(holder, now, self._limits.sessionLifetime),
        )

    def _recall(self, session: Session, now: float) -> None:
        """
        Use what was observed of the two peers before the session.
        """
        oldest = now - self._limits.observationLifetime
        for side in session.sides:
            side.saw(side.registration.observed)
            for observation in side.registration.observations:
                if observation.at >= oldest:
                    side.saw(observation.address)
        for side in session.sides:
            registration = side.registration
            # The peer's own candidates first: one that equals its mapped address is a host one.
            session.release(side)
            if side.connection in self._relayed:
                session.relayed(side, self._relayed[side.connection])
            if side.hasOwnPorts:
                continue
            if registration.isMainPunchable:
                session.observe(side, Transport.TCP, registration.observed)
            for observation in registration.observations:
                if observation.at >= oldest:
                    session.observe(side, observation.transport, observation.address)

    def _observe(
        self, session: Session, side: Side, transport: Transport, address: TransportAddress
    ) -> None:
        before = len(side.candidates)
        session.observe(side, transport, address)
        session.release(side)
        self._passCandidates(session, side, side.candidates[before:])
        # The other side's loopback addresses may mean something by now.
        other = session.other(side)
        self._passCandidates(session, other, session.release(other))

    def _introduce(self, session: Session, side: Side) -> None:
        other = session.other(side)
        candidates = other.candidates
        introduction = session.introductionFor(side, candidates[:_CANDIDATES_AT_ONCE])
        side.isIntroduced = True
        kind = Introduce if side is session.requester else OfferSession
        self._effects.append(kind(side.connection, introduction))
        self._passCandidates(session, other, candidates[_CANDIDATES_AT_ONCE:])

    def _passCandidates(
        self, session: Session, side: Side, candidates: Sequence[Candidate]
    ) -> None:
        other = session.other(side)
        if other.isIntroduced:
            for start in range(0, len(candidates), _CANDIDATES_AT_ONCE):
                few = tuple(candidates[start : start + _CANDIDATES_AT_ONCE])
                self._effects.append(PassCandidates(other.connection, session.sessionID, few))

    def _end(self, session: Session, end: SessionEnd, besides: int | None = None) -> None:
        """
        @param besides: The connection that need not be told.
        """
        del self._sessions[session.sessionID]
        for side in session.sides:
            self._tickets.revoke(side.ticket)
            self.refusedCandidates += side.refused
            sessions = self._ofConnection[side.connection]
            del sessions[session.sessionID]
            if not sessions:
                del self._ofConnection[side.connection]
            if side.connection != besides:
                self._effects.append(PassEnd(side.connection, session.sessionID, end))

    def _find(self, sessionID: str, connection: int) -> Session:
        session = self._ofConnection.get(connection, {}).get(sessionID)
        if session is None:
            raise UnknownSession
        return session

    def _count(self, connection: int, asRequester: bool) -> int:
        sessions = self._ofConnection.get(connection, {}).values()
        return sum((each.requester.connection == connection) is asRequester for each in sessions)
