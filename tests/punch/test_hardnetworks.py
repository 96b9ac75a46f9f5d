"""
Sessions in networks that lose, delay or block: L{holepunch.punch.session} and all below it.
"""

from __future__ import annotations

from holepunch.address import Transport
from holepunch.nat import Protocol
from holepunch.punch import TCPFlow
from tests.punch.meeting import PUBLIC, Meeting, MeetingTestCase, meet
from tests.punch.station import ANSWER, BOTH, HELLO, TCP, UDP
from tests.punch.wire import Wire

WAYS = (
    (UDP, TCPFlow.SIMULTANEOUS),
    (TCP, TCPFlow.SIMULTANEOUS),
    (TCP, TCPFlow.SEQUENTIAL),
)
PAIRS = (
    ("port-restricted", "port-restricted"),
    ("symmetric-random", "address-restricted"),
    ("port-restricted-rst", "port-restricted-icmp"),
    (PUBLIC, "symmetric-random"),
)


class HardNetworkTests(MeetingTestCase):
    """
    Two peers, with a NAT before each.
    """

    def assertMet(self, meeting: Meeting) -> None:
        """
        Both have the same path.
        """
        alice, bob = meeting.alice, meeting.bob
        assert alice.path is not None and bob.path is not None, (alice.failure, bob.failure)
        self.assertEqual(alice.path.localCandidate.address, bob.path.remote)

    def blocked(self, protocol: Protocol, sides: str) -> Meeting:
        """
        A session that may use either transport, where the NATs let no packet of one through.
        """
        meeting = Meeting.between("port-restricted-rst", "port-restricted")
        for name in sides.split():
            gateway = getattr(meeting, name).network.gateway
            gateway.block(protocol)
        meeting.start(BOTH)
        meeting.finish()
        self.assertMet(meeting)
        self.assertEqual((meeting.alice.heard, meeting.bob.heard), ([ANSWER], [HELLO]))
        return meeting

    def test_blocked(self) -> None:
        """
        Where one transport is blocked, on one side or on both, the other one wins, no more than a
        quarter of a round trip later than it would alone.
        """
        for sides in ("alice", "bob", "alice bob"):
            for blocked, other in ((Protocol.UDP, Transport.TCP), (Protocol.TCP, Transport.UDP)):
                with self.subTest(f"{blocked} at {sides}"):
                    meeting = self.blocked(blocked, sides)
                    selectedAt, path = meeting.alice.selections[0]
                    self.assertIs(path.transport, other)
                    alone = meet("port-restricted-rst", "port-restricted", frozenset({other}))
                    bound = alone.alice.selections[0][0] - alone.startedAt + alone.wire.latency / 2
                    self.assertLess(selectedAt - meeting.startedAt, bound + 0.001)

    def test_loss(self) -> None:
        """
        Where a third of all checks and SYNs is lost, every session finds its path.
        """
        for first, second in PAIRS:
            for transports, flow in WAYS:
                for seed in range(12):
                    with self.subTest(f"{first} {second} {transports} {flow} {seed}"):
                        meeting = Meeting.between(first, second, Wire(seed=seed))
                        meeting.wire.loss, meeting.wire.jitter = 0.33, 0.2
                        meeting.start(transports, flow)
                        meeting.finish()
                        self.assertMet(meeting)

    def test_longWay(self) -> None:
        """
        With 600 ms each way, and half of that to the service, a session takes no more round trips
        than it has to, in whichever flow.
        """
        for first, second in PAIRS:
            for transports, flow in WAYS:
                with self.subTest(f"{first} {second} {transports} {flow}"):
                    meeting = Meeting.between(first, second, Wire(latency=0.6))
                    meeting.alice.signalling = meeting.bob.signalling = 0.6
                    meeting.start(transports, flow)
                    meeting.finish()
                    self.assertMet(meeting)
                    trips = (meeting.alice.selections[0][0] - meeting.startedAt) / 1.2
                    self.assertLess(trips, 4.2 if flow is TCPFlow.SEQUENTIAL else 2.6)
