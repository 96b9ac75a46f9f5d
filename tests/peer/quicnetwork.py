"""
Paths in memory with faults, and two QUIC connections over them, for the tests.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.errors import PathLost, PeerClosed
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IDatagramPath
from holepunch.peer.address import PunchedAddress
from holepunch.peer.quic import QUICConnection
from holepunch.peer.quiccore import QUICSettings
from holepunch.peer.quicstream import QUICStream
from tests.peer.network import Recorder

_T = TypeVar("_T")
ALICE, BOB, MALLORY = Identity.generate(), Identity.generate(), Identity.generate()


@implementer(IDatagramPath)
class MemoryPath:
    """
    One end of a path in memory.

    @ivar tamper: Gets each datagram that arrives, and returns those to deliver.
    @ivar isUp: Does it pass anything on?
    @ivar sent: How many datagrams were sent.
    """

    def __init__(self, clock: Clock, ids: tuple[PeerID, PeerID], port: int) -> None:
        self.clock = clock
        self.ids = ids
        self.port = port
        self.latency = 0.01
        self.tamper: Callable[[bytes], list[tuple[float, bytes]]] = lambda data: [(0.0, data)]
        self.isUp = True
        self.sent = 0
        self.bytesSent = 0
        self.isClosed = False
        self.other: MemoryPath | None = None
        self._coming: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._call: IDelayedCall | None = None
        self._receiver: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []
        self._reason: Failure | None = None
        self._waiters: list[Deferred[None]] = []

    def getHost(self) -> PunchedAddress:
        return PunchedAddress.of(Transport.UDP, TransportAddress("5.1.0.9", self.port), self.ids[0])

    def getPeer(self) -> PunchedAddress:
        return PunchedAddress.of(Transport.UDP, TransportAddress("5.2.0.9", 9), self.ids[1])

    def send(self, data: bytes) -> None:
        self.sent += 1
        self.bytesSent += len(data)
        other = self.other
        if self.isUp and other is not None:
            for delay, each in other.tamper(data):
                other.arrive(self.clock.seconds() + self.latency + delay, each)

    def arrive(self, due: float, data: bytes) -> None:
        """
        Deliver a datagram later. One call waits for all of them: a Clock sorts at each new one.
        """
        self._count += 1
        heapq.heappush(self._coming, (due, self._count, data))
        if self._call is None or not self._call.active():
            self._call = self.clock.callLater(due - self.clock.seconds(), self._arrived)
        elif due < self._call.getTime():
            self._call.reset(due - self.clock.seconds())

    def _arrived(self) -> None:
        while self._coming and self._coming[0][0] <= self.clock.seconds() + 1e-9:
            self.deliver(heapq.heappop(self._coming)[2])
        if self._coming:
            due = self._coming[0][0]
            self._call = self.clock.callLater(due - self.clock.seconds(), self._arrived)

    def deliver(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver(data)
        else:
            self._early.append(data)

    def setReceiver(self, receiver: Callable[[bytes], None]) -> None:
        self._receiver = receiver
        early, self._early = self._early, []
        for data in early:
            receiver(data)

    def whenLost(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        if self._reason is not None:
            waiter.errback(self._reason)
        else:
            self._waiters.append(waiter)
        return waiter

    def ping(self) -> Deferred[float]:
        raise NotImplementedError

    def close(self) -> None:
        self.isClosed = True
        self.lose(PeerClosed("the path was closed"))

    def lose(self, error: Exception | None = None) -> None:
        """
        The path is lost.
        """
        self._reason = Failure(error or PathLost("consent was withdrawn"))
        while self._waiters:
            self._waiters.pop(0).errback(self._reason)


class Counter(Protocol):
    """
    Counts what arrives, for more than a L{Recorder} likes to keep.
    """

    def __init__(self) -> None:
        self.count = 0
        self.lost: Deferred[BaseException] = Deferred()
        self._waiting: list[tuple[int, Deferred[int]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)
        for length, waiting in self._waiting:
            if self.count >= length and not waiting.called:
                waiting.callback(self.count)

    def whenReceived(self, length: int) -> Deferred[int]:
        waiting: Deferred[int] = Deferred()
        self._waiting.append((length, waiting))
        self.dataReceived(b"")
        return waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.value is not None
        self.lost.callback(reason.value)


class Faults:
    """
    Loses, doubles and delays datagrams by chance.
    """

    def __init__(
        self, seed: int, loss: float = 0.0, duplicate: float = 0.0, reorder: float = 0.0
    ) -> None:
        self._random = random.Random(seed)
        self._loss, self._duplicate, self._reorder = loss, duplicate, reorder

    def __call__(self, data: bytes) -> list[tuple[float, bytes]]:
        chance = self._random.random
        if chance() < self._loss:
            return []
        copies = 2 if chance() < self._duplicate else 1
        return [
            (self._random.random() * 0.03 if chance() < self._reorder else 0.0, data)
            for _ in range(copies)
        ]


class Pair:
    """
    Alice, the client, and Bob, the server, with a connection between them.

    @ivar accepted: The streams that Bob was offered, with their applications' names.
    """

    def __init__(
        self,
        aliceExpects: Identity = BOB,
        bobExpects: Identity = ALICE,
        settings: QUICSettings | None = None,
        server: Callable[[QUICStream, bytes], None] | None = None,
    ) -> None:
        self.clock = Clock()
        self.near = MemoryPath(self.clock, (ALICE.peerID, BOB.peerID), 1)
        self.far = MemoryPath(self.clock, (BOB.peerID, ALICE.peerID), 2)
        self.near.other, self.far.other = self.far, self.near
        self.accepted: list[tuple[QUICStream, bytes]] = []
        self.offered: list[tuple[QUICStream, bytes]] = []
        self.alice = QUICConnection(
            self.clock,
            self.near,
            ALICE,
            aliceExpects.peerID,
            isClient=True,
            streamOpened=lambda stream, name: self.offered.append((stream, name)),
            settings=settings,
        )
        self.bob = QUICConnection(
            self.clock,
            self.far,
            BOB,
            bobExpects.peerID,
            isClient=False,
            streamOpened=server or (lambda stream, name: self.accepted.append((stream, name))),
            settings=settings,
        )

    def advance(self, seconds: float) -> None:
        """
        Let time pass, from one event to the next.
        """
        end = self.clock.seconds() + seconds
        while True:
            calls = self.clock.getDelayedCalls()
            due = min((call.getTime() for call in calls), default=end + 1.0)
            if due > end:
                break
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def waitFor(self, deferred: Deferred[_T], limit: float = 60.0) -> _T:
        """
        Let time pass until C{deferred} has fired.
        """
        results: list[Any] = []
        deferred.addBoth(results.append)
        end = self.clock.seconds() + limit
        while not results and self.clock.seconds() < end:
            calls = self.clock.getDelayedCalls()
            due = min((call.getTime() for call in calls), default=end)
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        if not results:
            raise AssertionError("it did not happen in time")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: _T = results[0]
        return result

    def connect(self) -> None:
        """
        Wait until both are proven.
        """
        self.waitFor(self.alice.whenConnected())
        self.waitFor(self.bob.whenConnected())

    def join(
        self, here: Protocol | None = None, there: Protocol | None = None
    ) -> tuple[QUICStream, QUICStream]:
        """
        Open a stream from Alice to Bob, with a protocol at each end.
        """
        stream = self.alice.openStream(b"test")
        stream.attach(here if here is not None else Recorder())
        count = len(self.accepted)
        while len(self.accepted) == count:
            self.advance(0.01)
        other, _ = self.accepted[-1]
        other.attach(there if there is not None else Recorder())
        return stream, other
