"""
Tests for TCP in the simulated internet.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import makeBinding
from twisted.trial.unittest import SynchronousTestCase

from holepunch.lab import HostSpec, LinkSpec, SimulatedInternet, Topology
from holepunch.nat import Packet, TCPFlag
from tests.lab.programs import Accepting, Echo, HalfCloseable, Recorder, Trace

_RENDEZVOUS = "5.1.0.1"
_ALICE = "31.1.0.10"
_BOB = "31.2.0.10"


def _reusing(port: int) -> Any:
    return makeBinding("", port, reuseAddress=True, reusePort=True)


class TCPTestCase(SynchronousTestCase):
    """
    What the tests have in common: by default, everybody is public.
    """

    def setUp(self) -> None:
        self.build("none/none")

    def build(self, topology: str | Topology, link: LinkSpec | None = None, seed: int = 1) -> None:
        """
        Begin with another network.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology)
        if link is not None:
            topology = topology.withLinks(link)
        self.internet = SimulatedInternet(topology, seed)
        self.trace = Trace(self.internet.fabric)

    def listen(
        self, host: str, port: Any = 4460, kind: type[Recorder] = Recorder, backlog: int = 50
    ) -> tuple[Accepting, IListeningPort]:
        """
        Listen on a host.
        """
        factory = Accepting(kind)
        return factory, self.internet.host(host).reactor.listenTCP(port, factory, backlog)  # type: ignore[arg-type]

    def connecting(
        self,
        host: str,
        remote: str = _RENDEZVOUS,
        port: int = 4460,
        kind: type[Recorder] = Recorder,
        **options: Any,
    ) -> Deferred[Any]:
        """
        Begin to connect from a host.
        """
        reactor = self.internet.host(host).reactor
        endpoint = TCP4ClientEndpoint(reactor, remote, port, **options)
        return endpoint.connect(Accepting(kind))

    def connect(self, host: str, *args: Any, **options: Any) -> Any:
        """
        Connect from a host.
        """
        return self.internet.waitFor(self.connecting(host, *args, **options))

    def pair(self, kind: type[Recorder] = Recorder) -> tuple[Any, Any]:
        """
        Both ends of a connection from alice to the rendezvous host.
        """
        factory, _ = self.listen("rendezvous", kind=kind)
        client = self.connect("alice", kind=kind)
        self.internet.advance(1.0)
        return client, factory.built[0]


