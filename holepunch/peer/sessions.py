"""
All sessions of one peer: asking for them, and answering when others ask.

Owns: the table of sessions; who gets a path or a stream that others opened.
Knows nothing of: how a session is punched.
Driven by: L{holepunch.peer.peer.Peer} and, as L{IRendezvousEvents}, the main connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.errors import (
    HolepunchError,
    RendezvousError,
    SessionRefused,
)
from holepunch.identity import Identity
from holepunch.interfaces import IHostAddresses, IRendezvousEvents
from holepunch.peer.access import Access, Undecided
from holepunch.peer.asking import Asking
from holepunch.peer.assist import AssistClient, MappedCallback
from holepunch.peer.candidatesource import CandidateSources
from holepunch.peer.config import PeerConfig, SessionOptions
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.events import Connected, Introduced, PeerEvent, Refused
from holepunch.peer.gathering import oneOfEachHost
from holepunch.peer.link import Link, LinkPath
from holepunch.peer.links import Links
from holepunch.peer.localports import LocalPorts
from holepunch.peer.openpath import OpenPath
from holepunch.peer.ping import PING
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.registration import MainConnectionState, RegistrationKeeper
from holepunch.peer.request import Reached
from holepunch.peer.securestream import SecureStream
from holepunch.peer.session import Session, SessionPath
from holepunch.peer.signalling import (
    MoreCandidates,
    Ready,
    ServiceSignalling,
    SignallingMessage,
)
from holepunch.punch import Candidate
from holepunch.rendezvous.introduction import (
    Answer,
    Introduction,
    RelayPolicy,
    SessionEnd,
    Use,
)

_ANSWER_TIMEOUT = 30.0
_PING_PATHS = 64

_CONTINUE_TIMEOUT = 15.0
_VERIFY_TIMEOUT = 2.0
# Leave to use the relay is renewed after this part of its lifetime.
_GRANT_USE = 0.8

StreamAcceptor = Callable[[Any], None]
DatagramAcceptor = Callable[[Any], None]


@implementer(IRendezvousEvents)
class Sessions:
    """
    The sessions of one peer.

    @ivar access: Who may connect.
    @ivar links: What connects us with others over paths for datagrams.
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
        sources: CandidateSources,
        access: Access | None = None,
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._config = config
        self._hosts = hosts
        self._demultiplexer = demultiplexer
        self._observe = observe
        self.access = access if access is not None else Access()
        self._sources = sources
        self._undecided: dict[str, Undecided] = {}
        self._sessions: dict[str, Session] = {}
        self._signalling: dict[str, ServiceSignalling] = {}
        self._isVerifying = False
        self._grantCall: IDelayedCall | None = None
        self.links = Links(reactor, identity, config, self, observe)
        self._asking = Asking(
            reactor, hosts, sources, demultiplexer, self, self.links, self.access, observe
        )
        self.streamAcceptors: dict[bytes, StreamAcceptor] = {}
        self.datagramAcceptor: DatagramAcceptor | None = None
        self.keeper: RegistrationKeeper

    # --- asking ---------------------------------------------------------------------------------

    def request(
        self, target: str, options: SessionOptions, application: bytes
    ) -> Deferred[Reached]:
        """
        Reach a peer: over a link that there is already, or in a session.

        @param target: Its name or peer ID.
        @param application: What a stream is to be used for (ALPN).
        @return: Fires with what was reached. Cancelling it lets go of everything.
        """
        return self._asking.request(target, options, application)

    # --- links ----------------------------------------------------------------------------------

    def continueLink(self, link: Link) -> Deferred[None]:
        """
        Look for another path for a link.
        """
        return self._asking.continueLink(link)

    def streamOpened(self, link: Link, stream: QUICStream, application: bytes) -> None:
        """
        The other side of a link has opened a stream.
        """
        admitting = Deferred.fromCoroutine(self._admitStream(link, application))
        admitting.addCallbacks(
            lambda acceptor: self._give(stream, acceptor, stream.abortConnection),
            lambda failure: self._notAdmitted(failure, stream),
        )

    async def _admitStream(self, link: Link, application: bytes) -> StreamAcceptor:
        introduction = link.introduction
        isAdmitted = not introduction.isRequester and introduction.application in (
            None,
            application.decode("ascii", "replace"),
        )
        if application in self.streamAcceptors and not isAdmitted:
            await self.access.admit(
                introduction.remote, introduction.remoteName, application.decode("ascii")
            )
        acceptor = self.streamAcceptors.get(application)
        if acceptor is None:
            raise SessionRefused("the peer accepts no such streams")
        return acceptor

    def _notAdmitted(self, failure: Failure, stream: QUICStream) -> None:
        stream.refuse()
        self._notAccepted(failure)

    def mainConnectionDoubted(self) -> None:
        """
        The network may have changed: are the main connection, and the relay, still there?
        """
        self.links.verifyRelay()
        main = self.keeper.state
        if main is None or self._isVerifying:
            return
        client = main.client
        self._isVerifying = True

        def verified(result: float | Failure) -> None:
            self._isVerifying = False
            if isinstance(result, Failure) and result.check(TimeoutError) is not None:
                client.fellSilent(_VERIFY_TIMEOUT)
                client.abort()

        client.ping().addTimeout(_VERIFY_TIMEOUT, self._reactor).addBoth(verified)

    def registered(self, main: MainConnectionState) -> None:
        """
        There is a main connection, and with it leave to use the relay for a while.
        """
        self.links.verify()
        self._keepGrant(main)

    def unregistered(self) -> None:
        """
        There is none any more.
        """
        if self._grantCall is not None and self._grantCall.active():
            self._grantCall.cancel()

    def _keepGrant(self, main: MainConnectionState) -> None:
        grant = main.registered.relay
        self.links.renewGrant(grant)
        if grant is not None:
            delay = max(1.0, grant.lifetime * _GRANT_USE)
            self._grantCall = self._reactor.callLater(delay, self._renewGrant)

    def _renewGrant(self) -> None:
        refreshed = Deferred.fromCoroutine(self.keeper.refresh())
        refreshed.addCallbacks(self._grantRenewed, self._notAccepted)

    def _grantRenewed(self, result: None) -> None:
        if self.keeper.state is not None:
            self._keepGrant(self.keeper.state)

    def linkEnded(self, link: Link) -> None:
        """
        A link is over.
        """
        self.links.ended(link)

    def _pathFound(self, session: Session, path: LinkPath, connected: Connected) -> None:
        introduction = session.introduction
        if introduction.use is Use.STREAMS or introduction.isMovable:
            self.links.pathFound(session, path, connected)
        else:
            self._observe(connected)

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
        if introduction.continues is not None:
            return self._goOn(introduction)
        self._mustHaveRoom()
        if self._config.relay is RelayPolicy.ONLY and introduction.relay is not RelayPolicy.ONLY:
            raise SessionRefused("the peer wants no direct connections: ask with --relay only")
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
                    session=sessionID,
                )
            )
            raise
        finally:
            del self._undecided[sessionID]
        # To decide may have taken its time.
        main = self._mustHaveRoom()
        self.links.mustHaveRoom(introduction)
        undecided.mustBeWanted()
        answer = self._accept(introduction, main)
        self.candidatesReceived(sessionID, undecided.candidates)
        return answer

    def _goOn(self, introduction: Introduction) -> Answer:
        """
        The other side looks for another path of a link.
        """
        main = self.keeper.state
        self.links.toContinue(introduction)
        if main is None:
            raise SessionRefused("the peer is not registered")
        session = self.begin(
            introduction,
            main,
            main.ports,
            applications=(),
            startedAt=self._reactor.seconds(),
            timeout=_CONTINUE_TIMEOUT,
        )
        session.path.addErrback(self._notAccepted)
        session.start()
        return Answer(True)

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
        session = self.begin(
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

    def _accepted(self, outcome: SessionPath, session: Session) -> None:
        link = self.links.ofSession(session)
        if link is not None and link.introduction.use is Use.STREAMS:
            # Its streams come one by one.
            return
        if (
            outcome.application == PING
            if isinstance(outcome, SecureStream)
            else self.datagramAcceptor is None
        ):
            # The program knows nothing of it, so it cannot count these itself.
            session.isForPings = True
            if sum(each.isForPings for each in self._sessions.values()) > _PING_PATHS:
                session.end(SessionRefused("too many paths are open for pings alone"))
                return
        if isinstance(outcome, SecureStream):
            acceptor = self.streamAcceptors.get(outcome.application or b"")
            if acceptor is None:
                outcome.abortConnection()
            else:
                self._give(outcome, acceptor, outcome.abortConnection)
        elif self.datagramAcceptor is not None:
            path: OpenPath = outcome if link is None else link.switch
            self._give(path, self.datagramAcceptor, path.close)

    def _give(
        self, outcome: Any, acceptor: Callable[[Any], None], close: Callable[[], None]
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
        if sessionID in self._undecided:
            self._undecided[sessionID].candidatesReceived(candidates)
        elif candidates:
            self._hear(sessionID, MoreCandidates(tuple(candidates)))

    def remoteReady(self, sessionID: str) -> None:
        """
        The other peer of a session listens now.
        """
        self._hear(sessionID, Ready())

    def sessionEnded(self, sessionID: str, end: SessionEnd) -> None:
        """
        The other peer, or the service, ended a session.
        """
        if sessionID in self._undecided:
            self._undecided[sessionID].end = end
        else:
            self._hear(sessionID, end)

    def _hear(self, sessionID: str, message: SignallingMessage) -> None:
        signalling = self._signalling.get(sessionID)
        if signalling is not None:
            signalling.deliver(message)

    def mainConnectionLost(self, reason: Exception) -> None:
        """
        The main connection is gone. Sessions under way go on as far as they can; paths stay up.
        """
        self.keeper.mainConnectionLost(reason)

    # --- the table ------------------------------------------------------------------------------

    @property
    def all(self) -> tuple[Session, ...]:
        """
        The sessions that there are.
        """
        return tuple(self._sessions.values())

    def begin(
        self,
        introduction: Introduction,
        main: MainConnectionState,
        ports: LocalPorts,
        *,
        applications: Sequence[bytes],
        startedAt: float,
        timeout: float,
    ) -> Session:
        """
        Make a session from its introduction.

        @raise RendezvousError: The introduction makes no sense.
        """
        self._mustMakeSense(introduction)

        def newAssist(ports: LocalPorts, listeners: int, mapped: MappedCallback) -> AssistClient:
            servers = oneOfEachHost(main.registered.assist, limit=listeners)
            return AssistClient(
                self._reactor, ports, servers, introduction.ticket, os.urandom, mapped
            )

        signalling = ServiceSignalling(main.client, introduction.sessionID)
        self._signalling[introduction.sessionID] = signalling
        session = self._sessions[introduction.sessionID] = Session(
            self._reactor,
            self._identity,
            introduction,
            ports,
            signalling,
            newAssist,
            self._demultiplexer,
            self._config,
            relay=self.links.relay(
                main.registered.relay, introduction.relay, introduction.continues
            ),
            forwarded=self._sources.forwarded(ports, introduction.transports),
            applications=applications,
            startedAt=startedAt,
            timeout=timeout,
            observe=self._observe,
            found=self._pathFound,
            ended=self._forget,
        )
        self._observe(
            Introduced(
                at=self._reactor.seconds(),
                session=introduction.sessionID,
                remotePeer=introduction.remote,
                remoteName=introduction.remoteName,
                isRequester=introduction.isRequester,
                relay=introduction.relay,
                continues=introduction.continues,
            )
        )
        return session

    def _mustMakeSense(self, introduction: Introduction) -> None:
        if introduction.remote == self._identity.peerID:
            raise RendezvousError("the rendezvous service introduced this peer to itself")
        if not introduction.transports:
            raise RendezvousError("the rendezvous service named no transport for the session")
        if (
            introduction.sessionID in self._sessions
            or self.links.knows(introduction.sessionID)
            or self._demultiplexer.knows(introduction.local.ufrag)
        ):
            raise RendezvousError("the rendezvous service introduced two sessions as one")

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.introduction.sessionID, None)
        self._signalling.pop(session.introduction.sessionID, None)

    def endAll(self, reason: HolepunchError) -> None:
        """
        End all sessions and close all paths.
        """
        self._asking.giveUpAll(reason)
        self.links.endAll(reason)
        for session in tuple(self._sessions.values()):
            session.end(reason)
