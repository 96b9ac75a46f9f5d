"""
Asking for sessions: for a stream or a path of the program, and for the path of a link that has lost
its own.

Owns: the requests under way; which local ports a session uses; what a request leads to.
Knows nothing of: what happens when others ask for us.
Driven by: L{holepunch.peer.peer.Peer}, and the links.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, TimeoutError

from holepunch.address import Transport
from holepunch.errors import (
    HolepunchError,
    PathLost,
    PeerClosed,
    PeerIdentityChanged,
    RendezvousError,
    SessionRefused,
    SessionTimedOut,
)
from holepunch.identity import PeerID
from holepunch.interfaces import IHostAddresses
from holepunch.peer.access import Access
from holepunch.peer.candidatesource import CandidateSources
from holepunch.peer.config import SessionOptions
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.events import Failed, PeerEvent, Requested
from holepunch.peer.gathering import hostCandidates
from holepunch.peer.hosts import hostsOf
from holepunch.peer.link import Link
from holepunch.peer.links import NOTHING_TO_CONTINUE, Links
from holepunch.peer.localports import LocalPorts
from holepunch.peer.openpath import OpenPath
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.registration import MainConnectionState, RegistrationKeeper
from holepunch.peer.relayedpath import relayedCandidate
from holepunch.peer.request import Reached, SessionRequest
from holepunch.peer.session import Session
from holepunch.punch import Candidate
from holepunch.rendezvous.introduction import (
    EndReason,
    Introduction,
    RelayPolicy,
    SessionEnd,
    Use,
)

_CONTINUE_TIMEOUT = 15.0
# For so long, an attempt of the other side's is worth waiting for.
_TURN = 3.0


class SessionTable(Protocol):
    """
    What asking needs of the sessions.
    """

    keeper: RegistrationKeeper

    @property
    def all(self) -> tuple[Session, ...]:
        """
        Those that there are.
        """

    @property
    def isAccepting(self) -> bool:
        """
        May others ask for us?
        """

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
        Make a session.
        """