class ConnectingTests(TCPTestCase):
    """
    Tests for connections that come about, or do not.
    """

    def test_connect(self) -> None:
        """
        A connection takes one round trip, and both ends know the addresses.
        """
        factory, port = self.listen("rendezvous")
        client = self.connect("alice")
        self.assertAlmostEqual(self.internet.clock.seconds(), 0.02)
        self.internet.advance(1.0)
        server: Any = factory.built[0]
        self.assertEqual(client.transport.getPeer().host, _RENDEZVOUS)
        self.assertEqual(client.transport.getPeer().port, 4460)
        self.assertEqual(client.transport.getHost(), server.transport.getPeer())
        self.assertEqual(server.transport.getHost(), client.transport.getPeer())
        self.assertEqual(port.getHost().port, 4460)  # type: ignore[attr-defined]

    def test_throughNATs(self) -> None:
        """
        Behind any kind of NAT a program can connect out, and the server sees the mapped address.
        """
        for name in ("full-cone", "symmetric-random", "carrier-grade", "kernel"):
            self.build(f"{name}/none")
            factory, _ = self.listen("rendezvous", kind=Echo)
            client = self.connect("alice")
            client.transport.write(b"hello")
            self.assertEqual(self.internet.waitFor(client.whenReceived(5)), b"hello")
            self.assertEqual(factory.built[0].transport.getPeer().host, "31.1.0.1")  # type: ignore[union-attr]

    def test_ephemeralPorts(self) -> None:
        """
        Port 0 is a free port; an address of the host may be named.
        """
        factory, port = self.listen("rendezvous", makeBinding("5.2.0.1", 0))
        address: Any = port.getHost()
        self.assertEqual(address.host, "5.2.0.1")
        self.connect("alice", "5.2.0.1", address.port)
        self.internet.advance(1.0)
        self.assertEqual(len(factory.built), 1)
        refused = self.connecting("alice", _RENDEZVOUS, address.port)
        self.assertRaises(ConnectionRefusedError, self.internet.waitFor, refused)

    def test_refused(self) -> None:
        """
        Without a listener the connection is refused after one round trip.
        """
        connecting = self.connecting("alice")
        self.assertRaises(ConnectionRefusedError, self.internet.waitFor, connecting)
        self.assertAlmostEqual(self.internet.clock.seconds(), 0.02)

    def test_timeout(self) -> None:
        """
        Without any answer SYNs are sent after 1, 2 and 4 seconds more, until the time is over.
        """
        self.internet.host("rendezvous").crash()
        times: list[float] = []
        self.internet.fabric.addObserver(
            lambda at, place, packet, fate, reason: times.append(at) if place == "alice" else None
        )
        connecting = self.connecting("alice", timeout=10)
        self.assertRaises(TimeoutError, self.internet.waitFor, connecting)
        self.assertEqual([round(at, 3) for at in times], [0.0, 1.0, 3.0, 7.0])
        self.assertAlmostEqual(self.internet.clock.seconds(), 10.0)

    def test_kernelTimeout(self) -> None:
        """
        A program with more patience than the kernel learns that the kernel gave up.
        """
        self.internet.host("rendezvous").crash()
        connecting = self.connecting("alice", timeout=1000)
        self.assertRaises(TCPTimedOutError, self.internet.waitFor, connecting, 1000.0)
        self.assertTrue(100 < self.internet.clock.seconds() < 130)

    def test_unreachable(self) -> None:
        """
        An ICMP error ends the attempt at once.
        """
        self.internet = SimulatedInternet(Topology.parse("symmetric/none"), answersUnroutable=True)
        connecting = self.connecting("alice", "9.9.9.9")
        error = self.assertRaises(ConnectError, self.internet.waitFor, connecting)
        self.assertEqual(error.osError, 113)
        self.assertAlmostEqual(self.internet.clock.seconds(), 0.02)

    def test_noRoute(self) -> None:
        """
        A host without an IPv6 address has no route to one.
        """
        self.assertRaises(
            NoRouteError, self.internet.waitFor, self.connecting("alice", "2001:db8::1")
        )

    def test_cancel(self) -> None:
        """
        An attempt that is cancelled ends without a word to the other side.
        """
        self.listen("rendezvous")
        connecting = self.connecting("alice")
        self.internet.advance(0.001)
        connecting.cancel()
        self.assertRaises(ConnectingCancelledError, self.internet.waitFor, connecting)
        flags = [packet.flags for packet in self.trace.sentBy("alice")]
        self.assertEqual(flags, [TCPFlag.SYN])

    def test_cancelledLate(self) -> None:
        """
        The SYN-ACK that comes after a cancelled attempt is answered with a RST.
        """
        factory, _ = self.listen("rendezvous")
        connecting = self.connecting("alice")
        self.internet.advance(0.001)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)
        self.internet.advance(10.0)
        self.assertEqual(factory.built, [])
        self.assertEqual(self.trace.sentBy("alice")[-1].flags, TCPFlag.RST)

    def test_lostPackets(self) -> None:
        """
        A handshake survives the loss of any of its packets.
        """
        for lost in range(3):
            self.build("none/none")
            factory, _ = self.listen("rendezvous")
            self.dropPacket(lost)
            client = self.connect("alice")
            self.internet.advance(5.0)
            self.assertTrue(client.isConnected)
            self.assertEqual([server.isConnected for server in factory.built], [True], lost)

    def dropPacket(self, number: int) -> None:
        """
        Lose the packet of that number, counted over all of alice's link.
        """
        fabric = self.internet.fabric
        cut, whole = LinkSpec(loss=1.0), LinkSpec()
        seen: list[Packet] = []

        def watch(at: float, place: str, packet: Packet, fate: Any, reason: str) -> None:
            if fate.value == "sent":
                seen.append(packet)
                fabric.setLink("rendezvous", cut if len(seen) == number + 1 else whole)
                fabric.setLink("alice", cut if len(seen) == number + 1 else whole)

        fabric.addObserver(watch)

    def test_backlog(self) -> None:
        """
        A listener with a full backlog takes connections when there is room again.
        """
        factory, _ = self.listen("rendezvous", backlog=0)
        connecting = [self.connecting("alice") for _ in range(3)]
        self.internet.advance(10.0)
        self.assertEqual(len(factory.built), 3)
        for each in connecting:
            self.successResultOf(each)

    def test_loopback(self) -> None:
        """
        Within a host, a connection takes no time and no packet leaves it.
        """
        self.listen("alice", kind=Echo)
        for remote in ("127.0.0.1", _ALICE, "localhost"):
            client = self.connect("alice", remote)
            client.transport.write(b"hello")
            self.assertEqual(self.internet.waitFor(client.whenReceived(5)), b"hello")
        self.assertEqual(self.internet.clock.seconds(), 0.0)
        self.assertEqual(self.trace.lines, [])

    def test_ipv6(self) -> None:
        """
        Hosts with IPv6 addresses reach each other over these.
        """
        hosts = tuple(
            HostSpec(name=name, addresses=(address, f"2001:db8::{number}"))
            for name, address, number in (("alice", _ALICE, 1), ("bob", _BOB, 2))
        )
        self.build(Topology(hosts))
        factory = Accepting(Echo)
        self.internet.host("bob").reactor.listenTCP(4460, factory, interface="::")  # type: ignore[arg-type]
        client = self.connect("alice", "2001:db8::2")
        client.transport.write(b"hello")
        self.internet.waitFor(client.whenReceived(5))
        self.assertEqual(client.transport.getHost().host, "2001:db8::1")


