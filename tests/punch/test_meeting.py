"""
Whole sessions that meet through NATs: L{holepunch.punch.session} and all below it.
"""

from __future__ import annotations

import attrs

from holepunch.address import Transport
from holepunch.nat import NAMED_BEHAVIOURS, Unsolicited
from holepunch.punch import (
    CandidateType,
    Credentials,
    EventKind,
    FirstValid,
    SendStream,
    StartStream,
    TCPFlow,
    Trace,
)
from tests.punch.meeting import PUBLIC, Meeting, MeetingTestCase, meet
from tests.punch.station import (
    ANSWER,
    BOTH,
    HELLO,
    TCP,
    UDP,
    Observer,
    Station,
    configs,
    gather,
    introduce,
    run,
)
from tests.punch.wire import Wire

POSSIBLE = (
    (PUBLIC, PUBLIC),
    (PUBLIC, "symmetric"),
    ("symmetric", PUBLIC),
    ("full-cone", "full-cone"),
    ("address-restricted", "port-restricted"),
    ("port-restricted", "port-restricted"),
    ("full-cone", "symmetric"),
    ("symmetric", "address-restricted"),
    ("symmetric-random", "full-cone"),
)
IMPOSSIBLE = (
    ("port-restricted", "symmetric-random"),
    ("symmetric-random", "symmetric-random"),
)


