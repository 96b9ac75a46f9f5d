"""
Tests for what L{holepunch.rendezvous.switchboard} passes on about relays.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress
from holepunch.errors import SessionRefused
from holepunch.punch.candidate import Candidate, CandidateType
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous.introduction import Answer, RelayPolicy, Use
from holepunch.rendezvous.switchboard import Introduce, OfferSession, PassCandidates
from tests.rendezvous.test_switchboard import SwitchboardTestCase, peer, udp

RELAYED = TransportAddress("198.51.100.3", 50000)
HOST = udp("192.168.1.2:4000")


def relayCandidate(address: TransportAddress = RELAYED) -> Candidate:
    return gatheredCandidate(CandidateType.RELAYED, Transport.UDP, address)


class RelayTests(SwitchboardTestCase):
    """
    With a relay, and without.
    """

    def test_none(self) -> None:
        """
        Where the service has no relay, sessions are direct, and a request for nothing else fails.
        """
        self.request(peer(1), peer(2), relay=RelayPolicy.AUTO)
        for introduction in self.introductions():
            self.assertFalse(introduction.isMovable)
            self.assertIsNone(introduction.relayLocal)
        self.assertRaises(SessionRefused, self.request, peer(1), peer(2), relay=RelayPolicy.ONLY)

    def test_credentials(self) -> None:
        """
        Each side of a movable session has credentials for the relay, and the other one's.
        """
        self.board.offerRelay([])
        self.request(peer(1), peer(2), relay=RelayPolicy.AUTO, use=Use.DATAGRAMS)
        near, far = self.introductions()
        self.assertTrue(near.isMovable and far.isMovable)
        self.assertEqual(near.relayLocal, far.relayRemote)
        self.assertEqual(near.relayRemote, far.relayLocal)
        self.assertNotEqual(near.relayLocal, near.relayRemote)
        self.assertNotEqual(near.relayLocal, near.local)
        self.assertIs(far.use, Use.DATAGRAMS)

    def test_allocated(self) -> None:
        """
        The other side hears of an allocation at once, in all sessions, and in those that follow.
        """
        self.board.offerRelay([])
        first = self.request(peer(1), peer(2), relay=RelayPolicy.AUTO)
        self.board.takeEffects()
        self.board.relayed(1, RELAYED)
        [effect] = self.board.takeEffects()
        assert isinstance(effect, PassCandidates)
        self.assertEqual((effect.connection, effect.sessionID), (2, first))
        self.assertEqual([each.address for each in effect.candidates], [RELAYED])
        self.assertIs(effect.candidates[0].type, CandidateType.RELAYED)
        self.request(peer(2), peer(1), relay=RelayPolicy.AUTO, transports=(Transport.TCP,))
        near, _ = self.introductions()
        self.assertEqual([each.address for each in near.remoteCandidates], [RELAYED])
        self.board.connectionLost(1)
        self.board.takeEffects()
        self.request(peer(2), peer(1), relay=RelayPolicy.AUTO)
        self.assertEqual(self.introductions()[0].remoteCandidates, ())

    def test_never(self) -> None:
        """
        In a session without a relay nobody is told of an allocation.
        """
        self.board.offerRelay([RELAYED.host])
        self.board.relayed(1, RELAYED)
        session = self.request(peer(1), peer(2), candidates=(relayCandidate(),))
        self.assertEqual(self.introductions()[1].remoteCandidates, ())
        self.board.addCandidates(session, 1, [relayCandidate()])
        self.assertEqual(self.board.takeEffects(), [])

    def test_claims(self) -> None:
        """
        A relayed address that a peer claims is passed on if it is one of the known relay's.
        """
        self.board.offerRelay([RELAYED.host])
        victim = relayCandidate(TransportAddress("198.51.100.99", 53))
        session = self.request(
            peer(1, candidates=(HOST,)),
            peer(2),
            relay=RelayPolicy.AUTO,
            candidates=(relayCandidate(), victim),
        )
        offered = self.introductions()[1].remoteCandidates
        self.assertEqual([each.address for each in offered], [HOST.address, RELAYED])
        self.board.addCandidates(session, 2, [victim])
        self.assertEqual(self.board.takeEffects(), [])

    def test_only(self) -> None:
        """
        Where only the relay may be used, neither side is told an address of the other one.
        """
        self.board.offerRelay([])
        self.board.relayed(2, RELAYED)
        session = self.request(
            peer(1, candidates=(HOST,)), peer(2, candidates=(HOST,)), relay=RelayPolicy.ONLY
        )
        near, far = self.introductions()
        self.assertEqual([each.address for each in near.remoteCandidates], [RELAYED])
        self.assertEqual(far.remoteCandidates, ())
        self.board.addCandidates(session, 1, [HOST])
        self.board.observe(
            far.ticket.username("1"), Transport.UDP, TransportAddress("31.2.0.1", 7), 1.0
        )
        self.assertEqual(self.board.takeEffects(), [])

    def test_continues(self) -> None:
        """
        A peer that accepts nothing may be asked to go on; the requester is told nothing before it
        has agreed.
        """
        session = self.request(peer(1), peer(2, accepts=False), continues="earlier")
        [offer] = self.board.takeEffects()
        assert isinstance(offer, OfferSession)
        self.assertEqual(offer.introduction.continues, "earlier")
        self.board.answer(session, 2, Answer(True))
        [introduce] = self.board.takeEffects()
        assert isinstance(introduce, Introduce)
        self.assertEqual(introduce.introduction.continues, "earlier")
