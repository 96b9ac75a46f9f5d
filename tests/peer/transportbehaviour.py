"""
How Twisted's TCP transports behave, as far as an application can see: the same tests for all kinds.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.peer.network import Recorder


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """
    Notes which half was closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[str] = []

    def readConnectionLost(self) -> None:
        self.closed.append("read")

    def writeConnectionLost(self) -> None:
        self.closed.append("write")


@implementer(IPushProducer)
class Source:
    """
    Writes pieces as long as nobody tells it to pause.
    """

    def __init__(self, transport: Any, pieces: int, size: int = 50_000) -> None:
        self.transport = transport
        self.left = pieces
        self.written = 0
        self.isPaused = False
        self.isStopped = False
        self.piece = bytes(size)

    def pauseProducing(self) -> None:
        self.isPaused = True

    def stopProducing(self) -> None:
        self.isPaused = self.isStopped = True

    def resumeProducing(self) -> None:
        self.isPaused = False
        while not self.isPaused and self.left:
            self.left -= 1
            self.written += len(self.piece)
            self.transport.write(self.piece)


class Pull:
    """
    Writes one piece whenever it is asked.
    """

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport = transport
        self.left = pieces
        self.isStopped = False

    def resumeProducing(self) -> None:
        self.left -= 1
        self.transport.write(b"y" * 1000)
        if self.left == 0:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.isStopped = True


