"""
Tests for L{holepunch.rendezvous.switchboard} and L{holepunch.rendezvous.session}.
"""

from __future__ import annotations

import itertools
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import SessionRefused, TooManyRequests, UnknownSession
from holepunch.punch.candidate import Candidate, CandidateType
from holepunch.punch.config import TCPFlow
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous.introduction import (
    Answer,
    EndReason,
    Introduction,
    IntroductionPolicy,
    SessionEnd,
)
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.registry import Observation, Registration
from holepunch.rendezvous.switchboard import (
    Introduce,
    Observed,
    OfferSession,
    PassCandidates,
    PassEnd,
    PassReady,
    Switchboard,
)
from tests.rendezvous.test_registry import PEERS, registration

BOTH = (Transport.TCP, Transport.UDP)


def counter() -> Any:
    """
    Bytes that are never the same, and always the same in the next run.
    """
    numbers = itertools.count()
    return lambda length: next(numbers).to_bytes(length, "big")


def peer(number: int, **values: Any) -> Registration:
    """
    Peer number 1, 2 or 3, which is seen at 31.<number>.0.1.
    """
    values.setdefault("observed", TransportAddress(f"31.{number}.0.1", 4000))
    values.setdefault("candidates", ())
    return attrs.evolve(registration(PEERS[number - 1], number, f"peer{number}"), **values)


def udp(text: str, kind: CandidateType = CandidateType.HOST) -> Candidate:
    return gatheredCandidate(kind, Transport.UDP, TransportAddress.parse(text))


class SwitchboardTestCase(SynchronousTestCase):
    """
    Drives a L{Switchboard}.
    """

    limits = Limits(sessionsPerPeer=3, offersPerPeer=4, candidatesPerSession=40)

    def setUp(self) -> None:
        self.board = Switchboard(self.limits, counter())

    def request(
        self, requester: Registration, target: Registration, now: float = 0.0, **values: Any
    ) -> str:
        values.setdefault("transports", BOTH)
        values.setdefault("flow", TCPFlow.SIMULTANEOUS)
        values.setdefault("candidates", ())
        return self.board.request(requester, target, now=now, **values)

    def introductions(self) -> tuple[Introduction, Introduction]:
        """
        What the requester and the target are told.
        """
        introduce, offer = self.board.takeEffects()[:2]
        assert isinstance(introduce, Introduce)
        assert isinstance(offer, OfferSession)
        return introduce.introduction, offer.introduction


