"""
Tests for L{holepunch.nat.tcpstate}, and for what L{holepunch.nat.NATDevice} makes of it.
"""

from __future__ import annotations

from itertools import product
from random import Random

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat import (
    Drop,
    DropReason,
    Filtering,
    Forward,
    Mapping,
    NATBehaviour,
    NATDevice,
    Packet,
    Protocol,
    Refresh,
    Side,
    TCPFlag,
    Unsolicited,
)
from holepunch.nat.tcpstate import (
    ESTABLISHED_STATES,
    SEGMENTS,
    TRANSITIONS,
    Segment,
    TCPState,
    firstState,
)
from tests.nat.harness import (
    ACK,
    ALICE,
    BOB,
    BOB_OTHER_PORT,
    CONE,
    DAVE,
    FIN,
    RST,
    SYMMETRIC,
    SYN,
    Rig,
    everyBehaviour,
)

INSIDE, OUTSIDE = Side.INSIDE, Side.OUTSIDE
PLAIN = TCPFlag(0)
TCP = Protocol.TCP

PORT_RESTRICTED = attrs.evolve(CONE, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)


def follow(*segments: tuple[Side, TCPFlag]) -> TCPState:
    """
    The state after these segments.
    """
    side, flags = segments[0]
    state = firstState(side, SEGMENTS[flags])
    for side, flags in segments[1:]:
        state = TRANSITIONS.get((state, side, SEGMENTS[flags]), state)
    return state


HANDSHAKE = ((INSIDE, SYN), (OUTSIDE, SYN | ACK), (INSIDE, ACK))


class TransitionTests(SynchronousTestCase):
    """
    The table.
    """

    def test_segments(self) -> None:
        """
        Every combination of flags is one kind of segment; RST weighs more than SYN, SYN than FIN.
        """
        for flags, segment in (
            (SYN, Segment.SYN),
            (SYN | ACK, Segment.SYN_ACK),
            (SYN | TCPFlag.ECE | TCPFlag.CWR, Segment.SYN),
            (ACK, Segment.PLAIN),
            (PLAIN, Segment.PLAIN),
            (ACK | TCPFlag.PSH | TCPFlag.URG, Segment.PLAIN),
            (FIN | ACK, Segment.FIN),
            (RST | ACK, Segment.RST),
            (RST | SYN, Segment.RST),
            (SYN | FIN, Segment.SYN),
        ):
            self.assertIs(SEGMENTS[flags], segment, flags)

    def test_paths(self) -> None:
        """
        Connections that are opened, closed and reset in the usual ways end in the right states.
        """
        for expected, segments in (
            (TCPState.INSIDE_SYN, [(INSIDE, SYN), (INSIDE, SYN)]),
            (TCPState.OUTSIDE_SYN, [(OUTSIDE, SYN), (OUTSIDE, SYN)]),
            (TCPState.OPENING, HANDSHAKE[:2]),
            (TCPState.ESTABLISHED, HANDSHAKE),
            (TCPState.ESTABLISHED, [(OUTSIDE, SYN), (INSIDE, SYN | ACK), (OUTSIDE, ACK)]),
            (TCPState.OPENING, [(INSIDE, SYN), (OUTSIDE, SYN)]),
            (TCPState.ESTABLISHED, [(INSIDE, SYN), (OUTSIDE, SYN), (INSIDE, SYN | ACK)]),
            (TCPState.INSIDE_SYN, [(INSIDE, SYN), (OUTSIDE, RST | ACK)]),
            (TCPState.RESET, [*HANDSHAKE, (OUTSIDE, RST)]),
            (TCPState.ESTABLISHED, [*HANDSHAKE, (OUTSIDE, RST), (INSIDE, ACK)]),
            (TCPState.INSIDE_SYN, [*HANDSHAKE, (OUTSIDE, RST), (INSIDE, SYN)]),
            (TCPState.INSIDE_FIN, [*HANDSHAKE, (INSIDE, FIN | ACK), (OUTSIDE, ACK)]),
            (TCPState.BOTH_FIN, [*HANDSHAKE, (INSIDE, FIN | ACK), (OUTSIDE, FIN | ACK)]),
            (
                TCPState.CLOSED,
                [*HANDSHAKE, (OUTSIDE, FIN | ACK), (INSIDE, FIN | ACK), (OUTSIDE, ACK)],
            ),
        ):
            self.assertIs(follow(*segments), expected, segments)

    def test_sidesAreAlike(self) -> None:
        """
        The table treats both sides alike.
        """
        mirror = {
            TCPState.INSIDE_SYN: TCPState.OUTSIDE_SYN,
            TCPState.OUTSIDE_SYN: TCPState.INSIDE_SYN,
            TCPState.INSIDE_FIN: TCPState.OUTSIDE_FIN,
            TCPState.OUTSIDE_FIN: TCPState.INSIDE_FIN,
        }
        other = {INSIDE: OUTSIDE, OUTSIDE: INSIDE}
        for (state, side, segment), following in TRANSITIONS.items():
            self.assertIs(
                TRANSITIONS[mirror.get(state, state), other[side], segment],
                mirror.get(following, following),
            )

    def test_everyStateCanBeLeft(self) -> None:
        """
        No state is a trap, and each of them can be reached.
        """
        self.assertEqual({state for state, _, _ in TRANSITIONS}, set(TCPState))
        self.assertEqual(set(TRANSITIONS.values()), set(TCPState))
        self.assertLess(ESTABLISHED_STATES, set(TCPState))


