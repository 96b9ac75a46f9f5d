"""
Tests for L{holepunch.peer.quic}: a connection between two peers over a path in memory.
"""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from qh3.quic import tls_bridge
from qh3.quic.configuration import QuicConfiguration
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LocalProtocolError, PathLost, PeerClosed, PeerMisbehaved, WrongPeer
from holepunch.peer import quiccore
from holepunch.peer.quiccodes import StreamCode
from holepunch.peer.quiccore import MAX_STREAMS, QUICSettings
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.quictls import useIdentity
from tests.peer.network import Recorder
from tests.peer.quicnetwork import ALICE, BOB, MALLORY, Counter, Faults, Pair


class IdentityTests(SynchronousTestCase):
    """
    Who is believed.
    """

    def assertRefused(self, pair: Pair, who: str, pattern: str) -> None:
        """
        One side refuses the other for this reason, and the other hears of it at once.
        """
        refusing, refused = (pair.alice, pair.bob) if who == "alice" else (pair.bob, pair.alice)
        waiting = refused.whenLost()
        error = self.assertRaises(WrongPeer, pair.waitFor, refusing.whenLost())
        self.assertRegex(str(error), pattern)
        error = self.assertRaises(WrongPeer, pair.waitFor, waiting)
        self.assertIn("does not believe our identity", str(error))
        self.assertLess(pair.clock.seconds(), 1.0)
        self.assertEqual([], pair.accepted)
        pair.advance(70.0)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_bothProven(self) -> None:
        """
        Both sides are proven after one round trip and a half.
        """
        pair = Pair()
        pair.connect()
        self.assertLess(pair.clock.seconds(), 0.035)
        self.assertTrue(pair.alice.isConnected and pair.bob.isConnected)

    def test_wrongServer(self) -> None:
        """
        A client that finds another peer than the expected one tells which, and proves nothing.
        """
        pair = Pair(aliceExpects=MALLORY)
        self.assertRefused(pair, "alice", f"is {BOB.peerID}, and not {MALLORY.peerID}")
        self.assertRaises(WrongPeer, pair.waitFor, pair.alice.whenConnected())

    def test_wrongClient(self) -> None:
        """
        A server that finds another peer than the expected one tells which.
        """
        pair = Pair(bobExpects=MALLORY)
        self.assertRefused(pair, "bob", f"is {ALICE.peerID}, and not {MALLORY.peerID}")
        self.assertRaises(WrongPeer, pair.waitFor, pair.bob.whenConnected())

    def pairOfMallory(self, *changes: Any) -> Pair:
        """
        Alice's program is changed in what it proves.
        """

        def changed(configuration: Any, identity: Any) -> None:
            useIdentity(configuration, identity)
            if configuration.is_client:
                for change in changes:
                    change(configuration)

        with mock.patch.object(quiccore, "useIdentity", changed):
            return Pair()

    def test_noCertificate(self) -> None:
        """
        A client that proves nothing is refused.
        """

        def drop(configuration: Any) -> None:
            configuration.certificate = configuration.private_key = None

        self.assertRefused(self.pairOfMallory(drop), "bob", "shows no certificate")

    def test_stolenCertificate(self) -> None:
        """
        A client that shows the right certificate without holding its key is refused.
        """

        def steal(configuration: Any) -> None:
            mallory = QuicConfiguration(is_client=True)
            useIdentity(mallory, MALLORY)
            configuration.private_key = mallory.private_key

        self.assertRefused(self.pairOfMallory(steal), "bob", "does not hold the key")

    def test_otherKindOfKey(self) -> None:
        """
        A client with a certificate of another kind of key is refused.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")])
        template = ALICE.certificate()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(template.not_valid_before_utc)
            .not_valid_after(template.not_valid_after_utc)
            .sign(key, hashes.SHA256())
        )

        def change(configuration: Any) -> None:
            private = configuration.private_key
            configuration.load_cert_chain(certificate.public_bytes(serialization.Encoding.PEM))
            configuration.private_key = private

        self.assertRefused(self.pairOfMallory(change), "bob", "carries no Ed25519 key")

    def test_otherProtocol(self) -> None:
        """
        A client that means to speak something else is refused.
        """

        def change(configuration: Any) -> None:
            configuration.alpn_protocols = ["h3"]

        self.assertRefused(self.pairOfMallory(change), "bob", "no common protocol")

    def test_absurdParameters(self) -> None:
        """
        Transport parameters beyond what QUIC allows end the handshake; that is no error of ours.
        """
        push: Any = vars(tls_bridge)["push_quic_transport_parameters"]
        for name, value in (
            ("ack_delay_exponent", 21),
            ("ack_delay_exponent", 2**62 - 1),
            ("initial_max_streams_bidi", 2**62 - 1),
        ):

            def pushAbsurd(
                buffer: Any, parameters: Any, name: str = name, value: int = value
            ) -> None:
                setattr(parameters, name, value)
                push(buffer, parameters)

            with mock.patch.object(tls_bridge, "push_quic_transport_parameters", pushAbsurd):
                pair = Pair()
            waiting = pair.bob.whenLost()
            self.assertRaises(WrongPeer, pair.waitFor, waiting)
            pair.advance(70.0)
            self.assertEqual([], pair.clock.getDelayedCalls())


class StreamsTests(SynchronousTestCase):
    """
    Many streams on one connection.
    """

    def setUp(self) -> None:
        self.pair = Pair()
        self.pair.connect()

    def test_names(self) -> None:
        """
        Each side hears for which application the other one opened a stream.
        """
        self.pair.alice.openStream(b"one").attach(Recorder())
        self.pair.bob.openStream(b"x" * 255).attach(Recorder())
        self.pair.advance(0.1)
        self.assertEqual([b"one"], [name for _, name in self.pair.accepted])
        self.assertEqual([b"x" * 255], [name for _, name in self.pair.offered])
        self.assertEqual(b"one", self.pair.accepted[0][0].application)

    def test_badNames(self) -> None:
        """
        A name has 1 to 255 bytes.
        """
        for name in (b"", b"x" * 256):
            self.assertRaises(LocalProtocolError, self.pair.alice.openStream, name)

    def test_refused(self) -> None:
        """
        The opener of a stream for an application that is not there hears so.
        """
        recorder = Recorder()
        self.pair.alice.openStream(b"nothing").attach(recorder)
        self.pair.advance(0.1)
        self.pair.accepted[0][0].refuse()
        lost = self.pair.waitFor(recorder.lost)
        self.assertIsInstance(lost, ConnectionLost)
        self.assertIn("no application of that name", str(lost))
        self.pair.advance(1.0)
        self.assertEqual((0, 0), (self.pair.alice.streamCount, self.pair.bob.streamCount))

    def test_failingAcceptor(self) -> None:
        """
        A stream that cannot be handed to its application is aborted, and no other one.
        """

        def fail(stream: QUICStream, application: bytes) -> None:
            raise RuntimeError("no")

        pair = Pair(server=fail)
        pair.connect()
        recorder = Recorder()
        pair.alice.openStream(b"one").attach(recorder)
        self.assertIsInstance(pair.waitFor(recorder.lost), ConnectionLost)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertTrue(pair.bob.isConnected)

    def test_tooMany(self) -> None:
        """
        So many streams may be open at once, and when one ends there is room for another.
        """
        recorders = [Recorder() for _ in range(MAX_STREAMS)]
        streams = [self.pair.alice.openStream(b"one") for _ in recorders]
        for stream, recorder in zip(streams, recorders, strict=True):
            stream.attach(recorder)
        self.assertRaises(LocalProtocolError, self.pair.alice.openStream, b"one")
        self.pair.advance(0.1)
        streams[0].loseConnection()
        other = Recorder()
        self.pair.accepted[0][0].attach(other)
        self.pair.waitFor(other.lost)
        self.pair.waitFor(recorders[0].lost)
        self.pair.advance(0.1)
        self.pair.alice.openStream(b"one")

    def test_notConnected(self) -> None:
        """
        Streams are opened on connections that are there.
        """
        pair = Pair()
        self.assertRaises(LocalProtocolError, pair.alice.openStream, b"one")
        self.pair.alice.close()
        self.assertRaises(LocalProtocolError, self.pair.alice.openStream, b"one")

    def test_malformedOpening(self) -> None:
        """
        A stream that ends before it has named its application is reset, and nobody hears of it.
        """
        for opening in (b"\x05abc", b"\x00data", b""):
            pair = Pair()
            pair.connect()
            core = pair.alice._core
            number = core.openStream()
            assert number is not None
            core.send(number, opening, True)
            codes: list[int] = []
            pair.alice._handlers["stream_reset"] = lambda number, code, size, codes=codes: (
                codes.append(code)
            )
            pair.alice.pathMoved()
            pair.advance(0.2)
            self.assertEqual([StreamCode.MALFORMED], codes)
            self.assertEqual([], pair.accepted)

    def test_openingInPieces(self) -> None:
        """
        The name of the application may come byte by byte.
        """
        core = self.pair.alice._core
        number = core.openStream()
        assert number is not None
        for byte in b"\x03onerest":
            core.send(number, bytes([byte]))
            self.pair.alice.pathMoved()
            self.pair.advance(0.05)
        stream, name = self.pair.accepted[0]
        recorder = Recorder()
        stream.attach(recorder)
        self.pair.advance(0.05)
        self.assertEqual((b"one", b"rest"), (name, recorder.received))


class FaultyPathTests(SynchronousTestCase):
    """
    Whatever the path does.
    """

    @settings(max_examples=15, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        loss=st.sampled_from([0.0, 0.02, 0.15]),
        duplicate=st.sampled_from([0.0, 0.1]),
        reorder=st.sampled_from([0.0, 0.3]),
        sizes=st.lists(
            st.tuples(st.integers(0, 150_000), st.integers(0, 150_000)), min_size=1, max_size=6
        ),
    )
    def test_bytes(
        self,
        seed: int,
        loss: float,
        duplicate: float,
        reorder: float,
        sizes: list[tuple[int, int]],
    ) -> None:
        """
        What goes in comes out, both ways, on every stream.
        """
        pair = Pair()
        pair.near.tamper = Faults(seed, loss, duplicate, reorder)
        pair.far.tamper = Faults(seed + 1, loss, duplicate, reorder)
        pair.connect()
        ends = []
        for index, (there, back) in enumerate(sizes):
            here, opposite = Recorder(), Recorder()
            stream = pair.alice.openStream(b"test")
            stream.attach(here)
            stream.write(bytes([index]) + bytes(range(251)) * (there // 251))
            ends.append((stream, here, opposite, back))
        while len(pair.accepted) < len(ends):
            pair.advance(0.1)
        for other, _ in pair.accepted:
            first = Recorder()
            other.attach(first)
            pair.waitFor(first.whenReceived(1))
            index = first.received[0]
            _, here, _, back = ends[index]
            answer = bytes([index]) + bytes(range(7)) * (back // 7)
            other.write(answer)
            there, _ = sizes[index]
            sent = bytes([index]) + bytes(range(251)) * (there // 251)
            self.assertEqual(sent, pair.waitFor(first.whenReceived(len(sent))))
            self.assertEqual(answer, pair.waitFor(here.whenReceived(len(answer))))
            other.loseConnection()
            self.assertIsInstance(pair.waitFor(first.lost), ConnectionDone)
            self.assertIsInstance(pair.waitFor(here.lost), ConnectionDone)

    @settings(max_examples=30, deadline=None)
    @given(garbage=st.lists(st.binary(max_size=1500), max_size=20), isBefore=st.booleans())
    def test_garbage(self, garbage: list[bytes], isBefore: bool) -> None:
        """
        Garbage, before the handshake or after it, is counted and dropped.
        """
        pair = Pair()
        if not isBefore:
            pair.connect()
        for data in garbage:
            for path in (pair.near, pair.far):
                path.deliver(data)
                path.deliver(b"\xc0\x00\x00\x00\x01" + data)
                path.deliver(b"\x40" + data)
        pair.connect()
        pair.join()
        if garbage:
            self.assertLess(0, pair.bob.dropped)

    @settings(deadline=None, max_examples=20)
    @given(seed=st.integers(0, 2**32))
    def test_mangled(self, seed: int) -> None:
        """
        Copies of packets that are cut off, lengthened or altered, before and after the real ones,
        change nothing, from the first one on.
        """
        chance = random.Random(seed)

        def tamper(data: bytes) -> list[tuple[float, bytes]]:
            flipped = bytearray(data)
            flipped[chance.randrange(min(60, len(data)))] ^= 1 << chance.randrange(8)
            copies = [
                data[: chance.randrange(len(data))],
                data + chance.randbytes(chance.randrange(1, 200)),
                bytes(flipped),
            ]
            around = [data, *chance.sample(copies, chance.randrange(4))]
            chance.shuffle(around)
            return [(0.0, each) for each in around]

        pair = Pair()
        pair.near.tamper = pair.far.tamper = tamper
        pair.waitFor(pair.alice.whenConnected())
        recorder = Recorder()
        pair.alice.openStream(b"holepunch").attach(recorder)
        sent = chance.randbytes(20_000)
        recorder.transport.write(sent)  # type: ignore[union-attr]
        pair.advance(1.0)
        received = Recorder()
        [(stream, _)] = pair.accepted
        stream.attach(received)
        pair.waitFor(received.whenReceived(len(sent)))
        self.assertEqual(received.received, sent)

    def test_replayed(self) -> None:
        """
        Every packet three times, whole and cut short, and from long ago, changes nothing.
        """
        pair = Pair()
        seen: list[bytes] = []

        def tamper(data: bytes) -> list[tuple[float, bytes]]:
            seen.append(data)
            old = seen[len(seen) // 2]
            return [(0.0, each) for each in (data, data[:-1], data[: len(data) // 2], old, data)]

        pair.near.tamper = pair.far.tamper = tamper
        pair.connect()
        there = Counter()
        stream, _ = pair.join(there=there)
        stream.write(bytes(200_000))
        pair.waitFor(there.whenReceived(200_000))
        stream.loseConnection()
        pair.waitFor(there.lost)
        self.assertEqual(200_000, there.count)
        self.assertLess(100, pair.bob.dropped)

    def test_outage(self) -> None:
        """
        Streams outlive a path that is away for a while, and go on within seconds of its return.
        """
        pair = Pair()
        pair.connect()
        there = Counter()
        stream, _ = pair.join(there=there)
        pair.near.isUp = pair.far.isUp = False
        stream.write(bytes(100_000))
        pair.advance(40.0)
        pair.near.isUp = pair.far.isUp = True
        back = pair.clock.seconds()
        pair.waitFor(there.whenReceived(100_000))
        self.assertLess(pair.clock.seconds() - back, 3.5)

    def test_pathMoved(self) -> None:
        """
        Told that the path is another one, a connection goes on at once.
        """
        pair = Pair()
        pair.connect()
        there = Counter()
        stream, _ = pair.join(there=there)
        pair.near.isUp = pair.far.isUp = False
        stream.write(bytes(10_000))
        pair.advance(40.0)
        pair.near.isUp = pair.far.isUp = True
        back = pair.clock.seconds()
        pair.alice.pathMoved()
        pair.waitFor(there.whenReceived(10_000))
        self.assertLess(pair.clock.seconds() - back, 0.2)

    def test_idle(self) -> None:
        """
        A connection on which nothing is said stays, and one whose path passes nothing ends.
        """
        pair = Pair(settings=QUICSettings(idleTimeout=30.0))
        pair.connect()
        pair.advance(300.0)
        self.assertTrue(pair.alice.isConnected and pair.bob.isConnected)
        pair.near.isUp = pair.far.isUp = False
        lost = [pair.alice.whenLost(), pair.bob.whenLost()]
        for each in lost:
            error = self.assertRaises(PathLost, pair.waitFor, each)
            self.assertIn("30 seconds", str(error))
        pair.advance(1.0)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_nobodyThere(self) -> None:
        """
        A connection to nobody fails after the idle timeout.
        """
        pair = Pair(settings=QUICSettings(idleTimeout=10.0))
        pair.near.isUp = False
        self.assertRaises(PathLost, pair.waitFor, pair.alice.whenConnected())
        self.assertLess(pair.clock.seconds(), 11.0)

    def test_flood(self) -> None:
        """
        More datagrams than can be looked at in one turn are dropped and counted.
        """
        pair = Pair()
        pair.connect()
        for _ in range(10_000):
            pair.near.deliver(b"\x40" + bytes(30))
        pair.advance(1.0)
        self.assertEqual(10_000, pair.alice.dropped)
        self.assertTrue(pair.alice.isConnected)


class EndTests(SynchronousTestCase):
    """
    How it ends.
    """

    def test_close(self) -> None:
        """
        The other side knows at once, and nothing is left of either.
        """
        pair = Pair()
        pair.connect()
        here, there = Recorder(), Recorder()
        pair.join(here, there)
        mine, theirs = pair.alice.whenLost(), pair.bob.whenLost()
        closedAt = pair.clock.seconds()
        pair.alice.close()
        pair.alice.close()
        self.assertNoResult(here.lost)
        self.assertIn("was closed", str(self.assertRaises(PeerClosed, pair.waitFor, mine)))
        error = self.assertRaises(PeerClosed, pair.waitFor, theirs)
        self.assertIn("other side closed", str(error))
        self.assertLess(pair.clock.seconds() - closedAt, 0.02)
        self.assertIsInstance(pair.waitFor(here.lost), ConnectionAborted)
        self.assertIsInstance(pair.waitFor(there.lost), ConnectionLost)
        self.assertFalse(pair.near.isClosed)
        pair.advance(10.0)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_lostGoodbye(self) -> None:
        """
        When the goodbye is lost, it is said again as soon as the other side says something.
        """
        pair = Pair()
        pair.connect()
        here = Recorder()
        pair.join(there=here)
        pair.near.isUp = False
        pair.alice.close()
        pair.near.isUp = True
        pair.accepted[0][0].write(b"are you there?")
        self.assertIsInstance(pair.waitFor(here.lost), ConnectionLost)
        self.assertLess(pair.clock.seconds(), 1.0)

    def test_closeBeforeConnected(self) -> None:
        """
        A connection that is closed in its handshake fails for both.
        """
        pair = Pair()
        waiting = pair.alice.whenConnected()
        pair.advance(0.005)
        pair.alice.close()
        self.assertRaises(PeerClosed, pair.waitFor, waiting)
        self.failureResultOf(pair.alice.whenConnected(), PeerClosed)
        self.failureResultOf(pair.alice.whenLost(), PeerClosed)
        pair.advance(70.0)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_pathLost(self) -> None:
        """
        A connection ends with the reason of its path.
        """
        pair = Pair()
        pair.connect()
        lost = pair.alice.whenLost()
        pair.near.lose(PathLost("consent was withdrawn"))
        error = self.assertRaises(PathLost, pair.waitFor, lost)
        self.assertEqual("consent was withdrawn", str(error))

    def test_cancelled(self) -> None:
        """
        Whoever waits may stop waiting.
        """
        pair = Pair()
        for waiting in (pair.alice.whenConnected(), pair.alice.whenLost()):
            waiting.addErrback(lambda failure: None)
            waiting.cancel()
        pair.connect()
        pair.alice.close()
        pair.advance(1.0)

    def test_rulesBroken(self) -> None:
        """
        A peer that breaks the rules of QUIC is told so, and the connection ends for that reason.
        """
        pair = Pair(settings=QUICSettings(streamWindow=1 << 14, connectionWindow=1 << 20))
        pair.connect()
        core = pair.alice._core
        core._core.apply_peer_transport_parameters(
            1 << 30, 1 << 30, 1 << 30, 1 << 30, 100, 100, 3, 0.025, 60.0, 65535
        )
        number = core.openStream()
        assert number is not None
        core.send(number, bytes(1 << 16))
        lost, told = pair.bob.whenLost(), pair.alice.whenLost()
        pair.alice.pathMoved()
        error = self.assertRaises(PeerMisbehaved, pair.waitFor, lost)
        self.assertIn("broke the rules of QUIC", str(error))
        self.assertRaises(PathLost, pair.waitFor, told)

    def test_brokenLibrary(self) -> None:
        """
        An error of the library ends the connection, and nothing else.
        """
        pair = Pair()
        pair.connect()
        pair.join()

        def fail(datagrams: list[bytes], now: float) -> None:
            raise RuntimeError("broken")

        pair.bob._core.receive = fail  # type: ignore[method-assign]
        lost = pair.bob.whenLost()
        pair.near.send(b"\x40" + bytes(50))
        self.assertRaises(RuntimeError, pair.waitFor, lost)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class DatagramTests(SynchronousTestCase):
    """
    RFC 9221.
    """

    def setUp(self) -> None:
        self.pair = Pair()
        self.pair.connect()

    def test_bothWays(self) -> None:
        """
        Datagrams go both ways, up to a size; those that come before anybody listens wait.
        """
        size = self.pair.alice.maxDatagramSize
        got: list[bytes] = []
        self.pair.alice.sendDatagram(b"early")
        self.pair.advance(0.1)
        self.pair.bob.setDatagramReceiver(got.append)
        self.pair.alice.sendDatagram(bytes(size))
        self.pair.advance(0.1)
        self.assertEqual([b"early", bytes(size)], got)
        self.assertLess(1100, size)
        self.assertRaises(ValueError, self.pair.alice.sendDatagram, bytes(size + 1))
        self.pair.alice.setDatagramReceiver(got.append)
        self.pair.bob.sendDatagram(b"answer")
        self.pair.advance(0.1)
        self.assertEqual(b"answer", got[-1])

    def test_tooMany(self) -> None:
        """
        When there are more than the path takes, the oldest are dropped.
        """
        got: list[bytes] = []
        self.pair.bob.setDatagramReceiver(got.append)
        for number in range(5000):
            self.pair.alice.sendDatagram(number.to_bytes(2, "big") + bytes(1000))
        self.pair.advance(2.0)
        self.assertLess(len(got), 1000)
        self.assertEqual(4999, int.from_bytes(got[-1][:2], "big"))

    def test_failingReceiver(self) -> None:
        """
        A receiver that fails harms nobody else.
        """

        def fail(data: bytes) -> None:
            raise RuntimeError("no")

        self.pair.bob.setDatagramReceiver(fail)
        self.pair.alice.sendDatagram(b"data")
        self.pair.advance(0.1)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertTrue(self.pair.bob.isConnected)

    def test_lost(self) -> None:
        """
        On a connection that was lost they go nowhere.
        """
        self.pair.alice.close()
        self.pair.alice.sendDatagram(b"late")
        self.pair.advance(1.0)
