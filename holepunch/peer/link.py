"""
A link: everything that connects this peer with another one over paths for datagrams.

Whatever happens to the paths, the link stays: it finds others, through the relay if need be, and
the streams on it go on. It ends when nobody needs it, when the other side ends it, or when there
has been no path for too long.

Owns: the switch with its paths, the QUIC connection on it, when another path is looked for and when
one is dropped.
Knows nothing of: how a path is found.
Driven by: L{Links<holepunch.peer.links.Links>}, the sessions that find paths, the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, PathLost, PeerClosed
from holepunch.identity import Identity, PeerID
from holepunch.peer.address import PunchedAddress
from holepunch.peer.config import PeerConfig
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.events import Closed, Connected, Moved, PeerEvent, Secured, Suspected
from holepunch.peer.framedpath import FramedPath
from holepunch.peer.linkrepair import Lifetimes, LinkRepair
from holepunch.peer.pathchooser import PathKind
from holepunch.peer.pathswitch import Member, PathSwitch
from holepunch.peer.quic import QUICConnection
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.relayedpath import RelayedPath
from holepunch.rendezvous.introduction import Introduction, Use

# So long after the goodbye of the last path comes, at the latest, what says why.
_MOMENT = 0.05
# For the handshake: who asks for us, and keeps it going without an end, must not keep the link.
_HANDSHAKE_TIMEOUT = 30.0

LinkPath = DatagramPath | FramedPath | RelayedPath


def kindOf(path: LinkPath) -> PathKind:
    """
    What a path is made of.
    """
    if isinstance(path, RelayedPath):
        return PathKind.RELAYED
    return PathKind.DIRECT_UDP if isinstance(path, DatagramPath) else PathKind.DIRECT_TCP


class LinkHost(Protocol):
    """
    What a link needs of its peer.
    """

    def continueLink(self, link: Link) -> Deferred[None]:
        """
        Look for another path; fires when the link has one more.
        """

    def streamOpened(self, link: Link, stream: QUICStream, application: bytes) -> None:
        """
        The other side has opened a stream.
        """

    def mainConnectionDoubted(self) -> None:
        """
        The network may have changed: is the main connection still alive?
        """

    def linkEnded(self, link: Link) -> None:
        """
        It is over.
        """


class Link:
    """
    A link with one peer.

    @ivar introduction: That of its first session; its ID is the link's.
    @ivar switch: All paths as one.
    @ivar connection: QUIC on it; C{None} where the link is used for bare datagrams, and before
        there is a path.
    """

    def __init__(
        self,
        clock: IReactorTime,
        identity: Identity,
        introduction: Introduction,
        config: PeerConfig,
        host: LinkHost,
        observe: Callable[[PeerEvent], None],
    ) -> None:
        self._clock = clock
        self._identity = identity
        self.introduction = introduction
        self._config = config
        self._host = host
        self._observe = observe
        nowhere = TransportAddress("0.0.0.0", 0)
        self.switch = PathSwitch(
            clock,
            (
                PunchedAddress.of(Transport.UDP, nowhere, identity.peerID),
                PunchedAddress.of(Transport.UDP, nowhere, introduction.remote),
            ),
            interval=config.keepaliveInterval,
            grace=config.pathGrace,
            chooser=config.pathChooser,
            moved=self._moved,
            missed=host.mainConnectionDoubted,
            doubted=self._doubted,
            overslept=self._overslept,
        )
        self.connection: QUICConnection | None = None
        self._connected: Connected | None = None
        self._isReady = False
        self._reason: Failure | None = None
        self._readyWaiters: list[Deferred[None]] = []
        self._lifetimes = Lifetimes(config.mappingLifetime)
        self._repair = LinkRepair(
            clock,
            self._attempt,
            lambda: self.isInNeed,
            delay=config.initialReconnectDelay,
            longestDelay=config.longestRepairDelay,
        )
        self._upgradeInterval = config.upgradeInterval
        self._tidyCall: IDelayedCall | None = None
        self._idleCall: IDelayedCall | None = None
        self._lostCall: IDelayedCall | None = None
        self._handshakeCall: IDelayedCall | None = None
        self._idleSince: float | None = None
        self._withoutPathSince: float | None = None
        self.switch.whenLost().addErrback(self._ended)

    # --- looking ----------------------------------------------------------------------------

    @property
    def identifier(self) -> str:
        """
        What both sides call the link.
        """
        return self.introduction.sessionID

    @property
    def remote(self) -> PeerID:
        """
        The other peer.
        """
        return self.introduction.remote

    @property
    def isOver(self) -> bool:
        """
        Has the link ended?
        """
        return self._reason is not None

    @property
    def isInNeed(self) -> bool:
        """
        Is there no path that works?
        """
        best = self.switch.best
        return not self.isOver and (best is None or best.watch.isSuspect)

    def whenReady(self) -> Deferred[None]:
        """
        Fires when there is a path, and for streams, when the other side is proven on it.
        """
        waiter: Deferred[None] = Deferred(self._readyWaiters.remove)
        if self._reason is not None:
            waiter.errback(self._reason)
        elif self._isReady:
            waiter.callback(None)
        else:
            self._readyWaiters.append(waiter)
        return waiter

    @property
    def connected(self) -> Connected:
        """
        What there is to tell about the first path.
        """
        assert self._connected is not None
        return self._connected

    # --- using ------------------------------------------------------------------------------

    def openStream(self, application: bytes) -> QUICStream:
        """
        Open a stream.
        """
        if self.connection is None:
            raise PathLost("there is no connection to open a stream on")
        self._idleSince = None
        return self.connection.openStream(application)

    def pathFound(self, path: LinkPath, connected: Connected) -> None:
        """
        A session has found a path.
        """
        if self._connected is None:
            self._connected = connected
        self.switch.addPath(path, kindOf(path))
        if self.isOver or self._isReady:
            return
        if self.introduction.use is Use.DATAGRAMS:
            self._ready()
        elif self.connection is None:
            self._handshakeAt = self._clock.seconds()
            if not self.introduction.isRequester:
                self._handshakeCall = self._clock.callLater(_HANDSHAKE_TIMEOUT, self._notProven)
            self.connection = QUICConnection(
                self._clock,
                self.switch,
                self._identity,
                self.remote,
                isClient=self.introduction.isControlling,
                streamOpened=lambda stream, name: self._host.streamOpened(self, stream, name),
            )
            self.connection.whenLost().addErrback(self._ended)
            self.connection.whenConnected().addCallbacks(
                lambda _: self._ready(), lambda failure: None
            )

    def _notProven(self) -> None:
        self.closeBecause(PathLost("the other side did not prove its identity in time"))

    def verify(self) -> None:
        """
        Make sure of all paths; where there is none, look for one.
        """
        self.switch.verify()
        if self.isInNeed:
            self._repair.now()

    def networkChanged(self) -> None:
        """
        This machine has other addresses, or has slept: trust no path.
        """
        if not self.isOver:
            self.switch.verify()
            self._repair.now()

    def close(self, reason: HolepunchError | None = None) -> None:
        """
        End the link.
        """
        self._ended(Failure(reason if reason is not None else PeerClosed("the link was closed")))

    def closeBecause(self, reason: Exception) -> None:
        """
        End the link.
        """
        self._ended(Failure(reason))

    # --- the paths --------------------------------------------------------------------------

    def _moved(self, best: Member | None) -> None:
        gap = 0.0
        if best is None:
            self._withoutPathSince = self._clock.seconds()
            self._lostCall = self._clock.callLater(_MOMENT, self._lostPath)
        elif self._withoutPathSince is not None:
            gap = self._clock.seconds() - self._withoutPathSince
            self._withoutPathSince = None
            self._cancel(self._lostCall)
        if self._isReady and best is not None:
            self._tellMove(best, gap)
        if self.connection is not None and best is not None:
            self.connection.pathMoved()
        self._plan(best)

    def _lostPath(self) -> None:
        """
        The last path is lost, and that was not the end of the link.
        """
        if self._isReady:
            self._tellMove(None, 0.0)
        self._repair.now()

    def _plan(self, best: Member | None) -> None:
        """
        What is to happen to a path that works.
        """
        self._cancel(self._tidyCall)
        if best is None or best.watch.isSuspect:
            return
        if best.kind is PathKind.RELAYED:
            if not self._config.upgradeInterval or self._hasDirect:
                return
            self._repair.later(self._upgradeInterval)
            self._upgradeInterval = min(
                2 * self._upgradeInterval, self._config.longestUpgradeInterval
            )
            return
        self._upgradeInterval = self._config.upgradeInterval
        # Each side has its own best path: if both tidied up at once, nothing might be left.
        patience = self._config.relayStandby * (1 if self.introduction.isRequester else 3)
        self._tidyCall = self._clock.callLater(patience, self._tidy)
        age = self._lifetimes.replaceAfter
        if age is None:
            self._repair.notLater()
        else:
            self._repair.later(max(1.0, best.watch.since + age - self._clock.seconds()))

    @property
    def _hasDirect(self) -> bool:
        return any(self.switch.hasKind(kind) for kind in PathKind if kind is not PathKind.RELAYED)

    def _tidy(self) -> None:
        """
        The best path has worked for a while: the others are not needed.
        """
        for member in self.switch.members[1:]:
            self.switch.removePath(member.path)

    def _doubted(self) -> None:
        if self.isOver:
            return
        best = self.switch.best
        if best is not None:
            self._tellDoubt(best)
        if best is not None and best.kind is not PathKind.RELAYED:
            self._lifetimes.died(self._clock.seconds() - best.watch.since)
        self._host.mainConnectionDoubted()
        if best is not None:
            self._repair.now()

    def _overslept(self) -> None:
        self._host.mainConnectionDoubted()
        self.networkChanged()

    def _attempt(self) -> Deferred[None]:
        return self._host.continueLink(self)

    # --- telling ----------------------------------------------------------------------------

    def _ready(self) -> None:
        if self._isReady or self.isOver:
            return
        self._isReady = True
        self._cancel(self._handshakeCall)
        assert self._connected is not None
        self._observe(self._connected)
        if self.connection is not None:
            now = self._clock.seconds()
            seconds = now - self._handshakeAt
            self._observe(Secured(at=now, session=self.identifier, seconds=seconds))
        best = self.switch.best
        if best is not None and self._describe(best) != self._describeFirst():
            self._tellMove(best, 0.0)
        self._watchIdleness()
        while self._readyWaiters:
            self._readyWaiters.pop(0).callback(None)

    def _describe(self, member: Member) -> tuple[str, object]:
        path: LinkPath = member.path  # type: ignore[assignment]
        return member.kind.word, path.path.remote

    def _describeFirst(self) -> tuple[str, object]:
        assert self._connected is not None
        return self._connected.path, self._connected.remote

    def _tellDoubt(self, best: Member) -> None:
        path: LinkPath = best.path  # type: ignore[assignment]
        self._observe(
            Suspected(
                at=self._clock.seconds(),
                session=self.identifier,
                path=best.kind.word,
                transport=path.path.transport,
                local=path.path.local,
                remote=path.path.remote,
            )
        )

    def _tellMove(self, best: Member | None, gap: float) -> None:
        path: LinkPath | None = None if best is None else best.path  # type: ignore[assignment]
        pair = None if path is None else path.path
        self._observe(
            Moved(
                at=self._clock.seconds(),
                session=self.identifier,
                remotePeer=self.remote,
                remoteName=self.introduction.remoteName,
                path=None if best is None else best.kind.word,
                transport=None if pair is None else pair.transport,
                local=None if pair is None else pair.local,
                remote=None if pair is None else pair.remote,
                candidate=None if pair is None else pair.remoteCandidate.type.value,
                gap=gap,
            )
        )

    # --- the end ----------------------------------------------------------------------------

    def _watchIdleness(self) -> None:
        """
        Close a link that has had no stream for a while; whoever asked for it does so first.
        """
        connection, timeout = self.connection, self._config.linkIdleTimeout
        if connection is None or self.isOver:
            return
        now = self._clock.seconds()
        if connection.streamCount:
            self._idleSince = None
        elif self._idleSince is None:
            self._idleSince = now
        elif now - self._idleSince >= timeout * (1 if self.introduction.isRequester else 2):
            self.close()
            return
        self._idleCall = self._clock.callLater(timeout / 2, self._watchIdleness)

    def _ended(self, reason: Failure) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._repair.stop()
        for call in (self._tidyCall, self._idleCall, self._lostCall, self._handshakeCall):
            self._cancel(call)
        if self.connection is not None:
            self.connection.close()
        self.switch.lost(reason)
        self._tellEnd(reason)
        self._host.linkEnded(self)
        while self._readyWaiters:
            self._readyWaiters.pop(0).errback(reason)

    def _tellEnd(self, reason: Failure) -> None:
        isClosed = reason.check(PeerClosed) is not None
        self._observe(
            Closed(
                at=self._clock.seconds(),
                session=self.identifier,
                reason=reason.getErrorMessage(),
                error="" if isClosed else reason.type.__name__,  # type: ignore[union-attr]
            )
        )

    def _cancel(self, call: IDelayedCall | None) -> None:
        if call is not None and call.active():
            call.cancel()