class ConnectionTimerTests(SynchronousTestCase):
    """
    How long connections are remembered (RFC 5382 section 5).
    """

    def rig(self) -> Rig:
        """
        A device with short timers.
        """
        return Rig(
            attrs.evolve(PORT_RESTRICTED, tcpTransitoryTimeout=10.0, tcpEstablishedTimeout=1000.0)
        )

    def test_transitory(self) -> None:
        """
        A SYN that nobody answers is remembered for the transitory time.
        """
        rig = self.rig()
        external = rig.mapped(ALICE, BOB, TCP)
        rig.now = 9.9
        self.assertEqual(rig.reached(BOB, external, TCP), ALICE)
        rig.now = 20.0
        self.assertIs(rig.reached(BOB, external, TCP), DropReason.NO_MAPPING)

    def test_established(self) -> None:
        """
        An idle connection is remembered for the established time.
        """
        rig = self.rig()
        external = rig.connect(ALICE, BOB)
        rig.now = 999.0
        self.assertEqual(rig.reached(BOB, external, TCP, ACK), ALICE)
        rig.now = 1000.0
        self.assertIs(rig.reached(BOB, external, TCP, ACK), DropReason.NO_MAPPING)

    def test_closedAndReset(self) -> None:
        """
        After its end a connection is remembered for the transitory time only.
        """
        endings = (
            ((OUTSIDE, RST),),
            ((INSIDE, RST | ACK),),
            ((INSIDE, FIN | ACK), (OUTSIDE, FIN | ACK), (INSIDE, ACK)),
        )
        for ending in endings:
            rig = self.rig()
            external = rig.connect(ALICE, BOB)
            rig.now = 100.0
            for side, flags in ending:
                if side is INSIDE:
                    rig.mapped(ALICE, BOB, TCP, flags)
                else:
                    rig.reached(BOB, external, TCP, flags)
            (view,) = rig.device.mappings(100.0)
            self.assertEqual(view.expiresAt, 110.0, ending)
            self.assertEqual(rig.device.mappings(110.0), (), ending)

    def test_resetMayBeForged(self) -> None:
        """
        A connection that goes on after a RST lives as long as before (RFC 6146 section 3.5.2.2).
        """
        rig = self.rig()
        external = rig.connect(ALICE, BOB)
        rig.reached(BOB, external, TCP, RST)
        rig.mapped(ALICE, BOB, TCP, ACK)
        rig.now = 999.0
        self.assertEqual(rig.reached(BOB, external, TCP, ACK), ALICE)

    def test_mappingLivesWithItsLastConnection(self) -> None:
        """
        One connection's end leaves the mapping to the other connections that use it.
        """
        rig = self.rig()
        external = rig.connect(ALICE, BOB)
        self.assertEqual(rig.connect(ALICE, DAVE), external)
        rig.reached(BOB, external, TCP, RST)
        rig.now = 500.0
        self.assertIs(rig.reached(BOB, external, TCP), DropReason.FILTERED)
        self.assertEqual(rig.reached(DAVE, external, TCP, ACK), ALICE)

    def test_refresh(self) -> None:
        """
        The direction that refreshes counts for connections as well.
        """
        for refresh, survives in ((Refresh.OUTBOUND, False), (Refresh.BOTH, True)):
            rig = Rig(attrs.evolve(PORT_RESTRICTED, tcpEstablishedTimeout=1000.0, refresh=refresh))
            external = rig.connect(ALICE, BOB)
            rig.now = 900.0
            rig.reached(BOB, external, TCP, ACK)
            rig.now = 1500.0
            self.assertEqual(rig.reached(BOB, external, TCP, ACK) == ALICE, survives)


