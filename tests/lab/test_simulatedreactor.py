"""
Tests for L{holepunch.lab.simulatedreactor}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    clientFromString,
    serverFromString,
    wrapClientTLS,
    wrapServerTLS,
)
from twisted.internet.error import ConnectionDone, DNSLookupError
from twisted.internet.interfaces import (
    IConnector,
    IHostnameResolver,
    IListeningPort,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    ITCPTransport,
    IUDPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.ssl import CertificateOptions, KeyPair
from twisted.internet.task import LoopingCall, deferLater
from twisted.protocols.amp import AMP, Command, Integer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.lab import SimulatedInternet, Topology
from tests.lab.programs import Accepting, Datagrams, Echo, Recorder


class ReactorTestCase(SynchronousTestCase):
    """
    What the tests have in common.
    """

    def setUp(self) -> None:
        self.internet = SimulatedInternet(Topology.parse("port-restricted/symmetric"))
        self.client = self.internet.host("alice").reactor
        self.server = self.internet.host("rendezvous").reactor


class InterfaceTests(ReactorTestCase):
    """
    Tests for what the reactor provides.
    """

    def test_reactor(self) -> None:
        """
        The reactor provides what network programs ask of one.
        """
        for interface in (
            IReactorTime,
            IReactorTCP,
            IReactorUDP,
            IReactorFDSet,
            IReactorPluggableNameResolver,
        ):
            verifyObject(interface, self.client)
        verifyObject(IHostnameResolver, self.client.nameResolver)

    def test_transports(self) -> None:
        """
        Ports, connectors and transports provide their interfaces.
        """
        accepting: Any = Accepting()
        port = self.server.listenTCP(4460, accepting)
        verifyObject(IListeningPort, port)
        factory: Any = ClientFactory.forProtocol(Recorder)
        connector = self.client.connectTCP("5.1.0.1", 4460, factory)
        verifyObject(IConnector, connector)
        self.internet.advance(1.0)
        verifyObject(ITCPTransport, accepting.built[0].transport)
        datagrams = Datagrams()
        verifyObject(IListeningPort, self.client.listenUDP(0, datagrams))
        verifyObject(IUDPTransport, datagrams.transport)

    def test_connector(self) -> None:
        """
        A connector can be told to stop, and to connect again.
        """
        accepting: Any = Accepting()
        self.server.listenTCP(4460, accepting)
        failures: list[Any] = []
        factory: Any = ClientFactory.forProtocol(Recorder)
        factory.clientConnectionFailed = lambda connector, reason: failures.append(reason)
        connector = self.client.connectTCP("5.1.0.1", 4460, factory)
        connector.stopConnecting()
        self.assertEqual(len(failures), 1)
        connector.connect()
        self.internet.advance(1.0)
        self.assertEqual(connector.getDestination(), IPv4Address("TCP", "5.1.0.1", 4460))
        connector.disconnect()
        self.internet.advance(1.0)
        self.assertIsNotNone(accepting.built[0].reason)

    def test_time(self) -> None:
        """
        All hosts share one time, and each reactor knows its own calls only.
        """
        call = self.client.callLater(5.0, lambda: None)
        self.assertEqual(self.client.getDelayedCalls(), [call])
        self.assertEqual(self.server.getDelayedCalls(), [])
        self.internet.advance(2.0)
        self.assertEqual((self.client.seconds(), self.server.seconds()), (2.0, 2.0))
        ticks: list[float] = []
        loop = LoopingCall(lambda: ticks.append(self.client.seconds()))
        loop.clock = self.client
        loop.start(10.0)
        self.internet.advance(30.0)
        self.assertEqual(ticks, [2.0, 12.0, 22.0, 32.0])

    def test_failingCall(self) -> None:
        """
        A delayed call that fails is logged, and nothing else suffers.
        """
        called: list[int] = []
        self.client.callLater(1.0, lambda: 1 // 0)
        self.client.callLater(1.0, called.append, 1)
        self.internet.advance(1.0)
        self.assertEqual(called, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_callWhenRunning(self) -> None:
        """
        The reactor is running.
        """
        called: list[int] = []
        self.client.callWhenRunning(called.append, 1)
        self.assertTrue(self.client.running)
        self.assertEqual(called, [1])

    def test_systemEvents(self) -> None:
        """
        Triggers of an event are called in the order of their phases, waiting for those before it.
        """
        called: list[str] = []
        waiting: Deferred[None] = Deferred()
        self.client.addSystemEventTrigger("after", "shutdown", called.append, "after")
        self.client.addSystemEventTrigger("during", "shutdown", called.append, "during")
        self.client.addSystemEventTrigger("before", "shutdown", lambda: waiting)
        self.client.addSystemEventTrigger("during", "startup", self.fail)
        removed = self.client.addSystemEventTrigger("during", "shutdown", self.fail)
        self.client.removeSystemEventTrigger(removed)
        self.client.fireSystemEvent("shutdown")
        self.assertEqual(called, [])
        waiting.callback(None)
        self.assertEqual(called, ["during", "after"])

    def test_descriptors(self) -> None:
        """
        The reactor names what it watches, and lets go of it all.
        """
        port = self.client.listenUDP(0, Datagrams())
        self.assertEqual(self.client.getReaders(), [port])
        self.assertEqual(self.client.getWriters(), [])
        self.assertEqual(self.client.removeAll(), [port])
        self.assertEqual(self.client.getReaders(), [])

    def test_failingProtocol(self) -> None:
        """
        A protocol that fails loses its connection, and the error is logged.
        """

        class Failing(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        accepting: Any = Accepting(Failing)
        self.server.listenTCP(4460, accepting)
        endpoint = TCP4ClientEndpoint(self.client, "5.1.0.1", 4460)
        client: Any = self.internet.waitFor(endpoint.connect(Accepting()))
        client.transport.write(b"hello")
        self.internet.waitFor(client.whenLost())
        self.assertIsInstance(accepting.built[0].reason, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NameTests(ReactorTestCase):
    """
    Tests for names.
    """

    def connect(self, name: str) -> Any:
        """
        Connect to a host by name.
        """
        endpoint = HostnameEndpoint(self.client, name, 4460)
        return self.internet.waitFor(endpoint.connect(Accepting()))

    def test_hostname(self) -> None:
        """
        The hosts of the topology can be called by name, and so can what is added.
        """
        accepting: Any = Accepting()
        self.server.listenTCP(4460, accepting)
        self.internet.names["rendezvous.example.org"] = ("5.2.0.1",)
        for name, host in (("rendezvous", "5.1.0.1"), ("rendezvous.example.org", "5.2.0.1")):
            self.assertEqual(self.connect(name).transport.getPeer().host, host)

    def test_unknown(self) -> None:
        """
        Other names are not found.
        """
        self.assertRaises(DNSLookupError, self.connect, "nowhere")
        endpoint = TCP4ClientEndpoint(self.client, "nowhere", 4460)
        self.assertRaises(DNSLookupError, self.internet.waitFor, endpoint.connect(Accepting()))

    def test_connectByName(self) -> None:
        """
        C{connectTCP} takes names, too.
        """
        accepting: Any = Accepting()
        self.server.listenTCP(4460, accepting)
        endpoint = TCP4ClientEndpoint(self.client, "rendezvous", 4460)
        self.internet.waitFor(endpoint.connect(Accepting()))

    def test_otherResolver(self) -> None:
        """
        A program may install its own resolver.
        """
        ours = self.client.nameResolver
        self.assertIs(self.client.installNameResolver(self.server.nameResolver), ours)

    def test_strings(self) -> None:
        """
        Endpoints made from strings work.
        """
        listening = serverFromString(self.server, "tcp:4460").listen(Accepting())
        self.internet.waitFor(listening)
        connecting = clientFromString(self.client, "tcp:rendezvous:4460").connect(Accepting())
        self.internet.waitFor(connecting)


class _Sum(Command):
    arguments = [(b"a", Integer()), (b"b", Integer())]
    response = [(b"total", Integer())]


class _Adder(AMP):
    @_Sum.responder
    def sum(self, a: int, b: int) -> dict[str, int]:
        return {"total": a + b}


class ProtocolTests(ReactorTestCase):
    """
    Tests for Twisted's protocols, which run unchanged.
    """

    def test_tls(self) -> None:
        """
        TLS works on top, with the reactor as its clock, and says goodbye properly.
        """
        certificate = KeyPair.generate(size=2048).selfSignedCert(1, CN="rendezvous")
        accepting = Accepting(Echo)
        listening = wrapServerTLS(
            certificate.options(), TCP4ServerEndpoint(self.server, 4460), clock=self.server
        )
        self.internet.waitFor(listening.listen(accepting))
        endpoint = wrapClientTLS(
            CertificateOptions(trustRoot=certificate),
            HostnameEndpoint(self.client, "rendezvous", 4460),
            clock=self.client,
        )
        client: Any = self.internet.waitFor(endpoint.connect(Accepting()))
        data = bytes(range(256)) * 500
        for start in range(0, len(data), 100):
            client.transport.write(data[start : start + 100])
        self.assertEqual(self.internet.waitFor(client.whenReceived(len(data))), data)
        client.transport.loseConnection()
        self.assertEqual(self.internet.waitFor(accepting.built[0].whenLost()), ConnectionDone)
        self.assertEqual(self.internet.waitFor(client.whenLost()), ConnectionDone)

    def test_amp(self) -> None:
        """
        AMP answers.
        """
        self.internet.waitFor(
            TCP4ServerEndpoint(self.server, 4460).listen(Factory.forProtocol(_Adder))
        )
        endpoint = TCP4ClientEndpoint(self.client, "5.1.0.1", 4460)
        client: Any = self.internet.waitFor(endpoint.connect(Factory.forProtocol(AMP)))
        answer: Deferred[Any] = client.callRemote(_Sum, a=13, b=81)
        self.assertEqual(self.internet.waitFor(answer), {"total": 94})

    def test_deferLater(self) -> None:
        """
        Helpers that take a clock take the reactor.
        """
        done = deferLater(self.client, 7.0, lambda: "done")
        self.assertEqual(self.internet.waitFor(done), "done")
        self.assertEqual(self.internet.clock.seconds(), 7.0)
