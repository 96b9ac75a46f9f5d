"""
What every path for datagrams has in common, whatever carries it.

Owns: the receiver and what came before there was one; pings and those who wait for the end; what
a nominated pair tells of its ends.
Knows nothing of: sockets; checks and consent.
Driven by: L{DatagramPath<holepunch.peer.datagrampath.DatagramPath>} and its kin.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.errors import PathLost
from holepunch.identity import PeerID
from holepunch.interfaces import IDatagramPath
from holepunch.peer.address import PunchedAddress
from holepunch.punch import Path

_WAITING_LIMIT = 64
_PING_TIMEOUT = 5.0


@implementer(IDatagramPath)
class OpenPath(abc.ABC):
    """
    A path for datagrams to and from one peer.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._receiver: Callable[[bytes], None] | None = None
        self._early: deque[bytes] = deque(maxlen=_WAITING_LIMIT)
        self._pings: list[Deferred[float]] = []
        self._reason: Failure | None = None
        self._lostWaiters: list[Deferred[None]] = []

    @abc.abstractmethod
    def getHost(self) -> PunchedAddress:
        """
        Our endpoint and peer ID.
        """

    @abc.abstractmethod
    def getPeer(self) -> PunchedAddress:
        """
        The other side's endpoint and peer ID.
        """

    @abc.abstractmethod
    def send(self, data: bytes) -> None:
        """
        Send one datagram; after the path is lost, it goes nowhere.
        """

    @abc.abstractmethod
    def probe(self) -> None:
        """
        Send a check; L{answered} follows, or nothing.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """
        Close the path.
        """

    @property
    def isLost(self) -> bool:
        """
        Is the path gone?
        """
        return self._reason is not None

    def setReceiver(self, receiver: Callable[[bytes], None]) -> None:
        """
        Call C{receiver} with each datagram that arrives, those that came before included.
        """
        self._receiver = receiver
        while self._early:
            receiver(self._early.popleft())

    def whenLost(self) -> Deferred[None]:
        """
        Fails with L{PathLost<holepunch.errors.PathLost>} when the other side answers no more, or
        with L{PeerClosed<holepunch.errors.PeerClosed>} after L{close}.
        """
        waiter: Deferred[None] = Deferred(self._lostWaiters.remove)
        if self._reason is not None:
            waiter.errback(self._reason)
        else:
            self._lostWaiters.append(waiter)
        return waiter

    def ping(self) -> Deferred[float]:
        """
        Measure one round trip by an authenticated check.

        @return: Fires with seconds; fails with L{PathLost<holepunch.errors.PathLost>} when there is
            no answer.
        """
        ping: Deferred[float] = Deferred(self._forgetPing)
        if self._reason is not None:
            ping.errback(self._reason)
            return ping
        self._pings.append(ping)
        timeout = self._clock.callLater(_PING_TIMEOUT, self._pingTimedOut, ping)

        def settle(result: object) -> object:
            if timeout.active():
                timeout.cancel()
            return result

        ping.addBoth(settle)
        self.probe()
        return ping

    # --- from below -------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """
        Application data arrived.
        """
        if self._receiver is not None:
            self._receiver(data)
        else:
            self._early.append(data)

    def answered(self, seconds: float) -> None:
        """
        A probe was answered.
        """
        if self._pings:
            self._pings.pop(0).callback(seconds)

    def lost(self, reason: Failure) -> None:
        """
        The path is gone.
        """
        if self._reason is not None:
            return
        self._reason = reason
        # One at a time: whoever hears of it may cancel the others.
        while self._pings:
            self._pings.pop(0).errback(reason)
        while self._lostWaiters:
            self._lostWaiters.pop(0).errback(reason)

    def _forgetPing(self, ping: Deferred[float]) -> None:
        self._pings.remove(ping)

    def _pingTimedOut(self, ping: Deferred[float]) -> None:
        if ping in self._pings:
            self._pings.remove(ping)
            ping.errback(PathLost("no answer"))


class PairPath(OpenPath):
    """
    A path that is one nominated pair.

    @ivar path: The pair in use.
    """

    def __init__(self, clock: IReactorTime, path: Path, addresses: tuple[PeerID, PeerID]) -> None:
        """
        @param addresses: Our peer ID and the other side's.
        """
        super().__init__(clock)
        self.path = path
        self._addresses = addresses

    def getHost(self) -> PunchedAddress:
        """
        Our endpoint and peer ID.
        """
        return PunchedAddress.of(self.path.transport, self.path.local, self._addresses[0])

    def getPeer(self) -> PunchedAddress:
        """
        The other side's endpoint and peer ID.
        """
        return PunchedAddress.of(self.path.transport, self.path.remote, self._addresses[1])
