"""
Tests for what is sent over simulated TCP, and for the end of connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost

from holepunch.lab import LinkSpec, SimulatedInternet, Topology
from holepunch.nat import TCPFlag
from tests.lab.programs import Accepting, Echo, HalfCloseable, Recorder
from tests.lab.tcpcase import ALICE, BOB, RENDEZVOUS, TCPTestCase, reusing


class ClosingTests(TCPTestCase):
    """
    Tests for the end of connections.
    """

    def test_loseConnection(self) -> None:
        """
        All data arrives before the end, and both sides end cleanly.
        """
        client, server = self.pair()
        client.transport.write(b"x" * 500_000)
        client.transport.loseConnection()
        self.assertEqual(self.internet.waitFor(server.whenLost()), ConnectionDone)
        self.assertEqual(self.internet.waitFor(client.whenLost()), ConnectionDone)
        self.assertEqual(len(server.received), 500_000)

    def test_nothingLeft(self) -> None:
        """
        After the end, no timer is left and no packet.
        """
        client, _ = self.pair()
        client.transport.loseConnection()
        self.internet.advance(10.0)
        self.assertEqual(self.internet.clock.getDelayedCalls(), [])

    def test_abort(self) -> None:
        """
        An aborted connection is lost at the other side.
        """
        client, server = self.pair()
        client.transport.write(b"never sent")
        client.transport.abortConnection()
        self.assertEqual(self.internet.waitFor(server.whenLost()), ConnectionLost)
        self.assertEqual(server.received, b"")
        self.assertTrue(self.trace.sentBy("alice")[-1].flags & TCPFlag.RST)

    def test_halfClose(self) -> None:
        """
        One direction can be closed, while the other goes on.
        """
        client, server = self.pair(HalfCloseable)
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.internet.advance(1.0)
        self.assertTrue(client.isWriteLost)
        self.assertTrue(server.isReadLost)
        self.assertEqual(server.received, b"question")
        server.transport.write(b"answer" * 10_000)
        server.transport.loseConnection()
        self.internet.advance(1.0)
        self.assertEqual(client.received, b"answer" * 10_000)
        self.assertTrue(client.isReadLost)

    def test_lostFIN(self) -> None:
        """
        A FIN that is lost is sent again.
        """
        client, server = self.pair()
        self.internet.fabric.setLink("alice", LinkSpec(loss=1.0))
        client.transport.loseConnection()
        self.internet.advance(0.5)
        self.assertIsNone(server.reason)
        self.internet.fabric.setLink("alice", LinkSpec())
        self.assertEqual(self.internet.waitFor(server.whenLost()), ConnectionDone)

    def test_dataAfterClose(self) -> None:
        """
        Whoever sends to a side that has closed is reset, and learns it at the next write.
        """
        client, server = self.pair(HalfCloseable)
        client.transport.loseConnection()
        self.internet.advance(1.0)
        server.transport.write(b"too late")
        self.internet.advance(1.0)
        server.transport.write(b"and again")
        self.assertEqual(self.internet.waitFor(server.whenLost()), ConnectionLost)

    def test_crossingEnds(self) -> None:
        """
        Both sides may close at the same moment.
        """
        client, server = self.pair()
        client.transport.loseConnection()
        server.transport.loseConnection()
        self.internet.advance(10.0)
        self.assertIsInstance(client.reason, ConnectionDone)
        self.assertIsInstance(server.reason, ConnectionDone)
        self.assertEqual(self.internet.clock.getDelayedCalls(), [])

    def test_crashedPeer(self) -> None:
        """
        A connection to a host that is gone is lost when what was sent has been repeated in vain.
        """
        client, _ = self.pair()
        self.internet.host("rendezvous").crash()
        client.transport.write(b"hello?")
        self.assertEqual(self.internet.waitFor(client.whenLost(), 3600.0), ConnectionLost)

    def test_rebootedPeer(self) -> None:
        """
        A host that was started anew resets the connections that it had.
        """
        client, server = self.pair()
        self.internet.host("rendezvous").boot()
        client.transport.write(b"hello?")
        self.assertEqual(self.internet.waitFor(client.whenLost()), ConnectionLost)
        self.assertIsNone(server.reason)

    def test_forgottenMapping(self) -> None:
        """
        When a NAT has forgotten a connection, the server's data no longer arrives.
        """
        self.build("port-restricted/none")
        client, server = self.pair()
        self.internet.fabric.flushNAT("nat-alice")
        server.transport.write(b"hello?")
        self.internet.advance(5.0)
        self.assertEqual(client.received, b"")


class DataTests(TCPTestCase):
    """
    Tests for the stream of data.
    """

    def test_big(self) -> None:
        """
        A megabyte comes back as it went out, in a few dozen round trips.
        """
        self.build("port-restricted/none")
        self.listen("rendezvous", kind=Echo)
        client = self.connect("alice")
        data = bytes(range(256)) * 4096
        client.transport.write(data)
        self.assertEqual(self.internet.waitFor(client.whenReceived(len(data))), data)
        self.assertLess(self.internet.clock.seconds(), 2.0)

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 2**32), size=st.integers(1, 40_000))
    def test_badLink(self, seed: int, size: int) -> None:
        """
        Over a link that loses, reorders and duplicates a fifth of all packets, data stays intact.
        """
        bad = LinkSpec(latency=0.01, jitter=0.005, loss=0.2, reorder=0.2, duplicate=0.2)
        internet = SimulatedInternet(Topology.parse("port-restricted/none"), seed)
        internet.fabric.setLink("alice", bad)
        factory = Accepting(Echo)
        internet.host("rendezvous").reactor.listenTCP(4460, factory)  # type: ignore[arg-type]
        endpoint = TCP4ClientEndpoint(internet.host("alice").reactor, RENDEZVOUS, 4460, timeout=120)
        client: Any = internet.waitFor(endpoint.connect(Accepting(HalfCloseable)), 600.0)
        data = bytes(number * number % 251 for number in range(size))
        client.transport.write(data)
        self.assertEqual(internet.waitFor(client.whenReceived(size), 600.0), data)
        client.transport.loseWriteConnection()
        internet.waitFor(factory.built[0].whenLost(), 600.0)
        internet.advance(600.0)
        self.assertTrue(client.isReadLost)
        self.assertEqual(client.received, data)
        client.transport.loseConnection()
        internet.advance(600.0)
        self.assertEqual(internet.clock.getDelayedCalls(), [])

    def test_pause(self) -> None:
        """
        A program that pauses gets nothing, the sender is held back, and all arrives in the end.
        """
        client, server = self.pair()
        server.transport.pauseProducing()
        producer = _Producer(client.transport, 3_000_000)
        client.transport.registerProducer(producer, True)
        producer.resumeProducing()
        self.internet.advance(30.0)
        self.assertEqual(server.received, b"")
        self.assertLess(producer.sent, 1_500_000)
        server.transport.resumeProducing()
        self.internet.waitFor(server.whenReceived(3_000_000))

    def test_longPause(self) -> None:
        """
        A connection whose reader pauses for an hour is not given up.
        """
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 400_000)
        self.internet.advance(3600.0)
        server.transport.resumeProducing()
        before = self.internet.clock.seconds()
        self.internet.waitFor(server.whenReceived(400_000))
        self.assertLess(self.internet.clock.seconds() - before, 0.5)

    def test_options(self) -> None:
        """
        The options of TCP transports can be set and read.
        """
        client, _ = self.pair()
        for enabled in (True, False):
            client.transport.setTcpNoDelay(enabled)
            client.transport.setTcpKeepAlive(enabled)
            self.assertEqual(client.transport.getTcpNoDelay(), enabled)
            self.assertEqual(client.transport.getTcpKeepAlive(), enabled)

    def test_fewPackets(self) -> None:
        """
        A question and its answer cost no acknowledgment on top.
        """
        self.listen("rendezvous", kind=Echo)
        client = self.connect("alice")
        self.internet.advance(1.0)
        before = len(self.trace.sentBy("alice")), len(self.trace.sentBy("rendezvous"))
        client.transport.write(b"hello")
        self.internet.waitFor(client.whenReceived(5))
        after = len(self.trace.sentBy("alice")), len(self.trace.sentBy("rendezvous"))
        self.assertEqual((after[0] - before[0], after[1] - before[1]), (1, 1))


class _Producer:
    """
    Writes as long as it may.
    """

    def __init__(self, transport: Any, size: int) -> None:
        self.sent = 0
        self._transport = transport
        self._size = size
        self._isPaused = False

    def resumeProducing(self) -> None:
        self._isPaused = False
        while not self._isPaused and self.sent < self._size:
            self._transport.write(b"x" * 10_000)
            self.sent += 10_000
        if self.sent == self._size:
            self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._isPaused = True

    def stopProducing(self) -> None:
        self._isPaused = True


_MOVES: dict[str, Callable[[Any], object]] = {
    "write": lambda transport: transport.write(b"0123456789" * 500),
    "pauseProducing": lambda transport: transport.pauseProducing(),
    "resumeProducing": lambda transport: transport.resumeProducing(),
    "loseWriteConnection": lambda transport: transport.loseWriteConnection(),
    "loseConnection": lambda transport: transport.loseConnection(),
    "abortConnection": lambda transport: transport.abortConnection(),
}


class AnythingTests(TCPTestCase):
    """
    Tests for whatever two programs may do.
    """

    @settings(max_examples=100, deadline=None)
    @given(
        link=st.builds(
            LinkSpec,
            latency=st.sampled_from([0.0, 0.01]),
            jitter=st.sampled_from([0.0, 0.005]),
            loss=st.sampled_from([0.0, 0.2]),
            reorder=st.sampled_from([0.0, 0.3]),
            duplicate=st.sampled_from([0.0, 0.3]),
        ),
        skew=st.sampled_from([0.0, 0.001, 0.015, 0.05]),
        cancelAfter=st.none() | st.floats(0.0, 0.1),
        moves=st.lists(
            st.tuples(
                st.sampled_from(sorted(_MOVES)),
                st.integers(0, 3),
                st.sampled_from([0.0, 0.001, 0.02, 1.0]),
            ),
            max_size=20,
        ),
        kind=st.sampled_from([Recorder, HalfCloseable]),
        seed=st.integers(0, 2**32),
    )
    def test_anything(
        self,
        link: LinkSpec,
        skew: float,
        cancelAfter: float | None,
        moves: list[tuple[str, int, float]],
        kind: type[Recorder],
        seed: int,
    ) -> None:
        """
        Nobody gets anything but what was sent, in order, and in the end nothing is left.
        """
        self.build("none/none", link, seed)
        ends: list[Any] = []
        for host in ("alice", "bob"):
            self.listen(host, reusing(5000), kind)[0].built = ends
        for host, remote in (("alice", BOB), ("bob", ALICE)):
            factory = Accepting(kind)
            factory.built = ends
            endpoint = TCP4ClientEndpoint(
                self.internet.host(host).reactor, remote, 5000, 100, reusing(5000)
            )
            connecting = endpoint.connect(factory)
            connecting.addErrback(lambda failure: None)
            if cancelAfter is not None:
                self.internet.clock.callLater(cancelAfter, connecting.cancel)
            self.internet.advance(skew)
        self.internet.advance(0.1)
        for move, number, pause in moves:
            if number < len(ends) and ends[number].isConnected and not ends[number].reason:
                _MOVES[move](ends[number].transport)
            self.internet.advance(pause)
        for finish in ("resumeProducing", "loseConnection", "abortConnection"):
            for end in ends:
                if end.isConnected and not end.reason:
                    _MOVES[finish](end.transport)
            self.internet.advance(2000.0)
        whole = b"0123456789" * 500 * len(moves)
        for end in ends:
            self.assertTrue(whole.startswith(end.received))
            self.assertTrue(end.reason or not end.isConnected)
        self.assertEqual(self.internet.clock.getDelayedCalls(), [])
