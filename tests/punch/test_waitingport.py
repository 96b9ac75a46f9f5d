"""
Tests of L{holepunch.punch.waitingport}, alone and in sessions.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.nat import NAMED_BEHAVIOURS, Filtering
from holepunch.punch import (
    OpenConnection,
    OpenWaitingPort,
    PunchSession,
    SendDatagram,
    TCPFlow,
    TCPType,
)
from holepunch.punch.waitingport import WaitingPort
from tests.punch.meeting import MeetingTestCase, meet
from tests.punch.station import BOTH, TCP, UDP
from tests.punch.test_session import BASE, PEER, Bob, host, ready
from tests.punch.wire import address

ONE, OTHER = address("203.0.113.1:7000"), address("203.0.113.1:7001")

# Another port for each destination, and everybody is let in at each.
OPEN = attrs.evolve(NAMED_BEHAVIOURS["symmetric-random"], filtering=Filtering.ENDPOINT_INDEPENDENT)


class WaitingPortTests(SynchronousTestCase):
    """
    The moment.
    """

    def test_patience(self) -> None:
        """
        It is opened once, when the delay is over, and then waits for three times as long.
        """
        waiting = WaitingPort(2.0, 100.0)
        self.assertFalse(waiting.opens(101.9))
        self.assertEqual(waiting.nextTimeout(), 102.0)
        self.assertTrue(waiting.opens(102.0))
        self.assertFalse(waiting.opens(103.0))
        self.assertEqual(waiting.nextTimeout(), 108.0)
        self.assertFalse(waiting.calls(107.9))
        self.assertTrue(waiting.calls(108.0))
        self.assertFalse(waiting.calls(109.0))
        self.assertIsNone(waiting.nextTimeout())

    def test_evidence(self) -> None:
        """
        Two mapped addresses of one port hasten it; those of different ports or transports, or the
        same one again, do not.
        """
        waiting = WaitingPort(2.0, 100.0)
        waiting.mapped(Transport.UDP, BASE, ONE, 100.1)
        waiting.mapped(Transport.UDP, BASE, ONE, 100.1)
        waiting.mapped(Transport.TCP, BASE, OTHER, 100.1)
        waiting.mapped(Transport.UDP, attrs.evolve(BASE, port=9), OTHER, 100.1)
        self.assertFalse(waiting.opens(100.1))
        waiting.mapped(Transport.UDP, BASE, OTHER, 100.2)
        self.assertEqual(waiting.nextTimeout(), 100.2)
        self.assertTrue(waiting.opens(100.2))
        waiting.mapped(Transport.UDP, BASE, ONE, 100.3)
        self.assertFalse(waiting.opens(100.3))


class SessionTests(SynchronousTestCase):
    """
    Its part in a session.
    """

    def opened(self, session: PunchSession) -> bool:
        """
        Does the session ask for the port now?
        """
        return OpenWaitingPort() in session.takeEffects()

    def test_evidence(self) -> None:
        """
        A session asks for the port as soon as it learns of the second mapped address.
        """
        session = ready(transports=UDP)
        session.mappedAddressSeen(Transport.UDP, BASE, ONE, 100.1)
        self.assertFalse(self.opened(session))
        session.mappedAddressSeen(Transport.UDP, BASE, OTHER, 100.1)
        self.assertTrue(self.opened(session))

    def test_whateverWasSeen(self) -> None:
        """
        A session that lasts asks for it, too, but not one that is over.
        """
        session = ready(transports=UDP)
        session.handleTimeout(101.9)
        self.assertFalse(self.opened(session))
        session.handleTimeout(102.0)
        self.assertTrue(self.opened(session))
        closed = ready(transports=UDP)
        closed.close("no", 100.0)
        closed.handleTimeout(103.0)
        self.assertFalse(self.opened(closed))

    def test_nothingIsSent(self) -> None:
        """
        From the port nothing is sent to where nothing came from; a check that comes is answered,
        and answered with another one.
        """
        session = ready(transports=BOTH)
        port = attrs.evolve(BASE, port=5001)
        for transport in BOTH:
            candidate = attrs.evolve(host(port, transport), isWaiting=True)
            session.addLocalCandidate(candidate, 100.0)
            session.addRemoteCandidate(host(OTHER, transport), 100.1)
        session.handleTimeout(101.0)
        self.assertEqual(self.sentFrom(session, port), [])
        session.receiveDatagram(port, OTHER, Bob().check(), 101.0)
        self.assertEqual(self.sentFrom(session, port), [OTHER, OTHER])
        session.receiveDatagram(port, ONE, Bob().check(), 101.1)
        self.assertEqual(self.sentFrom(session, port), [ONE, ONE])

    def test_inVain(self) -> None:
        """
        When nobody has called for long, the port calls itself, from where it waited.
        """
        session = ready(transports=TCP)
        session.handleTimeout(102.0)
        port = attrs.evolve(BASE, port=5001)
        waiting = attrs.evolve(host(port, Transport.TCP), tcpType=TCPType.PASSIVE, isWaiting=True)
        session.addLocalCandidate(waiting, 102.0)
        session.handleTimeout(107.9)
        self.assertEqual(self.sentFrom(session, port), [])
        session.handleTimeout(108.0)
        at = session.nextTimeout()
        assert at is not None and at <= 108.0
        session.handleTimeout(108.0)
        self.assertEqual(self.sentFrom(session, port), [PEER])

    def sentFrom(self, session: PunchSession, port: TransportAddress) -> list[TransportAddress]:
        """
        Where to does the session send, or connect, from that port?
        """
        return [
            effect.remote
            for effect in session.takeEffects()
            if isinstance(effect, (SendDatagram, OpenConnection)) and effect.local == port
        ]


class MeetingTests(MeetingTestCase):
    """
    Two sessions, one of them behind a NAT that answers from the announced port only if it was
    called there first.
    """

    def test_strictFilters(self) -> None:
        """
        It meets whoever keeps their port, whatever they filter, over UDP and in both flows of TCP,
        whichever side asks; without a sign of what the NAT does, soon after two seconds.
        """
        for strict in ("address-restricted", "port-restricted", "port-restricted-rst"):
            for pair in ((OPEN, strict), (strict, OPEN)):
                for transports, flow in (
                    (UDP, TCPFlow.SIMULTANEOUS),
                    (TCP, TCPFlow.SIMULTANEOUS),
                    (TCP, TCPFlow.SEQUENTIAL),
                ):
                    with self.subTest(f"{pair} {transports} {flow}"):
                        meeting = meet(pair[0], pair[1], transports, flow)
                        alice, bob = meeting.alice, meeting.bob
                        assert alice.path is not None and bob.path is not None, alice.failure
                        self.assertEqual(alice.path.localCandidate.address, bob.path.remote)
                        self.assertLess(alice.selections[0][0] - meeting.startedAt, 4.0)