class PortTests(TCPTestCase):
    """
    Tests for who may have which port.
    """

    def test_portInUse(self) -> None:
        """
        A port is listened on once, unless all its users reuse it.
        """
        self.listen("alice")
        self.assertRaises(CannotListenError, self.listen, "alice")
        self.assertRaises(CannotListenError, self.listen, "alice", _reusing(4460))
        self.listen("alice", _reusing(4461))
        self.listen("alice", _reusing(4461))
        self.assertRaises(CannotListenError, self.listen, "alice", 4461)

    def test_foreignAddress(self) -> None:
        """
        An address of another host cannot be bound.
        """
        self.assertRaises(CannotListenError, self.listen, "alice", makeBinding(_BOB, 4460))
        connecting = self.connecting("alice", bindAddress=(_BOB, 0))
        self.assertRaises(ConnectBindError, self.internet.waitFor, connecting)

    def test_otherAddress(self) -> None:
        """
        Two listeners may have one port on different addresses; the more precise one is taken.
        """
        for address in ("5.1.0.1", "5.2.0.1"):
            factory, _ = self.listen("rendezvous", makeBinding(address, 4460))
            self.connect("alice", address)
            self.internet.advance(1.0)
            self.assertEqual(len(factory.built), 1)

    def test_connectFromListeningPort(self) -> None:
        """
        With both options set, a program listens on a port and connects from it, to several places.
        """
        self.listen("rendezvous")
        factory, _ = self.listen("alice", _reusing(5000))
        first = self.connect("alice", bindAddress=_reusing(5000))
        second = self.connect("alice", "5.2.0.1", bindAddress=_reusing(5000))
        for client in (first, second):
            self.assertEqual(client.transport.getHost().port, 5000)
        self.connect("bob", _ALICE, 5000)
        self.internet.advance(1.0)
        self.assertEqual(len(factory.built), 1)

    def test_connectFromTakenPort(self) -> None:
        """
        Without the options, the port of a listener cannot be connected from.
        """
        self.listen("alice", _reusing(5000))
        for binding in (("", 5000), makeBinding("", 5000, reuseAddress=True)):
            connecting = self.connecting("alice", bindAddress=binding)
            self.assertRaises(ConnectBindError, self.internet.waitFor, connecting)

    def test_sameConnectionTwice(self) -> None:
        """
        A second connection between the same two addresses fails with EADDRNOTAVAIL.
        """
        self.listen("rendezvous")
        self.connect("alice", bindAddress=_reusing(5000))
        connecting = self.connecting("alice", bindAddress=_reusing(5000))
        error = self.assertRaises(ConnectError, self.internet.waitFor, connecting)
        self.assertEqual(error.osError, 99)

    def test_acceptedFirst(self) -> None:
        """
        A connect to where a connection was just accepted from fails with EADDRNOTAVAIL.
        """
        factory, _ = self.listen("alice", _reusing(5000))
        self.connect("bob", _ALICE, 5000, bindAddress=_reusing(6000))
        self.internet.advance(1.0)
        connecting = self.connecting("alice", _BOB, 6000, bindAddress=_reusing(5000))
        error = self.assertRaises(ConnectError, self.internet.waitFor, connecting)
        self.assertEqual(error.osError, 99)
        self.assertTrue(factory.built[0].isConnected)

    def test_listenAgain(self) -> None:
        """
        A port that is no longer listened on can be taken again, while its connections go on.
        """
        factory, port = self.listen("rendezvous")
        self.connect("alice")
        self.internet.advance(1.0)
        stopped: Any = port.stopListening()
        self.internet.waitFor(stopped)
        self.assertRaises(ConnectionRefusedError, self.internet.waitFor, self.connecting("bob"))
        again, _ = self.listen("rendezvous")
        self.connect("bob")
        self.internet.advance(1.0)
        self.assertEqual(len(again.built), 1)
        self.assertIsNone(factory.built[0].reason)


