"""
Tests for L{holepunch.lab.pcap} and L{holepunch.lab.flows}, on a simulated network.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LabError
from holepunch.lab import Fabric, LinkSpec, SimulatedInternet, Topology
from holepunch.lab.flows import Flow, FlowCounter
from holepunch.lab.pcap import Capture
from holepunch.nat import DropReason, Packet
from holepunch.nat import Protocol as IPProtocol

_HELLO = b"hello, rendezvous"


class _Answering(Protocol):
    """
    Sends back what it gets.
    """

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class _Asking(Protocol):
    """
    Says hello, and closes when all of it has come back.
    """

    def connectionMade(self) -> None:
        self.received = b""
        self.transport.write(_HELLO)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.received == _HELLO:
            self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: object = None) -> None:
        self.factory.ended.callback(None)


def converse(internet: SimulatedInternet) -> None:
    """
    Let alice speak with the rendezvous host over TCP.
    """
    server: Any = internet.host("rendezvous").reactor
    client: Any = internet.host("alice").reactor
    server.listenTCP(80, Factory.forProtocol(_Answering))
    factory: Any = ClientFactory.forProtocol(_Asking)
    factory.ended = Deferred()
    client.connectTCP("5.1.0.1", 80, factory)
    internet.waitFor(factory.ended)
    internet.advance(1.0)


def dissect(path: Path, *fields: str) -> list[list[str]]:
    """
    What Wireshark's C{tshark} reads in a capture: the fields of each packet.
    """
    command = ["tshark", "-r", str(path), "-T", "fields", "-o", "tcp.check_checksum:TRUE"]
    command += [word for field in fields for word in ("-e", field)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in ran.stdout.splitlines()]


class CaptureTests(SynchronousTestCase):
    """
    Files for Wireshark.
    """

    def setUp(self) -> None:
        """
        Alice, behind a NAT, captured on either side of it.
        """
        self.internet = SimulatedInternet(
            Topology.parse("full-cone/none", LinkSpec(latency=0.1)), seed=1
        )
        self.paths = {name: Path(self.mktemp()) for name in ("alice", "nat-alice")}
        for name, path in self.paths.items():
            self.internet.fabric.addTap(name, Capture(path, startOfTime=1e9))

    def test_packets(self) -> None:
        """
        tshark finds a TCP conversation there, with right checksums, and translated by the NAT.
        """
        converse(self.internet)
        for name, source in (("alice", "192.168.1.10"), ("nat-alice", "31.1.0.1")):
            packets = dissect(
                self.paths[name], "ip.src", "tcp.flags.syn", "tcp.checksum.status", "tcp.payload"
            )
            self.assertEqual(packets[0][:3], [source, "1", "1"])
            self.assertEqual(packets[1][:3], ["5.1.0.1", "1", "1"])
            self.assertEqual({packet[2] for packet in packets}, {"1"})
            payloads = [packet[3] for packet in packets if packet[3:] not in ([], [""])]
            self.assertEqual(payloads, [_HELLO.hex()] * 2)

    def test_times(self) -> None:
        """
        A packet has the time at which it was at that end of the link.
        """
        converse(self.internet)
        first, second, *_ = dissect(self.paths["alice"], "frame.time_epoch")
        self.assertEqual(float(first[0]), 1e9)
        # Three links with a tenth of a second each, there and back.
        self.assertAlmostEqual(float(second[0]), 1e9 + 0.6, 6)

    def test_sameSeed(self) -> None:
        """
        The same seed gives the same file, byte for byte.
        """
        converse(self.internet)
        files = [path.read_bytes() for path in self.paths.values()]
        self.setUp()
        converse(self.internet)
        self.assertEqual([path.read_bytes() for path in self.paths.values()], files)

    def test_removed(self) -> None:
        """
        A tap that was removed is shown no more.
        """
        seen: list[Packet] = []

        def tap(now: float, packet: Packet) -> None:
            seen.append(packet)

        self.internet.fabric.addTap("alice", tap)
        converse(self.internet)
        count = len(seen)
        self.assertGreater(count, 4)
        self.internet.fabric.removeTap("alice", tap)
        self.internet.host("alice").reactor.connectTCP("5.1.0.1", 81, ClientFactory())
        self.internet.advance(1.0)
        self.assertEqual(len(seen), count)

    def test_ended(self) -> None:
        """
        A capture that has ended is in nobody's way.
        """
        capture = Capture("/dev/null")
        capture.close()
        self.internet.fabric.addTap("alice", capture)
        converse(self.internet)

    def test_unwritable(self) -> None:
        """
        A file that cannot be written is refused with a sentence.
        """
        error = self.assertRaises(LabError, Capture, Path(self.mktemp()) / "x")
        self.assertIn("No such file", str(error))


class FlowTests(SynchronousTestCase):
    """
    The counts of who spoke with whom.
    """

    def test_flow(self) -> None:
        """
        A conversation is one flow at each host, with what went and what came.
        """
        internet = SimulatedInternet(Topology.parse("full-cone/none"), seed=1)
        counter = FlowCounter()
        fabric: Fabric = internet.fabric
        fabric.addObserver(counter)
        converse(internet)
        (alice,) = counter.flows("alice")
        (server,) = counter.flows("rendezvous")
        self.assertEqual((alice.local, alice.remote), ("192.168.1.10", "5.1.0.1"))
        self.assertEqual((server.local, server.remote), ("5.1.0.1", "31.1.0.1"))
        self.assertEqual((alice.sent, alice.received), (server.received, server.sent))
        self.assertEqual(
            (alice.protocol, alice.sentBytes, alice.receivedBytes),
            (IPProtocol.TCP, len(_HELLO), len(_HELLO)),
        )
        self.assertEqual(counter.flows("bob"), ())
        self.assertIsInstance(alice, Flow)

    def test_drops(self) -> None:
        """
        What a NAT drops is counted by its reasons.
        """
        counter = FlowCounter()
        internet = SimulatedInternet(Topology.parse("full-cone/none"), seed=1)
        internet.fabric.addObserver(counter)
        sending = DatagramProtocol()
        internet.host("bob").reactor.listenUDP(5000, sending)
        for _ in range(2):
            sending.transport.write(b"hello", ("31.1.0.1", 9))  # type: ignore[union-attr]
        internet.advance(1.0)
        reason = DropReason.NO_MAPPING.value
        self.assertEqual(counter.drops("nat-alice"), {reason: 2})
        self.assertEqual(counter.drops("bob"), {})
