"""
A rendezvous service in the simulated internet, and clients where a test wants them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.identity import Identity
from holepunch.interfaces import IRendezvousEvents
from holepunch.lab import SimulatedInternet, Topology
from holepunch.punch.candidate import Candidate, CandidateType
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous import (
    Answer,
    RendezvousClient,
    RendezvousService,
    ServiceLocation,
    connectRendezvous,
)
from holepunch.rendezvous.introduction import Introduction, SessionEnd, Ticket
from holepunch.stun import Attribute, AttributeType, Message, Method
from holepunch.tls import IdentityTLS, IdentityTLSFactory

_T = TypeVar("_T")

ALICE = Identity.generate()
BOB = Identity.generate()
CAROL = Identity.generate()
SERVICE = Identity.generate()


def address(text: str) -> TransportAddress:
    return TransportAddress.parse(text)


def host(text: str, transport: Transport = Transport.UDP) -> Candidate:
    """
    A host candidate.
    """
    return gatheredCandidate(CandidateType.HOST, transport, address(text))


@implementer(IRendezvousEvents)
class Recorder:
    """
    Keeps what a client hears.
    """

    def __init__(self) -> None:
        self.offers: list[Introduction] = []
        self.candidates: list[tuple[str, tuple[Candidate, ...]]] = []
        self.ready: list[str] = []
        self.ended: list[tuple[str, SessionEnd]] = []
        self.lost: list[Exception] = []
        self.answer: Callable[[Introduction], Any] = lambda introduction: Answer(True)

    def sessionOffered(self, introduction: Introduction) -> Any:
        self.offers.append(introduction)
        return self.answer(introduction)

    def candidatesReceived(self, sessionID: str, candidates: tuple[Candidate, ...]) -> None:
        self.candidates.append((sessionID, candidates))

    def remoteReady(self, sessionID: str) -> None:
        self.ready.append(sessionID)

    def sessionEnded(self, sessionID: str, end: SessionEnd) -> None:
        self.ended.append((sessionID, end))

    def mainConnectionLost(self, reason: Exception) -> None:
        self.lost.append(reason)

    @property
    def heardOf(self) -> list[TransportAddress]:
        """
        The addresses of all candidates that were passed on after the introduction.
        """
        return [each.address for _, candidates in self.candidates for each in candidates]


class RawClient(Protocol):
    """
    Says what a test wants over a main connection, and keeps what comes back.
    """

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


class Network:
    """
    Alice behind a port-restricted NAT, bob behind another, carol in the public, and a service.

    @param options: For L{RendezvousService}.
    """

    def __init__(self, topology: str = "port-restricted/port-restricted", **options: Any) -> None:
        self.internet = SimulatedInternet(Topology.parse(topology), seed=1)
        self.clock = self.internet.clock
        self.options = options
        self.events: dict[RendezvousClient, Recorder] = {}
        self.startService()

    def startService(self) -> None:
        machine = self.internet.host("rendezvous")
        self.service = RendezvousService(
            machine.reactor,
            SERVICE,
            assist=[
                TransportAddress(host, 3478 + index) for index, host in enumerate(machine.addresses)
            ],
            **self.options,
        )
        self.service.startService()

    @property
    def location(self) -> ServiceLocation:
        return ServiceLocation(self.service.assistAddresses[0].host, 4460, SERVICE.peerID)

    def reactor(self, hostName: str) -> Any:
        return self.internet.host(hostName).reactor

    def waitFor(self, deferred: Deferred[_T], limit: float = 60.0) -> _T:
        return self.internet.waitFor(deferred, limit)

    def advance(self, seconds: float = 1.0) -> None:
        self.internet.advance(seconds)

    def connect(
        self, hostName: str = "alice", identity: Identity = ALICE, **options: Any
    ) -> RendezvousClient:
        events = Recorder()
        options.setdefault("location", self.location)
        location = options.pop("location")
        client = self.waitFor(
            connectRendezvous(self.reactor(hostName), location, identity, events, **options)
        )
        self.events[client] = events
        return client

    def register(
        self,
        hostName: str = "alice",
        identity: Identity = ALICE,
        name: str | None = None,
        **options: Any,
    ) -> tuple[RendezvousClient, Recorder]:
        """
        Connect and register a client.
        """
        client = self.connect(hostName, identity)
        self.waitFor(client.register(name=name, **options))
        return client, self.events[client]

    def raw(self, identity: Identity = ALICE) -> RawClient:
        """
        A TLS connection to the service, over which a test says what it likes.
        """
        client = RawClient()
        reactor = self.reactor("alice")
        tls = IdentityTLSFactory(
            reactor, IdentityTLS(identity), True, Factory.forProtocol(lambda: client)
        )
        location = self.location
        self.waitFor(TCP4ClientEndpoint(reactor, location.host, location.port).connect(tls))
        self.advance(0.5)
        return client

    def stop(self) -> None:
        self.waitFor(self.service.stopService())


class NetworkTestCase(SynchronousTestCase):
    """
    A test on a L{Network}, which must be empty of pending calls in the end.
    """

    topology = "port-restricted/port-restricted"

    def setUp(self) -> None:
        self.network = self.makeNetwork()

    def makeNetwork(self) -> Network:
        return Network(self.topology)

    def tearDown(self) -> None:
        self.network.stop()
        self.network.advance(10.0)

    def waitFor(self, deferred: Deferred[_T], limit: float = 60.0) -> _T:
        return self.network.waitFor(deferred, limit)

    def assertFails(self, deferred: Deferred[Any], kind: type[Exception]) -> Exception:
        """
        Does the Deferred fail in this way? Gives the exception.
        """
        try:
            result = self.waitFor(deferred)
        except kind as error:
            return error
        self.fail(f"{result!r} instead of {kind.__name__}")


def bindingRequest(ticket: Ticket | None = None, label: str = "5000", key: bytes = b"") -> bytes:
    """
    An assist request, with a ticket if one is given.

    @param key: Another key than the ticket's.
    """
    if ticket is None:
        return Message.request(Method.BINDING, bytes(12), ()).encode()
    username = Attribute(AttributeType.USERNAME, ticket.username(label))
    return Message.request(Method.BINDING, bytes(12), (username,)).encode(
        integrityKey=key or ticket.key
    )
