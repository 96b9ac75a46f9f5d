"""
Tests for L{holepunch.lab.simulated}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadTopology, SimulationStuck
from holepunch.lab import LinkSpec, SimulatedInternet, Topology
from tests.lab.programs import Accepting, Datagrams, Echo, Trace

_BAD_LINK = LinkSpec(jitter=0.01, loss=0.1, reorder=0.1, duplicate=0.1)


def _connect(internet: SimulatedInternet, host: str = "alice", timeout: float = 30.0) -> Any:
    endpoint = TCP4ClientEndpoint(internet.host(host).reactor, "5.1.0.1", 4460, timeout)
    return internet.waitFor(endpoint.connect(Accepting()), 1000.0)


def _serve(internet: SimulatedInternet) -> Accepting:
    factory: Any = Accepting(Echo)
    internet.host("rendezvous").reactor.listenTCP(4460, factory)
    return factory  # type: ignore[no-any-return]


class WaitingTests(SynchronousTestCase):
    """
    Tests for how time passes.
    """

    def setUp(self) -> None:
        self.internet = SimulatedInternet(Topology.parse("none/none"))

    def test_result(self) -> None:
        """
        The result is returned, and no more time passes than it takes.
        """
        waited: Deferred[str] = Deferred()
        self.internet.clock.callLater(3.0, waited.callback, "done")
        self.internet.clock.callLater(4.0, self.fail)
        self.assertEqual(self.internet.waitFor(waited), "done")
        self.assertEqual(self.internet.clock.seconds(), 3.0)

    def test_firedAlready(self) -> None:
        """
        Without need, nothing happens.
        """
        self.internet.clock.callLater(0.0, self.fail)
        self.assertEqual(self.internet.waitFor(succeed("done")), "done")

    def test_failure(self) -> None:
        """
        A failure is raised.
        """
        self.assertRaises(ZeroDivisionError, self.internet.waitFor, fail(ZeroDivisionError("oops")))

    def test_limit(self) -> None:
        """
        What takes too long is given up.
        """
        waited: Deferred[str] = Deferred()
        self.internet.clock.callLater(70.0, waited.callback, "done")
        self.assertRaises(SimulationStuck, self.internet.waitFor, waited)
        self.assertEqual(self.internet.clock.seconds(), 0.0)

    def test_nothingToWaitFor(self) -> None:
        """
        When nothing is left to happen, waiting ends.
        """
        never: Deferred[str] = Deferred()
        error = self.assertRaises(SimulationStuck, self.internet.waitFor, never)
        self.assertIn("60 simulated seconds", str(error))


class HostTests(SynchronousTestCase):
    """
    Tests for hosts that come and go.
    """

    def setUp(self) -> None:
        self.internet = SimulatedInternet(Topology.parse("port-restricted/none"))

    def test_unknown(self) -> None:
        """
        A host that is not in the topology is refused.
        """
        error = self.assertRaises(BadTopology, self.internet.host, "carol")
        self.assertIn("alice", str(error))

    def test_crash(self) -> None:
        """
        A crashed host runs nothing any more and answers nobody.
        """
        factory = _serve(self.internet)
        client = _connect(self.internet)
        self.internet.advance(1.0)
        server = self.internet.host("rendezvous")
        server.reactor.callLater(1.0, self.fail)
        server.crash()
        client.transport.write(b"hello?")
        self.internet.advance(30.0)
        self.assertEqual(client.received, b"")
        self.assertIsNone(factory.built[0].reason)
        self.assertRaises(TimeoutError, _connect, self.internet, "bob", 10.0)

    def test_boot(self) -> None:
        """
        A host that is started again has a new reactor, and nothing listens.
        """
        _serve(self.internet)
        server = self.internet.host("rendezvous")
        before = server.reactor
        server.crash()
        server.boot()
        self.assertIsNot(server.reactor, before)
        self.assertRaises(ConnectionRefusedError, _connect, self.internet)
        _serve(self.internet)
        _connect(self.internet)

    def test_move(self) -> None:
        """
        A host that moves is somewhere else afterwards; what it had open goes on there.
        """
        server, alice = Datagrams(b"answer"), Datagrams()
        self.internet.host("rendezvous").reactor.listenUDP(3478, server)
        self.internet.host("alice").reactor.listenUDP(5000, alice)
        host = self.internet.host("alice")
        sent = []
        for place in (("192.168.1.10", "nat-alice"), ("31.1.0.77", None)):
            if place[0] not in host.addresses:
                host.move(place[0], behind=place[1])
            assert alice.transport is not None
            alice.transport.write(b"here", ("5.1.0.1", 3478))
            self.internet.advance(1.0)
            sent.append(server.received[-1][1][0])
        self.assertEqual(sent, ["31.1.0.1", "31.1.0.77"])
        self.assertEqual(len(alice.received), 2)
        self.assertEqual(host.addresses, ("31.1.0.77",))

    def test_movedConnection(self) -> None:
        """
        A TCP connection does not survive a move.
        """
        _serve(self.internet)
        client = _connect(self.internet)
        self.internet.host("alice").move("31.1.0.77", behind=None)
        client.transport.write(b"hello?")
        self.internet.advance(30.0)
        self.assertEqual(client.received, b"")


class DeterminismTests(SynchronousTestCase):
    """
    Tests for runs that repeat.
    """

    def trace(self, seed: int) -> list[str]:
        """
        Every packet of a run with several connections over bad links.
        """
        topology = Topology.parse("symmetric-random/port-restricted").withLinks(_BAD_LINK)
        internet = SimulatedInternet(topology, seed)
        trace = Trace(internet.fabric)
        _serve(internet)
        clients = [_connect(internet, host, 1000.0) for host in ("alice", "bob", "alice")]
        for client in clients:
            client.transport.write(b"x" * 20_000)
        for client in clients:
            internet.waitFor(client.whenReceived(20_000), 1000.0)
        return trace.lines

    def test_sameSeed(self) -> None:
        """
        The same seed gives the same packets at the same times.
        """
        first = self.trace(7)
        self.assertGreater(len(first), 500)
        self.assertEqual(first, self.trace(7))

    def test_otherSeed(self) -> None:
        """
        Another seed gives another run.
        """
        self.assertNotEqual(self.trace(7), self.trace(8))