class SimultaneousOpenTests(TCPTestCase):
    """
    Tests for two hosts that connect to each other.
    """

    def both(self, skew: float = 0.0, listening: bool = True) -> tuple[Any, Any]:
        """
        Connect alice and bob to each other from port 5000, bob C{skew} seconds later.
        """
        if listening:
            self.factories = [self.listen(host, _reusing(5000))[0] for host in ("alice", "bob")]
        options = {"bindAddress": _reusing(5000), "timeout": 20}
        alice = self.connecting("alice", _BOB, 5000, **options)
        self.internet.advance(skew)
        bob = self.connecting("bob", _ALICE, 5000, **options)
        return alice, bob

    def test_simultaneous(self) -> None:
        """
        SYNs that cross make one connection, which neither listener sees.
        """
        alice, bob = (self.internet.waitFor(each) for each in self.both(skew=0.002))
        self.internet.advance(1.0)
        self.assertEqual([factory.built for factory in self.factories], [[], []])
        alice.transport.write(b"from alice")
        bob.transport.write(b"from bob")
        self.assertEqual(self.internet.waitFor(bob.whenReceived(10)), b"from alice")
        self.assertEqual(self.internet.waitFor(alice.whenReceived(8)), b"from bob")
        alice.transport.loseConnection()
        self.assertEqual(self.internet.waitFor(bob.whenLost()), ConnectionDone)

    def test_tooLate(self) -> None:
        """
        A SYN that meets no SYN goes to the listener, and the late connect finds the address taken.
        """
        alice, bob = self.both(skew=0.05)
        client = self.internet.waitFor(alice)
        error = self.assertRaises(ConnectError, self.internet.waitFor, bob)
        self.assertEqual(error.osError, 99)
        [accepted] = self.factories[1].built
        accepted.transport.write(b"hello")  # type: ignore[union-attr]
        self.assertEqual(self.internet.waitFor(client.whenReceived(5)), b"hello")

    def test_punching(self) -> None:
        """
        Between two NATs, SYNs from the mapped ports open the way for each other.
        """
        for skew in (0.0, 0.004, 0.5, 2.5):
            self.build("port-restricted/port-restricted")
            mapped = self.mappedPorts()
            connecting = [self.connecting("alice", *mapped["bob"], bindAddress=_reusing(5000))]
            self.internet.advance(skew)
            connecting += [self.connecting("bob", *mapped["alice"], bindAddress=_reusing(5000))]
            alice, bob = (self.internet.waitFor(each) for each in connecting)
            alice.transport.write(b"hello")
            self.assertEqual(self.internet.waitFor(bob.whenReceived(5)), b"hello")

    def mappedPorts(self) -> dict[str, tuple[str, int]]:
        """
        Where the NATs map port 5000 of each peer, as the rendezvous host sees it.
        """
        factory, _ = self.listen("rendezvous")
        mapped = {}
        for host in ("alice", "bob"):
            self.connect(host, bindAddress=_reusing(5000))
            self.internet.advance(1.0)
            peer: Any = factory.built[-1].transport.getPeer()  # type: ignore[union-attr]
            mapped[host] = (peer.host, peer.port)
        return mapped

    def test_hairpin(self) -> None:
        """
        Behind a carrier's NAT, two homes meet by that NAT's hairpin.
        """
        self.build("port-restricted/port-restricted/full-cone")
        mapped = self.mappedPorts()
        self.assertEqual(mapped["alice"][0], mapped["bob"][0])
        connecting = [
            self.connecting("alice", *mapped["bob"], bindAddress=_reusing(5000)),
            self.connecting("bob", *mapped["alice"], bindAddress=_reusing(5000)),
        ]
        alice, bob = (self.internet.waitFor(each) for each in connecting)
        bob.transport.write(b"hello")
        self.assertEqual(self.internet.waitFor(alice.whenReceived(5)), b"hello")

    def test_resettingNAT(self) -> None:
        """
        A NAT that answers with RST ends the attempt; the next one, from the same port, succeeds.
        """
        self.build("port-restricted-rst/port-restricted-rst")
        mapped = self.mappedPorts()
        early = self.connecting("alice", *mapped["bob"], bindAddress=_reusing(5000))
        self.assertRaises(ConnectionRefusedError, self.internet.waitFor, early)
        alice = self.connecting("alice", *mapped["bob"], bindAddress=_reusing(5000))
        bob = self.connecting("bob", *mapped["alice"], bindAddress=_reusing(5000))
        self.internet.waitFor(alice)
        self.internet.waitFor(bob)


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
        endpoint = TCP4ClientEndpoint(
            internet.host("alice").reactor, _RENDEZVOUS, 4460, timeout=120
        )
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
