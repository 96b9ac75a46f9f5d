"""
Small programs that the tests run on the simulated internet.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.lab import Fabric, Fate
from holepunch.nat import Packet

_DONE = Failure(ConnectionDone())


class Recorder(Protocol):
    """
    Keeps what happens to it.

    @ivar greeting: Sent at once.
    @ivar reason: Why the connection was lost; L{None}: it was not.
    """

    def __init__(self, greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.received = b""
        self.isConnected = False
        self.reason: BaseException | None = None
        self._awaited: list[tuple[int, Deferred[bytes]]] = []
        self._lost: list[Deferred[object]] = []

    def connectionMade(self) -> None:
        self.isConnected = True
        if self.greeting:
            assert self.transport is not None
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        for size, awaiting in list(self._awaited):
            if len(self.received) >= size:
                self._awaited.remove((size, awaiting))
                awaiting.callback(self.received)

    def connectionLost(self, reason: Failure = _DONE) -> None:
        self.reason = reason.value
        lost, self._lost = self._lost, []
        for awaiting in lost:
            awaiting.callback(type(reason.value))

    def whenReceived(self, size: int) -> Deferred[bytes]:
        """
        Fires with everything received, once it is so many bytes.
        """
        awaiting: Deferred[bytes] = Deferred()
        self._awaited.append((size, awaiting))
        self.dataReceived(b"")
        return awaiting

    def whenLost(self) -> Deferred[object]:
        """
        Fires with the class of the reason, once the connection is lost.
        """
        awaiting: Deferred[object] = Deferred()
        if self.reason is not None:
            awaiting.callback(type(self.reason))
        else:
            self._lost.append(awaiting)
        return awaiting


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """
    A recorder that goes on when one direction is closed.
    """

    isReadLost = False
    isWriteLost = False

    def readConnectionLost(self) -> None:
        self.isReadLost = True

    def writeConnectionLost(self) -> None:
        self.isWriteLost = True


class Echo(Recorder):
    """
    Sends back what it gets.
    """

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        assert self.transport is not None
        self.transport.write(data)


class Accepting(Factory):
    """
    Builds one kind of protocol, and keeps those it built.
    """

    noisy = False

    def __init__(self, kind: type[Recorder] = Recorder, greeting: bytes = b"") -> None:
        self.kind = kind
        self.greeting = greeting
        self.built: list[Recorder] = []

    def buildProtocol(self, addr: object) -> Recorder:
        protocol = self.kind(self.greeting)
        self.built.append(protocol)
        return protocol


class Datagrams(DatagramProtocol):
    """
    Keeps the datagrams that it gets, and answers each if told so.
    """

    noisy = False

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self.refusals = 0

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.received.append((datagram, addr))
        if self.answer is not None:
            assert self.transport is not None
            self.transport.write(self.answer, addr)

    def connectionRefused(self) -> None:
        self.refusals += 1


class Trace:
    """
    Keeps the fate of every packet, as lines of text.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.lines: list[str] = []
        self.fates: list[tuple[str, Packet, Fate]] = []
        fabric.addObserver(self._observe)

    def _observe(self, at: float, place: str, packet: Packet, fate: Fate, reason: str) -> None:
        self.lines.append(f"{at!r} {place} {packet} {fate.value} {reason}")
        self.fates.append((place, packet, fate))

    def sentBy(self, host: str) -> list[Packet]:
        """
        What a host sent.
        """
        return [packet for place, packet, fate in self.fates if (place, fate) == (host, Fate.SENT)]
