"""
Tests for L{holepunch.rendezvous.relay} and the adapters behind it, over real sockets on loopback.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from holepunch.address import Family, TransportAddress
from holepunch.errors import CannotListen
from holepunch.rendezvous.relay import ExternalRelay, RelayService
from holepunch.rendezvous.relaygrant import RelayServer
from holepunch.rendezvous.relaytls import RelayTLS
from holepunch.stun import (
    Attribute,
    AttributeType,
    LongTermClient,
    Message,
    Method,
    ReceivedMessage,
    ResponseFate,
    decode,
    longTermKey,
)
from holepunch.turn import (
    EphemeralCredential,
    PermissionRefused,
    RelayLimits,
    TurnFramer,
    mintCredential,
)
from tests.rendezvous.network import SERVICE
from tests.rendezvous.relayclient import Client
from tests.rendezvous.test_service import asynchronous

reactor: Any = _reactor
HOST = "127.0.0.1"
SECRET = b"the-secret-of-the-relay"
LOOPBACK = ("127.0.0.0/8", "::1/128")
T = AttributeType


class RelayTestCase(TestCase):
    """
    A relay on loopback, and clients of it.
    """

    timeout = 30.0

    def start(self, **options: Any) -> RelayService:
        """
        Start a relay.
        """
        hosts: Sequence[str] = options.pop("hosts", (HOST,))
        options.setdefault("allowed", LOOPBACK)
        relay = RelayService(
            reactor,
            [TransportAddress(host, 0) for host in hosts],
            secret=SECRET,
            **options,
        )
        relay.startService()
        self.addCleanup(relay.stopService)
        self.relay = relay
        return relay

    def server(self, kind: str = "udp") -> TransportAddress:
        """
        Where the relay is.
        """
        for each in self.relay.servers:
            if (kind == "tls") == each.isSecure and each.transport.value == kind.replace(
                "tls", "tcp"
            ):
                return TransportAddress(each.host, each.port)
        raise AssertionError(f"no {kind}")

    def credential(self, user: str = "alice") -> EphemeralCredential:
        """
        A credential that is good for an hour.
        """
        return mintCredential(SECRET, user, int(reactor.seconds()) + 3600)

    async def client(self, user: str = "alice", kind: str = "udp", **options: Any) -> Client:
        """
        A client with an allocation.
        """
        client = await Client.connect(
            reactor, self.server(kind), self.credential(user), kind, **options
        )
        self.addCleanup(client.close)
        return client

    async def exchange(self, one: Client, other: Client) -> None:
        """
        Data goes from one to the other and back, by indications and then by channels.
        """
        here, there = one.core.relayed, other.core.relayed
        assert here is not None and there is not None
        await one.permit(there.host)
        await other.permit(here.host)
        for round in range(2):
            for sender, receiver, source, target in (
                (one, other, here, there),
                (other, one, there, here),
            ):
                received = receiver.received()
                data = os.urandom(1200 + round)
                waiting = Deferred.fromCoroutine(received)
                sender.send(target, data)
                got = await waiting
                self.assertEqual((got.peer, got.data), (source, data))
            one.bind(there)
            other.bind(here)
            # The answers to these requests come before those to later ones.
            await one.permit("127.9.9.9" if not round else "127.9.9.8")
            await other.permit("127.9.9.9" if not round else "127.9.9.8")


class RelayServiceTests(RelayTestCase):
    """
    L{RelayService}.
    """

    @asynchronous
    async def test_everyTransport(self) -> None:
        """
        Clients over UDP, TCP and TLS reach each other by their relayed addresses.
        """
        self.start(tlsPorts=[0], tls=RelayTLS(SERVICE))
        for kind in ("udp", "tcp", "tls"):
            await self.exchange(await self.client("alice", kind), await self.client("bob"))

    @asynchronous
    async def test_ordinaryPeer(self) -> None:
        """
        A program that knows nothing of the relay gets datagrams from the relayed address, and its
        answers come back, by indications and by a channel.
        """
        self.start()
        client = await self.client()
        echo = reactor.listenUDP(0, _Echo(), HOST, 65535)
        self.addCleanup(echo.stopListening)
        peer = TransportAddress(HOST, echo.getHost().port)
        await client.permit(HOST)
        for data in (b"one", b"two", bytes(9000)):
            waiting = Deferred.fromCoroutine(client.received())
            client.send(peer, data)
            got = await waiting
            self.assertEqual((got.peer, got.data), (peer, data))
            client.bind(peer)
            await client.permit("127.0.0." + str(len(client.told)))

    @asynchronous
    async def test_grant(self) -> None:
        """
        A grant is good at once: its first request is not challenged from the host it was made for.
        """
        self.start()
        grant = self.relay.grantFor("alice", HOST)
        self.assertEqual(grant.servers[0], f"turn:{self.server()}?transport=udp")
        client = await Client.connect(
            reactor,
            self.server(),
            EphemeralCredential(grant.username, grant.password),
            realm=grant.realm,
            nonce=grant.nonce.encode(),
        )
        self.addCleanup(client.close)
        self.assertEqual(self.relay.exchange.server.allocationCount, 1)

    @asynchronous
    async def test_allocated(self) -> None:
        """
        Whoever sets C{allocated} is told of each allocation.
        """
        made: list[tuple[str, TransportAddress]] = []
        self.start()
        self.relay.allocated = lambda username, relayed: made.append((username, relayed))
        client = await self.client()
        ((username, relayed),) = made
        self.assertTrue(username.endswith(":alice"))
        self.assertEqual(relayed, client.core.relayed)

    @asynchronous
    async def test_privateAddresses(self) -> None:
        """
        Unless it is told to, the relay reaches neither loopback nor its own other ports.
        """
        self.start(allowed=())
        client = await self.client()
        await client.permit("127.0.0.2")
        self.assertIsInstance(client.told[-1], PermissionRefused)
        listener = _Collector()
        port = reactor.listenUDP(0, listener, HOST)
        self.addCleanup(port.stopListening)
        await client.permit(HOST)
        client.send(TransportAddress(HOST, port.getHost().port), b"secret")
        other = await self.client("bob")
        await self.exchange(client, other)
        self.assertEqual(listener.received, [])

    @asynchronous
    async def test_ports(self) -> None:
        """
        Relayed addresses are in the range that was given.
        """
        self.start(ports=(50700, 50799))
        client = await self.client()
        assert client.core.relayed is not None
        self.assertIn(client.core.relayed.port, range(50700, 50800))

    @asynchronous
    async def test_ipv6(self) -> None:
        """
        With an address of each IP version, a client gets the one that it asks for.
        """
        self.start(hosts=(HOST, "::1"))
        one = await self.client(family=Family.IPV6)
        assert one.core.relayed is not None
        self.assertEqual(one.core.relayed.host, "::1")
        await self.exchange(one, await self.client("bob", family=Family.IPV6))

    @asynchronous
    async def test_quota(self) -> None:
        """
        A user above the bandwidth loses packets; another one does not notice.
        """
        self.start(limits=RelayLimits(bandwidth=100_000))
        one, other = await self.client("alice"), await self.client("bob")
        echo = _Collector()
        port = reactor.listenUDP(0, echo, HOST)
        self.addCleanup(port.stopListening)
        peer = TransportAddress(HOST, port.getHost().port)
        await one.permit(HOST)
        await other.permit(HOST)
        for _ in range(100):
            one.send(peer, bytes(1000))
        other.send(peer, b"last")
        await echo.whenReceived(b"last")
        self.assertLess(len(echo.received), 90)

    @asynchronous
    async def test_nonsense(self) -> None:
        """
        A connection that carries something else than TURN is closed, and the relay goes on.
        """
        self.start()
        server = self.server("tcp")
        for nonsense in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(5000)):
            lost = Lost()
            endpoint = TCP4ClientEndpoint(reactor, server.host, server.port)
            await connectProtocol(endpoint, lost)
            lost.transport.write(nonsense)
            await lost.lost
        await self.client()

    @asynchronous
    async def test_stop(self) -> None:
        """
        Stopping closes everything, allocations too; and it may be started again.
        """
        self.start()
        for kind in ("udp", "tcp"):
            await self.client("alice", kind)
        await self.relay.stopService()
        self.relay.startService()
        self.assertEqual(self.relay.exchange.server.allocationCount, 0)
        await self.exchange(await self.client(), await self.client("bob"))

    @asynchronous
    async def test_taken(self) -> None:
        """
        A port that is taken is told of in one sentence, and nothing stays bound.
        """
        self.start()
        other = RelayService(reactor, [TransportAddress("127.0.0.2", 0), self.server()])
        error = self.assertRaises(CannotListen, other.startService)
        self.assertIn("the relay cannot start", str(error))
        self.assertNotIn("\n", str(error))

    def test_unspecified(self) -> None:
        """
        An address that nobody can reach is refused.
        """
        relay = RelayService(reactor, [TransportAddress("0.0.0.0", 0)])
        self.assertRaises(CannotListen, relay.startService)

    @asynchronous
    async def test_advertised(self) -> None:
        """
        Behind a NAT the relay listens on its own address and tells the public one; either of them
        may be given.
        """
        for given in (HOST, "198.51.100.7"):
            relay = RelayService(
                reactor,
                [TransportAddress(given, 0)],
                secret=SECRET,
                advertised={HOST: "198.51.100.7"},
            )
            relay.startService()
            self.addCleanup(relay.stopService)
            server = RelayServer.parse(relay.grantFor("alice").servers[0])
            self.assertEqual(server.host, "198.51.100.7")
            local = TransportAddress(HOST, server.port)
            one = await Client.connect(reactor, local, self.credential("alice"))
            two = await Client.connect(reactor, local, self.credential("bob"))
            self.addCleanup(one.close)
            self.addCleanup(two.close)
            assert one.core.relayed is not None
            self.assertEqual(one.core.relayed.host, "198.51.100.7")
            await self.exchange(one, two)


class StreamTests(RelayTestCase):
    """
    TCP through the relay (RFC 6062).
    """

    async def connected(self, size: int, kind: str = "tcp") -> tuple[_Control, _Data]:
        """
        A connection through the relay to a program that sends back what it gets.
        """
        echo = Factory.forProtocol(_EchoStream)
        port = reactor.listenTCP(0, echo, interface=HOST)
        self.addCleanup(port.stopListening)
        control = await self.control()
        self.assertIsNone(
            (await control.ask(Method.ALLOCATE, Attribute(T.REQUESTED_TRANSPORT, 6))).error
        )
        peer = TransportAddress(HOST, port.getHost().port)
        response = await control.ask(Method.CONNECT, Attribute(T.XOR_PEER_ADDRESS, peer))
        number = response.get(T.CONNECTION_ID)
        second = await self.control(control.login)
        bound = await second.ask(Method.CONNECTION_BIND, Attribute(T.CONNECTION_ID, number))
        self.assertIsNone(bound.error)
        return control, second.becomeData(size)

    async def control(self, login: LongTermClient | None = None) -> _Control:
        """
        A connection to the relay.
        """
        if login is None:
            credential = self.credential()
            login = LongTermClient(credential.username, credential.password)
        server = self.server("tcp")
        control = _Control(login)
        await connectProtocol(TCP4ClientEndpoint(reactor, server.host, server.port), control)
        self.addCleanup(control.close)
        return control

    @asynchronous
    async def test_bulk(self) -> None:
        """
        Three megabytes go to a peer and come back unharmed, and the end of the stream arrives.
        """
        self.start()
        sent = os.urandom(3_000_000)
        _, data = await self.connected(len(sent))
        data.transport.write(sent)
        data.transport.loseWriteConnection()
        self.assertEqual(await data.complete, sent)
        await data.lost

    @asynchronous
    async def test_slowed(self) -> None:
        """
        A stream above its user's bandwidth is held up, not cut.
        """
        self.start(limits=RelayLimits(bandwidth=2_000_000))
        sent = os.urandom(600_000)
        _, data = await self.connected(len(sent))
        startedAt = reactor.seconds()
        data.transport.write(sent)
        self.assertEqual(await data.complete, sent)
        # Both ways count, a burst of 0.1 seconds is free.
        self.assertGreater(reactor.seconds() - startedAt, 0.3)

    @asynchronous
    async def test_controlLost(self) -> None:
        """
        With the connection that the allocation was made on, all others end.
        """
        self.start()
        control, data = await self.connected(10)
        await control.close()
        await data.lost


class ExternalRelayTests(SynchronousTestCase):
    """
    L{ExternalRelay}.
    """

    def test_grant(self) -> None:
        """
        A grant for a relay elsewhere has a credential of its secret, and no nonce.
        """
        server = RelayServer.parse("turn:192.0.2.1:3478?transport=tcp")
        relay = ExternalRelay(reactor, [server], SECRET, ["192.0.2.1"], "example.org")
        grant = relay.grantFor("alice", HOST)
        expiry = int(grant.username.partition(":")[0])
        self.assertEqual(grant.password, mintCredential(SECRET, "alice", expiry).password)
        self.assertEqual(grant.servers, ("turn:192.0.2.1:3478?transport=tcp",))
        self.assertEqual((grant.realm, grant.nonce), ("example.org", ""))
        longTermKey(grant.username, grant.realm, grant.password)


# --- programs that talk to the relay ------------------------------------------------------------


class _Echo(DatagramProtocol):
    transport: Any

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)


class _Collector(DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._waiting: dict[bytes, Deferred[None]] = {}

    def whenReceived(self, data: bytes) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting[data] = waiting
        return waiting

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)
        if datagram in self._waiting:
            self._waiting.pop(datagram).callback(None)


class Lost(Protocol):
    """
    A connection.

    @ivar lost: Fires when it is gone.
    """

    transport: Any

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


@implementer(IHalfCloseableProtocol)
class _EchoStream(Protocol):
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        # Not before all that came has gone back.
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


class _Data:
    """
    A connection that carries a peer's bytes.
    """

    def __init__(self, transport: Any, size: int, lost: Deferred[None]) -> None:
        self.transport = transport
        self.complete: Deferred[bytes] = Deferred()
        self.lost = lost
        self._size = size
        self._parts: list[bytes] = []

    def received(self, data: bytes) -> None:
        """
        Take bytes.
        """
        self._parts.append(data)
        if sum(map(len, self._parts)) == self._size:
            self.complete.callback(b"".join(self._parts))


class _Control(Lost):
    """
    A connection to the relay, and what is asked on it.
    """

    def __init__(self, login: LongTermClient) -> None:
        super().__init__()
        self.login = login
        self._framer = TurnFramer()
        self._answered: Deferred[ReceivedMessage] = Deferred()
        self._data: _Data | None = None

    async def ask(self, method: Method, *attributes: Attribute) -> ReceivedMessage:
        """
        Ask, with the credential.
        """
        while True:
            request = Message.request(method, os.urandom(12), attributes)
            self._answered = Deferred()
            self.transport.write(self.login.encode(request))
            response = await self._answered
            if self.login.receiveResponse(response) is not ResponseFate.RETRY:
                return response

    def becomeData(self, size: int) -> _Data:
        """
        From now on it is a peer's.
        """
        self._data = _Data(self.transport, size, self.lost)
        return self._data

    def dataReceived(self, data: bytes) -> None:
        if self._data is not None:
            self._data.received(data)
            return
        for message in self._framer.feed(data):
            self._answered.callback(decode(message))

    def close(self) -> Deferred[None]:
        """
        Close.
        """
        self.transport.loseConnection()
        return self.lost
