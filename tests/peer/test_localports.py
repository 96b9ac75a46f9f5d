"""
Tests for L{holepunch.peer.localports} and the ports that it opens.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import NoLocalPort
from holepunch.lab import SimulatedInternet, Topology
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.localports import LocalPorts
from holepunch.peer.punchingconnection import PunchingConnection
from holepunch.punch import Credentials
from holepunch.stun import Attribute, AttributeType, Message, Method, frameRfc4571
from tests.peer.network import Recorder, RecorderFactory


class _Session:
    """
    Notes what the ports hand to a session.
    """

    def __init__(self) -> None:
        self.accepted: list[tuple[PunchingConnection, bytes]] = []
        self.datagrams: list[tuple[TransportAddress, TransportAddress, bytes]] = []

    def connectionAccepted(self, connection: PunchingConnection, data: bytes) -> None:
        self.accepted.append((connection, data))
        connection.setOwner(self)

    def datagramReceived(
        self, local: TransportAddress, remote: TransportAddress, data: bytes
    ) -> None:
        self.datagrams.append((local, remote, data))

    def connectionReady(self, connection: PunchingConnection) -> None:
        pass

    def connectionData(self, connection: PunchingConnection, data: bytes) -> None:
        pass

    def connectionEnded(self, connection: PunchingConnection, reason: object) -> None:
        pass


class LocalPortsTests(SynchronousTestCase):
    """
    The ports of a public peer.
    """

    def setUp(self) -> None:
        self.internet = SimulatedInternet(Topology.parse("none/none"))
        self.here: Any = self.internet.host("alice").reactor
        self.there: Any = self.internet.host("bob").reactor
        self.host = self.internet.host("alice").addresses[0]
        self.demultiplexer = Demultiplexer()
        self.session = _Session()
        self.demultiplexer.enter("here", self.session)

    def open(self) -> LocalPorts:
        return LocalPorts.open(self.here, [self.host], self.demultiplexer).retain()

    def check(self, username: str = "here:there") -> bytes:
        credentials = Credentials("here", "p" * 24)
        return Message.request(
            Method.BINDING, b"t" * 12, [Attribute(AttributeType.USERNAME, username)]
        ).encode(integrityKey=credentials.password.encode())

    def connectTo(self, ports: LocalPorts) -> Recorder:
        """
        Somebody connects to the punching port.
        """
        factory = RecorderFactory()

        class Connecting(ClientFactory):
            buildProtocol = staticmethod(factory.buildProtocol)

        base = ports.bases(Transport.TCP)[0]
        self.there.connectTCP(base.host, base.port, Connecting())
        self.internet.advance(0.2)
        return factory.built[0]

    def test_bases(self) -> None:
        """
        There is one TCP and one UDP endpoint for each address.
        """
        ports = self.open()
        for transport in Transport:
            (base,) = ports.bases(transport)
            self.assertEqual(base.host, self.host)
        self.assertIsNone(ports.streamPort(Family.IPV6))

    def test_released(self) -> None:
        """
        After the last user, no socket is open.
        """
        ports = self.open()
        ports.retain()
        ports.release()
        self.assertTrue(self.here.getReaders())
        ports.release()
        self.internet.advance(0.1)
        self.assertEqual(self.here.getReaders(), [])

    def test_listenAndConnect(self) -> None:
        """
        The same port listens and connects.
        """
        ports = self.open()
        accepted = RecorderFactory()
        self.there.listenTCP(7000, accepted)
        (base,) = ports.bases(Transport.TCP)
        port = ports.streamPort(Family.IPV4)
        assert port is not None
        remote = TransportAddress(self.internet.host("bob").addresses[0], 7000)
        port.connect(base, remote, self.session, self.fail, 5.0)
        self.internet.advance(0.2)
        peer: Any = accepted.built[0].transport
        self.assertEqual((peer.getPeer().host, peer.getPeer().port), (base.host, base.port))

    def test_noAddress(self) -> None:
        """
        A machine without any address says so in a sentence.
        """
        error = self.assertRaises(NoLocalPort, LocalPorts.open, self.here, [], self.demultiplexer)
        self.assertIn("is there a network?", str(error))

    def test_foreignAddress(self) -> None:
        """
        An address that the system refuses is left out; when none remains, the reason is told.
        """
        self.assertRaises(NoLocalPort, LocalPorts.open, self.here, ["10.9.8.7"], self.demultiplexer)
        ports = LocalPorts.open(self.here, ["10.9.8.7", self.host], self.demultiplexer)
        self.assertEqual([base.host for base in ports.bases(Transport.UDP)], [self.host])

    def test_identified(self) -> None:
        """
        A connection goes to the session that its first check names, with all its bytes, even when
        they come one by one.
        """
        connecting = self.connectTo(self.open())
        sent = frameRfc4571(self.check()) + b"more"
        transport: Any = connecting.transport
        for byte in sent[:-4]:
            transport.write(bytes([byte]))
            self.internet.advance(0.03)
        ((connection, data),) = self.session.accepted
        self.assertEqual(data, sent[:-4])
        self.assertEqual(connection.remote.host, self.internet.host("bob").addresses[0])

    def test_strangers(self) -> None:
        """
        Connections that say nothing, or nothing of use, are closed after a while.
        """
        for first in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            frameRfc4571(self.check("other:there")),
            frameRfc4571(b"junk"),
            b"\x05\xff" + b"x" * 2000,
        ):
            ports = self.open()
            connecting = self.connectTo(ports)
            transport: Any = connecting.transport
            transport.write(first)
            self.internet.waitFor(connecting.lost)
            self.assertEqual(self.session.accepted, [])
            ports.release()

    def test_tooManyStrangers(self) -> None:
        """
        At most 64 connections may wait without having said whose they are.
        """
        ports = self.open()
        factory = RecorderFactory()

        class Connecting(ClientFactory):
            buildProtocol = staticmethod(factory.buildProtocol)

        base = ports.bases(Transport.TCP)[0]
        for _ in range(70):
            self.there.connectTCP(base.host, base.port, Connecting())
            self.internet.advance(0.05)
        closed = [recorder for recorder in factory.built if recorder.lost.called]
        self.assertEqual(len(closed), 6)

    def test_peerAmongStrangers(self) -> None:
        """
        However many strangers hold a connection, the peer is let in: the oldest one has to go.
        """
        ports = self.open()
        factory = RecorderFactory()

        class Connecting(ClientFactory):
            buildProtocol = staticmethod(factory.buildProtocol)

        base = ports.bases(Transport.TCP)[0]
        for _ in range(70):
            self.there.connectTCP(base.host, base.port, Connecting())
            self.internet.advance(0.05)
        peer: Any = factory.built[-1]
        peer.transport.write(frameRfc4571(self.check()))
        self.internet.advance(0.1)
        self.assertEqual(len(self.session.accepted), 1)
        self.assertTrue(all(recorder.lost.called for recorder in factory.built[:6]))

    def test_datagrams(self) -> None:
        """
        A datagram goes where its remote endpoint, or else its check, says; all else is dropped.
        """
        ports = self.open()
        (base,) = ports.bases(Transport.UDP)
        protocol = DatagramProtocol()
        self.there.listenUDP(9000, protocol)
        sender: Any = protocol.transport
        remote = TransportAddress(self.internet.host("bob").addresses[0], 9000)
        for data in (b"stranger", self.check("other:x"), self.check(), b"application"):
            sender.write(data, (base.host, base.port))
            self.internet.advance(0.1)
        self.assertEqual([data for _, _, data in self.session.datagrams], [self.check()])
        ports.datagramPort(base).addRoute(remote, self.session)
        sender.write(b"application", (base.host, base.port))
        self.internet.advance(0.1)
        self.assertEqual(self.session.datagrams[-1], (base, remote, b"application"))
        ports.datagramPort(base).removeRoutes(self.session)
        sender.write(b"too late", (base.host, base.port))
        self.internet.advance(0.1)
        self.assertEqual(len(self.session.datagrams), 2)