class Asking:
    """
    The requests of one peer.
    """

    def __init__(
        self,
        reactor: PeerReactor,
        hosts: IHostAddresses,
        sources: CandidateSources,
        demultiplexer: Demultiplexer,
        sessions: SessionTable,
        links: Links,
        access: Access,
        observe: Callable[[PeerEvent], None],
    ) -> None:
        self._reactor = reactor
        self._hosts = hosts
        self._sources = sources
        self._demultiplexer = demultiplexer
        self._sessions = sessions
        self._links = links
        self._access = access
        self._observe = observe
        self._isWarmRequested = False
        self._requests: list[SessionRequest] = []

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
        request = SessionRequest()
        self._requests.append(request)
        reaching = self._reach(request, target, options, application)
        request.follow(Deferred.fromCoroutine(reaching))
        return request.outcome

    def giveUpAll(self, reason: HolepunchError) -> None:
        """
        Nothing of all that is wanted any more.
        """
        for request in tuple(self._requests):
            request.giveUp(reason)

    async def _reach(
        self, request: SessionRequest, target: str, options: SessionOptions, application: bytes
    ) -> Reached:
        startedAt = self._reactor.seconds()
        isFirst = False
        try:
            try:
                link = None
                if self._mayShare(options):
                    link = self._findLink(target, options)
                    waiting = None
                    if link is None:
                        waiting = self._links.begin(target, options)
                        isFirst = waiting is None
                    if waiting is not None:
                        # An earlier request is about to bring a link about, or will not.
                        await waiting
                        request.mustBeWanted()
                        link = self._findLink(target, options)
                if link is not None:
                    # Its key is proven, whatever the peer was called when the link was made.
                    self._access.proven(target, link.remote)
                    return self._onLink(link, application)
                session = await self._introduceInTime(
                    request, target, options, application, startedAt
                )
            finally:
                # From here on, the session is what can be ended.
                self._requests.remove(request)
            return await self._started(request, session, target, options, application)
        finally:
            if isFirst:
                self._links.ready(target, options)

    def _findLink(self, target: str, options: SessionOptions) -> Link | None:
        expected = self._access.expected(target)
        link = self._links.find(target, options)
        if link is None or expected == link.remote:
            return link
        # Whoever asked for us bore that name then, which says nothing about whose it is now.
        return link if expected is None and link.introduction.isRequester else None

    def _mayShare(self, options: SessionOptions) -> bool:
        """
        May many streams share what comes of a session?
        """
        main = self._sessions.keeper.state
        isMovable = (
            options.relay is not RelayPolicy.NEVER
            and main is not None
            and main.registered.relay is not None
        )
        return options.use is Use.STREAMS and (isMovable or Transport.UDP in options.transports)

    def _onLink(self, link: Link, application: bytes) -> Reached:
        stream = link.openStream(application)
        return Reached(
            outcome=stream,
            connected=link.connected,
            end=lambda reason: stream.abortConnection(),
        )

    async def _started(
        self,
        request: SessionRequest,
        session: Session,
        target: str,
        options: SessionOptions,
        application: bytes,
    ) -> Reached:
        session.start()
        outcome = await session.path
        link = self._links.ofSession(session)
        assert session.connected is not None
        reached = Reached(outcome=outcome, connected=session.connected, end=session.end)
        if link is not None:
            try:
                await link.whenReady().addTimeout(options.timeout, self._reactor)
                request.mustBeWanted()
            except BaseException as error:
                link.close()
                if isinstance(error, TimeoutError):
                    raise SessionTimedOut("the handshake on the path took too long") from None
                raise
            if link.connection is None:
                reached = Reached(
                    outcome=link.switch, connected=session.connected, end=link.closeBecause
                )
            else:
                reached = self._onLink(link, application)
        # A path for bare datagrams proves no key: only the service says who is there.
        if not isinstance(reached.outcome, OpenPath):
            try:
                self._access.proven(target, session.introduction.remote)
            except HolepunchError as error:
                reached.end(error)
                session.end(error)
                raise
        return reached

    async def _introduceInTime(
        self,
        request: SessionRequest,
        target: str,
        options: SessionOptions,
        application: bytes | None,
        startedAt: float,
        continues: str | None = None,
    ) -> Session:
        def tooLate(result: object, seconds: float) -> Session:
            raise SessionTimedOut(
                f"there was no introduction to {target} within {seconds:g} seconds: can the"
                " rendezvous service be reached?"
            )

        introducing = self._introduce(request, target, options, application, startedAt, continues)
        introduced = Deferred.fromCoroutine(introducing)
        return await introduced.addTimeout(options.timeout, self._reactor, tooLate)

    async def _introduce(
        self,
        request: SessionRequest,
        target: str,
        options: SessionOptions,
        application: bytes | None,
        startedAt: float,
        continues: str | None,
    ) -> Session:
        main = await self._sessions.keeper.whenRegistered()
        if continues is None:
            now = self._reactor.seconds()
            self._observe(Requested(at=now, target=target, relay=options.relay))
        request.mustBeWanted()
        expected = self._access.expected(target)
        # What the relay is asked for leaves in the flight of the request.
        relay = self._links.relay(main.registered.relay, options.relay, continues)
        ports, candidates = self._portsFor(main, target, options.transports)
        if relay is not None and relay.relayed is not None:
            candidates = (*candidates, relayedCandidate(relay.relayed))
        # Until the introduction we do not know whom a name stands for.
        self._isWarmRequested = self._isWarmRequested or ports is main.ports
        try:
            try:
                introduction = await main.client.requestSession(
                    target,
                    transports=sorted(options.transports, key=lambda each: each is Transport.UDP),
                    flow=options.tcpFlow,
                    candidates=candidates,
                    use=options.use,
                    relay=options.relay,
                    continues=continues,
                    expected=None if PeerID.looksLike(target) else expected,
                    application=None if application is None else application.decode("ascii"),
                )
            except HolepunchError as error:
                if isinstance(error, PeerIdentityChanged):
                    error = self._access.changed(target, str(error))
                self._tellRefusal(error, continues)
                raise error from None
            try:
                self._access.mustBeMeant(target, expected, introduction.remote)
                self._mustBeAsked(introduction, options, continues)
            except HolepunchError as error:
                self._tellRefusal(error, continues)
                end = SessionEnd(EndReason.CANCELLED, "the service introduced another peer")
                main.client.endSession(introduction.sessionID, end).addErrback(lambda failure: None)
                raise
            return self._sessions.begin(
                introduction,
                main,
                ports,
                applications=() if application is None else (application,),
                startedAt=startedAt,
                # A clock may jump, or this come later than the time-out that is due.
                timeout=max(0.001, options.timeout - (self._reactor.seconds() - startedAt)),
            )
        finally:
            if ports is main.ports:
                self._isWarmRequested = False
            ports.release()

    def _tellRefusal(self, error: HolepunchError, continues: str | None) -> None:
        self._observe(
            Failed(
                at=self._reactor.seconds(),
                session=None,
                reason=str(error),
                error=type(error).__name__,
                continues=continues,
            )
        )

    def _mustBeAsked(
        self, introduction: Introduction, options: SessionOptions, continues: str | None
    ) -> None:
        if not set(introduction.transports) <= options.transports:
            raise RendezvousError("the rendezvous service chose a transport not asked for")
        if introduction.relay not in (options.relay, RelayPolicy.NEVER) or (
            options.relay is RelayPolicy.ONLY and not introduction.isMovable
        ):
            raise RendezvousError("the rendezvous service chose a relay not asked for, or none")
        if introduction.use is not options.use or introduction.continues != continues:
            raise RendezvousError("the rendezvous service answers another request")

    # --- going on -------------------------------------------------------------------------------

    def continueLink(self, link: Link) -> Deferred[None]:
        """
        Look for another path for a link.
        """
        return Deferred.fromCoroutine(self._continue(link))

    async def _continue(self, link: Link) -> None:
        if any(
            each.isUnderWay
            and each.introduction.continues == link.identifier
            and self._reactor.seconds() - each.startedAt < _TURN
            for each in self._sessions.all
        ):
            raise SessionRefused("the other side is asking already")
        introduction = link.introduction
        options = SessionOptions(
            transports=frozenset(introduction.transports),
            tcpFlow=introduction.flow,
            relay=introduction.relay,
            use=introduction.use,
            timeout=_CONTINUE_TIMEOUT,
        )
        request = SessionRequest()
        try:
            session = await self._introduceInTime(
                request,
                introduction.remote.text,
                options,
                None,
                self._reactor.seconds(),
                link.identifier,
            )
        except SessionRefused as error:
            if NOTHING_TO_CONTINUE in str(error):
                link.close(PathLost("the other side knows nothing of the connection any more"))
            raise
        if link.isOver:
            session.end(PeerClosed("the link was closed"))
        session.start()
        await session.path

    # --- local ports ----------------------------------------------------------------------------

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
            self._sessions.isAccepting
            or self._isWarmRequested
            or any(
                session.ports is main.ports
                and target in (session.introduction.remote.text, session.introduction.remoteName)
                for session in self._sessions.all
            )
        )
        if isWarmFree:
            return main.ports.retain(), ()
        hosts = hostsOf(self._hosts, withLoopback=main.registered.observed.isLoopback)
        ports = LocalPorts.open(self._reactor, hosts, self._demultiplexer).retain()
        # Without any, the service would take it for the warm ports.
        announced = self._sources.announced(ports, transports)
        return ports, announced or hostCandidates(ports, transports)
