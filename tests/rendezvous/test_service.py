"""
Tests for L{holepunch.rendezvous.service} on real sockets, and for what it writes to the log.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import CannotListen, RendezvousUnreachable, WrongPeer
from holepunch.identity import Identity
from holepunch.rendezvous import (
    EndReason,
    Limits,
    RendezvousClient,
    RendezvousService,
    ServiceLocation,
    SessionEnd,
    connectRendezvous,
)
from holepunch.tls import CertifiedTLS, IdentityTLSFactory
from tests.rendezvous.network import (
    ALICE,
    BOB,
    SERVICE,
    NetworkTestCase,
    RawClient,
    Recorder,
    bindingRequest,
)
from tests.test_tls import certificateFor, trust

reactor: Any = _reactor
HERE = TransportAddress("127.0.0.1", 0)


def asynchronous(
    test: Callable[..., Coroutine[Deferred[Any], Any, None]],
) -> Callable[..., Deferred[None]]:
    """
    Let trial wait for a test that is a coroutine.
    """

    def run(self: TestCase) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def pause(seconds: float = 0.05) -> Deferred[None]:
    clock: IReactorTime = reactor
    return deferLater(clock, seconds, lambda: None)


class LoopbackTests(TestCase):
    """
    L{RendezvousService} on loopback.
    """

    timeout = 20.0

    def start(self, **options: Any) -> RendezvousService:
        options.setdefault("main", ["tcp:0:interface=127.0.0.1"])
        options.setdefault("assist", [HERE])
        service = RendezvousService(reactor, SERVICE, **options)
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    def location(self, service: RendezvousService) -> ServiceLocation:
        return ServiceLocation("127.0.0.1", service.mainAddresses[0].port, SERVICE.peerID)

    async def connect(
        self, service: RendezvousService, identity: Identity, **options: Any
    ) -> tuple[RendezvousClient, Recorder]:
        events = Recorder()
        location = options.pop("location", None) or self.location(service)
        client = await connectRendezvous(reactor, location, identity, events, **options)
        self.addCleanup(client.goodbye)
        return client, events

    async def raw(self, service: RendezvousService, data: bytes) -> RawClient:
        client = RawClient()
        address = service.mainAddresses[0]
        endpoint = TCP4ClientEndpoint(reactor, address.host, address.port)
        await endpoint.connect(Factory.forProtocol(lambda: client))
        client.transport.write(data)  # type: ignore[union-attr]
        await pause()
        if not client.lost:
            client.transport.abortConnection()  # type: ignore[union-attr]
            await pause()
        return client

    @asynchronous
    async def test_session(self) -> None:
        """
        Two peers on the service's host are introduced with their loopback addresses.
        """
        service = self.start()
        alice, _ = await self.connect(service, ALICE)
        bob, bobEvents = await self.connect(service, BOB)
        registered = await alice.register(name="alice")
        self.assertEqual(registered.assist, service.assistAddresses)
        await bob.register(name="bob")
        transports = (Transport.TCP,)
        introduction = await alice.requestSession("bob", transports=transports)
        await pause()
        self.assertEqual(bobEvents.offers[0].sessionID, introduction.sessionID)

    @asynchronous
    async def test_restart(self) -> None:
        """
        A service that was stopped has closed everything, and can be started again at its ports.
        """
        service = self.start()
        _, events = await self.connect(service, ALICE)
        addresses = service.mainAddresses + service.assistAddresses
        await service.stopService()
        await pause()
        self.assertEqual(len(events.lost), 1)
        for address in addresses:
            probe = socket.create_server((address.host, address.port))
            probe.close()
        service.startService()
        await self.connect(service, ALICE)

    @asynchronous
    async def test_portTaken(self) -> None:
        """
        When a port is taken, starting fails with a sentence, and nothing stays bound.
        """
        first = self.start()
        main, assist = first.mainAddresses[0], first.assistAddresses[0]
        with self.assertRaises(CannotListen) as caught:
            self.start(main=[f"tcp:{main.port}:interface=127.0.0.1"])
        self.assertIn(str(main.port), str(caught.exception))
        with self.assertRaises(CannotListen) as caught:
            self.start(assist=[assist])
        self.assertIn(str(assist.port), str(caught.exception))

    @asynchronous
    async def test_notTLS(self) -> None:
        """
        Other protocols on the main port are disconnected, with one line in the log.
        """
        service = self.start()
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(400)):
            before = service.exchange.complaints.count
            client = await self.raw(service, data)
            self.assertEqual(len(client.lost), 1)
            self.assertEqual(service.exchange.complaints.count, before + 1)
        self.assertEqual(service.exchange.connectionCount, 0)

    @asynchronous
    async def test_otherKey(self) -> None:
        """
        A client whose certificate carries another kind of key is disconnected, with one line.
        """
        service = self.start()
        _, combined = certificateFor([x509.DNSName("client")], Path(self.mktemp()))
        client = RawClient()
        tls = IdentityTLSFactory(
            reactor, CertifiedTLS(combined), True, Factory.forProtocol(lambda: client)
        )
        address = service.mainAddresses[0]
        await TCP4ClientEndpoint(reactor, address.host, address.port).connect(tls)
        await pause()
        self.assertEqual(len(client.lost), 1)
        self.assertEqual(service.exchange.complaints.count, 1)

    @asynchronous
    async def test_silence(self) -> None:
        """
        Who connects and says nothing is disconnected.
        """
        service = self.start(limits=Limits(registrationTimeout=0.05))
        client = RawClient()
        address = service.mainAddresses[0]
        endpoint = TCP4ClientEndpoint(reactor, address.host, address.port)
        await endpoint.connect(Factory.forProtocol(lambda: client))
        await pause(0.2)
        self.assertEqual(len(client.lost), 1)

    @asynchronous
    async def test_reset(self) -> None:
        """
        A client that resets its connection in the midst of the handshake disturbs nobody.
        """
        service = self.start()
        address = service.mainAddresses[0]
        for _ in range(5):
            probe = socket.create_connection((address.host, address.port))
            probe.send(b"\x16\x03\x01\x00\x05hello")
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await pause(0.01)
            probe.close()
        await pause()
        self.assertEqual(service.exchange.connectionCount, 0)

    @asynchronous
    async def test_certificate(self) -> None:
        """
        A service may show an ordinary certificate; a client that expects its key refuses that.
        """
        directory = Path(self.mktemp())
        trusted, combined = certificateFor([x509.DNSName("localhost")], directory)
        trust(self, trusted)
        service = self.start(certified=CertifiedTLS(combined))
        port = service.mainAddresses[0].port
        here = ServiceLocation("localhost", port)
        client, _ = await self.connect(service, ALICE, location=here)
        self.assertIsNone(client.serviceID)
        self.assertEqual((await client.register()).peerID, ALICE.peerID)
        with self.assertRaises(WrongPeer):
            await self.connect(service, ALICE)

    @asynchronous
    async def test_wildcard(self) -> None:
        """
        Peers of a service that listens on all addresses are told the one that they know it by.
        """
        service = self.start(assist=[TransportAddress("0.0.0.0", 0)])
        client, _ = await self.connect(service, ALICE)
        [assist] = (await client.register()).assist
        self.assertEqual(assist.host, "127.0.0.1")

    @asynchronous
    async def test_unreachable(self) -> None:
        """
        Without a service, the client says where it looked for one.
        """
        service = self.start()
        location = self.location(service)
        await service.stopService()
        with self.assertRaises(RendezvousUnreachable) as caught:
            await self.connect(service, ALICE, location=location)
        self.assertIn(location.address, str(caught.exception))


class LogTests(NetworkTestCase):
    """
    What is written to the log.
    """

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        super().setUp()

    def lines(self) -> list[str]:
        return [str(formatEvent(event)) for event in self.events]

    def test_announcement(self) -> None:
        """
        A service says where it is, in the form in which a peer names it, and where it answers STUN.
        """
        text = "\n".join(self.lines())
        self.assertIn(f"rendezvous service {SERVICE.peerID}@0.0.0.0:4460", text)
        self.assertIn("assist listener 5.1.0.1:3478", text)
        self.assertNotIn("filtering discovery", text)

    def test_wildcardWarning(self) -> None:
        """
        A service whose assist listeners cannot serve behaviour discovery says so.
        """
        service = RendezvousService(
            self.network.reactor("alice"), ALICE, assist=[TransportAddress("0.0.0.0", 3478)]
        )
        service.startService()
        self.waitFor(service.stopService())
        self.assertIn("RFC 5780", "\n".join(self.lines()))

    def test_registrations(self) -> None:
        """
        A registration is told with its name, if there is one.
        """
        self.network.register("alice", ALICE, "alice")
        self.network.register("bob", BOB)
        text = "\n".join(self.lines())
        self.assertIn(f"peer {ALICE.peerID} registered as alice from ", text)
        self.assertIn(f"peer {BOB.peerID} registered from ", text)

    def test_secrets(self) -> None:
        """
        Nothing is logged by which a reader could join a session or pass for a peer.
        """
        alice, _ = self.network.register("alice", ALICE, "alice")
        bob, bobEvents = self.network.register("bob", BOB, "bob")
        tickets = [self.waitFor(each.register()).ticket for each in (alice, bob)]
        self.waitFor(bob.register(name="bob"))
        both = (Transport.TCP, Transport.UDP)
        introduction = self.waitFor(alice.requestSession("bob", transports=both))
        self.network.advance()
        [offer] = bobEvents.offers
        port = self.network.reactor("alice").listenUDP(0, _Sender())
        for ticket in (introduction.ticket, offer.ticket, *tickets):
            port.protocol.send(bindingRequest(ticket))
            port.protocol.send(bindingRequest(ticket, key=b"wrong"))
        raw = self.network.raw(BOB)
        raw.transport.write(b"\x00\x08password" + offer.ticket.key)  # type: ignore[union-attr]
        self.network.advance()
        self.waitFor(alice.endSession(introduction.sessionID, SessionEnd(EndReason.FAILED)))
        alice.transport.abortConnection()  # type: ignore[union-attr]
        self.network.advance(40.0)
        port.stopListening()
        secrets = [introduction.local.password, introduction.remoteCredentials.password]
        secrets += [each.key.decode() for each in (introduction.ticket, offer.ticket, *tickets)]
        secrets += [each.name for each in (introduction.ticket, offer.ticket, *tickets)]
        written = "\n".join(self.lines()) + repr(self.events)
        self.assertIn(introduction.sessionID, written)
        for secret in secrets:
            self.assertNotIn(secret, written)

    def test_flood(self) -> None:
        """
        However many misbehave, the log stays readable, and counts what it left out.
        """
        before = len(self.events)
        for number in range(1000):
            self.network.service.exchange.complaints.complain(f"peer {number}", "is rude")
        self.network.advance(10.0)
        self.network.service.exchange.complaints.complain("peer", "is rude")
        lines = [line for line in self.lines()[before:] if "rude" in line]
        self.assertEqual(len(lines), 21)
        self.assertIn("980 such lines were left out", lines[-1])


class _Sender(DatagramProtocol):
    noisy = False

    def send(self, data: bytes) -> None:
        self.transport.write(data, ("5.1.0.1", 3478))  # type: ignore[union-attr]
