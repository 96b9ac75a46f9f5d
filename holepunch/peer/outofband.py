"""
A stream to another peer over somebody else's channel, such as a chat or a file, without a
rendezvous service.

Both sides do the same: they find out where they can be reached, describe themselves over the
channel, and punch as soon as they have the other side's description. The channel need not be
trusted: whoever reads or alters it can keep the two apart, but nobody gets between them, since TLS
and QUIC accept the expected peer IDs only.

Owns: the order of all that; how much an unproven description can make this side do.
Knows nothing of: how the channel works; how a session is punched.
Driven by: programs, through L{openStreamOver}; what comes by the channel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport
from holepunch.errors import HolepunchError, PathLost, PeerIsSelf, SessionError, SessionTimedOut
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import ICandidateSource, IHostAddresses, ISignalling
from holepunch.peer.candidatesource import CandidateSources
from holepunch.peer.config import PeerConfig, SessionOptions
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.events import Connected, PeerEvent
from holepunch.peer.hosts import SystemHostAddresses, hostsOf
from holepunch.peer.link import Link, LinkPath
from holepunch.peer.localports import LocalPorts
from holepunch.peer.publicstun import PublicSTUN
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.securestream import SecureStream
from holepunch.peer.session import Session, SessionPath
from holepunch.peer.signalling import Description, MoreCandidates, Receiver, SignallingMessage
from holepunch.punch import Candidate, Credentials, TCPFlow
from holepunch.rendezvous.introduction import (
    EndReason,
    Introduction,
    RelayPolicy,
    SessionEnd,
    Ticket,
)

STREAM = b"holepunch"

_PATIENCE = 2.0
_DESCRIPTIONS = 3
_CANDIDATES = 16
_PACING = 0.05
_GRACE = 1.0

# Public STUN servers are asked without one.
_NO_TICKET = Ticket(name="none", key=b"")

_DEFAULT_OPTIONS = SessionOptions(transports=frozenset(Transport), relay=RelayPolicy.NEVER)


def openStreamOver(
    reactor: PeerReactor,
    identity: Identity,
    remotePeerID: PeerID,
    signalling: ISignalling,
    *,
    stun: Sequence[str] = (),
    options: SessionOptions = _DEFAULT_OPTIONS,
    config: PeerConfig | None = None,
    hostAddresses: IHostAddresses | None = None,
    candidateSources: Sequence[ICandidateSource] | None = None,
    observer: Callable[[PeerEvent], None] | None = None,
) -> Deferred[SecureStream | QUICStream]:
    """
    Open a stream to a peer with whom we have a channel; both sides call this.

    @param signalling: The channel, such as a
        L{TextSignalling<holepunch.peer.signalling.TextSignalling>}.
    @param stun: Public STUN servers, C{HOST[:PORT]}; without any, only peers in the same network
        are reached, or those who are public.
    @param options: C{timeout} counts from the other side's description: until that comes, we wait.
        There is no relay.
    @param hostAddresses: Tells this machine's addresses; asks the system by default.
    @param candidateSources: Say where we may be reached; by default at those addresses.
    @param observer: Called with each event; must not raise.
    @return: Fires with the stream, to which the caller attaches a protocol; both ends have proven
        their keys. Fails with a L{SessionError<holepunch.errors.SessionError>} that says why there
        is no path, with L{WrongPeer<holepunch.errors.WrongPeer>}, or
        L{NoLocalPort<holepunch.errors.NoLocalPort>}. Cancelling it closes everything.
    @raise BadAddress: C{stun} makes no sense.
    @raise PeerIsSelf: C{remotePeerID} is our own.
    """
    if remotePeerID == identity.peerID:
        raise PeerIsSelf
    meeting = _Meeting(
        reactor,
        identity,
        remotePeerID,
        signalling,
        stun,
        options,
        config if config is not None else PeerConfig(),
        hostAddresses if hostAddresses is not None else SystemHostAddresses(),
        candidateSources,
        observer if observer is not None else lambda event: None,
    )
    meeting.start()
    return meeting.stream


@implementer(ISignalling)
class _SessionSignalling:
    """
    What one session hears: what was said since its description.
    """

    def __init__(self, signalling: ISignalling) -> None:
        self._signalling = signalling
        self._receiver: Receiver | None = None
        self.isSuperseded = False

    def send(self, message: SignallingMessage) -> None:
        """
        Tell the other side, which knows one session only: the latest.
        """
        if not self.isSuperseded:
            self._signalling.send(message)

    def setReceiver(self, receiver: Receiver) -> None:
        """
        Call C{receiver} with each message.
        """
        self._receiver = receiver

    def deliver(self, message: SignallingMessage) -> None:
        """
        The other side says something.
        """
        if self._receiver is not None:
            self._receiver(message)


class _Meeting:
    """
    One stream that is to be opened, and what it needs afterwards.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        remote: PeerID,
        signalling: ISignalling,
        stun: Sequence[str],
        options: SessionOptions,
        config: PeerConfig,
        hosts: IHostAddresses,
        sources: Sequence[ICandidateSource] | None,
        observe: Callable[[PeerEvent], None],
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._remote = remote
        self._signalling = signalling
        self._options = options
        # Without a service, there is no other path to wait for.
        self._config = attrs.evolve(
            config,
            checkPacing=max(config.checkPacing, _PACING),
            pathGrace=min(config.pathGrace, _GRACE),
        )
        self._hosts = hosts
        self._observe = observe
        self._stun = PublicSTUN(reactor, stun, self._mapped)
        self._demultiplexer = Demultiplexer()
        self._sources = CandidateSources(reactor, self._demultiplexer, sources)
        self._credentials = Credentials.generate(os.urandom)
        # The two sides have to come to different results.
        self._isControlling = identity.peerID.text < remote.text
        self._candidates: list[Candidate] = []
        self._isDescribed = False
        self._ports: LocalPorts | None = None
        self._work: Deferred[None] | None = None
        self._session: Session | None = None
        self._hearing: _SessionSignalling | None = None
        self._link: Link | None = None
        self._heard: list[Description] = []
        self._candidateCount = 0
        self._isReady = False
        self._isOver = False
        self.stream: Deferred[SecureStream | QUICStream] = Deferred(
            lambda _: self._end(CancelledError())
        )

    # --- describing ourselves -------------------------------------------------------------------

    def start(self) -> None:
        """
        Find out where we are, and say so.
        """
        self._work = Deferred.fromCoroutine(self._describe())
        self._work.addErrback(self._failed)

    async def _describe(self) -> None:
        hosts = hostsOf(self._hosts, withLoopback=self._stun.isHere)
        await self._stun.resolve()
        self._ports = LocalPorts.open(self._reactor, hosts, self._demultiplexer).retain()
        self._candidates[:] = self._sources.announced(self._ports, self._options.transports)
        await self._stun.gather(self._ports, self._options.transports, _PATIENCE)
        self._isDescribed = True
        self._work = None
        self._signalling.send(
            Description(
                peerID=self._identity.peerID,
                credentials=self._credentials,
                transports=self._sorted(self._options.transports),
                flow=self._options.tcpFlow,
                candidates=tuple(self._candidates),
            )
        )
        self._signalling.setReceiver(self._received)

    def _sorted(self, transports: frozenset[Transport]) -> tuple[Transport, ...]:
        return tuple(sorted(transports, key=lambda each: each is Transport.UDP))

    def _mapped(self, candidate: Candidate) -> None:
        self._candidates.append(candidate)
        if self._isDescribed and not self._isOver:
            self._signalling.send(MoreCandidates((candidate,)))

    # --- hearing of the other side --------------------------------------------------------------

    def _received(self, message: SignallingMessage) -> None:
        if self._isOver:
            return
        if isinstance(message, Description):
            self._described(message)
        elif self._hearing is not None:
            if isinstance(message, MoreCandidates):
                message = MoreCandidates(self._few(message.candidates))
            self._hearing.deliver(message)
            if isinstance(message, SessionEnd) and message.reason is not EndReason.DONE:
                # What we have found, the other side has given up; unless it answers to our own end,
                # of which nobody has heard yet.
                self._reactor.callLater(0, self._end, message.asError())

    def _few(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """
        Nobody has proven that these addresses are the other peer's, so there must not be many.
        """
        few = tuple(candidates[: _CANDIDATES - self._candidateCount])
        self._candidateCount += len(few)
        return few

    def _described(self, description: Description) -> None:
        if (
            description.peerID != self._remote
            or len(self._heard) >= _DESCRIPTIONS
            or any(each.credentials == description.credentials for each in self._heard)
        ):
            return
        self._heard.append(description)
        transports = self._options.transports & frozenset(description.transports)
        if not transports:
            self._end(SessionError("the two sides have no transport in common"))
            return
        # A later one shows that the earlier one was out of date.
        superseded, self._session = self._session, None
        if superseded is not None and self._hearing is not None:
            self._hearing.isSuperseded = True
            superseded.end(CancelledError())
        self._candidateCount = 0
        self._begin(description, transports)

    def _begin(self, description: Description, transports: frozenset[Transport]) -> None:
        flows = (self._options.tcpFlow, description.flow)
        isSequential = TCPFlow.SEQUENTIAL in flows
        fragments = sorted((self._credentials.ufrag, description.credentials.ufrag))
        assert self._ports is not None
        self._hearing = _SessionSignalling(self._signalling)
        session = self._session = Session(
            self._reactor,
            self._identity,
            Introduction(
                sessionID="-".join(fragments),
                remote=self._remote,
                remoteName=None,
                isRequester=self._isControlling,
                isControlling=self._isControlling,
                isRemoteBehindNAT=True,
                transports=self._sorted(transports),
                flow=TCPFlow.SEQUENTIAL if isSequential else TCPFlow.SIMULTANEOUS,
                local=self._credentials,
                remoteCredentials=description.credentials,
                remoteCandidates=self._few(description.candidates),
                ticket=_NO_TICKET,
            ),
            self._ports,
            self._hearing,
            self._stun.newAssist,
            self._demultiplexer,
            self._config,
            forwarded=self._sources.forwarded(self._ports, transports),
            applications=(STREAM,),
            startedAt=self._reactor.seconds(),
            timeout=self._options.timeout,
            observe=self._observe,
            found=self._found,
            ended=lambda session: None,
        )
        session.path.addCallbacks(
            self._reached,
            self._notReached,
            callbackArgs=(session,),
            errbackArgs=(session,),
        )
        session.start()

    # --- what comes of it -----------------------------------------------------------------------

    def _found(self, session: Session, path: LinkPath, connected: Connected) -> None:
        if session is not self._session:
            path.close()
            return
        self._link = Link(
            self._reactor,
            self._identity,
            session.introduction,
            self._config,
            self,
            self._observe,
        )
        self._link.pathFound(path, connected)

    def _reached(self, outcome: SessionPath, session: Session) -> None:
        if isinstance(outcome, SecureStream):
            self._succeed(outcome)
            return
        if self._link is None:
            return
        late = SessionTimedOut("the handshake on the path took too long")
        ready = self._link.whenReady().addTimeout(
            self._options.timeout, self._reactor, lambda result, seconds: Failure(late)
        )
        ready.addCallback(lambda _: self._ready()).addErrback(self._failed)

    def _ready(self) -> None:
        self._isReady = True
        if self._isControlling and self._link is not None and not self._isOver:
            self._succeed(self._link.openStream(STREAM))

    def _notReached(self, failure: Failure, session: Session) -> None:
        if session is self._session:
            self._failed(failure)

    def _succeed(self, stream: SecureStream | QUICStream) -> None:
        if self._isOver:
            stream.abortConnection()
            return
        self._letGo()
        self.stream.callback(stream)

    def _failed(self, failure: Failure) -> None:
        assert failure.value is not None
        self._end(failure.value)

    def _end(self, reason: BaseException) -> None:
        if self._isOver:
            return
        self._letGo()
        if self._session is not None:
            self._session.end(reason if isinstance(reason, HolepunchError) else CancelledError())
        if self._link is not None:
            self._link.closeBecause(CancelledError())
        if self._isDescribed and self._session is None:
            self._signalling.send(SessionEnd(EndReason.CANCELLED))
        if not self.stream.called:
            self.stream.errback(Failure(reason))

    def _letGo(self) -> None:
        """
        The session, or its path, holds what is still needed.
        """
        self._isOver = True
        self._stun.stop()
        self._sources.close()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        ports, self._ports = self._ports, None
        if ports is not None:
            ports.release()

    # --- as what a link belongs to --------------------------------------------------------------

    def continueLink(self, link: Link) -> Deferred[None]:
        """
        There is no other path.
        """
        return fail(PathLost("there is no service to find another path with"))

    def streamOpened(self, link: Link, stream: QUICStream, application: bytes) -> None:
        """
        The other side has opened a stream: the first one is what we wait for.
        """
        if self._isControlling or self._isOver or application != STREAM:
            stream.refuse()
        else:
            self._succeed(stream)

    def mainConnectionDoubted(self) -> None:
        """
        There is none.
        """

    def linkEnded(self, link: Link) -> None:
        """
        It is over, and with it the stream.
        """
        if self._isReady and not self._isOver:
            self._end(PathLost("the path was lost before there was a stream"))
