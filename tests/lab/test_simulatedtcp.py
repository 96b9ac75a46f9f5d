"""
Tests for L{holepunch.lab.simulatedtcp}: how connections come about.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.tcp import makeBinding

from holepunch.lab import HostSpec, LinkSpec, SimulatedInternet, Topology
from holepunch.nat import Packet, TCPFlag
from tests.lab.programs import Accepting, Echo
from tests.lab.tcpcase import ALICE, BOB, RENDEZVOUS, TCPTestCase


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
        self.assertEqual(client.transport.getPeer().host, RENDEZVOUS)
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
        refused = self.connecting("alice", RENDEZVOUS, address.port)
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
        for remote in ("127.0.0.1", ALICE, "localhost"):
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
            for name, address, number in (("alice", ALICE, 1), ("bob", BOB, 2))
        )
        self.build(Topology(hosts))
        factory = Accepting(Echo)
        self.internet.host("bob").reactor.listenTCP(4460, factory, interface="::")  # type: ignore[arg-type]
        client = self.connect("alice", "2001:db8::2")
        client.transport.write(b"hello")
        self.internet.waitFor(client.whenReceived(5))
        self.assertEqual(client.transport.getHost().host, "2001:db8::1")
