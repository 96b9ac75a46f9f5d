"""
Finding out what NAT there is, on simulated networks, with the real service as STUN server.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import NoLocalPort, TransactionTimedOut
from holepunch.lab import LinkSpec
from holepunch.lab.simulatedsocket import DatagramSocket
from holepunch.nat import NAMED_BEHAVIOURS, Filtering, Mapping, PortAllocation, Protocol
from holepunch.nat.discovery import NATReport, explain
from holepunch.nat.discoveryhops import Sureness
from holepunch.nat.presets import PRESETS
from holepunch.peer.discovery import discover, discoverEverywhere, discoverFamilies, sourceHost
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


class Deflector(DatagramProtocol):
    """
    A STUN server that lets another one answer.
    """

    def __init__(self, other: DatagramProtocol) -> None:
        self._other = other

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._other.datagramReceived(datagram, addr)


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

    def openSocket(self, family: int) -> DatagramSocket:
        return DatagramSocket(self.alice.reactor.kernel, family)

    def assertNothingLeft(self) -> None:
        reactor = self.alice.reactor
        self.assertEqual((reactor.getReaders(), reactor.getDelayedCalls()), ([], []))

    def test_everyBehaviour(self) -> None:
        """
        One server with two addresses tells everything about every NAT, in less than three seconds.
        """
        for name, behaviour in {**NAMED_BEHAVIOURS, **PRESETS}.items():
            if behaviour.outbound or behaviour.blocked:
                # No STUN server can be asked on 443 alone; blocked protocols have their own test.
                continue
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
            if mapping is Mapping.ENDPOINT_INDEPENDENT:
                for protocol in (report.udp, report.tcp):
                    self.assertEqual([name, protocol.isHairpinning], [name, behaviour.hairpin])
            self.assertEqual([name, report.tcp.filtering], [name, behaviour.filtering])
            if behaviour.filtering is not Filtering.ENDPOINT_INDEPENDENT:
                self.assertEqual([name, report.tcp.unsolicited], [name, behaviour.unsolicited])

    def test_lifetime(self) -> None:
        """
        The lifetime of a mapping is measured on request, for both protocols.
        """
        for name, expected, expectedTCP in (
            ("port-restricted-impatient", 20.0, None),
            ("carrier-grade", 120.0, None),
            ("cloud-gateway", 350.0, 350.0),
        ):
            network = self.network(name)
            asking = self.start(self.servers[:1], lifetime=600.0)
            report = network.waitFor(asking, limit=2400.0)
            for found, seconds in (
                (report.udp.lifetime, expected),
                (report.tcp.lifetime, expectedTCP),
            ):
                if seconds is None:
                    self.assertIsNone(found)
                    (why,) = [
                        each.why for each in report.tcp.undetermined if each.what == "lifetime"
                    ]
                    self.assertEqual(why, "a mapping is still there after 600 seconds")
                else:
                    assert found is not None
                    self.assertLess(abs(found - seconds), 1.0 + 0.05 * seconds)
            network.internet.advance(1.0)
            self.assertNothingLeft()

    def test_blocked(self) -> None:
        """
        Where one transport is blocked, the report tells so, and tells all about the other.
        """
        for blocked in (Protocol.UDP, Protocol.TCP):
            network = self.network("port-restricted")
            network.internet.fabric.nat("nat-alice").block(blocked)
            report = network.waitFor(self.start(self.servers[:1]))
            protocols = {Protocol.UDP: report.udp, Protocol.TCP: report.tcp}
            closed = protocols.pop(blocked)
            (free,) = protocols.values()
            self.assertEqual((closed.isBlocked, closed.mapping), (True, None))
            self.assertEqual((free.isBlocked, free.isHairpinning), (False, True))
            self.assertIn("is blocked here", explain(report))

    def test_carrier(self) -> None:
        """
        An address of a carrier's NAT is recognised.
        """
        network = Network("none/none/carrier-grade")
        self.addCleanup(network.stop)
        self.alice = network.internet.host("alice")
        servers = [TransportAddress(network.internet.host("rendezvous").addresses[0], 3478)]
        report = network.waitFor(self.start(servers))
        self.assertTrue(report.udp.isBehindCarrier)
        self.assertTrue(report.tcp.isBehindCarrier)

    def test_way(self) -> None:
        """
        On every NAT, its distance, the path MTU and fragments are found out.
        """
        for name, behaviour in {**NAMED_BEHAVIOURS, **PRESETS}.items():
            if behaviour.outbound or behaviour.blocked:
                continue
            network = self.network(name)
            asking = self.start(self.servers[:1], openSocket=self.openSocket)
            path = network.waitFor(asking).path
            assert path is not None and path.nesting is not None
            self.assertEqual((name, path.nesting.isNested), (name, False))
            self.assertEqual((path.nesting.distance, path.nesting.sureness), (1, Sureness.CERTAIN))
            self.assertEqual((path.sizes.mtuOut, path.sizes.mtuIn), (1500, 1500))
            self.assertEqual((path.sizes.fragmentsOut, path.sizes.fragmentsIn), (True, True))
            self.assertEqual(path.undetermined, ())
            network.internet.advance(1.0)
            self.assertNothingLeft()

    def test_nested(self) -> None:
        """
        Two NATs in a row are found, and a carrier's one recognised by the routers.
        """
        network = Network("port-restricted/none/carrier-grade")
        self.addCleanup(network.stop)
        self.alice = network.internet.host("alice")
        server = network.internet.host("rendezvous").addresses[0]
        servers = [TransportAddress(server, 3478)]
        report = network.waitFor(self.start(servers, openSocket=self.openSocket))
        assert report.path is not None and report.path.nesting is not None
        self.assertEqual((report.path.nesting.isNested, report.path.nesting.distance), (True, 2))
        self.assertTrue(report.udp.isBehindCarrier)

    def test_sizes(self) -> None:
        """
        Links that carry less, tell nobody so, or lose fragments, are found out.
        """
        for link, mtuOut, isBlackHole, fragmentsOut in (
            (LinkSpec(mtu=1454), 1454, False, True),
            (LinkSpec(mtu=1404, isBlackHole=True), 1404, True, True),
            (LinkSpec(losesFragments=True), 1500, False, False),
        ):
            network = self.network("port-restricted")
            network.internet.fabric.setLink("nat-alice", link)
            asking = self.start(self.servers[:1], openSocket=self.openSocket)
            path = network.waitFor(asking).path
            assert path is not None
            found = (path.sizes.mtuOut, path.sizes.isBlackHole, path.sizes.fragmentsOut)
            self.assertEqual(found, (mtuOut, isBlackHole, fragmentsOut))

    def test_noComplaints(self) -> None:
        """
        Where programs cannot hear what routers say, the report says that.
        """

        def open(family: int) -> DatagramSocket:
            raise OSError(errno.ENOTSUP, "this system is deaf")

        network = self.network("port-restricted")
        path = network.waitFor(self.start(self.servers[:1], openSocket=open)).path
        assert path is not None
        self.assertIn("this system is deaf", str(path.problem))

    def test_twoInARow(self) -> None:
        """
        Two NATs in a row act as one: the worse answer to each question counts.
        """
        for home, carrier in (("full-cone", "carrier-grade"), ("symmetric-random", "full-cone")):
            network = Network(f"{home}/none/{carrier}")
            self.addCleanup(network.stop)
            self.alice = network.internet.host("alice")
            server = network.internet.host("rendezvous").addresses[0]
            report = network.waitFor(self.start([TransportAddress(server, 3478)]))
            both = [NAMED_BEHAVIOURS[home], NAMED_BEHAVIOURS[carrier]]
            for worst, found in (
                (max(list(Mapping).index(each.mapping) for each in both), report.udp.mapping),
                (max(list(Filtering).index(each.filtering) for each in both), report.udp.filtering),
            ):
                assert found is not None
                self.assertEqual(list(type(found)).index(found), worst)
            self.assertIs(report.udp.ports, PortAllocation.RANDOM)

    def test_everywhere(self) -> None:
        """
        From each local address there is a report, or the reason why there is none.
        """
        network = self.network("symmetric")
        own, foreign, version6 = self.alice.addresses[0], "192.168.1.77", "2001:db8::1"
        found = network.waitFor(
            Deferred.fromCoroutine(
                discoverEverywhere(self.alice.reactor, self.servers, [own, foreign, version6])
            )
        )
        self.assertEqual([each.host for each in found], [own, foreign, version6])
        assert found[0].report is not None
        self.assertEqual(found[0].report.classic, "symmetric")
        self.assertIn("can be opened on 192.168.1.77", str(found[1].problem))
        self.assertIn("IP version", str(found[2].problem))
        network.internet.advance(1.0)
        self.assertNothingLeft()

    def test_families(self) -> None:
        """
        Each version of IP has its report: a NAT with the one, a firewall with the other.
        """
        network = Network("dual-stack:port-restricted/none")
        self.addCleanup(network.stop)
        self.alice = network.internet.host("alice")
        servers = [network.service.assistAddresses[0], network.service.assistAddresses[2]]
        own = {TransportAddress(host, 0).family: host for host in self.alice.addresses}
        found = network.waitFor(
            Deferred.fromCoroutine(
                discoverFamilies(
                    self.alice.reactor,
                    [*servers, servers[0]],
                    sourceHost=lambda server: own[server.family],
                    openSocket=self.openSocket,
                )
            )
        )
        self.assertEqual([each.family for each in found], [Family.IPV4, Family.IPV6])
        classics = [each.report and each.report.classic for each in found]
        self.assertEqual(classics, ["port-restricted cone", "symmetric UDP firewall"])
        for each in found:
            assert each.report is not None and each.report.path is not None
            self.assertEqual(each.report.path.sizes.mtuIn, 1500)
            self.assertIs(each.report.tcp.filtering, Filtering.ADDRESS_AND_PORT_DEPENDENT)

    def test_familyWithoutServer(self) -> None:
        """
        Where one version of IP does not work, its error is kept, and the other has its report.
        """
        network = self.network("full-cone")
        nobody = TransportAddress("2001:db8::77", 3478)
        found = network.waitFor(
            Deferred.fromCoroutine(
                discoverFamilies(
                    self.alice.reactor,
                    [nobody, *self.servers],
                    sourceHost=self.route,
                )
            )
        )
        self.assertIsInstance(found[0].error, NoLocalPort)
        assert found[1].report is not None
        self.assertEqual(found[1].report.classic, "full cone")

    def route(self, server: TransportAddress) -> str:
        if server.family is Family.IPV6:
            raise NoLocalPort("there is no way")
        return self.alice.addresses[0]

    def test_interfaces(self) -> None:
        """
        Each interface has its own NAT.
        """
        network = Network("two-interfaces:port-restricted/none/symmetric")
        self.addCleanup(network.stop)
        self.alice = network.internet.host("alice")
        server = TransportAddress(network.internet.host("rendezvous").addresses[0], 3478)
        found = network.waitFor(
            Deferred.fromCoroutine(
                discoverEverywhere(
                    self.alice.reactor,
                    [server],
                    self.alice.addresses,
                    openSocket=self.openSocket,
                )
            )
        )
        self.assertEqual(
            [each.report and each.report.classic for each in found],
            ["port-restricted cone", "symmetric"],
        )

    def test_wrongSource(self) -> None:
        """
        A server that answers from another address than was asked leads to no conclusion.
        """
        network = self.network("full-cone")
        network.waitFor(network.service.stopService())
        server = network.internet.host("rendezvous")
        elsewhere = OldServer()
        server.reactor.listenUDP(3478, elsewhere, interface=server.addresses[1])
        server.reactor.listenUDP(3478, Deflector(elsewhere), interface=server.addresses[0])
        report = network.waitFor(self.start(self.servers[:1]))
        self.assertEqual((report.udp.isBlocked, report.udp.mapping), (False, None))
        self.assertIn("answers from another address", str(report.udp.problem))

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
        asking = self.start(self.servers[:1], openSocket=self.openSocket)
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