class RequestTests(SwitchboardTestCase):
    """
    From the request to the introduction.
    """

    def test_deterministic(self) -> None:
        """
        The same inputs give the same effects, and the effects are taken once.
        """
        other = Switchboard(self.limits, counter())
        for board in (self.board, other):
            board.request(
                peer(1), peer(2), transports=BOTH, flow=TCPFlow.SEQUENTIAL, candidates=(), now=0.0
            )
        effects = self.board.takeEffects()
        self.assertEqual(effects, other.takeEffects())
        self.assertEqual(self.board.takeEffects(), [])

    def test_flow(self) -> None:
        """
        Both sides are told the same transports, in the requester's order, and the same flow.
        """
        self.request(peer(1), peer(2), transports=(Transport.UDP,), flow=TCPFlow.SEQUENTIAL)
        for introduction in self.introductions():
            self.assertEqual(introduction.transports, (Transport.UDP,))
            self.assertIs(introduction.flow, TCPFlow.SEQUENTIAL)

    def test_secrets(self) -> None:
        """
        Both sides get credentials and tickets of their own, long enough to be guessed by nobody.
        """
        self.request(peer(1), peer(2))
        first, second = self.introductions()
        for introduction in (first, second):
            self.assertGreaterEqual(len(introduction.local.ufrag), 8)
            self.assertGreaterEqual(len(introduction.local.password), 24)
            self.assertGreaterEqual(len(introduction.ticket.key), 24)
            self.assertNotIn(introduction.local.password, repr(introduction))
            self.assertNotIn(introduction.remoteCredentials.password, repr(introduction))
            self.assertNotIn(introduction.ticket.key.decode(), repr(introduction))
        self.assertNotEqual(first.local.password, second.local.password)
        self.assertNotEqual(first.ticket.key, second.ticket.key)

    def test_transports(self) -> None:
        """
        Candidates of a transport that the session does not use are not passed on.
        """
        mine = (
            udp("10.0.0.1:1"),
            gatheredCandidate(CandidateType.HOST, Transport.TCP, TransportAddress("10.0.0.1", 2)),
        )
        self.request(peer(1), peer(2), transports=(Transport.TCP,), candidates=mine)
        _, offer = self.introductions()
        self.assertEqual(offer.remoteCandidates, mine[1:])

    def test_manyCandidates(self) -> None:
        """
        Candidates that do not fit the introduction follow it, none twice, none beyond the limit.
        """
        mine = tuple(udp(f"10.0.0.1:{port}") for port in range(1, 60))
        sessionID = self.request(peer(1), peer(2), candidates=mine + mine)
        _, offered, rest = self.board.takeEffects()
        assert isinstance(offered, OfferSession)
        self.assertEqual(offered.introduction.remoteCandidates, mine[:32])
        self.assertEqual(rest, PassCandidates(2, sessionID, mine[32:40]))

    def test_observations(self) -> None:
        """
        What the service saw of a peer lately goes into the introduction, older things do not.
        """
        seen = [TransportAddress("31.1.0.1", port) for port in (6000, 6001)]
        requester = peer(
            1,
            observations=(
                Observation(Transport.UDP, seen[0], 30.0),
                Observation(Transport.UDP, seen[1], 50.0),
            ),
        )
        self.request(requester, peer(2), now=100.0)
        _, offer = self.introductions()
        self.assertEqual([each.address for each in offer.remoteCandidates], seen[1:])
        self.assertIs(offer.remoteCandidates[0].type, CandidateType.SERVER_REFLEXIVE)

    def test_observationsWithoutEnd(self) -> None:
        """
        However many addresses a ticket is used from, the other side is told of few.
        """
        self.request(peer(1), peer(2))
        introduction, _ = self.introductions()
        for number in range(1000):
            address = TransportAddress(f"32.1.{number // 250}.{number % 250}", 4000)
            username = introduction.ticket.username("1")
            self.board.observe(username, Transport.UDP, address, 1.0)
        self.assertLess(len(self.board.takeEffects()), 100)

    def test_publicPeer(self) -> None:
        """
        A public peer's mapped address is its own: it is passed on once, as a host candidate.
        """
        observed = TransportAddress("31.1.0.1", 4000)
        own = gatheredCandidate(CandidateType.HOST, Transport.TCP, observed)
        self.request(peer(1, local=observed, candidates=(own,)), peer(2))
        _, offer = self.introductions()
        self.assertEqual(offer.remoteCandidates, (own,))
        self.assertFalse(offer.isRemoteBehindNAT)

    def test_loopback(self) -> None:
        """
        Loopback addresses are passed on between two peers on the service's own host, only there.
        """
        here = [peer(number, observed=TransportAddress("127.0.0.1", number)) for number in (1, 2)]
        loopback = udp("127.0.0.1:5000")
        self.request(here[0], here[1], candidates=[loopback])
        self.assertEqual(self.introductions()[1].remoteCandidates, (loopback,))
        self.request(here[0], peer(3), candidates=[loopback])
        self.assertEqual(self.introductions()[1].remoteCandidates, ())

    def test_limits(self) -> None:
        """
        Sessions are limited for the one who asks and for the one who is asked, each by itself.
        """
        for _ in range(3):
            self.request(peer(1), peer(2))
        with self.assertRaises(TooManyRequests):
            self.request(peer(1), peer(2))
        self.request(peer(3), peer(2))
        with self.assertRaises(SessionRefused):
            self.request(peer(3), peer(2))
        self.request(peer(2), peer(1))


