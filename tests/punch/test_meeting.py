"""
Whole sessions that meet through NATs: L{holepunch.punch.session} and all below it.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.nat import NAMED_BEHAVIOURS, NATBehaviour, Packet, Unsolicited
from holepunch.punch import (
    CandidateType,
    CloseConnection,
    Credentials,
    DatagramReceived,
    EventKind,
    FirstValid,
    OpenConnection,
    PathSelected,
    ProbeAnswered,
    SayReady,
    SendDatagram,
    SendStream,
    SessionState,
    StartStream,
    TCPFlow,
    Trace,
)
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
    isSettled,
    run,
)
from tests.punch.wire import Wire, address

PUBLIC = "public"
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


@attrs.define
class Meeting:
    """
    Two stations, each public or behind its own NAT, and the observer.

    @ivar startedAt: When the sessions began.
    """

    alice: Station
    bob: Station
    wire: Wire
    startedAt: float = 0.0

    @classmethod
    def between(
        cls, first: str | NATBehaviour, second: str | NATBehaviour, wire: Wire | None = None
    ) -> Meeting:
        """
        Put the stations behind NATs of these behaviours, and let them learn their addresses.
        """
        wire = Wire() if wire is None else wire
        observer = Observer(wire)

        def station(kind: str | NATBehaviour, external: str, internal: str) -> Station:
            if kind == PUBLIC:
                return Station(wire=wire, network=wire.public, host=external)
            behaviour = NAMED_BEHAVIOURS[kind] if isinstance(kind, str) else kind
            return Station(wire=wire, network=wire.addNAT(behaviour, external), host=internal)

        alice = station(first, "203.0.113.1", "10.0.0.2")
        bob = station(second, "203.0.113.2", "192.168.1.2")
        gather(observer, [alice, bob])
        return cls(alice, bob, wire)

    def start(
        self,
        transports: frozenset[Transport],
        flow: TCPFlow = TCPFlow.SIMULTANEOUS,
        skew: float = 0.0,
        **more: object,
    ) -> None:
        """
        Begin both sessions, and introduce them to each other.
        """
        self.startedAt = self.wire.now
        first, second = configs(self.wire, transports, flow, **more)
        self.alice.start(first)
        self.bob.start(second)
        introduce(self.alice, self.bob, transports, skew)

    def finish(self, limit: float = 60.0) -> None:
        """
        Let the sessions run until both have a path or none, and for a moment more.
        """
        run(self.wire, lambda: isSettled(self.alice, self.bob), limit)
        run(self.wire, lambda: False, 1.0 + 4 * self.wire.latency)


def meet(
    first: str | NATBehaviour,
    second: str | NATBehaviour,
    transports: frozenset[Transport],
    flow: TCPFlow = TCPFlow.SIMULTANEOUS,
    skew: float = 0.0,
    wire: Wire | None = None,
    **more: object,
) -> Meeting:
    """
    Let two sessions run to their end.
    """
    meeting = Meeting.between(first, second, wire)
    meeting.start(transports, flow, skew, **more)
    meeting.finish()
    return meeting


class MeetingTestCase(SynchronousTestCase):
    """
    What the tests of whole sessions share.
    """

    def assertNear(self, length: float, expected: float) -> None:
        """
        Two lengths of time are equal but for what a packet takes inside a network.
        """
        self.assertTrue(abs(length - expected) < 0.01, f"{length} is not near {expected}")


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
                    self.assertEqual(len(station.failure.reason.fates), 2)
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


class SelectedTests(MeetingTestCase):
    """
    What happens on a path over UDP once it is selected, and at the end.
    """

    def setUp(self) -> None:
        """
        Let two sessions meet over UDP.
        """
        self.meeting = meet("port-restricted", "port-restricted", UDP)
        self.alice, self.bob = self.meeting.alice, self.meeting.bob

    def test_consent(self) -> None:
        """
        An idle path lives on, with checks from both sides well within what NATs remember.
        """
        behaviour = attrs.evolve(NAMED_BEHAVIOURS["port-restricted"], udpTimeout=20.0)
        meeting = meet(behaviour, behaviour, UDP)
        run(meeting.wire, lambda: False, 300.0)
        for station in (meeting.alice, meeting.bob):
            self.assertIsNone(station.lost)
            self.assertIs(station.session.state, SessionState.SELECTED)
            sent = sum(isinstance(effect, SendDatagram) for effect in station.effects)
            self.assertTrue(100 < sent < 160, sent)

    def test_lost(self) -> None:
        """
        When the other side falls silent, the path is lost after 30 seconds, and nothing stays.
        """
        self.bob.network.hosts.clear()
        start = self.meeting.wire.now
        run(self.meeting.wire, lambda: self.alice.lost is not None)
        assert self.alice.lost is not None
        self.assertIn("30 s", self.alice.lost.reason)
        self.assertTrue(24 < self.meeting.wire.now - start < 31)
        self.assertIs(self.alice.session.state, SessionState.LOST)
        self.assertIsNone(self.alice.session.nextTimeout())
        self.assertIsNone(self.alice.session.selectedPath)

    def test_probe(self) -> None:
        """
        A probe tells the round trip.
        """
        self.alice.session.probe(self.meeting.wire.now)
        self.alice.pump()
        run(self.meeting.wire, lambda: False, 0.5)
        (answer,) = [e for e in self.alice.effects if isinstance(e, ProbeAnswered)]
        self.assertNear(answer.seconds, 2 * self.meeting.wire.latency)

    def test_data(self) -> None:
        """
        Datagrams of the path are delivered, and nobody else's.
        """
        assert self.alice.path is not None
        local, remote = self.alice.path.local, self.alice.path.remote
        self.alice.effects.clear()
        now = self.meeting.wire.now
        self.alice.session.receiveDatagram(local, remote, b"one", now)
        self.alice.session.receiveDatagram(local, address("192.0.2.66:66"), b"two", now)
        self.alice.pump()
        received = [e for e in self.alice.effects if isinstance(e, DatagramReceived)]
        self.assertEqual(received, [DatagramReceived(b"one", remote)])
        self.assertTrue(self.alice.session.isSelected(local, remote))
        self.assertFalse(self.alice.session.isSelected(local, address("192.0.2.66:66")))

    def test_close(self) -> None:
        """
        A closed session has no timer, answers nothing and ignores what comes late.
        """
        session, now = self.alice.session, self.meeting.wire.now
        session.close("done", now)
        session.close("again", now)
        self.alice.pump()
        self.assertIsNone(session.nextTimeout())
        self.alice.effects.clear()
        run(self.meeting.wire, lambda: False, 40.0)
        session.addRemoteCandidate(self.bob.candidates(UDP)[0], now)
        session.endOfRemoteCandidates(now)
        session.remoteReady(now)
        session.handleTimeout(now)
        self.assertEqual(session.takeEffects() + self.alice.effects, [])
        self.assertIs(session.state, SessionState.CLOSED)

    def test_overtaken(self) -> None:
        """
        Application data that overtakes the nominating check is kept and delivered after it.
        """
        meeting = Meeting.between(PUBLIC, PUBLIC)
        meeting.start(UDP)
        alice, bob, wire = meeting.alice, meeting.bob, meeting.wire
        held: list[Packet] = []
        run(wire, lambda: any(isinstance(e, PathSelected) for e in alice.effects))
        bob.network.hosts[bob.host] = held.append
        run(wire, lambda: False, 0.1)
        self.assertEqual(bob.heard, [])
        for packet in reversed(held):
            bob.session.receiveDatagram(packet.destination, packet.source, packet.payload, wire.now)
        bob.pump()
        self.assertEqual(bob.heard, [HELLO])
        kinds = [type(e) for e in bob.effects if isinstance(e, (PathSelected, DatagramReceived))]
        self.assertEqual(kinds, [PathSelected, DatagramReceived])


class HandOverTests(SynchronousTestCase):
    """
    The end of the session's part over TCP.
    """

    def test_quiet(self) -> None:
        """
        After the connection is handed over, the session has no timer, and leaves it open.
        """
        meeting = meet("port-restricted", "full-cone", TCP)
        for station in (meeting.alice, meeting.bob):
            self.assertIsNone(station.session.nextTimeout())
            assert station.path is not None
            station.session.close("done", meeting.wire.now)
            station.pump()
            closed = [e.connection for e in station.effects if isinstance(e, CloseConnection)]
            self.assertNotIn(station.path.connection, closed)

    def test_everythingElseCloses(self) -> None:
        """
        Each attempt but the selected one is closed, or was reported as ended.
        """
        meeting = meet("full-cone", "symmetric", BOTH)
        for station in (meeting.alice, meeting.bob):
            opened = [e.connection for e in station.effects if isinstance(e, OpenConnection)]
            self.assertTrue(opened)
            self.assertEqual(station.opened, set())

    def test_readyAgain(self) -> None:
        """
        Sequential flow: as long as nothing works, the hole is opened and ready said again.
        """
        meeting = Meeting.between(PUBLIC, "port-restricted")
        meeting.start(TCP, TCPFlow.SEQUENTIAL)
        meeting.alice.tcp.listening.clear()
        meeting.alice.session.close("gone", meeting.wire.now)
        meeting.alice.pump()
        run(meeting.wire, lambda: False, 5.0)
        said = sum(isinstance(effect, SayReady) for effect in meeting.bob.effects)
        self.assertTrue(3 <= said <= 10, said)
