"""
Tests for L{holepunch.rendezvous.client} and L{holepunch.rendezvous.connecting}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import makeBinding
from zope.interface.verify import verifyObject

from holepunch.address import Transport
from holepunch.errors import (
    RendezvousError,
    RendezvousUnreachable,
    ServiceIdentityChanged,
    TooLarge,
    UnknownPeer,
    WrongPeer,
)
from holepunch.identity import Identity
from holepunch.interfaces import IRendezvousEvents
from holepunch.rendezvous import (
    Answer,
    EndReason,
    KnownServices,
    RendezvousService,
    ServiceLocation,
    SessionEnd,
    connectRendezvous,
)
from tests.rendezvous.network import (
    ALICE,
    BOB,
    SERVICE,
    NetworkTestCase,
    RawClient,
    Recorder,
    host,
)

BOTH = (Transport.TCP, Transport.UDP)


class Listener(Factory):
    """
    Listens, and says nothing or something.
    """

    noisy = False

    def __init__(self, says: bytes = b"") -> None:
        self.says = says
        self.built: list[RawClient] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        protocol = RawClient()
        protocol.connectionMade = self.greet  # type: ignore[method-assign]
        self.built.append(protocol)
        return protocol

    def greet(self) -> None:
        self.built[-1].transport.write(self.says)  # type: ignore[union-attr]


class ConnectingTests(NetworkTestCase):
    """
    L{connectRendezvous}.
    """

    def connecting(self, location: ServiceLocation, **options: Any) -> Any:
        reactor = self.network.reactor("alice")
        return connectRendezvous(reactor, location, ALICE, Recorder(), **options)

    def listen(self, says: bytes = b"", port: int = 9000) -> tuple[ServiceLocation, Listener]:
        factory = Listener(says)
        endpoint = TCP4ServerEndpoint(self.network.reactor("rendezvous"), port)
        listening = self.waitFor(endpoint.listen(factory))
        self.addCleanup(lambda: listening.stopListening())
        return ServiceLocation("5.1.0.1", port), factory

    def test_events(self) -> None:
        """
        The recorder of these tests is what it says.
        """
        self.assertTrue(verifyObject(IRendezvousEvents, Recorder()))

    def test_pinned(self) -> None:
        """
        A client knows the service by the expected key.
        """
        self.assertEqual(self.network.connect().serviceID, SERVICE.peerID)

    def test_roundTrips(self) -> None:
        """
        Connecting costs what TCP and TLS 1.3 must: two round trips, of 20 ms here.
        """
        self.network.connect()
        self.assertLess(self.network.clock.seconds(), 0.065)

    def test_byName(self) -> None:
        """
        A service is found by its host name, and keeps its key.
        """
        location = ServiceLocation("rendezvous", 4460, SERVICE.peerID)
        self.network.connect(location=location)

    def test_unknownName(self) -> None:
        """
        A host name that does not exist is unreachable, with a sentence.
        """
        connecting = self.connecting(ServiceLocation("nowhere.example"))
        error = self.assertFails(connecting, RendezvousUnreachable)
        self.assertIn("nowhere.example:4460", str(error))

    def test_wrongKey(self) -> None:
        """
        A service with another key than expected is refused, and nothing was sent to it.
        """
        location = ServiceLocation("5.1.0.1", 4460, BOB.peerID)
        error = self.assertFails(self.connecting(location), WrongPeer)
        self.assertIn(SERVICE.peerID.text, str(error))

    def test_refused(self) -> None:
        """
        Where nobody listens, the service is unreachable, at once.
        """
        connecting = self.connecting(ServiceLocation("5.1.0.1", 9))
        error = self.assertFails(connecting, RendezvousUnreachable)
        sentence = "cannot reach the rendezvous service 5.1.0.1:9: nobody listens there"
        self.assertEqual(str(error), sentence)
        self.assertLess(self.network.clock.seconds(), 1.0)

    def test_silent(self) -> None:
        """
        A server that accepts and says nothing is given up after the time limit.
        """
        location, factory = self.listen()
        error = self.assertFails(self.connecting(location, timeout=7.0), RendezvousUnreachable)
        self.assertIn("7 seconds", str(error))
        self.network.advance()
        self.assertEqual(len(factory.built[0].lost), 1)

    def test_notTLS(self) -> None:
        """
        A server of another protocol is unreachable, with a sentence.
        """
        location, _ = self.listen(b"SSH-2.0-OpenSSH_9.7\r\n")
        error = self.assertFails(self.connecting(location), RendezvousUnreachable)
        self.assertIn("TLS", str(error))

    def test_closes(self) -> None:
        """
        A server that closes at once is unreachable.
        """
        location, factory = self.listen()
        connecting = self.connecting(location)
        self.network.advance(0.05)
        factory.built[0].transport.loseConnection()  # type: ignore[union-attr]
        self.assertFails(connecting, RendezvousUnreachable)

    def test_cancelled(self) -> None:
        """
        Cancelling, at whatever moment, closes what was opened.
        """
        for milliseconds in range(0, 50, 4):
            connecting = self.connecting(self.network.location)
            self.network.advance(milliseconds / 1000)
            if not connecting.called:
                connecting.cancel()
                self.failureResultOf(connecting, CancelledError)
            else:
                self.successResultOf(connecting).goodbye()
            self.network.advance(2.0)
            self.assertEqual(self.network.service.exchange.connectionCount, 0)

    def test_punchingPort(self) -> None:
        """
        The main connection can be made from a port on which the peer listens at the same time.
        """
        reactor = self.network.reactor("alice")
        binding = makeBinding("192.168.1.10", 5000, reuseAddress=True, reusePort=True)
        port = reactor.listenTCP(binding, Factory.forProtocol(Protocol))
        client = self.network.connect(bindAddress=binding)
        transport: Any = client.transport
        self.assertEqual(transport.getHost().port, 5000)
        self.waitFor(client.register())
        port.stopListening()


class KnownTests(NetworkTestCase):
    """
    Services known on first use.
    """

    def setUp(self) -> None:
        super().setUp()
        self.known = KnownServices()
        self.location = ServiceLocation("5.1.0.1")

    def test_remembered(self) -> None:
        """
        The key that a service shows first is remembered, and recognised.
        """
        for _ in range(2):
            client = self.network.connect(location=self.location, known=self.known)
            self.assertEqual(client.serviceID, SERVICE.peerID)
        self.assertEqual(self.known.recall(self.location), SERVICE.peerID)

    def test_changed(self) -> None:
        """
        A service that shows another key than before is refused; the message names both keys.
        """
        self.known.remember(self.location, BOB.peerID)
        with self.assertRaises(ServiceIdentityChanged) as caught:
            self.network.connect(location=self.location, known=self.known)
        self.assertIn(BOB.peerID.text, str(caught.exception))
        self.assertIn(SERVICE.peerID.text, str(caught.exception))
        self.network.advance()
        self.assertEqual(self.network.service.exchange.connectionCount, 0)

    def test_notRemembered(self) -> None:
        """
        A key that the location gives is not remembered besides.
        """
        self.network.connect(known=self.known)
        self.assertIsNone(self.known.recall(self.location))


class ClientTests(NetworkTestCase):
    """
    L{RendezvousClient}; what it shares with the service is tested there.
    """

    def test_lost(self) -> None:
        """
        When the connection breaks, requests under way fail, later ones too, and the peer is told.
        """
        client, events = self.network.register()
        pinging = client.ping()
        client.transport.abortConnection()  # type: ignore[union-attr]
        self.assertFails(pinging, RendezvousUnreachable)
        self.assertFails(client.ping(), RendezvousUnreachable)
        self.assertFails(client.register(), RendezvousUnreachable)
        self.assertFails(client.requestSession("x", transports=BOTH), RendezvousUnreachable)
        self.assertEqual(len(events.lost), 1)
        self.assertIsInstance(events.lost[0], RendezvousUnreachable)

    def test_goodbye(self) -> None:
        """
        After a goodbye of its own the client is told that the connection is gone, once.
        """
        client, events = self.network.register()
        client.goodbye()
        client.goodbye()
        self.network.advance()
        self.assertEqual(len(events.lost), 1)
        self.assertIsInstance(events.lost[0], RendezvousError)

    def test_ping(self) -> None:
        """
        A ping tells the round trip.
        """
        client, _ = self.network.register()
        self.assertAlmostEqual(self.waitFor(client.ping()), 0.03, delta=0.011)

    def test_tooMany(self) -> None:
        """
        A request with too many candidates is refused before it is sent; trickled ones are divided.
        """
        client, _ = self.network.register()
        _, events = self.network.register("bob", BOB, "bob")
        many = [host(f"10.0.0.1:{port}") for port in range(1, 101)]
        requested = client.requestSession("bob", transports=BOTH, candidates=many)
        self.assertFails(requested, TooLarge)
        self.assertFails(client.register(candidates=many), TooLarge)
        sessionID = self.waitFor(client.requestSession("bob", transports=BOTH)).sessionID
        self.waitFor(client.sendCandidates(sessionID, many))
        self.network.advance()
        self.assertEqual(len(events.heardOf), 100)

    def test_answers(self) -> None:
        """
        An offer may be answered by a claim, an answer or a Deferred; an error of ours refuses it.
        """
        client, clientEvents = self.network.register()
        _, events = self.network.register("bob", BOB, "bob")

        async def later() -> Answer:
            raise RendezvousError("no room")

        events.answer = lambda introduction: Deferred.fromCoroutine(later())
        self.waitFor(client.requestSession("bob", transports=BOTH))
        self.network.advance()
        [(_, end)] = clientEvents.ended
        self.assertEqual(end, SessionEnd(EndReason.REFUSED, "no room"))

    def test_longRefusal(self) -> None:
        """
        A refusal's text is cut to what a message carries.
        """
        client, clientEvents = self.network.register()
        _, events = self.network.register("bob", BOB, "bob")
        events.answer = lambda introduction: Answer(False, text="no " * 1000)
        self.waitFor(client.requestSession("bob", transports=BOTH))
        self.network.advance()
        self.assertEqual(len(clientEvents.ended[0][1].text), 1000)

    def test_senselessKeepalive(self) -> None:
        """
        A service cannot make its peers ping without end.
        """
        client = self.network.connect()
        self.network.service.exchange.keepaliveInterval = 0.0
        self.assertFails(client.register(), RendezvousError)

    def test_otherService(self) -> None:
        """
        A peer can be registered with two services at once.
        """
        other = Identity.generate()
        service = RendezvousService(
            self.network.reactor("rendezvous"), other, main=["tcp:4461"], assist=[]
        )
        service.startService()
        client = self.network.connect(location=ServiceLocation("5.1.0.1", 4461, other.peerID))
        self.waitFor(client.register(name="alice"))
        self.network.register(name="alice")
        self.waitFor(service.stopService())

    def test_escapeSequences(self) -> None:
        """
        What others say of sessions is text when it reaches a terminal, and nothing else.
        """
        alice, aliceEvents = self.network.register(accepts=True)
        _, bobEvents = self.network.register("bob", BOB)
        bobEvents.answer = lambda introduction: Answer(False, text="\x1b]0;owned\x07")
        introduction = self.waitFor(alice.requestSession(BOB.peerID.text, transports=BOTH))
        self.network.advance(1.0)
        ((sessionID, end),) = aliceEvents.ended
        self.assertEqual(sessionID, introduction.sessionID)
        self.assertEqual(end.text, "\ufffd]0;owned\ufffd")
        absurd = "\x1b[2J"
        error = self.assertFails(alice.requestSession(absurd, transports=BOTH), UnknownPeer)
        self.assertTrue(str(error).isprintable())