class ConnectionTests(SynchronousTestCase):
    """
    Which segments pass.
    """

    def test_onlySynBegins(self) -> None:
        """
        Segments of connections that the device does not know pass in neither direction.
        """
        for behaviour, flags in product(
            everyBehaviour(), (ACK, SYN | ACK, FIN | ACK, RST, RST | ACK)
        ):
            rig = Rig(behaviour)
            reason = rig.refusedOut(ALICE, BOB, TCP, flags)
            self.assertIs(reason, DropReason.NO_CONNECTION)
            external = rig.mapped(ALICE, DAVE, TCP)
            self.assertIn(
                rig.reached(BOB, external, TCP, flags),
                (DropReason.NO_CONNECTION, DropReason.FILTERED),
            )

    def test_serverInside(self) -> None:
        """
        Where the filter allows it, a connection can be opened from outside to a mapped address.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB, TCP)
        self.assertEqual(rig.reached(DAVE, external, TCP, SYN), ALICE)
        self.assertEqual(rig.mapped(ALICE, DAVE, TCP, SYN | ACK), external)
        self.assertEqual(rig.reached(DAVE, external, TCP, ACK), ALICE)
        rig.now = 3600.0
        self.assertEqual(rig.reached(DAVE, external, TCP, ACK), ALICE)

    def test_resetLeavesTheHoleOpen(self) -> None:
        """
        A RST to a SYN passes, and the SYN of the other side after it does, too.
        """
        for behaviour in everyBehaviour():
            rig = Rig(behaviour)
            external = rig.mapped(ALICE, BOB, TCP)
            self.assertEqual(rig.reached(BOB, external, TCP, RST | ACK), ALICE)
            self.assertEqual(rig.reached(BOB, external, TCP, SYN), ALICE)


class ForgetfulTests(SynchronousTestCase):
    """
    Devices that forget a mapping with the connection that made it.
    """

    forgetful = attrs.evolve(CONE, dropsMappingOnReset=True)

    def test_reset(self) -> None:
        """
        A RST of the first connection takes the mapping along; its direction does not matter.
        """
        for isOutbound in (True, False):
            rig = Rig(self.forgetful)
            external = rig.connect(ALICE, BOB)
            rig.connect(ALICE, DAVE)
            if isOutbound:
                self.assertEqual(rig.mapped(ALICE, BOB, TCP, RST), external)
            else:
                self.assertEqual(rig.reached(BOB, external, TCP, RST), ALICE)
            self.assertEqual(rig.device.mappings(0.0), ())
            self.assertIs(rig.reached(DAVE, external, TCP, ACK), DropReason.NO_MAPPING)

    def test_close(self) -> None:
        """
        Closing the first connection does so, too, once both sides have closed it.
        """
        rig = Rig(self.forgetful)
        external = rig.connect(ALICE, BOB)
        rig.mapped(ALICE, BOB, TCP, FIN | ACK)
        self.assertEqual(rig.reached(BOB, external, TCP, FIN | ACK), ALICE)
        self.assertEqual(rig.mapped(ALICE, BOB, TCP, ACK), external)
        self.assertEqual(rig.device.mappings(0.0), ())

    def test_laterConnections(self) -> None:
        """
        The end of another connection leaves the mapping alone.
        """
        rig = Rig(self.forgetful)
        external = rig.connect(ALICE, BOB)
        rig.connect(ALICE, DAVE)
        rig.mapped(ALICE, DAVE, TCP, RST)
        self.assertEqual(rig.reached(BOB_OTHER_PORT, external, TCP), ALICE)

    def test_refusedPunch(self) -> None:
        """
        When the SYN that made the mapping is reset, a new SYN is mapped anew.
        """
        rig = Rig(attrs.evolve(SYMMETRIC, dropsMappingOnReset=True))
        external = rig.mapped(ALICE, BOB, TCP)
        rig.reached(BOB, external, TCP, RST | ACK)
        self.assertNotEqual(rig.mapped(ALICE, BOB, TCP), external)


class SimultaneousOpenTests(SynchronousTestCase):
    """
    Two hosts behind a device each connect to one another at the same moment (RFC 5382 REQ-2).
    """

    def exchange(
        self, left: Rig, right: Rig, packet: Packet
    ) -> tuple[TransportAddress | DropReason, list[Packet]]:
        """
        Send from behind C{left} to behind C{right}: who gets it, and what comes back instead.
        """
        (sent,) = left.sendOut(packet)
        assert isinstance(sent, Forward)
        effect, *answers = right.sendIn(sent.packet)
        received = []
        for answer in answers:
            for returned in left.sendIn(answer.packet):
                assert isinstance(returned, Forward)
                received.append(returned.packet)
        if isinstance(effect, Forward):
            return effect.packet.destination, received
        return effect.reason, received

    def open(self, leftBehaviour: NATBehaviour, rightBehaviour: NATBehaviour) -> int:
        """
        Open a connection whose SYNs meet, with the first one lost to the filter: the number of RST
        and ICMP errors on the way.
        """
        left, right = Rig(leftBehaviour), Rig(rightBehaviour, hosts=("203.0.113.2",))
        assist = TransportAddress("198.51.100.250", 3478)
        peer = TransportAddress("192.168.7.20", 5555)
        leftMapped = left.mapped(ALICE, assist, TCP)
        rightMapped = right.mapped(peer, assist, TCP)
        first, answers = self.exchange(left, right, Packet(TCP, ALICE, rightMapped, flags=SYN))
        if right.device.behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT:
            self.assertEqual(first, peer)
        else:
            self.assertIs(first, DropReason.FILTERED)
        both = [
            (right, left, Packet(TCP, peer, leftMapped, flags=SYN), ALICE),
            (left, right, Packet(TCP, ALICE, rightMapped, flags=SYN), peer),
            (right, left, Packet(TCP, peer, leftMapped, flags=SYN | ACK), ALICE),
            (left, right, Packet(TCP, ALICE, rightMapped, flags=SYN | ACK), peer),
            (right, left, Packet(TCP, peer, leftMapped, flags=ACK), ALICE),
            (left, right, Packet(TCP, ALICE, rightMapped, flags=ACK), peer),
        ]
        for near, far, packet, receiver in both:
            self.assertEqual(self.exchange(near, far, packet), (receiver, []))
        left.now = right.now = 3600.0
        packet = Packet(TCP, peer, leftMapped, flags=ACK)
        self.assertEqual(self.exchange(right, left, packet), (ALICE, []))
        return len(answers)

    def test_everyPair(self) -> None:
        """
        It works between any two devices with endpoint-independent mappings, and lasts.
        """
        cones = [
            behaviour
            for behaviour in everyBehaviour()
            if behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT
            and behaviour.hairpin
            and behaviour.overloadsPorts
        ]
        for left, right in product(cones, cones):
            answers = self.open(left, right)
            isRefused = (
                right.unsolicited is not Unsolicited.DROP
                and right.filtering is not Filtering.ENDPOINT_INDEPENDENT
            )
            self.assertEqual(answers, int(isRefused))

    def test_symmetricWithOpen(self) -> None:
        """
        A symmetric device's SYN reaches a full cone, and the answer comes back.
        """
        left, right = Rig(SYMMETRIC), Rig(CONE, hosts=("203.0.113.2",))
        peer = TransportAddress("192.168.7.20", 5555)
        rightMapped = right.mapped(peer, BOB, TCP)
        (sent,) = left.sendOut(Packet(TCP, ALICE, rightMapped, flags=SYN))
        (arrived,) = right.sendIn(sent.packet)
        self.assertEqual(arrived.packet.destination, peer)
        answer = Packet(TCP, peer, arrived.packet.source, flags=SYN | ACK)
        self.assertEqual(self.exchange(right, left, answer), (ALICE, []))


class SequenceTests(SynchronousTestCase):
    """
    Devices that watch sequence numbers, as Linux's connection tracking does.
    """

    def answer(self, sequence: int, checksSequence: bool = True) -> Forward | Drop:
        """
        What becomes of a SYN-ACK with this number, after a SYN from inside with 1000 and one from
        outside?
        """
        behaviour = attrs.evolve(PORT_RESTRICTED, checksSequence=checksSequence)
        device = NATDevice(behaviour, ["31.1.0.1"], Random(1))
        device.receiveInside(Packet(TCP, ALICE, BOB, flags=SYN, sequence=1000), 0.0)
        (sent,) = device.takeEffects()
        assert isinstance(sent, Forward)
        device.receiveOutside(Packet(TCP, BOB, sent.packet.source, flags=SYN, sequence=7), 0.1)
        device.takeEffects()
        device.receiveInside(Packet(TCP, ALICE, BOB, flags=SYN | ACK, sequence=sequence), 0.2)
        (effect,) = device.takeEffects()
        assert isinstance(effect, (Forward, Drop))
        return effect

    def test_same(self) -> None:
        """
        The socket that sent the SYN may answer the peer's SYN.
        """
        self.assertIsInstance(self.answer(1000), Forward)

    def test_other(self) -> None:
        """
        Another socket may not, and the reason is told.
        """
        effect = self.answer(2000)
        assert isinstance(effect, Drop)
        self.assertIs(effect.reason, DropReason.BAD_SEQUENCE)

    def test_unwatched(self) -> None:
        """
        Other devices do not care.
        """
        self.assertIsInstance(self.answer(2000, checksSequence=False), Forward)
