"""
A rendezvous service that does not keep to the rules cannot harm a peer.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, MalformedMessage, RendezvousError
from holepunch.identity import PeerID
from holepunch.peer import SessionOptions
from holepunch.peer.events import Connected, Disconnected, Introduced, Registered
from holepunch.punch import CandidateType, Credentials, TCPFlow
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous.commands import (
    Candidates,
    EndSession,
    Offer,
    Ping,
    Ready,
    RequestSession,
)
from holepunch.rendezvous.introduction import EndReason, Introduction, Ticket
from holepunch.rendezvous.server import MainConnection
from holepunch.rendezvous.switchboard import Introduce, OfferSession
from tests.peer.network import EchoFactory, Network, RecorderFactory
from tests.peer.test_scenarios import ScenarioTestCase

BOTH = (Transport.TCP, Transport.UDP)


def introductionTo(peer: PeerID, number: int = 0, **changes: Any) -> Introduction:
    """
    An introduction as a service may make it up.
    """
    values: dict[str, Any] = {
        "sessionID": f"session{number}",
        "remote": peer,
        "remoteName": None,
        "isRequester": False,
        "isControlling": False,
        "isRemoteBehindNAT": False,
        "transports": BOTH,
        "flow": TCPFlow.SIMULTANEOUS,
        "local": Credentials(f"local{number}", "a" * 22),
        "remoteCredentials": Credentials(f"remote{number}", "b" * 22),
        "remoteCandidates": (),
        "ticket": Ticket(name=f"ticket{number}", key=b"key", lifetime=60.0),
    }
    return Introduction(**values | changes)


class Puppet(MainConnection):
    """
    A main connection over which a test says what it likes.

    @cvar registeredLines: Those of peers, by name.
    @cvar introduction: What a request for a session is answered with, if anything.
    @cvar transports: Or which ones a real session is made of instead.
    @cvar role: What both sides of a session are told, if anything.
    @cvar isDeaf: Is the end of a session never acknowledged?
    """

    registeredLines: dict[str | None, Puppet]
    introduction: Introduction | None = None
    transports: tuple[Transport, ...] | None = None
    isDeaf = False
    role: bool | None = None

    def requestReceived(self) -> None:
        """
        Count nothing.
        """

    def registered(self, registration: Any) -> None:
        self.registeredLines[registration.name] = self

    @RequestSession.responder
    def lie(self, **fields: Any) -> Any:
        if self.transports is not None:
            return self._requestReceived(**fields | {"transports": self.transports})
        if self.introduction is None:
            return Deferred()
        return succeed(attrs.asdict(self.introduction, recurse=False))

    @EndSession.responder
    def end(self, **fields: Any) -> Any:
        return Deferred() if self.isDeaf else self._endReceived(**fields)

    def deliver(self, effect: Any) -> None:
        if self.role is not None and isinstance(effect, (Introduce, OfferSession)):
            changed = attrs.evolve(effect.introduction, isControlling=self.role)
            effect = attrs.evolve(effect, introduction=changed)
        super().deliver(effect)

    def offer(self, introduction: Introduction) -> Deferred[Any]:
        fields = attrs.asdict(introduction, recurse=False)
        offered: Deferred[Any] = self.callRemote(Offer, **fields)
        return offered


class HostileServiceTestCase(ScenarioTestCase):
    """
    Bob listens, alice is online, and the service is a puppet.
    """

    def start(self) -> Network:
        self.network = network = self.build("port-restricted/port-restricted")

        class Lines(Puppet):
            registeredLines = {}

        self.lines = network.service.factory.protocol = Lines
        self.bob, self.alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        network.listen(self.bob, EchoFactory())
        network.waitFor(self.alice.whenRegistered())
        network.internet.advance(0.5)
        return network

    def offer(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        """
        Offer bob a session with alice.
        """
        introduction = introductionTo(self.alice.peerID, number, **changes)
        answer: dict[str, Any] = self.network.waitFor(
            self.lines.registeredLines["bob"].offer(introduction)
        )
        return answer

    def connect(self, transports: tuple[Transport, ...] = BOTH, **changes: Any) -> Any:
        """
        Let alice ask for bob, and be told of whom the service likes.
        """
        values: dict[str, Any] = {"isRequester": True, "isControlling": True}
        values["transports"] = transports
        self.lines.introduction = introductionTo(self.bob.peerID, **values | changes)
        connecting = self.alice.connectEndpoint("bob", SessionOptions(timeout=10.0)).connect(
            RecorderFactory()
        )
        settled: list[Any] = []
        connecting.addBoth(settled.append)
        self.network.internet.advance(15.0)
        return settled[0].value if isinstance(settled[0], Failure) else settled[0]


class IntroductionTests(HostileServiceTestCase):
    """
    Introductions that make no sense.
    """

    def test_sameSessionTwice(self) -> None:
        """
        A session that is offered under the name of another one is refused.
        """
        self.start()
        self.assertTrue(self.offer(0)["isAccepted"])
        again = Credentials("another", "a" * 22)
        self.assertFalse(self.offer(0, local=again)["isAccepted"])

    def test_sameCredentialsTwice(self) -> None:
        """
        A session that is offered with the user name fragment of another one is refused.
        """
        self.start()
        self.assertTrue(self.offer(0)["isAccepted"])
        self.assertFalse(self.offer(0, sessionID="another")["isAccepted"])

    def test_oneself(self) -> None:
        """
        Nobody is introduced to himself.
        """
        self.start()
        self.assertFalse(self.offer(remote=self.bob.peerID)["isAccepted"])

    def test_noTransport(self) -> None:
        """
        A session over nothing is refused, offered or asked for.
        """
        self.start()
        self.assertFalse(self.offer(transports=())["isAccepted"])
        self.assertIsInstance(self.connect(()), HolepunchError)

    def test_otherTransport(self) -> None:
        """
        Who asks for a stream gets no bare datagrams.
        """
        self.start()
        self.lines.transports = (Transport.UDP,)
        self.assertIsInstance(self.connect(), RendezvousError)

    def test_roles(self) -> None:
        """
        Roles that the service has mixed up end a session, and nothing else.
        """
        self.start()
        self.assertTrue(self.offer(isControlling=True, isRequester=True)["isAccepted"])
        self.assertIsInstance(self.connect(isControlling=False), HolepunchError)

    def test_sameRoles(self) -> None:
        """
        Two peers that are told the same role sort it out, down to who begins TLS.
        """
        for role in (True, False):
            self.start()
            self.lines.transports, self.lines.role = (Transport.TCP,), role
            protocol = self.connect()
            protocol.transport.write(b"hello")
            self.network.waitFor(protocol.whenReceived(5))
            self.doCleanups()

    def test_absurdTicket(self) -> None:
        """
        A ticket that fits no request ends the main connection, and leaves nothing behind.
        """
        self.start()
        for name in ("", "n" * 900, "\u0001", "\u00ad"):
            ticket = Ticket(name=name, key=b"key", lifetime=60.0)
            self.assertRaises(MalformedMessage, self.offer, ticket=ticket)
            self.assertIsInstance(self.connect(ticket=ticket), HolepunchError)
            self.network.internet.advance(30.0)

    def test_absurdCandidates(self) -> None:
        """
        Candidates that nobody can have lead nowhere.
        """
        self.start()
        hosts = ("127.0.0.1", "::1", "fe80::1", "240.0.0.1", "0.0.0.1", "::5", "10.255.255.255")
        own = [event.observed for event in self.network.events["bob"] if type(event) is Registered]
        addresses = [TransportAddress(host, port) for host in hosts for port in (0, 1, 3478)] + own
        candidates = [
            gatheredCandidate(CandidateType.HOST, transport, address)
            for transport in BOTH
            for address in addresses
        ]
        self.offer(remoteCandidates=tuple(candidates[:32]))
        line = self.lines.registeredLines["bob"]
        for _ in range(100):
            for start in range(0, len(candidates), 32):
                few = tuple(candidates[start : start + 32])
                line.callRemote(Candidates, sessionID="session0", candidates=few)
        self.network.internet.advance(60.0)
        kinds = [type(event) for event in self.network.events["bob"]]
        self.assertIn(Introduced, kinds)
        self.assertNotIn(Connected, kinds)

    def test_unknownSessions(self) -> None:
        """
        What is said about sessions that there are not changes nothing.
        """
        self.start()
        line = self.lines.registeredLines["bob"]
        for reason in EndReason:
            line.callRemote(EndSession, sessionID="none", reason=reason, text="")
        line.callRemote(Ready, sessionID="")
        line.callRemote(Candidates, sessionID="none", candidates=())
        self.network.internet.advance(5.0)
        self.assertTrue(self.bob.running)


class FloodTests(HostileServiceTestCase):
    """
    A service that asks much, and answers or reads little.
    """

    def test_neverReads(self) -> None:
        """
        A service that asks and never reads the answers is not read from either.
        """
        network = self.start()
        line = self.lines.registeredLines["bob"]
        transport: Any = line.transport
        transport.pauseProducing()
        sent = 0
        for _ in range(40):
            for _ in range(1000):
                if not line.paused:
                    line.callRemote(Ping).addErrback(lambda failure: None)
                    sent += 1
            network.internet.advance(0.05)
        self.assertLess(sent, 30_000)
        network.internet.advance(60.0)

    def test_neverAnswers(self) -> None:
        """
        A service that leaves thousands of requests unanswered is left.
        """
        network = self.start()
        self.lines.isDeaf = True
        del network.events["bob"][:]
        line = self.lines.registeredLines["bob"]
        for number in range(2200):
            introduction = introductionTo(self.alice.peerID, number, transports=(Transport.UDP,))
            line.offer(introduction).addErrback(lambda failure: None)
            line.callRemote(
                EndSession, sessionID=f"session{number}", reason=EndReason.FAILED, text=""
            ).addErrback(lambda failure: None)
            network.internet.advance(0.01)
        network.internet.advance(1.0)
        kinds = {type(event) for event in network.events["bob"]}
        self.assertIn(Disconnected, kinds)
