"""
Tests for L{holepunch.rendezvous.server}: peers that register and ask for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

import holepunch.rendezvous.client as client_module
from holepunch.address import Transport
from holepunch.errors import (
    BadName,
    NameTaken,
    NotRegistered,
    PeerIsSelf,
    PeerNotListening,
    PeerReplaced,
    RendezvousError,
    SessionRefused,
    SessionTimedOut,
    UnknownPeer,
    UnknownSession,
)
from holepunch.rendezvous import (
    Answer,
    EndReason,
    Introduction,
    IntroductionPolicy,
    MainConnection,
    Registration,
    RegistrationRequest,
    RendezvousClient,
    SessionEnd,
)
from tests.rendezvous.network import (
    ALICE,
    BOB,
    CAROL,
    Network,
    NetworkTestCase,
    address,
    host,
)

BOTH = (Transport.TCP, Transport.UDP)


class RegistrationTests(NetworkTestCase):
    """
    Registering, names, and who gives way to whom.
    """

    def test_views(self) -> None:
        """
        A registration tells a peer who it is, how it is seen, and that a NAT is between.
        """
        client = self.network.connect("alice", ALICE)
        registered = self.waitFor(client.register(name="alice"))
        self.assertEqual(registered.peerID, ALICE.peerID)
        self.assertEqual(registered.name, "alice")
        self.assertEqual(registered.observed.host, "31.1.0.1")
        self.assertTrue(registered.isBehindNAT)
        self.assertEqual(registered.keepaliveInterval, 10.0)
        self.assertTrue(client.isRegistered)

    def test_public(self) -> None:
        """
        A peer with a public address is told that no NAT is between.
        """
        client = self.network.connect("rendezvous", ALICE)
        self.assertFalse(self.waitFor(client.register()).isBehindNAT)

    def test_assistAddresses(self) -> None:
        """
        A peer is told of all four assist listeners, the given ones first.
        """
        client = self.network.connect()
        assist = self.waitFor(client.register()).assist
        expected = ["5.1.0.1:3478", "5.2.0.1:3479", "5.1.0.1:3479", "5.2.0.1:3478"]
        self.assertEqual([str(each) for each in assist], expected)

    def test_nameTaken(self) -> None:
        """
        A name belongs to the peer that registered it first, in upper and lower case.
        """
        self.network.register("alice", ALICE, "Alice")
        other = self.network.connect("bob", BOB)
        error = self.assertFails(other.register(name="alice"), NameTaken)
        self.assertIn("choose another name", str(error))

    def test_nameFreed(self) -> None:
        """
        A name is free again when its peer has left.
        """
        client, _ = self.network.register("alice", ALICE, "alice")
        client.goodbye()
        self.network.advance()
        self.network.register("bob", BOB, "alice")

    def test_badNames(self) -> None:
        """
        Names that could be mistaken, or that break a terminal, are refused.
        """
        client = self.network.connect()
        for name in ("", "a b", "a/b", "é", "a" * 64, "a\n", ALICE.peerID.text, "\x1b[31m"):
            self.assertFails(client.register(name=name), BadName)

    def test_again(self) -> None:
        """
        A peer may register again over the same connection: another name, the same ticket.
        """
        client = self.network.connect()
        first = self.waitFor(client.register(name="alice"))
        second = self.waitFor(client.register(name="eve"))
        self.assertEqual(first.ticket, second.ticket)
        bob, _ = self.network.register("bob", BOB)
        self.assertFails(bob.requestSession("alice", transports=BOTH), UnknownPeer)
        self.waitFor(bob.requestSession("eve", transports=BOTH))

    def test_newestWins(self) -> None:
        """
        A second connection of the same peer replaces the first, which is told why it is closed.
        """
        old, oldEvents = self.network.register("alice", ALICE, "alice")
        self.network.register("bob", ALICE, "alice")
        self.network.advance()
        self.assertIsInstance(oldEvents.lost[0], PeerReplaced)
        carol, _ = self.network.register("bob", CAROL)
        self.waitFor(carol.requestSession("alice", transports=BOTH))
        self.assertFalse(old.isRegistered)

    def test_version(self) -> None:
        """
        A peer that speaks another version of the protocol is told so.
        """
        client = self.network.connect()
        self.patch(client_module, "VERSION", 99)
        error = self.assertFails(client.register(), RendezvousError)
        self.assertIn("version", str(error))

    def test_requestUnregistered(self) -> None:
        """
        Nothing can be asked for before registering.
        """
        client = self.network.connect()
        self.assertFails(client.requestSession("bob", transports=BOTH), NotRegistered)
        self.assertFails(client.sendCandidates("x", [host("10.0.0.1:1")]), NotRegistered)
        self.assertFails(client.sendReady("x"), NotRegistered)
        self.assertFails(client.endSession("x", SessionEnd(EndReason.DONE)), NotRegistered)

    def test_tooSlow(self) -> None:
        """
        A peer that does not register within ten seconds is disconnected, with a sentence.
        """
        client = self.network.connect()
        self.network.advance(11.0)
        self.assertIn("in time", str(self.network.events[client].lost[0]))


class SessionTests(NetworkTestCase):
    """
    Requests, offers, answers, and what is passed on.
    """

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.aliceEvents = self.network.register("alice", ALICE, "alice")
        self.bob, self.bobEvents = self.network.register(
            "bob", BOB, "bob", candidates=[host("192.168.2.10:7000")]
        )

    def request(self, client: RendezvousClient, target: str, **options: Any) -> Introduction:
        options.setdefault("transports", BOTH)
        return self.waitFor(client.requestSession(target, **options))

    def test_introduction(self) -> None:
        """
        Both sides learn each other's identity, credentials, roles and candidates.
        """
        candidate = host("192.168.1.10:5000")
        introduction = self.request(self.alice, "bob", candidates=[candidate])
        self.network.advance()
        [offer] = self.bobEvents.offers
        self.assertEqual(introduction.sessionID, offer.sessionID)
        self.assertEqual((introduction.remote, offer.remote), (BOB.peerID, ALICE.peerID))
        self.assertEqual((introduction.remoteName, offer.remoteName), ("bob", "alice"))
        self.assertEqual((introduction.isRequester, offer.isRequester), (True, False))
        self.assertEqual((introduction.isControlling, offer.isControlling), (True, False))
        self.assertEqual(introduction.local, offer.remoteCredentials)
        self.assertEqual(introduction.remoteCredentials, offer.local)
        self.assertNotEqual(introduction.ticket.name, offer.ticket.name)
        self.assertEqual(offer.remoteCandidates, (candidate,))
        [known] = introduction.remoteCandidates
        self.assertEqual(known.address, address("192.168.2.10:7000"))
        self.assertTrue(introduction.isRemoteBehindNAT)

    def test_atOnce(self) -> None:
        """
        The introduction takes the requester one round trip, and the offer arrives in the same time.
        """
        startedAt = self.network.clock.seconds()
        self.request(self.alice, "bob")
        self.assertLess(self.network.clock.seconds() - startedAt, 0.045)
        self.assertEqual(len(self.bobEvents.offers), 1)

    def test_byID(self) -> None:
        """
        A peer can be asked for by its peer ID.
        """
        self.assertEqual(self.request(self.alice, BOB.peerID.text).remote, BOB.peerID)

    def test_answerCandidates(self) -> None:
        """
        The candidates of the answer, however many, reach the requester.
        """
        candidates = tuple(host(f"192.168.2.10:{port}") for port in range(8000, 8080))
        self.bobEvents.answer = lambda introduction: Answer(True, candidates)
        self.request(self.alice, "bob")
        self.network.advance()
        self.assertCountEqual(self.aliceEvents.heardOf, [each.address for each in candidates])

    def test_trickle(self) -> None:
        """
        Candidates and "ready" are passed on in both directions.
        """
        sessionID = self.request(self.alice, "bob").sessionID
        self.waitFor(self.alice.sendCandidates(sessionID, [host("10.1.1.1:1")]))
        self.waitFor(self.alice.sendReady(sessionID))
        self.waitFor(self.bob.sendCandidates(sessionID, [host("10.2.2.2:2")]))
        self.waitFor(self.bob.sendReady(sessionID))
        self.network.advance()
        self.assertEqual(self.bobEvents.heardOf, [address("10.1.1.1:1")])
        self.assertEqual(self.aliceEvents.heardOf, [address("10.2.2.2:2")])
        self.assertEqual((self.aliceEvents.ready, self.bobEvents.ready), ([sessionID], [sessionID]))

    def test_mainConnectionAsCandidate(self) -> None:
        """
        Of a peer whose main connection comes from its punching port, the other learns the mapped
        address with the introduction.
        """
        client = self.network.connect("bob", CAROL)
        transport: Any = client.transport
        local = f"192.168.2.10:{transport.getHost().port}"
        self.waitFor(client.register(name="carol", candidates=[host(local, Transport.TCP)]))
        candidates = self.request(self.alice, "carol").remoteCandidates
        self.assertEqual([each.type.value for each in candidates], ["host", "srflx"])
        self.assertEqual(candidates[1].address.host, "31.2.0.1")
        self.assertEqual(candidates[1].transport, Transport.TCP)

    def test_ask(self) -> None:
        """
        With the policy "ask", the requester is introduced only after the answer, with all of it.
        """
        asked: Deferred[Answer] = Deferred()
        self.waitFor(self.bob.register(name="bob", policy=IntroductionPolicy.ASK))
        self.bobEvents.answer = lambda introduction: asked
        requested = self.alice.requestSession("bob", transports=BOTH)
        self.network.advance(5.0)
        self.assertNoResult(requested)
        asked.callback(Answer(True, (host("192.168.2.10:8000"),)))
        introduction = self.waitFor(requested)
        self.assertEqual(introduction.remoteCandidates[-1].address, address("192.168.2.10:8000"))

    def test_askRefused(self) -> None:
        """
        With the policy "ask", a refusal is the answer to the request, in the peer's own words.
        """
        self.waitFor(self.bob.register(name="bob", policy=IntroductionPolicy.ASK))
        self.bobEvents.answer = lambda introduction: Answer(False, text="not today")
        requested = self.alice.requestSession("bob", transports=BOTH)
        self.assertEqual(str(self.assertFails(requested, SessionRefused)), "not today")

    def test_askUnanswered(self) -> None:
        """
        With the policy "ask", a peer that does not answer makes the request time out.
        """
        self.waitFor(self.bob.register(name="bob", policy=IntroductionPolicy.ASK))
        self.bobEvents.answer = lambda introduction: Deferred()
        requested = self.alice.requestSession("bob", transports=BOTH)
        self.network.advance(59.0)
        self.assertNoResult(requested)
        self.assertFails(requested, SessionTimedOut)

    def test_refusedAfterwards(self) -> None:
        """
        A refusal after an introduction at once ends the session.
        """
        self.bobEvents.answer = lambda introduction: False
        sessionID = self.request(self.alice, "bob").sessionID
        self.network.advance()
        [(endedID, end)] = self.aliceEvents.ended
        self.assertEqual((endedID, end.reason), (sessionID, EndReason.REFUSED))
        self.assertIsInstance(end.asError(), SessionRefused)

    def test_targets(self) -> None:
        """
        An unknown peer, one that left, one's own name and ID, and a peer that accepts nothing are
        told apart.
        """
        unknown = self.alice.requestSession("nobody", transports=BOTH)
        self.assertIn("nobody", str(self.assertFails(unknown, UnknownPeer)))
        for own in ("alice", "ALICE", ALICE.peerID.text):
            self.assertFails(self.alice.requestSession(own, transports=BOTH), PeerIsSelf)
        self.waitFor(self.bob.register(name="bob", accepts=False))
        self.assertFails(self.alice.requestSession("bob", transports=BOTH), PeerNotListening)
        self.bob.goodbye()
        self.network.advance()
        self.assertFails(self.alice.requestSession("bob", transports=BOTH), UnknownPeer)

    def test_badTransports(self) -> None:
        """
        A session of no transport, or of one twice, is refused.
        """
        self.assertFails(self.alice.requestSession("bob", transports=()), SessionRefused)
        twice = (Transport.TCP, Transport.TCP)
        self.assertFails(self.alice.requestSession("bob", transports=twice), SessionRefused)

    def test_glare(self) -> None:
        """
        Two peers that ask for each other in the same moment get two sessions, and both work.
        """
        fromAlice = self.alice.requestSession("bob", transports=BOTH)
        fromBob = self.bob.requestSession("alice", transports=BOTH)
        first, second = self.waitFor(fromAlice), self.waitFor(fromBob)
        self.network.advance()
        self.assertNotEqual(first.sessionID, second.sessionID)
        for sessionID in (first.sessionID, second.sessionID):
            self.waitFor(self.alice.sendReady(sessionID))
            self.waitFor(self.bob.sendReady(sessionID))
        self.network.advance()
        self.assertEqual(len(self.aliceEvents.ready), 2)
        self.assertEqual(len(self.bobEvents.ready), 2)

    def test_end(self) -> None:
        """
        Ending a session tells the other side why, and the session knows nothing more.
        """
        sessionID = self.request(self.alice, "bob").sessionID
        end = SessionEnd(EndReason.FAILED, "no pair worked")
        self.waitFor(self.alice.endSession(sessionID, end))
        self.network.advance()
        self.assertEqual(self.bobEvents.ended, [(sessionID, end)])
        self.assertFails(self.bob.sendReady(sessionID), UnknownSession)
        self.assertFails(self.alice.sendCandidates(sessionID, [host("10.0.0.1:1")]), UnknownSession)
        self.waitFor(self.bob.endSession(sessionID, end))
        self.assertEqual(self.aliceEvents.ended, [])

    def test_expiry(self) -> None:
        """
        A session that nobody ended ends after a minute, for both sides.
        """
        self.request(self.alice, "bob")
        self.network.advance(61.0)
        for events in (self.aliceEvents, self.bobEvents):
            self.assertEqual([end.reason for _, end in events.ended], [EndReason.EXPIRED])
        self.assertEqual(len(self.network.service.exchange.switchboard), 0)

    def test_strangersSession(self) -> None:
        """
        A peer cannot reach into a session of others, even if it knows the session's ID.
        """
        sessionID = self.request(self.alice, "bob").sessionID
        carol, _ = self.network.register("bob", CAROL)
        self.assertFails(carol.sendReady(sessionID), UnknownSession)
        self.assertFails(carol.sendCandidates(sessionID, [host("10.0.0.1:1")]), UnknownSession)
        self.waitFor(carol.endSession(sessionID, SessionEnd(EndReason.CANCELLED)))
        self.waitFor(self.alice.sendReady(sessionID))
        self.network.advance()
        self.assertEqual(self.bobEvents.ended, [])

    def test_cancelledRequest(self) -> None:
        """
        Cancelling a request ends the session that it had opened already.
        """
        requested = self.alice.requestSession("bob", transports=BOTH)
        self.network.advance(0.012)
        requested.cancel()
        self.failureResultOf(requested)
        self.network.advance()
        self.assertEqual([end.reason for _, end in self.bobEvents.ended], [EndReason.CANCELLED])

    def test_answerFails(self) -> None:
        """
        A bug in the program that is offered a session refuses it, and leaves the connection alone.
        """

        def broken(introduction: Introduction) -> Answer:
            raise ZeroDivisionError("a bug")

        self.bobEvents.answer = broken
        self.request(self.alice, "bob")
        self.network.advance()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.aliceEvents.ended[0][1].reason, EndReason.REFUSED)
        self.assertTrue(self.bob.isRegistered)


class PickyConnection(MainConnection):
    """
    Decides for itself, and keeps what it hears.
    """

    heard: list[str] = []

    async def _refuse(self, text: str) -> None:
        raise RendezvousError(text)

    def authoriseRegistration(self, request: RegistrationRequest) -> Any:
        if request.name == "mallory":
            return Deferred.fromCoroutine(self._refuse("no mallories here"))
        return None

    def chooseName(self, request: RegistrationRequest) -> Any:
        return f"{request.name}.example"

    def authoriseSession(self, target: Registration, transports: Sequence[Transport]) -> Any:
        if transports == (Transport.UDP,):
            raise SessionRefused("TCP only")

    def registered(self, registration: Registration) -> None:
        self.heard.append(f"registered {registration.name}")

    def sessionRequested(self, introduction: Introduction) -> None:
        self.heard.append(f"requested {introduction.remoteName}")

    def sessionEnded(self, sessionID: str, end: SessionEnd) -> None:
        assert self.registration is not None
        self.heard.append(f"{self.registration.name} ended {end.reason.value}")

    def lost(self, reason: Failure) -> None:
        self.heard.append("lost")


class HookTests(NetworkTestCase):
    """
    L{MainConnection} can be subclassed.
    """

    def makeNetwork(self) -> Network:
        PickyConnection.heard = []
        return Network(protocol=PickyConnection)

    def test_decisions(self) -> None:
        """
        A subclass refuses registrations and sessions in its own words, and chooses names.
        """
        alice, _ = self.network.register("alice", ALICE, "alice")
        bob = self.network.connect("bob", BOB)
        refused = self.assertFails(bob.register(name="mallory"), RendezvousError)
        self.assertEqual(str(refused), "no mallories here")
        self.assertEqual(self.waitFor(bob.register(name="bob")).name, "bob.example")
        requested = alice.requestSession("bob.example", transports=(Transport.UDP,))
        self.assertEqual(str(self.assertFails(requested, SessionRefused)), "TCP only")
        self.waitFor(alice.requestSession("bob.example", transports=BOTH))

    def test_news(self) -> None:
        """
        A subclass hears of registrations, sessions, their ends, and lost connections.
        """
        alice, _ = self.network.register("alice", ALICE, "alice")
        self.network.register("bob", BOB, "bob")
        sessionID = self.waitFor(alice.requestSession("bob.example", transports=BOTH)).sessionID
        self.waitFor(alice.endSession(sessionID, SessionEnd(EndReason.DONE)))
        alice.goodbye()
        self.network.advance()
        expected = ["registered alice.example", "registered bob.example", "requested bob.example"]
        expected += ["bob.example ended done", "alice.example ended done", "lost"]
        self.assertEqual(PickyConnection.heard, expected)
