"""
Tests for both ends of the main connection: who vanishes, and when.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from holepunch.address import Transport
from holepunch.errors import (
    PeerVanished,
    RendezvousError,
    RendezvousUnreachable,
    UnknownPeer,
)
from holepunch.rendezvous import (
    EndReason,
    IntroductionPolicy,
    SessionEnd,
)
from tests.rendezvous.network import (
    ALICE,
    BOB,
    NetworkTestCase,
)

BOTH = (Transport.TCP, Transport.UDP)


class VanishingTests(NetworkTestCase):
    """
    A peer that vanishes at every step.
    """

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.aliceEvents = self.network.register("alice", ALICE, "alice")
        self.bob, self.bobEvents = self.network.register("bob", BOB, "bob")

    def test_silently(self) -> None:
        """
        A peer that is gone without a word is noticed within half a minute, and is then unknown.
        """
        self.network.internet.host("bob").crash()
        self.network.advance(31.0)
        self.assertFails(self.alice.requestSession("bob", transports=BOTH), UnknownPeer)

    def test_serviceSilently(self) -> None:
        """
        A service that is gone without a word is noticed within half a minute.
        """
        self.network.internet.host("rendezvous").crash()
        self.network.advance(31.0)
        self.assertIsInstance(self.aliceEvents.lost[0], RendezvousUnreachable)
        self.network.internet.host("rendezvous").boot()
        self.network.startService()

    def test_inSession(self) -> None:
        """
        When a peer leaves before the session has ended, the other one is told.
        """
        self.waitFor(self.alice.requestSession("bob", transports=BOTH))
        self.bob.goodbye()
        self.network.advance()
        [(_, end)] = self.aliceEvents.ended
        self.assertEqual(end.reason, EndReason.VANISHED)
        self.assertIsInstance(end.asError(), PeerVanished)

    def test_beforeAnswer(self) -> None:
        """
        When a peer leaves instead of answering, the request under policy "ask" fails with that.
        """
        self.waitFor(self.bob.register(name="bob", policy=IntroductionPolicy.ASK))
        self.bobEvents.answer = lambda introduction: Deferred()
        requested = self.alice.requestSession("bob", transports=BOTH)
        self.network.advance()
        self.bob.goodbye()
        self.assertFails(requested, PeerVanished)

    def test_requesterBeforeAnswer(self) -> None:
        """
        When the requester leaves before it was answered, the other peer is told.
        """
        self.waitFor(self.bob.register(name="bob", policy=IntroductionPolicy.ASK))
        self.bobEvents.answer = lambda introduction: Deferred()
        requested = self.alice.requestSession("bob", transports=BOTH)
        self.network.advance()
        self.alice.goodbye()
        self.assertFails(requested, RendezvousError)
        self.network.advance()
        self.assertEqual([end.reason for _, end in self.bobEvents.ended], [EndReason.VANISHED])

    def test_afterEnd(self) -> None:
        """
        A peer that leaves after the session has ended disturbs nobody.
        """
        sessionID = self.waitFor(self.alice.requestSession("bob", transports=BOTH)).sessionID
        self.waitFor(self.alice.endSession(sessionID, SessionEnd(EndReason.DONE)))
        self.bob.goodbye()
        self.network.advance()
        self.assertEqual(self.aliceEvents.ended, [])

    def test_restart(self) -> None:
        """
        When the service restarts, its peers hear goodbye, and may register with the new one.
        """
        self.network.stop()
        self.assertIn("stops", str(self.aliceEvents.lost[0]))
        self.network.startService()
        alice, _ = self.network.register("alice", ALICE, "alice")
        self.network.register("bob", BOB, "bob")
        self.waitFor(alice.requestSession("bob", transports=BOTH))

    def test_idle(self) -> None:
        """
        Two idle ends keep each other content for hours.
        """
        self.network.advance(3600.0)
        self.waitFor(self.alice.requestSession("bob", transports=BOTH))
