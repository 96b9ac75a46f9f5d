"""
All sessions of one peer: asking for them, and answering when others ask.

Owns: the table of sessions; which local ports a session uses; who gets a path that others opened.
Knows nothing of: how a session is punched.
Driven by: L{holepunch.peer.peer.Peer} and, as L{IRendezvousEvents}, the main connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport
from holepunch.errors import (
    HolepunchError,
    PeerIdentityChanged,
    RendezvousError,
    SessionRefused,
    SessionTimedOut,
)
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IHostAddresses, IRendezvousEvents
from holepunch.peer.access import Access, Undecided
from holepunch.peer.config import PeerConfig, SessionOptions
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.driver import Outcome
from holepunch.peer.events import Introduced, PeerEvent, Refused, Requested
from holepunch.peer.gathering import hostCandidates
from holepunch.peer.hosts import hostsOf
from holepunch.peer.localports import LocalPorts
from holepunch.peer.ping import PING
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.registration import MainConnectionState, RegistrationKeeper
from holepunch.peer.request import SessionRequest
from holepunch.peer.securestream import SecureStream
from holepunch.peer.session import Session
from holepunch.punch import Candidate
from holepunch.rendezvous.introduction import Answer, EndReason, Introduction, SessionEnd

_ANSWER_TIMEOUT = 30.0
_PING_PATHS = 64

StreamAcceptor = Callable[[SecureStream], None]
_Outcome = TypeVar("_Outcome", SecureStream, DatagramPath)
DatagramAcceptor = Callable[[DatagramPath], None]


@implementer(IRendezvousEvents)
class Sessions:
    """
    The sessions of one peer.

    @ivar access: Who may connect.
    @ivar streamAcceptors: Who takes streams that others open, by application (ALPN); the stream is
        aborted when there is none.
    @ivar datagramAcceptor: Who takes datagram paths that others open.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        config: PeerConfig,
        hosts: IHostAddresses,
        demultiplexer: Demultiplexer,
        observe: Callable[[PeerEvent], None],
        access: Access | None = None,
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._config = config
        self._hosts = hosts
        self._demultiplexer = demultiplexer
        self._observe = observe
        self.access = access if access is not None else Access()
        self._undecided: dict[str, Undecided] = {}
        self._sessions: dict[str, Session] = {}
        self._isWarmRequested = False
        self._requests: list[SessionRequest] = []
        self.streamAcceptors: dict[bytes, StreamAcceptor] = {}
        self.datagramAcceptor: DatagramAcceptor | None = None
        self.keeper: RegistrationKeeper

    # --- asking ---------------------------------------------------------------------------------

    def request(
        self, target: str, options: SessionOptions, application: bytes
    ) -> Deferred[Session]:
        """
        Reach a peer.

        @param target: Its name or peer ID.
        @param application: What a stream is to be used for (ALPN).
        @return: Fires with a session whose path is there. Cancelling it lets go of everything.
        """
        startedAt = self._reactor.seconds()

        def tooLate(result: object, seconds: float) -> Session:
            raise SessionTimedOut(
                f"there was no introduction to {target} within {seconds:g} seconds: can the"
                " rendezvous service be reached?"
            )

        request = SessionRequest()
        self._requests.append(request)
        introduced = Deferred.fromCoroutine(
            self._introduce(request, target, options, application, startedAt)
        )
        introduced.addTimeout(options.timeout, self._reactor, tooLate)
        introduced.addBoth(self._requestEnded, request)
        request.follow(introduced.addCallback(self._start, target))
        return request.outcome

    def _requestEnded(
        self, result: Session | Failure, request: SessionRequest
    ) -> Session | Failure:
        self._requests.remove(request)
        return result

    async def _introduce(
        self,
        request: SessionRequest,
        target: str,
        options: SessionOptions,
        application: bytes,
        startedAt: float,
    ) -> Session:
        main = await self.keeper.whenRegistered()
        self._observe(Requested(at=self._reactor.seconds(), target=target))
        request.mustBeWanted()
        expected = self.access.expected(target)
        ports, candidates = self._portsFor(main, target, options.transports)
        # Until the introduction we do not know whom a name stands for.
        self._isWarmRequested = self._isWarmRequested or ports is main.ports
        try:
            try:
                introduction = await main.client.requestSession(
                    target,
                    transports=sorted(options.transports, key=lambda each: each is Transport.UDP),
                    flow=options.tcpFlow,
                    candidates=candidates,
                    expected=None if PeerID.looksLike(target) else expected,
                    application=application.decode("ascii"),
                )
            except PeerIdentityChanged as error:
                raise self.access.changed(target, str(error)) from None
            try:
                self.access.mustBeMeant(target, expected, introduction.remote)
            except HolepunchError:
                end = SessionEnd(EndReason.CANCELLED, "the service introduced another peer")
                main.client.endSession(introduction.sessionID, end).addErrback(lambda failure: None)
                raise
            if not set(introduction.transports) <= options.transports:
                raise RendezvousError("the rendezvous service chose a transport not asked for")
            return self._begin(
                introduction,
                main,
                ports,
                applications=(application,),
                startedAt=startedAt,
                # A clock may jump, or this come later than the time-out that is due.
                timeout=max(0.001, options.timeout - (self._reactor.seconds() - startedAt)),
            )
        finally:
            if ports is main.ports:
                self._isWarmRequested = False
            ports.release()

    def _start(self, session: Session, target: str) -> Deferred[Session]:
        session.start()
        return session.path.addCallback(self._reached, session, target)

    def _reached(self, outcome: Outcome, session: Session, target: str) -> Session:
        # A path for bare datagrams proves no key: only the service says who is there.
        if not isinstance(outcome, DatagramPath):
            try:
                self.access.proven(target, session.introduction.remote)
            except HolepunchError as error:
                session.end(error)
                raise
        return session

    def _portsFor(
        self, main: MainConnectionState, target: str, transports: frozenset[Transport]
    ) -> tuple[LocalPorts, tuple[Candidate, ...]]:
        """
        Choose local ports, and the candidates to announce with the request.

        The warm ports save a round trip, since the service knows their mapped addresses. But two
        connections cannot have the same four addresses, so they serve one session with a remote
        peer at a time; and where others may ask for us, they are kept for those.
        """
        isWarmFree = not (
            self.isAccepting
            or self._isWarmRequested
            or any(
                session.ports is main.ports
                and target in (session.introduction.remote.text, session.introduction.remoteName)
                for session in self._sessions.values()
            )
        )
        if isWarmFree:
            return main.ports.retain(), ()
        hosts = hostsOf(self._hosts, withLoopback=main.registered.observed.isLoopback)
        ports = LocalPorts.open(self._reactor, hosts, self._demultiplexer).retain()
        return ports, hostCandidates(ports, transports)

    # --- being asked ----------------------------------------------------------------------------

    @property
    def isAccepting(self) -> bool:
        """
        May others ask for us?
        """
        return bool(self.streamAcceptors) or self.datagramAcceptor is not None

    def sessionOffered(self, introduction: Introduction) -> Deferred[Answer]:
        """
        Another peer asks for us: punch, if it is let in and not too many sessions are under way.

        Nothing of ours is told to it before that is decided.
        """
        return Deferred.fromCoroutine(self._decide(introduction))

    async def _decide(self, introduction: Introduction) -> Answer:
        self._mustHaveRoom()
        sessionID = introduction.sessionID
        if sessionID in self._undecided:
            raise RendezvousError("the rendezvous service introduced two sessions as one")
        undecided = self._undecided[sessionID] = Undecided()
        try:
            await self.access.admit(
                introduction.remote, introduction.remoteName, introduction.application
            )
        except SessionRefused as error:
            self._observe(
                Refused(
                    at=self._reactor.seconds(),
                    remotePeer=introduction.remote,
                    remoteName=introduction.remoteName,
                    reason=str(error),
                )
            )
            raise
        finally:
            del self._undecided[sessionID]
        # To decide may have taken its time.
        main = self._mustHaveRoom()
        undecided.mustBeWanted()
        answer = self._accept(introduction, main)
        self.candidatesReceived(sessionID, undecided.candidates)
        return answer

    def _mustHaveRoom(self) -> MainConnectionState:
        main = self.keeper.state
        if main is None or not self.isAccepting:
            raise SessionRefused("the peer accepts no connections")
        underWay = sum(session.isUnderWay for session in self._sessions.values())
        if underWay + len(self._undecided) >= self._config.sessionLimit:
            raise SessionRefused("the peer has too many sessions under way")
        return main

    def _applicationsFor(self, introduction: Introduction) -> tuple[bytes, ...]:
        """
        What the other peer may use a stream for: what it said, if it did, since that was decided
        on.
        """
        wanted = introduction.application
        return tuple(
            each for each in self.streamAcceptors if wanted in (None, each.decode("ascii"))
        )

    def _accept(self, introduction: Introduction, main: MainConnectionState) -> Answer:
        session = self._begin(
            introduction,
            main,
            main.ports,
            applications=self._applicationsFor(introduction),
            startedAt=self._reactor.seconds(),
            timeout=_ANSWER_TIMEOUT,
        )
        session.path.addCallbacks(self._accepted, self._notAccepted, callbackArgs=(session,))
        session.start()
        return Answer(True)

    def _accepted(self, outcome: Outcome, session: Session) -> None:
        if (
            self.datagramAcceptor is None
            if isinstance(outcome, DatagramPath)
            else outcome.application == PING
        ):
            # The program knows nothing of it, so it cannot count these itself.
            session.isForPings = True
            if sum(each.isForPings for each in self._sessions.values()) > _PING_PATHS:
                session.end(SessionRefused("too many paths are open for pings alone"))
                return
        if isinstance(outcome, DatagramPath):
            if self.datagramAcceptor is not None:
                self._give(outcome, self.datagramAcceptor, outcome.close)
            return
        acceptor = self.streamAcceptors.get(outcome.application or b"")
        if acceptor is None:
            outcome.abortConnection()
        else:
            self._give(outcome, acceptor, outcome.abortConnection)

    def _give(
        self, outcome: _Outcome, acceptor: Callable[[_Outcome], None], close: Callable[[], None]
    ) -> None:
        try:
            acceptor(outcome)
        except Exception:
            self._log.failure("the program failed to take a path that another peer opened")
            close()

    def _notAccepted(self, failure: Failure) -> None:
        if not isinstance(failure.value, HolepunchError):
            self._log.failure("bug: a session failed in an unforeseen way", failure)

    def candidatesReceived(self, sessionID: str, candidates: Sequence[Candidate]) -> None:
        """
        The other peer of a session may be reached at these, too.
        """
        session = self._sessions.get(sessionID)
        if session is not None:
            if candidates:
                session.candidatesReceived(candidates)
        elif sessionID in self._undecided:
            self._undecided[sessionID].candidatesReceived(candidates)

    def remoteReady(self, sessionID: str) -> None:
        """
        The other peer of a session listens now.
        """
        session = self._sessions.get(sessionID)
        if session is not None:
            session.remoteReady()

    def sessionEnded(self, sessionID: str, end: SessionEnd) -> None:
        """
        The other peer, or the service, ended a session.
        """
        session = self._sessions.get(sessionID)
        if session is not None:
            session.endedRemotely(end)
        elif sessionID in self._undecided:
            self._undecided[sessionID].end = end

    def mainConnectionLost(self, reason: Exception) -> None:
        """
        The main connection is gone. Sessions under way go on as far as they can; paths stay up.
        """
        self.keeper.mainConnectionLost(reason)

    # --- the table ------------------------------------------------------------------------------

    def _begin(
        self,
        introduction: Introduction,
        main: MainConnectionState,
        ports: LocalPorts,
        *,
        applications: Sequence[bytes],
        startedAt: float,
        timeout: float,
    ) -> Session:
        self._mustMakeSense(introduction)
        session = self._sessions[introduction.sessionID] = Session(
            self._reactor,
            self._identity,
            introduction,
            ports,
            main,
            self._demultiplexer,
            self._config,
            applications=applications,
            startedAt=startedAt,
            timeout=timeout,
            observe=self._observe,
            ended=self._forget,
        )
        self._observe(
            Introduced(
                at=self._reactor.seconds(),
                session=introduction.sessionID,
                remotePeer=introduction.remote,
                remoteName=introduction.remoteName,
                isRequester=introduction.isRequester,
            )
        )
        return session

    def _mustMakeSense(self, introduction: Introduction) -> None:
        if introduction.remote == self._identity.peerID:
            raise RendezvousError("the rendezvous service introduced this peer to itself")
        if not introduction.transports:
            raise RendezvousError("the rendezvous service named no transport for the session")
        if introduction.sessionID in self._sessions or self._demultiplexer.knows(
            introduction.local.ufrag
        ):
            raise RendezvousError("the rendezvous service introduced two sessions as one")

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.introduction.sessionID, None)

    def endAll(self, reason: HolepunchError) -> None:
        """
        End all sessions and close all paths.
        """
        for request in tuple(self._requests):
            request.giveUp(reason)
        for session in tuple(self._sessions.values()):
            session.end(reason)
