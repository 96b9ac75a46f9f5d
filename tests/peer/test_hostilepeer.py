"""
The other end of a stream proved who it is, and then keeps to no rule.
"""

from __future__ import annotations

from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from holepunch.address import Transport
from holepunch.peer import SessionOptions
from holepunch.peer.ping import PingAnswerer
from tests.peer.network import Recorder
from tests.peer.test_faults import FaultTestCase
from tests.peer.test_securestream import HalfCloseable, StreamTestCase

ENOUGH = 4_000_000


@implementer(IPushProducer)
class Flood(Protocol):
    """
    Sends as much as is taken, and reads nothing.

    @ivar sent: How many bytes that was.
    """

    sent = 0
    isPaused = False

    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        transport.pauseProducing()
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.isPaused = False
        while not self.isPaused and self.sent < ENOUGH:
            self.sent += 50_000
            cast(Any, self.transport).write(bytes(50_000))

    def pauseProducing(self) -> None:
        self.isPaused = True

    def stopProducing(self) -> None:
        self.isPaused = True


class CountingConnection:
    """
    An OpenSSL connection that counts what it has to keep.
    """

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def bio_write(self, data: bytes) -> int:
        self.written += len(data)
        return self.connection.bio_write(data)


class HostilePeerTests(StreamTestCase):
    """
    The client floods the server.
    """

    def test_pingsNeverRead(self) -> None:
        """
        Who sends pings and never reads the answers is not read from either.
        """
        self.join()
        self.internet.waitFor(self.server.secured)
        self.server.stream.attach(PingAnswerer())
        flood = Flood()
        self.client.stream.attach(flood)
        self.internet.advance(20.0)
        self.assertLess(flood.sent, ENOUGH / 4)
        self.client.stream.abortConnection()
        self.internet.advance(1.0)

    def test_notAttachedYet(self) -> None:
        """
        Nothing piles up before the application has taken the stream, and nothing is lost.
        """
        self.join()
        self.internet.waitFor(self.server.secured)
        flood = Flood()
        self.client.stream.attach(flood)
        self.internet.advance(20.0)
        self.assertLess(flood.sent, ENOUGH / 4)
        recorder = Recorder()
        self.server.stream.attach(recorder)
        self.internet.advance(20.0)
        self.assertEqual(len(recorder.received), ENOUGH)

    def test_afterCloseAlert(self) -> None:
        """
        What follows the close alert is not kept.
        """
        counting: list[CountingConnection] = []

        def newConnection(isClient: bool) -> CountingConnection:
            counting.append(CountingConnection(self.server.tls.newConnection(isClient)))
            return counting[0]

        self.join()
        self.server.newConnection = newConnection
        self.internet.waitFor(self.client.secured)
        self.client.stream.attach(Recorder())
        self.internet.waitFor(self.server.secured)
        self.server.stream.attach(HalfCloseable())
        self.client.stream.loseWriteConnection()
        self.internet.advance(1.0)
        lower = cast(Any, self.client.stream.transport)
        for _ in range(100):
            lower.write(bytes(10_000))
            self.internet.advance(0.1)
        self.assertLess(counting[0].written, 100_000)

    def test_lastWords(self) -> None:
        """
        What came before the stream was taken is delivered, though the other side is gone.
        """
        self.join()
        self.internet.waitFor(self.server.secured)
        self.client.stream.attach(Recorder())
        self.client.stream.write(b"last words")
        self.client.stream.loseConnection()
        self.internet.advance(1.0)
        recorder = Recorder()
        self.server.stream.attach(recorder)
        self.internet.advance(1.0)
        self.assertEqual(recorder.received, b"last words")
        self.assertTrue(recorder.lost.called)

    def test_attachedTooLate(self) -> None:
        """
        A protocol that is attached to a stream that was lost already hears of that.
        """
        self.join()
        self.internet.waitFor(self.server.secured)
        self.server.stream.abortConnection()
        self.internet.advance(1.0)
        recorder = Recorder()
        self.server.stream.attach(recorder)
        self.assertIsInstance(self.internet.waitFor(recorder.lost), ConnectionAborted)


class PingPathTests(FaultTestCase):
    """
    Paths that were opened for pings, and of which the program knows nothing.
    """

    def test_limit(self) -> None:
        """
        At most 64 of them stay open, whoever opens them; the program's own paths do not count.
        """
        network = self.start()
        paths: list[Any] = []
        for number in range(68):
            transport = Transport.UDP if number % 2 else Transport.TCP
            options = SessionOptions(transports=frozenset({transport}))
            paths.append(network.waitFor(self.alice.openPingPath("bob", options)))
        lost: list[object] = []
        for path in paths:
            path.whenLost().addErrback(lost.append)
        network.internet.advance(40.0)
        self.assertEqual(len(lost), 4)
        network.waitFor(self.connect())
