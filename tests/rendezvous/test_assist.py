"""
Tests for L{holepunch.rendezvous.assist}: STUN with and without tickets.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory

from holepunch.address import Transport, TransportAddress
from holepunch.rendezvous import Introduction, Limits, Ticket
from holepunch.stun import AttributeType, decode
from tests.rendezvous.network import (
    ALICE,
    BOB,
    CAROL,
    Network,
    NetworkTestCase,
    RawClient,
    address,
    bindingRequest,
    host,
)

BOTH = (Transport.TCP, Transport.UDP)
PRIMARY = address("5.1.0.1:3478")


class Mailbox(DatagramProtocol):
    """
    Keeps the datagrams that arrive.
    """

    noisy = False

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)


class AssistTestCase(NetworkTestCase):
    """
    Sends requests to the assist listeners.
    """

    def overUDP(
        self, data: bytes, hostName: str = "alice", to: TransportAddress = PRIMARY, times: int = 1
    ) -> list[bytes]:
        mailbox = Mailbox()
        port = self.network.reactor(hostName).listenUDP(0, mailbox)
        for _ in range(times):
            mailbox.transport.write(data, (to.host, to.port))  # type: ignore[union-attr]
        self.network.advance()
        port.stopListening()
        return mailbox.received

    def overTCP(self, data: bytes, hostName: str = "alice") -> RawClient:
        client = RawClient()
        endpoint = TCP4ClientEndpoint(self.network.reactor(hostName), PRIMARY.host, PRIMARY.port)
        self.waitFor(endpoint.connect(Factory.forProtocol(lambda: client)))
        self.addCleanup(self.leave, client)
        client.transport.write(data)  # type: ignore[union-attr]
        self.network.advance()
        return client

    def leave(self, client: RawClient) -> None:
        if not client.lost:
            client.transport.loseConnection()  # type: ignore[union-attr]
            self.network.advance()

    def mapped(self, answer: bytes) -> Any:
        return decode(answer).get(AttributeType.XOR_MAPPED_ADDRESS)

    def errorOf(self, answer: bytes) -> int:
        return int(decode(answer).get(AttributeType.ERROR_CODE).code)


class AnonymousTests(AssistTestCase):
    """
    A public STUN server.
    """

    def test_UDP(self) -> None:
        """
        A request over UDP is answered with the mapped address, by every listener.
        """
        for listener in self.network.service.assistAddresses:
            [answer] = self.overUDP(bindingRequest(), to=listener)
            self.assertEqual(self.mapped(answer).host, "31.1.0.1")
            self.assertIsNotNone(decode(answer).get(AttributeType.OTHER_ADDRESS))

    def test_TCP(self) -> None:
        """
        A request over TCP is answered, even one in pieces, and the connection stays open.
        """
        client = self.overTCP(bindingRequest()[:7])
        self.assertEqual(client.received, b"")
        client.transport.write(bindingRequest()[7:] + bindingRequest())  # type: ignore[union-attr]
        self.network.advance()
        half = len(client.received) // 2
        self.assertEqual(client.received[:half], client.received[half:])
        self.assertEqual(self.mapped(client.received[:half]).host, "31.1.0.1")
        self.network.advance(60.0)
        self.assertEqual(client.lost, [])

    def test_garbage(self) -> None:
        """
        What is no request gets no answer, and over TCP it ends the connection.
        """
        for data in (b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", bytes(2000), b"\xff" * 40):
            self.assertEqual(self.overUDP(data), [])
        client = self.overTCP(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((client.received, len(client.lost)), (b"", 1))

    def test_idle(self) -> None:
        """
        A connection on which nobody asks is closed after two minutes.
        """
        client = self.overTCP(b"")
        self.network.advance(118.0)
        self.assertEqual(client.lost, [])
        self.network.advance(3.0)
        self.assertEqual(len(client.lost), 1)

    def test_patience(self) -> None:
        """
        One that was answered may stay for a quarter of an hour without asking again.
        """
        client = self.overTCP(bindingRequest())
        self.network.advance(890.0)
        self.assertEqual(client.lost, [])
        self.network.advance(20.0)
        self.assertEqual(len(client.lost), 1)

    def test_doesNotRead(self) -> None:
        """
        A client that asks and never reads its answers is disconnected.
        """
        client = self.overTCP(b"")
        client.transport.pauseProducing()  # type: ignore[union-attr]
        for _ in range(100):
            client.transport.write(bindingRequest() * 200)  # type: ignore[union-attr]
            self.network.advance(2.0)
        client.transport.resumeProducing()  # type: ignore[union-attr]
        self.network.advance()
        self.assertEqual(len(client.lost), 1)


class TicketTests(AssistTestCase):
    """
    What the service itself observes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.aliceEvents = self.network.register("alice", ALICE, "alice")
        self.bob, self.bobEvents = self.network.register("bob", BOB, "bob")

    def introduce(self) -> tuple[Introduction, Introduction]:
        requested = self.alice.requestSession("bob", transports=BOTH)
        introduction = self.waitFor(requested)
        self.network.advance()
        return introduction, self.bobEvents.offers[-1]

    def test_sessionTicketUDP(self) -> None:
        """
        The mapped address of a request with a session's ticket goes to the other peer, once.
        """
        introduction, offer = self.introduce()
        [answer] = self.overUDP(bindingRequest(introduction.ticket))
        self.assertTrue(decode(answer).isIntegrityValid(introduction.ticket.key))
        self.overUDP(bindingRequest(offer.ticket), "bob", times=3)
        self.assertEqual(self.bobEvents.heardOf, [self.mapped(answer)])
        [(sessionID, [candidate])] = self.aliceEvents.candidates
        self.assertEqual(sessionID, introduction.sessionID)
        self.assertEqual(candidate.type.value, "srflx")
        self.assertEqual(candidate.address.host, "31.2.0.1")

    def test_sessionTicketTCP(self) -> None:
        """
        Over TCP likewise, as a candidate for simultaneous open.
        """
        introduction, _ = self.introduce()
        client = self.overTCP(bindingRequest(introduction.ticket))
        [(_, [candidate])] = self.bobEvents.candidates
        self.assertEqual(candidate.transport, Transport.TCP)
        self.assertEqual(candidate.address, self.mapped(client.received))

    def test_registrationTicket(self) -> None:
        """
        What was seen with a registration's ticket goes into later introductions.
        """
        ticket = self.waitFor(self.bob.register(name="bob")).ticket
        [answer] = self.overUDP(bindingRequest(ticket), "bob")
        introduction, _ = self.introduce()
        addresses = [each.address for each in introduction.remoteCandidates]
        self.assertEqual(addresses, [self.mapped(answer)])

    def test_staleObservation(self) -> None:
        """
        What was seen too long ago is not passed on: the mapping may be somebody else's by now.
        """
        ticket = self.waitFor(self.bob.register(name="bob")).ticket
        self.overUDP(bindingRequest(ticket), "bob")
        self.network.advance(61.0)
        introduction, _ = self.introduce()
        self.assertEqual(introduction.remoteCandidates, ())

    def test_claims(self) -> None:
        """
        Of the public addresses that a peer claims, those are passed on where it has been seen.
        """
        introduction, _ = self.introduce()
        predicted = host("31.1.0.1:6000")
        victim = host("31.2.0.1:22")
        elsewhere = host("5.5.5.5:80")
        sent = [predicted, victim, elsewhere]
        self.waitFor(self.alice.sendCandidates(introduction.sessionID, sent))
        self.network.advance()
        self.assertEqual(self.bobEvents.heardOf, [predicted.address])
        self.assertEqual(self.network.service.exchange.switchboard.refusedCandidates, 0)
        self.alice.goodbye()
        self.network.advance()
        self.assertEqual(self.network.service.exchange.switchboard.refusedCandidates, 2)

    def assertRefused(self, ticket: Ticket, key: bytes = b"") -> None:
        [answer] = self.overUDP(bindingRequest(ticket, key=key))
        self.assertEqual(self.errorOf(answer), 401)
        self.assertEqual(self.errorOf(self.overTCP(bindingRequest(ticket, key=key)).received), 401)

    def test_wrongKey(self) -> None:
        """
        The key of another session's ticket gives no entry, and shows nothing to anybody.
        """
        introduction, offer = self.introduce()
        self.assertRefused(introduction.ticket, key=offer.ticket.key)
        self.assertRefused(Ticket(name="x" * 24, key=b"guess"))
        self.assertEqual(self.bobEvents.candidates, [])

    def test_expired(self) -> None:
        """
        A session's ticket is good for as long as the session: not after its end, nor its time.
        """
        introduction, _ = self.introduce()
        self.network.advance(61.0)
        self.assertRefused(introduction.ticket)

    def test_leftService(self) -> None:
        """
        A registration's ticket is good for as long as the main connection.
        """
        ticket = self.waitFor(self.alice.register()).ticket
        self.assertEqual(len(self.overUDP(bindingRequest(ticket))), 1)
        self.alice.goodbye()
        self.network.advance()
        self.assertRefused(ticket)

    def test_ofOthers(self) -> None:
        """
        A ticket tells the service about its own peer only, wherever the request comes from.
        """
        introduction, _ = self.introduce()
        self.network.register("bob", CAROL)
        self.overUDP(bindingRequest(introduction.ticket), "bob")
        self.assertEqual(self.aliceEvents.candidates, [])
        self.assertEqual([each.host for each in self.bobEvents.heardOf], ["31.2.0.1"])


class LimitTests(AssistTestCase):
    """
    What one address may ask.
    """

    def makeNetwork(self) -> Network:
        limits = Limits(assistRequestsPerSecond=2, assistBurst=5, assistConnectionsPerAddress=2)
        return Network(limits=limits, allowAnonymous=False)

    def test_anonymous(self) -> None:
        """
        Where anonymous requests are not allowed, they get an error.
        """
        [answer] = self.overUDP(bindingRequest())
        self.assertEqual(self.errorOf(answer), 400)

    def test_flood(self) -> None:
        """
        Requests beyond the burst get no answer; another address still does.
        """
        self.assertEqual(len(self.overUDP(bindingRequest(), times=100)), 5)
        self.assertEqual(len(self.overUDP(bindingRequest(), "bob")), 1)
        self.network.advance(2.0)
        self.assertEqual(len(self.overUDP(bindingRequest())), 1)

    def test_connections(self) -> None:
        """
        An address gets only so many connections.
        """
        clients = [self.overTCP(bindingRequest()) for _ in range(3)]
        self.assertEqual([len(each.lost) for each in clients], [0, 0, 1])
