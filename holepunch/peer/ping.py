"""
Measuring round trips over a punched path, TCP or UDP.

Owns: the tiny protocol that answers pings on a stream, and the path that measures.
Knows nothing of: how the path came to be.
Driven by: L{holepunch.peer.peer.Peer}; the command C{holepunch ping}.
"""

from __future__ import annotations

from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from holepunch.address import Transport
from holepunch.errors import PathLost
from holepunch.peer.events import Connected
from holepunch.peer.openpath import OpenPath
from holepunch.peer.pathswitch import PathSwitch
from holepunch.peer.securestream import SecureStream

PING = b"holepunch-ping"
"""
The application (ALPN) of a stream that only answers pings.
"""

_SIZE = 8


class PingAnswerer(Protocol):
    """
    Sends back what it gets.
    """

    def connectionMade(self) -> None:
        """
        Read no more than the other side reads.
        """
        cast(SecureStream, self.transport).registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        cast(SecureStream, self.transport).write(data)


class _Asker(Protocol):
    """
    Sends eight bytes and waits for eight bytes.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pings: list[tuple[Deferred[float], float]] = []
        self._received = 0
        self._lostWaiters: list[Deferred[None]] = []
        self._reason: PathLost | None = None

    def whenLost(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(self._lostWaiters.remove)
        if self._reason is None:
            self._lostWaiters.append(waiter)
        else:
            waiter.errback(self._reason)
        return waiter

    def ping(self) -> Deferred[float]:
        answered: Deferred[float] = Deferred()
        if self._reason is not None:
            answered.errback(self._reason)
            return answered
        self._pings.append((answered, self._clock.seconds()))
        cast(SecureStream, self.transport).write(b"holepnch")
        return answered

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        while self._received >= _SIZE and self._pings:
            self._received -= _SIZE
            answered, sentAt = self._pings.pop(0)
            if not answered.called:
                answered.callback(self._clock.seconds() - sentAt)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._reason = lost = PathLost(f"the connection ended: {reason.getErrorMessage()}")
        while self._pings:
            answered, _ = self._pings.pop(0)
            if not answered.called:
                answered.errback(lost)
        while self._lostWaiters:
            self._lostWaiters.pop(0).errback(lost)


@attrs.frozen
class PingWay:
    """
    Which way a path leads.

    @ivar path: C{"direct"} or C{"relay"}.
    """

    path: str
    transport: Transport


class PingPath:
    """
    A path over which round trips are measured.

    @ivar connected: Which path it was in the beginning.
    """

    def __init__(
        self, clock: IReactorTime, connected: Connected, outcome: SecureStream | OpenPath
    ) -> None:
        self.connected = connected
        self._outcome = outcome
        self._way = PingWay(connected.path, connected.transport)
        if isinstance(outcome, SecureStream):
            self._asker = _Asker(clock)
            outcome.attach(self._asker)

    @property
    def way(self) -> PingWay:
        """
        Where it leads at the moment; while it leads nowhere, where it did.
        """
        outcome = self._outcome
        if isinstance(outcome, PathSwitch) and outcome.best is not None:
            self._way = PingWay(outcome.best.kind.word, Transport[outcome.getPeer().type])
        return self._way

    def ping(self) -> Deferred[float]:
        """
        One round trip, in seconds; fails with L{PathLost<holepunch.errors.PathLost>} when the path
        is lost.
        """
        if isinstance(self._outcome, OpenPath):
            return self._outcome.ping()
        return self._asker.ping()

    def whenLost(self) -> Deferred[None]:
        """
        Fails when the path is lost or closed.
        """
        if isinstance(self._outcome, OpenPath):
            return self._outcome.whenLost()
        return self._asker.whenLost()

    def close(self) -> None:
        """
        Close the path.
        """
        if isinstance(self._outcome, OpenPath):
            self._outcome.close()
        else:
            self._outcome.loseConnection()
