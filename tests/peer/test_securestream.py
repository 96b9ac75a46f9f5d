"""
Tests for L{holepunch.peer.securestream}.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from holepunch.address import Transport, TransportAddress
from holepunch.errors import WrongPeer
from holepunch.identity import Identity
from holepunch.lab import SimulatedInternet, Topology
from holepunch.peer.address import PunchedAddress
from holepunch.peer.securestream import SecureStream
from holepunch.tls import IdentityTLS
from tests.peer.network import Recorder

ALICE, BOB, MALLORY = Identity.generate(), Identity.generate(), Identity.generate()


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


class Side:
    """
    One end of a stream, and what its handshake came to.
    """

    def __init__(self, identity: Identity, expected: Identity, isClient: bool) -> None:
        self.tls = IdentityTLS(identity, expected.peerID, [b"holepunch"])
        self.newConnection: Any = self.tls.newConnection
        self.isClient = isClient
        self.ids = (identity.peerID, expected.peerID)
        self.secured: Deferred[SecureStream] = Deferred()
        self.secured.addErrback(lambda failure: failure)

    def build(self, reactor: Any) -> SecureStream:
        here, there = (
            PunchedAddress.of(Transport.TCP, TransportAddress("5.1.0.9", 9), peerID)
            for peerID in self.ids
        )
        self.stream = SecureStream(
            reactor, self.newConnection(self.isClient), here, there, self._done
        )
        return self.stream

    def _done(self, stream: SecureStream, failure: Failure | None) -> None:
        if failure is None:
            self.secured.callback(stream)
        else:
            self.secured.errback(failure)


class StreamTestCase(SynchronousTestCase):
    """
    Two streams over TCP between two simulated hosts.
    """

    def join(self, clientExpects: Identity = BOB, serverExpects: Identity = ALICE) -> None:
        self.internet = SimulatedInternet(Topology.parse("none/none"), seed=1)
        self.client = Side(ALICE, clientExpects, True)
        self.server = Side(BOB, serverExpects, False)
        near: Any = self.internet.host("alice").reactor
        far: Any = self.internet.host("bob").reactor

        class ServerFactory(Factory):
            buildProtocol = lambda factory, addr: self.server.build(far)  # noqa: E731

        class NearFactory(ClientFactory):
            buildProtocol = lambda factory, addr: self.client.build(near)  # noqa: E731

        far.listenTCP(7000, ServerFactory())
        near.connectTCP(self.internet.host("bob").addresses[0], 7000, NearFactory())

    def open(self, client: Recorder | None = None, server: Recorder | None = None) -> None:
        self.join()
        self.here = client if client is not None else Recorder()
        self.there = server if server is not None else Recorder()
        self.internet.waitFor(self.client.secured)
        self.client.stream.attach(self.here)
        self.internet.waitFor(self.server.secured)
        self.server.stream.attach(self.there)


class SecureStreamTests(StreamTestCase):
    """
    What the two have to be.
    """

    def test_interfaces(self) -> None:
        """
        A stream is what Twisted's programs expect of a TCP transport.
        """
        self.open()
        for interface in (ITCPTransport, IPushProducer):
            verifyObject(interface, self.client.stream)

    def test_bothProven(self) -> None:
        """
        After the handshake both sides know whom they talk to, and what for.
        """
        self.open()
        self.assertEqual(self.client.stream.getPeer().peerID, BOB.peerID)
        self.assertEqual(self.server.stream.getPeer().peerID, ALICE.peerID)
        self.assertEqual(self.server.stream.application, b"holepunch")

    def test_dataBothWays(self) -> None:
        """
        A megabyte each way arrives as it was written.
        """
        self.open()
        sent = bytes(range(256)) * 4096
        self.client.stream.writeSequence([sent[:10], sent[10:]])
        self.server.stream.write(sent)
        self.assertEqual(self.internet.waitFor(self.there.whenReceived(len(sent))), sent)
        self.assertEqual(self.internet.waitFor(self.here.whenReceived(len(sent))), sent)

    def test_wrongServer(self) -> None:
        """
        A client that finds another peer than the expected one fails with WrongPeer, and so neither
        side's application gets a stream.
        """
        self.join(clientExpects=MALLORY)
        self.assertRaises(WrongPeer, self.internet.waitFor, self.client.secured)
        self.assertRaises(SSL.Error, self.internet.waitFor, self.server.secured)

    def test_wrongClient(self) -> None:
        """
        A server that finds another peer than the expected one fails with WrongPeer.
        """
        self.join(serverExpects=MALLORY)
        self.assertRaises(WrongPeer, self.internet.waitFor, self.server.secured)

    def test_garbageAfterNomination(self) -> None:
        """
        Who sends something else than TLS, from the beginning or later, gets no further, and the
        application hears that the stream is lost.
        """
        for garbage in (
            bytes(100),
            b"\x16\x03\x01\x40\x00" + b"\xff" * 20000,
            b"GET / HTTP/1.1\r\n",
        ):
            side = Side(BOB, ALICE, False)
            transport: Any = StringTransportWithDisconnection()
            transport.protocol = stream = side.build(Clock())
            stream.makeConnection(transport)
            stream.dataReceived(garbage)
            self.failureResultOf(side.secured, SSL.Error)
        self.open()
        tcp: Any = self.client.stream.transport
        tcp.write(b"\xff" * 100)
        self.assertNotIsInstance(self.internet.waitFor(self.there.lost), ConnectionDone)
        self.assertEqual(bytes(self.there.received), b"")

    def test_noCertificate(self) -> None:
        """
        Who shows no certificate gets no stream.
        """
        self.join()
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_alpn_protos([b"holepunch"])

        def anonymous(isClient: bool) -> SSL.Connection:
            connection = SSL.Connection(context, None)
            connection.set_connect_state()
            return connection

        self.client.newConnection = anonymous
        self.assertRaises(SSL.Error, self.internet.waitFor, self.server.secured)

    def test_halfClose(self) -> None:
        """
        After loseWriteConnection the other direction goes on, until it is closed as well.
        """
        self.open(HalfCloseable(), HalfCloseable())
        assert isinstance(self.here, HalfCloseable) and isinstance(self.there, HalfCloseable)
        self.client.stream.write(b"question")
        self.client.stream.loseWriteConnection()
        self.internet.advance(1.0)
        self.assertEqual((self.there.received, self.there.closed), (b"question", ["read"]))
        self.assertEqual(self.here.closed, ["write"])
        self.server.stream.write(b"answer" * 50_000)
        self.server.stream.loseWriteConnection()
        self.assertIsInstance(self.internet.waitFor(self.here.lost), ConnectionDone)
        self.assertIsInstance(self.internet.waitFor(self.there.lost), ConnectionDone)
        self.assertEqual(self.here.received, b"answer" * 50_000)

    def test_halfCloseOfOrdinaryProtocol(self) -> None:
        """
        A protocol that knows nothing of half-close sends what it wrote, and then is closed.
        """
        self.open()
        self.server.stream.write(b"last words" * 1000)
        self.client.stream.loseWriteConnection()
        self.assertIsInstance(self.internet.waitFor(self.there.lost), ConnectionDone)
        self.internet.advance(1.0)
        self.assertEqual(self.here.received, b"last words" * 1000)

    def test_loseConnectionFlushes(self) -> None:
        """
        What was written before loseConnection arrives, even when the other side is still sending.
        """
        self.open()
        self.server.stream.write(b"chatter" * 100_000)
        self.client.stream.write(b"goodbye" * 100_000)
        self.client.stream.loseConnection()
        self.client.stream.write(b"too late")
        self.assertIsInstance(self.internet.waitFor(self.there.lost), ConnectionDone)
        self.assertEqual(self.there.received, b"goodbye" * 100_000)
        self.assertIsInstance(self.internet.waitFor(self.here.lost), ConnectionDone)

    def test_abort(self) -> None:
        """
        An aborted stream tells its own application so, and the other side that it was lost.
        """
        self.open()
        self.client.stream.abortConnection()
        self.assertIsInstance(self.internet.waitFor(self.here.lost), ConnectionAborted)
        self.assertIsInstance(self.internet.waitFor(self.there.lost), ConnectionLost)

    def test_truncation(self) -> None:
        """
        A TCP connection that ends without the close alert is not a clean end.
        """
        self.open()
        assert self.client.stream.transport is not None
        self.client.stream.transport.loseConnection()
        self.assertIsInstance(self.internet.waitFor(self.there.lost), ConnectionLost)

    def test_pausedReader(self) -> None:
        """
        A paused stream delivers nothing, slows its sender down, and loses nothing.
        """
        self.open()

        @implementer(IPushProducer)
        class Source:
            written = 0
            isPaused = False

            def pauseProducing(source) -> None:
                source.isPaused = True

            def stopProducing(source) -> None:
                source.isPaused = True

            def resumeProducing(source) -> None:
                source.isPaused = False
                while not source.isPaused and source.written < 200:
                    source.written += 1
                    self.client.stream.write(b"x" * 50_000)

        source = Source()
        self.server.stream.pauseProducing()
        self.client.stream.registerProducer(source, True)
        source.resumeProducing()
        self.internet.advance(5.0)
        self.assertEqual(self.there.received, b"")
        self.assertTrue(source.isPaused)
        self.assertLess(source.written, 200)
        self.server.stream.resumeProducing()
        received = self.internet.waitFor(self.there.whenReceived(200 * 50_000))
        self.assertEqual(len(received), 200 * 50_000)
        self.client.stream.unregisterProducer()

    def test_closeWaitsForProducer(self) -> None:
        """
        loseConnection lets a registered producer finish first.
        """
        self.open()

        class Pull:
            left = 20

            def resumeProducing(pull) -> None:
                pull.left -= 1
                self.client.stream.write(b"y" * 1000)
                if pull.left == 0:
                    self.client.stream.unregisterProducer()

            def stopProducing(pull) -> None:
                self.fail("it was not lost")

        self.client.stream.registerProducer(Pull(), False)
        self.client.stream.loseConnection()
        self.assertIsInstance(self.internet.waitFor(self.there.lost), ConnectionDone)
        self.assertEqual(self.there.received, b"y" * 20_000)