class CourseTests(SwitchboardTestCase):
    """
    From the introduction to the end.
    """

    def setUp(self) -> None:
        super().setUp()
        self.sessionID = self.request(peer(1), peer(2))
        self.requested, self.offered = self.introductions()

    def test_released(self) -> None:
        """
        A claimed public address is held back until the service sees the peer there, and then told.
        """
        claimed = udp("31.9.0.1:7000")
        self.board.addCandidates(self.sessionID, 1, [claimed])
        self.assertEqual(self.board.takeEffects(), [])
        seen = TransportAddress("31.9.0.1", 6000)
        self.board.observe(self.requested.ticket.username("1"), Transport.UDP, seen, 1.0)
        [effect] = self.board.takeEffects()
        assert isinstance(effect, PassCandidates)
        self.assertEqual(effect.connection, 2)
        self.assertEqual([each.address for each in effect.candidates], [seen, claimed.address])

    def test_loopbackReleased(self) -> None:
        """
        Loopback addresses are told when both peers turn out to be on the service's own host.
        """
        claimed = udp("127.0.0.1:7000")
        self.board.addCandidates(self.sessionID, 1, [claimed])
        here = TransportAddress("127.0.0.1", 6000)
        self.board.observe(self.requested.ticket.name, Transport.TCP, here, 1.0)
        self.board.takeEffects()
        self.board.observe(self.offered.ticket.name, Transport.TCP, here, 1.0)
        self.assertIn(PassCandidates(2, self.sessionID, (claimed,)), self.board.takeEffects())

    def test_registrationTicket(self) -> None:
        """
        An observation with the registration's ticket is reported, and helps sessions under way.
        """
        ticket = self.board.ticketFor(1, 0.0)
        self.assertEqual(self.board.ticketFor(1, 5.0), ticket)
        seen = TransportAddress("31.1.0.1", 6000)
        self.board.observe(ticket.username("1"), Transport.UDP, seen, 1.0)
        observed, passed = self.board.takeEffects()
        self.assertEqual(observed, Observed(1, Observation(Transport.UDP, seen, 1.0)))
        assert isinstance(passed, PassCandidates)
        self.assertEqual(passed.candidates[0].address, seen)

    def test_otherTransport(self) -> None:
        """
        An observation over a transport that the session does not use makes no candidate.
        """
        sessionID = self.request(peer(3), peer(2), transports=(Transport.TCP,))
        requested, _ = self.introductions()
        seen = TransportAddress("31.3.0.1", 6000)
        self.board.observe(requested.ticket.name, Transport.UDP, seen, 1.0)
        self.assertEqual(self.board.takeEffects(), [])
        self.board.observe(requested.ticket.name, Transport.TCP, seen, 1.0)
        [effect] = self.board.takeEffects()
        assert isinstance(effect, PassCandidates)
        self.assertEqual(effect.sessionID, sessionID)

    def test_lateAnswer(self) -> None:
        """
        An answer to a session that is over, and one from a stranger, do nothing.
        """
        self.board.answer(self.sessionID, 3, Answer(False))
        self.board.answer(self.sessionID, 1, Answer(True))
        self.board.endSession(self.sessionID, 1, SessionEnd(EndReason.DONE))
        self.board.takeEffects()
        self.board.answer(self.sessionID, 2, Answer(False))
        self.assertEqual(self.board.takeEffects(), [])

    def test_strangers(self) -> None:
        """
        Who is no side of a session can do nothing with it.
        """
        with self.assertRaises(UnknownSession):
            self.board.ready(self.sessionID, 3)
        with self.assertRaises(UnknownSession):
            self.board.addCandidates(self.sessionID, 3, [])
        self.board.endSession(self.sessionID, 3, SessionEnd(EndReason.DONE))
        self.assertEqual(self.board.takeEffects(), [])

    def test_ended(self) -> None:
        """
        The end of a session makes both tickets worthless.
        """
        self.board.endSession(self.sessionID, 2, SessionEnd(EndReason.DONE))
        self.assertEqual(
            self.board.takeEffects(), [PassEnd(1, self.sessionID, SessionEnd(EndReason.DONE))]
        )
        for introduction in (self.requested, self.offered):
            self.assertIsNone(self.board.keyFor(introduction.ticket.name, 1.0))
        self.assertIsNone(self.board.nextTimeout())

    def test_expiry(self) -> None:
        """
        Sessions expire each in its own time.
        """
        self.request(peer(1), peer(3), now=10.0)
        self.board.takeEffects()
        self.assertEqual(self.board.nextTimeout(), 60.0)
        self.board.handleTimeout(60.0)
        expired = SessionEnd(EndReason.EXPIRED)
        self.assertEqual(
            self.board.takeEffects(),
            [PassEnd(1, self.sessionID, expired), PassEnd(2, self.sessionID, expired)],
        )
        self.assertEqual(self.board.nextTimeout(), 70.0)

    def test_vanished(self) -> None:
        """
        When a main connection is lost, all its sessions end, and all its tickets.
        """
        ticket = self.board.ticketFor(1, 0.0)
        other = self.request(peer(3), peer(1))
        self.board.takeEffects()
        self.board.connectionLost(1)
        vanished = SessionEnd(EndReason.VANISHED)
        self.assertEqual(
            self.board.takeEffects(),
            [PassEnd(2, self.sessionID, vanished), PassEnd(3, other, vanished)],
        )
        self.assertIsNone(self.board.keyFor(ticket.name, 1.0))
        self.assertEqual(len(self.board), 0)


