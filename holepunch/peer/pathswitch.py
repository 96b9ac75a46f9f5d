"""
Several paths to one peer as a single one: datagrams leave by the best, and come in by all.

Each side switches for itself; the other one need not agree, nor even know. What a path loses when
it dies is lost as datagrams are: what runs above, such as QUIC, sends it again.

Owns: the paths; which of them is used; how long there may be none.
Knows nothing of: how a path comes to be; what runs above.
Driven by: L{Link<holepunch.peer.link.Link>}, which adds paths; the paths; whoever sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError, PathLost, PeerClosed
from holepunch.interfaces import IDatagramPath, IPathChooser
from holepunch.peer.address import PunchedAddress
from holepunch.peer.openpath import OpenPath
from holepunch.peer.pathchooser import BestKindFirst, PathKind, PathState
from holepunch.peer.pathwatch import PathWatch


@attrs.define(eq=False)
class Member:
    """
    One path of a switch.
    """

    path: IDatagramPath
    kind: PathKind
    number: int
    watch: PathWatch

    def stateFor(self, best: Member | None) -> PathState:
        """
        As a chooser sees it while C{best} is in use.
        """
        return PathState(
            number=self.number,
            kind=self.kind,
            isSuspect=self.watch.isSuspect,
            rtt=self.watch.rtt,
            isUsed=self is best,
        )


class PathSwitch(OpenPath):
    """
    A path that is never a single one.

    @ivar best: What is used to send; C{None} while there is nothing.
    """

    def __init__(
        self,
        clock: IReactorTime,
        addresses: tuple[PunchedAddress, PunchedAddress],
        *,
        interval: float,
        grace: float,
        chooser: IPathChooser | None = None,
        moved: Callable[[Member | None], None],
        missed: Callable[[], None] = lambda: None,
        doubted: Callable[[], None] = lambda: None,
        overslept: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param addresses: What L{getHost} and L{getPeer} tell while there is no path.
        @param interval: Seconds of silence after which a path is asked whether it is alive.
        @param grace: Seconds that there may be no path at all before the switch is lost itself.
        @param chooser: Decides which path is the best; by default, the best kind.
        @param moved: Called with the new best path whenever it is another one.
        @param missed: Called when a path has not answered once, which may be chance.
        @param doubted: Called when the best path is a suspect one, or there is none.
        @param overslept: Called when this machine seems to have slept.
        """
        super().__init__(clock)
        self._addresses = addresses
        self._interval = interval
        self._grace = grace
        self._chooser: IPathChooser = chooser if chooser is not None else BestKindFirst()
        self._moved = moved
        self._missed = missed
        self._doubted = doubted
        self._overslept = overslept
        self._members: list[Member] = []
        self._count = 0
        self._graceTimer: IDelayedCall | None = None
        self.best: Member | None = None

    # --- the paths --------------------------------------------------------------------------

    @property
    def members(self) -> tuple[Member, ...]:
        """
        All paths, the best first.
        """
        byNumber = {member.number: member for member in self._members}
        states = tuple(member.stateFor(self.best) for member in self._members)
        return tuple(byNumber[state.number] for state in self._chooser.order(states))

    def hasKind(self, kind: PathKind) -> bool:
        """
        Is there a path of that kind that is not suspect?
        """
        return any(member.kind is kind and not member.watch.isSuspect for member in self._members)

    def addPath(self, path: IDatagramPath, kind: PathKind) -> None:
        """
        One more path. The switch closes it when it is closed itself.
        """
        if self.isLost:
            path.close()
            return
        self._count += 1
        watch = PathWatch(
            self._clock,
            path,
            self._interval,
            self._choose,
            measured=self._compare,
            missed=self._missed,
            overslept=self._overslept,
        )
        member = Member(path, kind, self._count, watch)
        self._members.append(member)
        path.whenLost().addErrback(self._pathLost, member)
        self._choose()

        def arrived(data: bytes) -> None:
            watch.heard()
            self.deliver(data)

        path.setReceiver(arrived)

    def removePath(self, path: IDatagramPath) -> None:
        """
        Close one path.
        """
        path.close()

    def verify(self) -> None:
        """
        There is a reason to doubt all paths: ask them at once.
        """
        for member in tuple(self._members):
            member.watch.verify()

    def _pathLost(self, failure: Failure, member: Member) -> None:
        failure.trap(HolepunchError)
        member.watch.stop()
        self._members.remove(member)
        self._choose()

    def _compare(self) -> None:
        best = next(iter(self.members), None)
        self._setGrace(best is None)
        isOther, self.best = best is not self.best, best
        if isOther and not self.isLost:
            self._moved(best)

    def _choose(self) -> None:
        self._compare()
        if (self.best is None or self.best.watch.isSuspect) and not self.isLost:
            self._doubted()

    def _setGrace(self, isNeeded: bool) -> None:
        if isNeeded and self._graceTimer is None and not self.isLost:
            self._graceTimer = self._clock.callLater(self._grace, self._graceOver)
        elif not isNeeded and self._graceTimer is not None:
            self._graceTimer.cancel()
            self._graceTimer = None

    def _graceOver(self) -> None:
        self._graceTimer = None
        self.lost(Failure(PathLost(f"there has been no path for {self._grace:g} s")))

    # --- as a path --------------------------------------------------------------------------

    def getHost(self) -> PunchedAddress:
        """
        Our endpoint on the path in use, and our peer ID.
        """
        if self.best is not None:
            host: PunchedAddress = self.best.path.getHost()
            self._addresses = (host, self._addresses[1])
        return self._addresses[0]

    def getPeer(self) -> PunchedAddress:
        """
        The other side's endpoint on the path in use, and its peer ID.
        """
        if self.best is not None:
            peer: PunchedAddress = self.best.path.getPeer()
            self._addresses = (self._addresses[0], peer)
        return self._addresses[1]

    def send(self, data: bytes) -> None:
        """
        Send one datagram by the best path; without one it is lost.
        """
        best = self.best
        if best is not None:
            best.path.send(data)
            best.watch.sent()

    def sendMany(self, datagrams: Sequence[bytes]) -> None:
        """
        Send several datagrams by the best path, which is quicker than one by one on some.
        """
        best = self.best
        if best is None:
            return
        sendMany: Callable[[Sequence[bytes]], None] | None
        sendMany = getattr(best.path, "sendMany", None)
        if sendMany is not None:
            sendMany(datagrams)
        else:
            for data in datagrams:
                best.path.send(data)
        best.watch.sent()

    def probe(self) -> None:
        """
        Measure the best path; L{answered} hears of it.
        """
        if self.best is not None:
            self.best.path.ping().addCallbacks(self.answered, self._notAnswered)

    def _notAnswered(self, failure: Failure) -> None:
        failure.trap(HolepunchError)

    def close(self) -> None:
        """
        Close all paths.
        """
        self.lost(Failure(PeerClosed("the path was closed")))

    def lost(self, reason: Failure) -> None:
        """
        It is over.
        """
        if self.isLost:
            return
        super().lost(reason)
        self._setGrace(False)
        for member in tuple(self._members):
            member.path.close()
