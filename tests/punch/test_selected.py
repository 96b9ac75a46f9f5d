"""
What happens on a path once it is selected, and at the end: L{holepunch.punch.session}.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.nat import NAMED_BEHAVIOURS, Packet
from holepunch.punch import (
    CloseConnection,
    DatagramReceived,
    OpenConnection,
    PathSelected,
    ProbeAnswered,
    SayReady,
    SendDatagram,
    SessionState,
    TCPFlow,
)
from tests.punch.meeting import PUBLIC, Meeting, MeetingTestCase, meet
from tests.punch.station import (
    BOTH,
    HELLO,
    TCP,
    UDP,
    run,
)
from tests.punch.wire import address


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
        self.assertTrue(3 <= said <= 20, said)