class AskTests(SwitchboardTestCase):
    """
    The policy "ask".
    """

    def setUp(self) -> None:
        super().setUp()
        self.target = peer(2, policy=IntroductionPolicy.ASK, candidates=(udp("10.0.0.2:1"),))
        self.sessionID = self.request(peer(1), self.target)
        [effect] = self.board.takeEffects()
        assert isinstance(effect, OfferSession)
        self.offered = effect.introduction

    def test_patience(self) -> None:
        """
        Before its answer nothing of the target is told; with the answer, everything.
        """
        self.board.addCandidates(self.sessionID, 2, [udp("10.0.0.2:2")])
        self.board.ready(self.sessionID, 2)
        seen = TransportAddress("31.2.0.1", 9)
        self.board.observe(self.offered.ticket.name, Transport.UDP, seen, 1.0)
        self.assertEqual(self.board.takeEffects(), [])
        self.board.answer(self.sessionID, 2, Answer(True, (udp("10.0.0.2:3"),)))
        introduce, ready = self.board.takeEffects()
        assert isinstance(introduce, Introduce)
        told = [str(each.address) for each in introduce.introduction.remoteCandidates]
        self.assertEqual(told, ["10.0.0.2:1", "10.0.0.2:2", "31.2.0.1:9", "10.0.0.2:3"])
        self.assertEqual(ready, PassReady(1, self.sessionID))

    def test_answeredTwice(self) -> None:
        """
        A second answer introduces nobody again.
        """
        self.board.answer(self.sessionID, 2, Answer(True))
        self.board.takeEffects()
        self.board.answer(self.sessionID, 2, Answer(True))
        self.assertEqual(self.board.takeEffects(), [])

    def test_requesterTrickles(self) -> None:
        """
        The requester's further candidates reach the target while it decides.
        """
        more = udp("10.0.0.1:9")
        self.board.addCandidates(self.sessionID, 1, [more])
        self.assertEqual(self.board.takeEffects(), [PassCandidates(2, self.sessionID, (more,))])


class SwitchboardMachine(RuleBasedStateMachine):
    """
    Three peers do what they like, in any order.
    """

    peers = st.sampled_from([1, 2, 3])

    def __init__(self) -> None:
        super().__init__()
        self.board = Switchboard(Limits(), counter())
        self.now = 0.0
        self.open: dict[str, set[int]] = {}
        self.introduced: dict[str, set[int]] = {}

    @rule(one=peers, other=peers, asks=st.booleans())
    def request(self, one: int, other: int, asks: bool) -> None:
        if one == other:
            return
        policy = IntroductionPolicy.ASK if asks else IntroductionPolicy.AT_ONCE
        sessionID = self.board.request(
            peer(one),
            peer(other, policy=policy),
            transports=BOTH,
            flow=TCPFlow.SIMULTANEOUS,
            candidates=[udp("10.0.0.1:1")],
            now=self.now,
        )
        self.open[sessionID] = {one, other}
        self.introduced[sessionID] = set()

    @rule(data=st.data(), who=peers, isAccepted=st.booleans())
    def answer(self, data: st.DataObject, who: int, isAccepted: bool) -> None:
        self.board.answer(self.draw(data), who, Answer(isAccepted, (udp("10.0.0.9:1"),)))

    @rule(data=st.data(), who=peers, host=st.integers(1, 5))
    def candidates(self, data: st.DataObject, who: int, host: int) -> None:
        sessionID = self.draw(data)
        try:
            self.board.addCandidates(sessionID, who, [udp(f"31.{host}.0.1:{who}")])
        except UnknownSession:
            assert who not in self.open.get(sessionID, set())

    @rule(data=st.data(), who=peers)
    def ready(self, data: st.DataObject, who: int) -> None:
        sessionID = self.draw(data)
        try:
            self.board.ready(sessionID, who)
        except UnknownSession:
            assert who not in self.open.get(sessionID, set())

    @rule(data=st.data(), who=peers)
    def end(self, data: st.DataObject, who: int) -> None:
        sessionID = self.draw(data)
        self.board.endSession(sessionID, who, SessionEnd(EndReason.DONE))
        if who in self.open.get(sessionID, set()):
            del self.open[sessionID]

    @rule(who=peers)
    def vanish(self, who: int) -> None:
        self.board.connectionLost(who)
        self.open = {key: sides for key, sides in self.open.items() if who not in sides}

    @rule(seconds=st.sampled_from([1.0, 30.0, 60.0]))
    def passTime(self, seconds: float) -> None:
        self.now += seconds
        self.board.handleTimeout(self.now)

    def draw(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(["unknown", *self.introduced]))

    @invariant()
    def effectsMakeSense(self) -> None:
        """
        Nobody hears of a session before it was introduced, nor after it has ended.
        """
        for effect in self.board.takeEffects():
            if isinstance(effect, (Introduce, OfferSession)):
                introduced = self.introduced[effect.introduction.sessionID]
                assert effect.connection not in introduced
                introduced.add(effect.connection)
            elif isinstance(effect, (PassCandidates, PassReady)):
                assert effect.connection in self.introduced[effect.sessionID]
            elif isinstance(effect, PassEnd):
                self.open.pop(effect.sessionID, None)
        assert len(self.board) == len(self.open)


class PropertyTests(SynchronousTestCase):
    """
    The switchboard under arbitrary use.
    """

    def test_model(self) -> None:
        """
        Whatever peers do, each hears of a session in order, and of none that is not its own.
        """
        run_state_machine_as_test(SwitchboardMachine)
