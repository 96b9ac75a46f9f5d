"""
Tests for L{holepunch.rendezvous.guardedline}: what a bad peer can do to the service.
"""

from __future__ import annotations

from typing import Any

from twisted.protocols.amp import AmpBox
from twisted.python.failure import Failure

from holepunch.address import Transport
from holepunch.errors import (
    RendezvousUnreachable,
    SessionRefused,
    TooManyRequests,
)
from holepunch.rendezvous import (
    Limits,
)
from tests.rendezvous.network import (
    ALICE,
    BOB,
    CAROL,
    Network,
    NetworkTestCase,
    RawClient,
)

BOTH = (Transport.TCP, Transport.UDP)


class LimitTests(NetworkTestCase):
    """
    What one peer may ask.
    """

    def makeNetwork(self) -> Network:
        limits = Limits(
            connectionsPerAddress=3, requestBurst=10, sessionsPerPeer=2, offersPerPeer=2
        )
        return Network(limits=limits)

    def test_connections(self) -> None:
        """
        An address that has too many main connections gets no further one, until one is closed.
        """
        clients = [self.network.connect() for _ in range(3)]
        with self.assertRaises(RendezvousUnreachable):
            self.network.connect()
        clients[0].goodbye()
        self.network.advance()
        self.network.connect()

    def test_requests(self) -> None:
        """
        Requests beyond the burst are refused, and allowed again after a moment.
        """
        client, _ = self.network.register()
        refused: list[Failure] = []
        for _ in range(30):
            client.ping().addErrback(refused.append)
        self.network.advance(0.2)
        self.assertGreater(len(refused), 10)
        self.assertIsInstance(refused[0].value, TooManyRequests)
        self.network.advance(2.0)
        self.waitFor(client.ping())

    def test_flood(self) -> None:
        """
        A peer that floods in spite of refusals is disconnected.
        """
        client, events = self.network.register()
        for _ in range(200):
            client.ping().addErrback(lambda failure: None)
        self.network.advance(8.0)
        self.assertEqual(len(events.lost), 1)

    def test_unknownCommands(self) -> None:
        """
        Commands that do not exist count like others.
        """
        raw = self.network.raw()
        box = AmpBox(_command=b"Dance", _ask=b"1").serialize()
        raw.transport.write(box * 20)  # type: ignore[union-attr]
        self.network.advance()
        self.assertEqual(raw.received.count(b"UNHANDLED"), 10)
        self.assertEqual(raw.received.count(b"TOO_MANY_REQUESTS"), 10)

    def test_sessions(self) -> None:
        """
        A peer can have only so many sessions under way.
        """
        alice, _ = self.network.register("alice", ALICE)
        self.network.register("bob", BOB, "bob")
        for _ in range(2):
            self.waitFor(alice.requestSession("bob", transports=BOTH))
        self.assertFails(alice.requestSession("bob", transports=BOTH), TooManyRequests)

    def test_offers(self) -> None:
        """
        A peer that is asked for by too many is busy.
        """
        self.network.register("bob", BOB, "bob")
        alice, _ = self.network.register("alice", ALICE)
        carol, _ = self.network.register("alice", CAROL)
        for _ in range(2):
            self.waitFor(alice.requestSession("bob", transports=BOTH))
        self.assertFails(carol.requestSession("bob", transports=BOTH), SessionRefused)


class BadPeerTests(NetworkTestCase):
    """
    Peers that do not keep to the protocol.
    """

    def makeNetwork(self) -> Network:
        return Network(limits=Limits(requestsPerSecond=1e6, requestBurst=1_000_000))

    def say(self, data: bytes) -> RawClient:
        raw = self.network.raw()
        raw.transport.write(data)  # type: ignore[union-attr]
        self.network.advance()
        return raw

    def test_notAMP(self) -> None:
        """
        Who speaks something else inside TLS is disconnected, with one complaint, and no harm done.
        """
        self.network.register("bob", BOB, "bob")
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 300, b"\0\1a\0\0\0\0"):
            complaints = self.network.service.exchange.complaints
            before = complaints.count
            self.assertEqual(len(self.say(data).lost), 1)
            self.assertEqual(complaints.count, before + 1)
        alice, _ = self.network.register()
        self.waitFor(alice.requestSession("bob", transports=BOTH))

    def test_oversize(self) -> None:
        """
        A message beyond the limit ends the connection before all of it is kept.
        """
        part = b"".join(bytes([0, 2, 65, key]) + b"\x20\x00" + bytes(8192) for key in range(64))
        raw = self.say(part * 4)
        self.assertEqual(len(raw.lost), 1)

    def test_unregisteredFlood(self) -> None:
        """
        Requests before the registration are refused, each, and the connection ends in time.
        """
        box = AmpBox(_command=b"Ready", _ask=b"1", sessionID=b"x").serialize()
        raw = self.say(box * 100)
        self.assertEqual(raw.received.count(b"NOT_REGISTERED"), 100)
        self.network.advance(10.0)
        self.assertEqual(len(raw.lost), 1)

    def test_doesNotRead(self) -> None:
        """
        A peer that asks on and on and never reads is not answered without bound, and given up.
        """
        raw = self.network.raw(ALICE)
        register = AmpBox(
            _command=b"Register",
            _ask=b"1",
            version=b"1",
            accepts=b"True",
            policy=b"at-once",
            local=b"192.168.1.10:5000",
            candidates=b"",
        )
        transport: Any = raw.transport
        transport.write(register.serialize())
        self.network.advance()
        transport.pauseProducing()
        unknown = AmpBox(_command=b"x" * 200, _ask=b"2").serialize()
        for _ in range(20):
            transport.write(unknown * 2000)
            self.network.advance(2.0)
        self.assertEqual(self.network.service.exchange.connectionCount, 0)
        transport.resumeProducing()
        self.network.advance()
        self.assertLess(len(raw.received), 1_000_000)