class Behaviour:
    """
    The tests; a subclass makes the transports.
    """

    class Tests(SynchronousTestCase):
        """
        Two ends, C{self.near} and C{self.far}, with the protocols C{self.here} and C{self.there}.
        """

        near: Any
        far: Any
        here: Any
        there: Any

        def open(self, here: Any = None, there: Any = None) -> None:
            """
            Make the two ends.
            """
            raise NotImplementedError

        def advance(self, seconds: float) -> None:
            """
            Let time pass.
            """
            raise NotImplementedError

        def waitFor(self, deferred: Deferred[Any]) -> Any:
            """
            Let time pass until this happens.
            """
            raise NotImplementedError

        def test_interfaces(self) -> None:
            """
            It is what Twisted's programs expect of a TCP transport.
            """
            self.open()
            for interface in (ITCPTransport, IPushProducer):
                verifyObject(interface, self.near)

        def test_bothWays(self) -> None:
            """
            Half a megabyte each way arrives as it was written.
            """
            self.open()
            sent = bytes(range(256)) * 2048
            self.near.writeSequence([sent[:10], b"", sent[10:]])
            self.far.write(sent)
            self.assertEqual(self.waitFor(self.there.whenReceived(len(sent))), sent)
            self.assertEqual(self.waitFor(self.here.whenReceived(len(sent))), sent)

        def test_loseConnectionFlushes(self) -> None:
            """
            What was written before loseConnection arrives.
            """
            self.open()
            self.near.write(b"goodbye" * 100_000)
            self.near.loseConnection()
            self.assertTrue(self.near.disconnecting)
            self.assertIsInstance(self.waitFor(self.there.lost), ConnectionDone)
            self.assertEqual(self.there.received, b"goodbye" * 100_000)
            self.assertIsInstance(self.waitFor(self.here.lost), ConnectionDone)

        def test_writeAfterTheEnd(self) -> None:
            """
            Whatever is asked of a transport that was lost does no harm.
            """
            self.open()
            self.near.loseConnection()
            self.waitFor(self.here.lost)
            self.near.write(b"too late")
            self.near.writeSequence([b"too", b"late"])
            self.near.loseConnection()
            self.near.abortConnection()
            self.near.resumeProducing()
            source = Source(self.near, 1)
            self.near.registerProducer(source, True)
            self.assertTrue(source.isStopped)
            self.advance(1.0)

        def test_halfClose(self) -> None:
            """
            After loseWriteConnection the other direction goes on, until it is closed as well.
            """
            self.open(HalfCloseable(), HalfCloseable())
            self.near.write(b"question")
            self.near.loseWriteConnection()
            self.advance(1.0)
            self.assertEqual((self.there.received, self.there.closed), (b"question", ["read"]))
            self.assertEqual(self.here.closed, ["write"])
            self.near.write(b"too late")
            self.far.write(b"answer" * 50_000)
            self.far.loseConnection()
            self.assertIsInstance(self.waitFor(self.there.lost), ConnectionDone)
            self.assertEqual(self.waitFor(self.here.whenReceived(300_000)), b"answer" * 50_000)
            self.near.loseConnection()
            self.assertIsInstance(self.waitFor(self.here.lost), ConnectionDone)
            self.assertEqual(self.there.received, b"question")

        def test_abort(self) -> None:
            """
            An aborted transport tells its own application so, later, and the other side that it was
            lost.
            """
            self.open()
            self.near.abortConnection()
            self.assertNoResult(self.here.lost)
            self.assertIsInstance(self.waitFor(self.here.lost), ConnectionAborted)
            self.assertIsInstance(self.waitFor(self.there.lost), ConnectionLost)

        def test_pausedReader(self) -> None:
            """
            A paused transport delivers nothing, slows its sender down, and loses nothing.
            """
            self.open()
            source = Source(self.near, 200)
            self.far.pauseProducing()
            self.near.registerProducer(source, True)
            source.resumeProducing()
            self.advance(5.0)
            self.assertEqual(self.there.received, b"")
            self.assertTrue(source.isPaused)
            written = source.written
            self.assertLess(written, 5_000_000)
            self.advance(5.0)
            self.assertEqual(written, source.written)
            self.far.resumeProducing()
            self.waitFor(self.there.whenReceived(200 * 50_000))
            self.assertEqual(200 * 50_000, len(self.there.received))
            self.near.unregisterProducer()

        def test_pauseWithinDelivery(self) -> None:
            """
            An application that pauses while it gets data gets no more until it resumes.
            """
            self.open()
            received = self.there.dataReceived

            def dataReceived(data: bytes) -> None:
                self.far.pauseProducing()
                received(data)

            self.there.dataReceived = dataReceived
            self.near.write(b"z" * 300_000)
            self.advance(1.0)
            first = len(self.there.received)
            self.assertLess(0, first)
            self.assertLess(first, 300_000)
            self.advance(1.0)
            self.assertEqual(first, len(self.there.received))
            while len(self.there.received) < 300_000:
                self.far.resumeProducing()
                self.advance(0.1)

        def test_closeWaitsForPullProducer(self) -> None:
            """
            loseConnection lets a registered pull producer finish first.
            """
            self.open()
            producer = Pull(self.near, 20)
            self.near.registerProducer(producer, False)
            self.near.loseConnection()
            self.assertIsInstance(self.waitFor(self.there.lost), ConnectionDone)
            self.assertEqual(self.there.received, b"y" * 20_000)
            self.assertFalse(producer.isStopped)

        def test_closeWaitsForPushProducer(self) -> None:
            """
            loseConnection lets a registered push producer finish first.
            """
            self.open()
            source = Source(self.near, 100)
            self.near.registerProducer(source, True)
            self.near.loseConnection()
            source.resumeProducing()
            self.waitFor(self.there.whenReceived(source.written))
            while source.left:
                self.advance(0.1)
            self.near.unregisterProducer()
            self.assertIsInstance(self.waitFor(self.there.lost), ConnectionDone)
            self.assertEqual(len(self.there.received), 100 * 50_000)

        def test_twoProducers(self) -> None:
            """
            There is one producer at a time.
            """
            self.open()
            self.near.registerProducer(Source(self.near, 0), True)
            self.assertRaises(RuntimeError, self.near.registerProducer, Source(self.near, 0), True)
            self.near.unregisterProducer()
            self.near.registerProducer(Source(self.near, 0), True)

        def test_producerIsStopped(self) -> None:
            """
            A producer is told that there is nobody any more.
            """
            self.open()
            source = Source(self.near, 0)
            self.near.registerProducer(source, True)
            self.far.abortConnection()
            self.waitFor(self.here.lost)
            self.assertTrue(source.isStopped)

        def test_noReentrancy(self) -> None:
            """
            Nothing calls the application back from within its own call.
            """
            self.open()
            depth: list[bytes] = []

            def dataReceived(data: bytes) -> None:
                self.assertEqual(depth, [])
                depth.append(data)
                self.far.write(data)
                self.far.pauseProducing()
                self.far.resumeProducing()
                self.far.loseConnection()
                self.assertNoResult(self.there.lost)
                depth.pop()

            self.there.dataReceived = dataReceived
            self.near.write(b"once")
            self.assertIsInstance(self.waitFor(self.there.lost), ConnectionDone)
            self.assertIsInstance(self.waitFor(self.here.lost), ConnectionDone)
            self.assertEqual(self.here.received, b"once")

        def test_failingProtocol(self) -> None:
            """
            An application that fails loses its own connection, and is told why.
            """
            self.open()

            def dataReceived(data: bytes) -> None:
                raise RuntimeError("no")

            self.there.dataReceived = dataReceived
            self.near.write(b"data")
            self.assertIsInstance(self.waitFor(self.there.lost), RuntimeError)
            self.waitFor(self.here.lost)
            self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
