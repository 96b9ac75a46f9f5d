"""
Finding out what NAT there is, on simulated networks, with the real service as STUN server.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import NoLocalPort, TransactionTimedOut
from holepunch.nat import NAMED_BEHAVIOURS, Mapping, PortAllocation
from holepunch.nat.discovery import NATReport
from holepunch.peer.discovery import discover, sourceHost
from holepunch.stun import Attribute, AttributeType, Message, decode
from tests.peer.network import Network


class OldServer(DatagramProtocol):
    """
    A STUN server of the first days: it ignores CHANGE-REQUEST.
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        mapped = Attribute(AttributeType.MAPPED_ADDRESS, TransportAddress(*addr[:2]))
        answer = Message.success(decode(datagram), [mapped])
        self.transport.write(answer.encode(fingerprint=False), addr)  # type: ignore[union-attr]


class DiscoverTests(SynchronousTestCase):
    """
    Alice asks.
    """

    def network(self, behaviour: str) -> Network:
        network = Network(f"{behaviour}/port-restricted")
        self.addCleanup(network.stop)
        self.alice = network.internet.host("alice")
        self.servers = [
            TransportAddress(host, 3478) for host in network.internet.host("rendezvous").addresses
        ]
        return network

    def start(self, servers: list[TransportAddress], **options: Any) -> Deferred[NATReport]:
        host = self.alice.addresses[0]
        return Deferred.fromCoroutine(
            discover(self.alice.reactor, servers, sourceHost=lambda server: host, **options)
        )

    def assertNothingLeft(self) -> None:
        reactor = self.alice.reactor
        self.assertEqual((reactor.getReaders(), reactor.getDelayedCalls()), ([], []))

    def test_everyBehaviour(self) -> None:
        """
        One server with two addresses tells everything about every NAT, in less than three seconds.
        """
        for name, behaviour in NAMED_BEHAVIOURS.items():
            network = self.network(name)
            begunAt = self.alice.reactor.seconds()
            report = network.waitFor(self.start(self.servers[:1]))
            self.assertLess(self.alice.reactor.seconds() - begunAt, 3.0)
            network.internet.advance(1.0)
            self.assertNothingLeft()
            mapping = behaviour.mapping
            if behaviour.ports is PortAllocation.PRESERVED and behaviour.overloadsPorts:
                # Looks so from outside: see NATBehaviour.
                mapping = Mapping.ENDPOINT_INDEPENDENT
            self.assertEqual(
                [name, report.udp.mapping, report.udp.filtering, report.udp.ports],
                [name, mapping, behaviour.filtering, behaviour.ports],
            )
            self.assertEqual(
                [name, report.tcp.mapping, report.tcp.ports], [name, mapping, behaviour.ports]
            )
            if report.udp.isDestinationDependent is False:
                self.assertEqual([name, report.udp.isHairpinning], [name, behaviour.hairpin])

    def test_twoPlainServers(self) -> None:
        """
        Two servers that have no other address still tell that a NAT is symmetric.
        """
        network = self.network("symmetric")
        network.waitFor(network.service.stopService())
        server = network.internet.host("rendezvous")
        for host in server.addresses:
            server.reactor.listenUDP(3478, OldServer(), interface=host)
        report = network.waitFor(self.start(self.servers[:2]))
        self.assertEqual((report.udp.mapping, report.udp.isDestinationDependent), (None, True))
        self.assertIsNone(report.udp.filtering)
        self.assertEqual(report.classic, "symmetric")
        self.assertEqual((report.tcp.isBlocked, bool(report.tcp.problem)), (None, True))

    def test_oneTransport(self) -> None:
        """
        What is not asked about stays undetermined.
        """
        network = self.network("full-cone")
        report = network.waitFor(
            self.start(self.servers[:1], transports=frozenset({Transport.TCP}))
        )
        self.assertEqual((report.udp.isBlocked, report.tcp.isBlocked), (None, False))

    def test_noServer(self) -> None:
        """
        Where nobody answers, the failure names the servers, within the time-out.
        """
        network = self.network("full-cone")
        begunAt = self.alice.reactor.seconds()
        nobody = TransportAddress(self.servers[0].host, 9)
        asking = self.start([nobody], timeout=3.0)
        with self.assertRaisesRegex(TransactionTimedOut, f"TCP or UDP .*{nobody}"):
            network.waitFor(asking)
        self.assertLessEqual(self.alice.reactor.seconds() - begunAt, 3.1)
        self.assertNothingLeft()

    def test_cancelled(self) -> None:
        """
        Cancelling closes all sockets.
        """
        network = self.network("port-restricted")
        asking = self.start(self.servers[:1])
        network.internet.advance(0.5)
        asking.cancel()
        network.internet.advance(0.1)
        self.failureResultOf(asking, CancelledError)
        self.assertNothingLeft()


class SourceHostTests(SynchronousTestCase):
    """
    Which address the system would send from.
    """

    def test_loopback(self) -> None:
        """
        Towards this machine, it is the loopback address.
        """
        self.assertEqual(sourceHost(TransportAddress("127.0.0.1", 3478)), "127.0.0.1")

    def test_noRoute(self) -> None:
        """
        Where there is no way, a sentence says so.
        """
        with self.assertRaisesRegex(NoLocalPort, r"no way to 255\.255\.255\.255"):
            sourceHost(TransportAddress("255.255.255.255", 1))
