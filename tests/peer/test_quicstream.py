"""
Tests for L{holepunch.peer.quicstream}: a stream, beside Twisted's TCP and TLS over it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import ClientFactory, Factory

from holepunch.errors import PathLost
from holepunch.lab import SimulatedInternet, Topology
from tests.peer import test_securestream
from tests.peer.network import Recorder
from tests.peer.quicnetwork import Counter, Faults, Pair
from tests.peer.transportbehaviour import Behaviour, HalfCloseable, Source


class QUICStreamTests(Behaviour.Tests):
    """
    A stream of a QUIC connection over a path in memory.
    """

    def open(self, here: Any = None, there: Any = None) -> None:
        self.pair = Pair()
        self.pair.connect()
        self.here, self.there = here or Recorder(), there or Recorder()
        self.near, self.far = self.pair.join(self.here, self.there)

    def advance(self, seconds: float) -> None:
        self.pair.advance(seconds)

    def waitFor(self, deferred: Deferred[Any]) -> Any:
        return self.pair.waitFor(deferred)

    def test_textIsRefused(self) -> None:
        """
        Text is no bytes.
        """
        self.open()
        self.assertRaises(TypeError, self.near.write, "text")

    def test_writeAfterClose(self) -> None:
        """
        What is written after loseConnection goes nowhere.
        """
        self.open()
        self.near.write(b"goodbye")
        self.near.loseConnection()
        self.near.write(b"too late")
        self.waitFor(self.there.lost)
        self.assertEqual(b"goodbye", self.there.received)

    def test_addresses(self) -> None:
        """
        Its two ends are those of the path, with the peers' IDs.
        """
        self.open()
        self.assertEqual(self.pair.near.getHost(), self.near.getHost())
        self.assertEqual(self.pair.near.getPeer(), self.near.getPeer())
        self.pair.near.port = 77
        self.assertEqual(77, self.near.getHost().port)

    def test_certificate(self) -> None:
        """
        Both sides can look at the certificate that the other one proved.
        """
        self.open()
        for stream in (self.near, self.far):
            subject = stream.getPeerCertificate().to_cryptography().subject.rfc4514_string()
            self.assertEqual(f"CN={stream.getPeer().peerID}", subject)

    def test_pathLost(self) -> None:
        """
        When the path is lost, the application gets what arrived before, and the reason.
        """
        self.open()
        self.far.pauseProducing()
        self.near.write(b"last words")
        self.advance(1.0)
        self.pair.far.lose(PathLost("consent was withdrawn"))
        lost = self.waitFor(self.there.lost)
        self.assertIsInstance(lost, ConnectionLost)
        self.assertIn("consent was withdrawn", str(lost))
        self.assertEqual(b"last words", self.there.received)

    def test_lateAttach(self) -> None:
        """
        A stream that was lost before an application took it still gives what it received.
        """
        self.pair = Pair()
        self.pair.connect()
        stream = self.pair.alice.openStream(b"test")
        stream.attach(Recorder())
        stream.write(b"early")
        self.advance(1.0)
        self.pair.alice.close()
        self.advance(1.0)
        late = Recorder()
        self.pair.accepted[0][0].attach(late)
        self.assertIsInstance(self.waitFor(late.lost), ConnectionLost)

    def test_abandon(self) -> None:
        """
        A stream that is abandoned ends in a while, even if nobody reads what was written.
        """
        self.open()
        self.far.pauseProducing()
        self.near.write(bytes(5_000_000))
        self.near.abandon()
        self.waitFor(self.here.lost)

    def test_pausedHalf(self) -> None:
        """
        The end of the other side's data waits behind the data while the application is paused.
        """
        self.open(there=HalfCloseable())
        self.far.pauseProducing()
        self.near.write(b"data")
        self.near.loseWriteConnection()
        self.advance(1.0)
        self.assertEqual((b"", []), (self.there.received, self.there.closed))
        self.far.resumeProducing()
        self.advance(1.0)
        self.assertEqual((b"data", ["read"]), (self.there.received, self.there.closed))

    def test_otherStreamsGoOn(self) -> None:
        """
        A paused stream does not hold up the others of the same connection, however much its writer
        has to say.
        """
        self.open(there=Counter())
        self.far.pauseProducing()
        source = Source(self.near, 400)
        self.near.registerProducer(source, True)
        source.resumeProducing()
        self.advance(3.0)
        there = Counter()
        second, _ = self.pair.join(there=there)
        second.write(bytes(3_000_000))
        self.waitFor(there.whenReceived(3_000_000))
        self.assertEqual(0, self.there.count)
        self.assertLess(self.far.held, 2_000_000)

    def test_deafWriter(self) -> None:
        """
        A writer that does not hold when it is asked to is stopped by QUIC's flow control, and what
        waits here stays bounded.
        """
        self.open(there=Counter())
        self.near.receivedHold = lambda isHeld: None
        self.far.pauseProducing()
        source = Source(self.near, 500)
        self.near.registerProducer(source, True)
        source.resumeProducing()
        self.advance(20.0)
        self.assertTrue(source.isPaused)
        self.assertLess(source.written, 12_000_000)
        self.assertLess(self.far.held, 2_000_000)
        self.far.resumeProducing()
        self.waitFor(self.there.whenReceived(500 * 50_000))

    def test_lossyFlush(self) -> None:
        """
        loseConnection flushes over a path that loses, doubles and reorders, too.
        """
        self.open()
        self.pair.near.tamper = Faults(1, 0.05, 0.05, 0.2)
        self.pair.far.tamper = Faults(2, 0.05, 0.05, 0.2)
        self.near.write(b"goodbye" * 50_000)
        self.near.loseConnection()
        self.waitFor(self.there.lost)
        self.waitFor(self.here.lost)
        self.assertEqual(b"goodbye" * 50_000, self.there.received)

    def test_nothingIsLeft(self) -> None:
        """
        When its streams have ended, a connection keeps nothing of them.
        """
        self.open()
        self.near.loseConnection()
        self.waitFor(self.here.lost)
        self.waitFor(self.there.lost)
        self.assertEqual((0, 0), (self.pair.alice.streamCount, self.pair.bob.streamCount))


class TCPTests(Behaviour.Tests):
    """
    Twisted's own TCP transport, in the simulated internet: what the others are held to.
    """

    def open(self, here: Any = None, there: Any = None) -> None:
        self.here, self.there = here or Recorder(), there or Recorder()
        self.internet = SimulatedInternet(Topology.parse("none/none"), seed=1)
        near: Any = self.internet.host("alice").reactor
        far: Any = self.internet.host("bob").reactor
        accepting, calling = Factory(), ClientFactory()
        accepting.buildProtocol = lambda addr: self.there  # type: ignore[method-assign]
        calling.buildProtocol = lambda addr: self.here  # type: ignore[method-assign]
        far.listenTCP(7000, accepting)
        near.connectTCP(self.internet.host("bob").addresses[0], 7000, calling)
        self.internet.advance(1.0)
        self.near, self.far = self.here.transport, self.there.transport

    def advance(self, seconds: float) -> None:
        self.internet.advance(seconds)

    def waitFor(self, deferred: Deferred[Any]) -> Any:
        return self.internet.waitFor(deferred)


class SecureStreamTests(TCPTests):
    """
    TLS on a punched TCP connection, in the simulated internet.
    """

    def open(self, here: Any = None, there: Any = None) -> None:
        case = test_securestream.StreamTestCase("run")
        case.open(here, there)
        self.internet = case.internet
        self.here, self.there = case.here, case.there
        self.near, self.far = case.client.stream, case.server.stream