class MeetingTests(MeetingTestCase):
    """
    Two peers, with a NAT before each.
    """

    def assertMet(self, meeting: Meeting, transport: Transport | None = None) -> None:
        """
        Both have the same path, and data went both ways.
        """
        alice, bob = meeting.alice, meeting.bob
        assert alice.path is not None and bob.path is not None, (alice.failure, bob.failure)
        self.assertIs(alice.path.transport, bob.path.transport)
        if transport is not None:
            self.assertIs(alice.path.transport, transport)
        self.assertEqual(alice.path.localCandidate.address, bob.path.remote)
        self.assertEqual((alice.heard, bob.heard), ([ANSWER], [HELLO]))
        self.assertEqual((alice.opened, bob.opened), (set(), set()))

    def test_possible(self) -> None:
        """
        Every pair of NATs that leaves a way is passed, over UDP, over TCP and with both allowed.
        """
        for first, second in POSSIBLE:
            for transports in (UDP, TCP, BOTH):
                self.assertMet(meet(first, second, transports))

    def test_impossible(self) -> None:
        """
        Where no way is without guessing ports, both sides say so, with a fate for each pair.
        """
        for first, second in IMPOSSIBLE:
            for transports in (UDP, TCP):
                meeting = meet(first, second, transports)
                for station in (meeting.alice, meeting.bob):
                    assert station.failure is not None
                    self.assertIn("choose ports", str(station.failure.reason))
                    self.assertEqual(len(station.failure.reason.fates), 6)
                    self.assertEqual(station.opened, set())
                    self.assertIsNone(station.session.nextTimeout())

    def test_sequential(self) -> None:
        """
        The sequential flow passes the same NATs; the requester connects only after the ready.
        """
        for first, second in POSSIBLE:
            meeting = meet(first, second, TCP, TCPFlow.SEQUENTIAL)
            self.assertMet(meeting, Transport.TCP)
            events = [e.event.kind for e in meeting.alice.effects if isinstance(e, Trace)]
            if EventKind.CONNECT_STARTED in events:
                self.assertLess(
                    events.index(EventKind.READY_RECEIVED),
                    events.index(EventKind.CONNECT_STARTED),
                )

    def test_resets(self) -> None:
        """
        NATs that answer RST, and forget with it, are passed in one or two tries, whatever the skew.
        """
        for unsolicited in (Unsolicited.RST, Unsolicited.ICMP):
            behaviour = attrs.evolve(
                NAMED_BEHAVIOURS["port-restricted"],
                unsolicited=unsolicited,
                dropsMappingOnReset=True,
            )
            for skew in (0.0, 0.02, 0.1, 0.3, 0.4):
                meeting = meet(behaviour, behaviour, TCP, skew=skew)
                self.assertMet(meeting, Transport.TCP)
                self.assertLess(meeting.alice.selections[0][0] - meeting.startedAt, skew + 0.3)

    def test_twoDirectionsOnly(self) -> None:
        """
        Over UDP the first data of the controlling side leaves one round trip after the start.
        """
        meeting = meet("port-restricted", "port-restricted", UDP)
        selectedAt = meeting.alice.selections[0][0]
        self.assertNear(selectedAt - meeting.startedAt, 2 * meeting.wire.latency)
        self.assertNear(meeting.bob.selections[0][0] - selectedAt, meeting.wire.latency)

    def test_longWay(self) -> None:
        """
        Where the round trip is longer than the time after which a check is sent again, the answers
        to superseded checks still count.
        """
        for latency in (0.15, 0.3, 0.6):
            meeting = meet("full-cone", "full-cone", UDP, wire=Wire(latency=latency))
            self.assertMet(meeting)
            self.assertNear(meeting.alice.selections[0][0] - meeting.startedAt, 2.02 * latency)

    def test_oneFlight(self) -> None:
        """
        Over TCP the nominating check and the begin of the stream leave as soon as the connection is
        made, and the other side has both one way later.
        """
        meeting = meet("port-restricted", "port-restricted", TCP)
        effects = meeting.alice.effects
        started = next(n for n, effect in enumerate(effects) if isinstance(effect, StartStream))
        self.assertTrue(
            any(isinstance(effect, SendStream) for effect in effects[started - 2 : started])
        )
        self.assertNear(meeting.bob.selections[0][0] - meeting.startedAt, 3 * meeting.wire.latency)

    def test_prefersTCP(self) -> None:
        """
        With both transports possible, the path is over TCP; or over UDP if that is preferred.
        """
        self.assertMet(meet("port-restricted", "port-restricted", BOTH), Transport.TCP)
        meeting = Meeting.between(PUBLIC, PUBLIC)
        meeting.alice.preferred = meeting.bob.preferred = Transport.UDP
        meeting.start(BOTH, preferredTransport=Transport.UDP)
        meeting.finish()
        self.assertMet(meeting, Transport.UDP)

    def test_privateFirst(self) -> None:
        """
        Behind one NAT, the path is the private one.
        """
        for transports in (UDP, TCP, BOTH):
            wire = Wire()
            observer = Observer(wire)
            home = wire.addNAT(NAMED_BEHAVIOURS["port-restricted"], "203.0.113.1")
            meeting = Meeting(
                Station(wire=wire, network=home, host="10.0.0.2"),
                Station(wire=wire, network=home, host="10.0.0.3"),
                wire,
            )
            gather(observer, [meeting.alice, meeting.bob])
            meeting.start(transports)
            meeting.finish()
            self.assertMet(meeting)
            assert meeting.alice.path is not None
            self.assertEqual(meeting.alice.path.remote, meeting.bob.base)

    def test_hairpin(self) -> None:
        """
        Behind two levels of NAT, the path leads over the outer NAT's hairpin.
        """
        for transports in (UDP, TCP):
            wire = Wire()
            observer = Observer(wire)
            outer = wire.addNAT(NAMED_BEHAVIOURS["port-restricted"], "203.0.113.1")
            alice, bob = (
                Station(
                    wire=wire,
                    network=wire.addNAT(NAMED_BEHAVIOURS["port-restricted"], outside, outer),
                    host=inside,
                )
                for outside, inside in (("100.64.0.2", "10.0.0.2"), ("100.64.0.3", "10.0.1.3"))
            )
            meeting = Meeting(alice, bob, wire)
            gather(observer, [alice, bob])
            meeting.start(transports)
            meeting.finish()
            self.assertMet(meeting)
            assert meeting.alice.path is not None
            self.assertEqual(meeting.alice.path.remote.host, "203.0.113.1")

    def test_prflx(self) -> None:
        """
        The port that a symmetric NAT chose shows as peer-reflexive on both sides.
        """
        meeting = meet("full-cone", "symmetric-random", UDP)
        self.assertMet(meeting)
        assert meeting.alice.path is not None and meeting.bob.path is not None
        self.assertIs(meeting.alice.path.remoteCandidate.type, CandidateType.PEER_REFLEXIVE)
        self.assertIs(meeting.bob.path.localCandidate.type, CandidateType.PEER_REFLEXIVE)
        self.assertEqual(meeting.bob.path.localCandidate.address, meeting.alice.path.remote)

    def test_roleConflict(self) -> None:
        """
        Two sides that both want to control, or both not, sort it out and meet.
        """
        for isControlling in (True, False):
            for transports in (UDP, TCP):
                meeting = Meeting.between(PUBLIC, "port-restricted")
                first, second = configs(meeting.wire, transports)
                meeting.startedAt = meeting.wire.now
                for station, config in ((meeting.alice, first), (meeting.bob, second)):
                    station.start(
                        attrs.evolve(
                            config,
                            isControlling=isControlling,
                            tieBreaker=10 if station is meeting.alice else 5,
                        )
                    )
                introduce(meeting.alice, meeting.bob, transports)
                meeting.finish()
                assert meeting.alice.path is not None and meeting.bob.path is not None
                self.assertTrue(meeting.alice.session.isControlling)
                self.assertFalse(meeting.bob.session.isControlling)

    def test_trickle(self) -> None:
        """
        Checks that come before the candidates and the credentials of their sender count later.
        """
        meeting = Meeting.between(PUBLIC, "symmetric")
        first, second = configs(meeting.wire, UDP)
        meeting.alice.start(attrs.evolve(first, remoteCredentials=None))
        meeting.bob.start(second)
        wire, alice, bob = meeting.wire, meeting.alice, meeting.bob
        for station in (alice, bob):
            for candidate in station.candidates(UDP):
                station.session.addLocalCandidate(candidate, wire.now)
        for candidate in alice.candidates(UDP):
            bob.session.addRemoteCandidate(candidate, wire.now)
        alice.pump()
        bob.pump()
        run(wire, lambda: False, 1.0)
        self.assertIsNone(alice.path)
        assert first.remoteCredentials is not None
        alice.session.setRemoteCredentials(first.remoteCredentials, wire.now)
        alice.pump()
        meeting.finish()
        self.assertMet(meeting)

    def test_otherSession(self) -> None:
        """
        Checks of another session, with its own credentials, do not count.
        """
        for transports in (UDP, TCP):
            meeting = Meeting.between(PUBLIC, PUBLIC)
            first, second = configs(meeting.wire, transports)
            wrong = Credentials("bobb", "anotheranotheranotherpassword")
            meeting.alice.start(first)
            meeting.bob.start(attrs.evolve(second, localCredentials=wrong))
            introduce(meeting.alice, meeting.bob, transports)
            meeting.finish()
            self.assertIsNone(meeting.alice.path)
            self.assertIsNone(meeting.bob.path)
            self.assertEqual(meeting.alice.opened | meeting.bob.opened, set())

    def test_loss(self) -> None:
        """
        With a tenth of the packets lost and others delayed past each other, the two still meet.
        """
        for seed in range(10):
            for transports in (UDP, TCP):
                wire = Wire(seed=seed, loss=0.1, jitter=1.0)
                meeting = Meeting.between("full-cone", "full-cone", wire)
                if not all(len(s.mapped) == 2 for s in (meeting.alice, meeting.bob)):
                    continue
                meeting.start(transports)
                meeting.finish()
                alice, bob = meeting.alice.path, meeting.bob.path
                assert alice is not None and bob is not None
                self.assertEqual(alice.localCandidate.address, bob.remote)

    def test_deterministic(self) -> None:
        """
        The same inputs give the same effects, byte for byte.
        """
        first, second = (meet("full-cone", "symmetric", BOTH, wire=Wire(seed=3)) for _ in range(2))
        self.assertEqual(first.alice.effects, second.alice.effects)
        self.assertEqual(first.bob.effects, second.bob.effects)

    def test_noCandidates(self) -> None:
        """
        A session without anything to try fails at once when both sides are complete, and says why.
        """
        wire = Wire()
        for transports, flow, sentence in (
            (TCP, TCPFlow.SIMULTANEOUS, "no address for TCP"),
            (UDP, TCPFlow.SIMULTANEOUS, "no address for UDP"),
            (BOTH, TCPFlow.SEQUENTIAL, "no address for TCP or UDP"),
        ):
            alice = Station(wire=wire, network=wire.public, host="203.0.113.1")
            alice.start(configs(wire, transports, flow)[0])
            for candidate in alice.candidates(transports):
                alice.session.addLocalCandidate(candidate, wire.now)
            alice.session.endOfLocalCandidates(wire.now)
            alice.pump()
            self.assertIsNone(alice.failure)
            alice.session.endOfRemoteCandidates(wire.now)
            alice.pump()
            assert alice.failure is not None
            self.assertIn(sentence, str(alice.failure.reason))

    def test_refused(self) -> None:
        """
        When every connect is refused for good, the session fails before its time-out, and says so.
        """
        meeting = Meeting.between(PUBLIC, PUBLIC)
        meeting.start(TCP)
        meeting.bob.tcp.listening.clear()
        meeting.bob.session.close("gone", meeting.wire.now)
        meeting.bob.pump()
        run(meeting.wire, lambda: meeting.alice.failure is not None)
        assert meeting.alice.failure is not None
        self.assertIn("refused", str(meeting.alice.failure.reason))
        self.assertIn("(tried 10 times)", meeting.alice.failure.reason.fates[0])
        self.assertLess(meeting.wire.now - meeting.startedAt, 10.0)

    def test_firstValid(self) -> None:
        """
        Another strategy may nominate at once.
        """
        self.assertMet(meet("full-cone", "full-cone", BOTH, nomination=FirstValid()))

    def test_pacing(self) -> None:
        """
        After a burst, checks leave no faster than configured.
        """
        meeting = Meeting.between(PUBLIC, PUBLIC)
        alice, wire = meeting.alice, meeting.wire
        alice.start(configs(wire, BOTH, checkBurst=2)[0])
        for candidate in alice.candidates(BOTH):
            alice.session.addLocalCandidate(candidate, wire.now)
        for number in range(10):
            for transport, kind in (("udp", ""), ("tcp", " tcptype so")):
                alice.session.addRemoteCandidate(
                    alice.candidates(BOTH)[0].parse(
                        f"1 1 {transport} 100 198.51.100.{number + 20} 5 typ host{kind}"
                    ),
                    wire.now,
                )
        alice.pump()
        start = wire.now
        run(wire, lambda: False, 0.2)
        for event in (EventKind.CHECK_SENT, EventKind.CONNECT_STARTED):
            times = [
                e.event.at - start
                for e in alice.effects
                if isinstance(e, Trace) and e.event.kind is event
            ]
            expected = [0.0, 0.0, *(0.02 * n for n in range(1, 9))]
            for at, due in zip(times, expected, strict=True):
                self.assertAlmostEqual(at, due)
