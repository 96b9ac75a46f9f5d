"""
What L{holepunch.nat.NATDevice} does besides mapping and filtering: timers, time to live, ICMP
errors, and what an operator asks of it.
"""

from __future__ import annotations

import gc

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    Drop,
    DropReason,
    Filtering,
    Forward,
    ICMPError,
    ICMPType,
    Packet,
    Protocol,
    Refresh,
    Side,
)
from holepunch.nat.session import Session
from tests.nat.harness import (
    ACK,
    ALICE,
    BOB,
    BOB_OTHER_PORT,
    CAROL,
    CONE,
    DAVE,
    EXTERNAL,
    RST,
    SYMMETRIC,
    SYN,
    Rig,
    everyBehaviour,
)

PORT_RESTRICTED = attrs.evolve(CONE, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)


class ForwardingTests(SynchronousTestCase):
    """
    What of a packet is changed.
    """

    def test_onlyAddressAndTTL(self) -> None:
        """
        Only one address and the time to live change on the way, in both directions.
        """
        rig = Rig(CONE)
        payload = object()
        sent = Packet(
            Protocol.TCP,
            ALICE,
            BOB,
            flags=SYN,
            sequence=1,
            acknowledgment=2,
            payload=payload,
            ttl=9,
        )
        external = TransportAddress(EXTERNAL, ALICE.port)
        self.assertEqual(
            rig.sendOut(sent),
            [Forward(Side.OUTSIDE, attrs.evolve(sent, source=external, ttl=8))],
        )
        received = attrs.evolve(sent, source=BOB, destination=external, flags=SYN | ACK)
        self.assertEqual(
            rig.sendIn(received),
            [Forward(Side.INSIDE, attrs.evolve(received, destination=ALICE, ttl=8))],
        )

    def test_effectsAreTakenOnce(self) -> None:
        """
        Effects come in the order of the packets, and only once.
        """
        rig = Rig(CONE)
        rig.device.receiveInside(Packet(Protocol.UDP, ALICE, BOB), 0.0)
        rig.device.receiveInside(Packet(Protocol.UDP, ALICE, DAVE), 0.0)
        first, second = rig.device.takeEffects()
        self.assertEqual((first.packet.destination, second.packet.destination), (BOB, DAVE))
        self.assertEqual(rig.device.takeEffects(), [])

    def test_namedBehaviours(self) -> None:
        """
        A device of each named behaviour lets a datagram out and its answer in.
        """
        for name, behaviour in NAMED_BEHAVIOURS.items():
            rig = Rig(behaviour)
            external = rig.mapped(ALICE, BOB)
            self.assertEqual(rig.reached(BOB, external), ALICE, name)


class TimerTests(SynchronousTestCase):
    """
    When an idle mapping is forgotten (RFC 4787 section 4.3).
    """

    def test_idle(self) -> None:
        """
        A mapping lives until just before its idle time is over.
        """
        for behaviour in everyBehaviour():
            rig = Rig(attrs.evolve(behaviour, udpTimeout=30.0))
            external = rig.mapped(ALICE, BOB)
            rig.now = 29.9
            self.assertEqual(rig.reached(BOB, external), ALICE)
            rig.now = 30.0
            self.assertIs(rig.reached(BOB, external), DropReason.NO_MAPPING)
            self.assertEqual(rig.device.mappings(rig.now), ())

    def test_refreshDirections(self) -> None:
        """
        Packets in the directions that refresh keep a mapping alive, others do not.
        """
        for refresh, direction, survives in (
            (Refresh.OUTBOUND, "out", True),
            (Refresh.OUTBOUND, "in", False),
            (Refresh.INBOUND, "out", False),
            (Refresh.INBOUND, "in", True),
            (Refresh.BOTH, "out", True),
            (Refresh.BOTH, "in", True),
        ):
            rig = Rig(attrs.evolve(PORT_RESTRICTED, udpTimeout=30.0, refresh=refresh))
            external = rig.mapped(ALICE, BOB)
            rig.now = 20.0
            if direction == "out":
                rig.mapped(ALICE, BOB)
            else:
                rig.reached(BOB, external)
            rig.now = 40.0
            self.assertEqual(rig.reached(BOB, external) == ALICE, survives, (refresh, direction))

    def test_strangersKeepNothingAlive(self) -> None:
        """
        With outbound refresh, packets from outside to a full cone do not make its mapping last.
        """
        rig = Rig(attrs.evolve(CONE, udpTimeout=30.0))
        external = rig.mapped(ALICE, BOB)
        for rig.now in (10.0, 20.0, 29.0):
            self.assertEqual(rig.reached(DAVE, external), ALICE)
        rig.now = 30.0
        self.assertIs(rig.reached(DAVE, external), DropReason.NO_MAPPING)

    def test_eachSessionByItself(self) -> None:
        """
        Traffic with one remote endpoint keeps the mapping, but not the leave of another to send.
        """
        rig = Rig(attrs.evolve(PORT_RESTRICTED, udpTimeout=30.0))
        external = rig.mapped(ALICE, BOB)
        self.assertEqual(rig.mapped(ALICE, DAVE), external)
        rig.now = 20.0
        rig.mapped(ALICE, BOB)
        rig.now = 40.0
        self.assertEqual(rig.reached(BOB, external), ALICE)
        self.assertIs(rig.reached(DAVE, external), DropReason.FILTERED)
        self.assertEqual(rig.mapped(ALICE, DAVE), external)

    def test_leaveEndsWithTheSession(self) -> None:
        """
        A host that was sent to may no longer send from other ports when its session is over.
        """
        behaviour = attrs.evolve(CONE, filtering=Filtering.ADDRESS_DEPENDENT, udpTimeout=30.0)
        rig = Rig(behaviour)
        external = rig.mapped(ALICE, BOB)
        rig.now = 20.0
        rig.mapped(ALICE, DAVE)
        self.assertEqual(rig.reached(BOB_OTHER_PORT, external), ALICE)
        rig.now = 40.0
        stranger = TransportAddress(BOB.host, 6002)
        self.assertIs(rig.reached(stranger, external), DropReason.FILTERED)

    def test_earlierNow(self) -> None:
        """
        A clock that goes back counts as one that stands still.
        """
        rig = Rig(attrs.evolve(CONE, udpTimeout=30.0))
        rig.now = 100.0
        external = rig.mapped(ALICE, BOB)
        rig.now = 50.0
        rig.mapped(ALICE, BOB)
        rig.now = 129.0
        self.assertEqual(rig.reached(BOB, external), ALICE)

    def test_views(self) -> None:
        """
        A mapping can be looked at: whose it is, with whom, and until when.
        """
        rig = Rig(attrs.evolve(CONE, udpTimeout=30.0))
        external = rig.mapped(ALICE, BOB)
        rig.now = 5.0
        rig.mapped(ALICE, DAVE)
        (view,) = rig.device.mappings(6.0)
        self.assertEqual(
            (view.protocol, view.internal, view.external, view.remotes, view.expiresAt),
            (Protocol.UDP, ALICE, external, (BOB, DAVE), 35.0),
        )
        self.assertEqual(rig.device.mappings(31.0)[0].remotes, (DAVE,))

    def test_nothingPilesUp(self) -> None:
        """
        Sessions that are over are not kept in memory until their timers would have fired.
        """

        def countSessions() -> int:
            gc.collect()
            return sum(isinstance(item, Session) for item in gc.get_objects())

        # Other tests of this process may have left some.
        before = countSessions()
        rig = Rig(attrs.evolve(SYMMETRIC, dropsMappingOnReset=True))
        for _ in range(2000):
            external = rig.connect(ALICE, BOB)
            self.assertEqual(rig.reached(BOB, external, Protocol.TCP, RST), ALICE)
        self.assertLess(countSessions() - before, 200)


class TimeToLiveTests(SynchronousTestCase):
    """
    Packets that were forwarded too often.
    """

    def test_fromInside(self) -> None:
        """
        The internal host gets a time exceeded error, and no mapping is made.
        """
        rig = Rig(CONE)
        packet = Packet(Protocol.UDP, ALICE, BOB, ttl=1)
        drop, answer = rig.sendOut(packet)
        self.assertEqual(drop, Drop(packet, DropReason.TTL_EXPIRED))
        assert isinstance(answer, Forward)
        self.assertIs(answer.side, Side.INSIDE)
        self.assertEqual(answer.packet.icmp, ICMPError(ICMPType.TIME_EXCEEDED, 0, packet))
        self.assertEqual(answer.packet.destination, TransportAddress(ALICE.host, 0))
        self.assertEqual(rig.device.mappings(0.0), ())

    def test_fromOutside(self) -> None:
        """
        A sender outside gets the error, too, be its session known or not.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB)
        for remote in (BOB, DAVE):
            packet = Packet(Protocol.UDP, remote, external, ttl=1)
            drop, answer = rig.sendIn(packet)
            self.assertEqual(drop, Drop(packet, DropReason.TTL_EXPIRED))
            assert isinstance(answer, Forward)
            self.assertIs(answer.side, Side.OUTSIDE)
            self.assertEqual(answer.packet.icmp, ICMPError(ICMPType.TIME_EXCEEDED, 0, packet))

    def test_noErrorAboutErrors(self) -> None:
        """
        An ICMP error that was forwarded too often is dropped in silence.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB)
        error = ICMPError(3, 3, Packet(Protocol.UDP, external, BOB))
        inward = Packet(Protocol.ICMP, BOB, TransportAddress(EXTERNAL, 0), icmp=error, ttl=1)
        self.assertEqual(rig.sendIn(inward), [Drop(inward, DropReason.TTL_EXPIRED)])
        outward = Packet(Protocol.ICMP, ALICE, BOB, icmp=error, ttl=1)
        self.assertEqual(rig.sendOut(outward), [Drop(outward, DropReason.TTL_EXPIRED)])

    def test_lowTTLStillOpens(self) -> None:
        """
        A packet that dies behind the device has opened it all the same.
        """
        rig = Rig(PORT_RESTRICTED)
        (effect,) = rig.sendOut(Packet(Protocol.UDP, ALICE, BOB, ttl=2))
        self.assertEqual(effect.packet.ttl, 1)
        self.assertEqual(rig.reached(BOB, effect.packet.source), ALICE)


class ICMPTests(SynchronousTestCase):
    """
    ICMP errors of others (RFC 5508 section 4).
    """

    def test_inward(self) -> None:
        """
        An error about a translated packet reaches its sender, with the packet as it was sent.
        """
        rig = Rig(PORT_RESTRICTED)
        external = rig.mapped(ALICE, BOB)
        router = TransportAddress("198.51.100.254", 0)
        error = ICMPError(3, 1, Packet(Protocol.UDP, external, BOB, payload=b"x"))
        effects = rig.sendIn(
            Packet(Protocol.ICMP, router, TransportAddress(EXTERNAL, 0), icmp=error, ttl=9)
        )
        original = Packet(Protocol.UDP, ALICE, BOB, payload=b"x")
        destination = TransportAddress(ALICE.host, 0)
        self.assertEqual(
            effects,
            [
                Forward(
                    Side.INSIDE,
                    Packet(
                        Protocol.ICMP,
                        router,
                        destination,
                        icmp=ICMPError(3, 1, original),
                        ttl=8,
                    ),
                )
            ],
        )

    def test_outward(self) -> None:
        """
        An error from inside about a packet that came in hides the internal address.
        """
        rig = Rig(PORT_RESTRICTED)
        external = rig.mapped(ALICE, BOB)
        error = ICMPError(3, 3, Packet(Protocol.UDP, BOB, ALICE))
        effects = rig.sendOut(
            Packet(
                Protocol.ICMP,
                TransportAddress(ALICE.host, 0),
                TransportAddress(BOB.host, 0),
                icmp=error,
                ttl=9,
            )
        )
        self.assertEqual(
            effects,
            [
                Forward(
                    Side.OUTSIDE,
                    Packet(
                        Protocol.ICMP,
                        TransportAddress(EXTERNAL, 0),
                        TransportAddress(BOB.host, 0),
                        icmp=ICMPError(3, 3, Packet(Protocol.UDP, BOB, external)),
                        ttl=8,
                    ),
                )
            ],
        )

    def test_hairpin(self) -> None:
        """
        An error about a packet between two internal hosts comes back to its sender.
        """
        rig = Rig(CONE)
        carol = rig.mapped(CAROL, BOB)
        (effect,) = rig.sendOut(Packet(Protocol.UDP, ALICE, carol))
        received = effect.packet
        (answer,) = rig.sendOut(
            Packet(
                Protocol.ICMP,
                TransportAddress(CAROL.host, 0),
                TransportAddress(received.source.host, 0),
                icmp=ICMPError(3, 3, received),
            )
        )
        assert isinstance(answer, Forward)
        assert answer.packet.icmp is not None
        self.assertIs(answer.side, Side.INSIDE)
        self.assertEqual(answer.packet.destination.host, ALICE.host)
        original = answer.packet.icmp.original
        self.assertEqual((original.source, original.destination), (ALICE, carol))

    def test_killsNothing(self) -> None:
        """
        Errors from outside end no mapping and keep none alive (RFC 5508 REQ-4, RFC 5382 REQ-9).
        """
        for protocol in (Protocol.UDP, Protocol.TCP):
            rig = Rig(PORT_RESTRICTED)
            external = rig.mapped(ALICE, BOB, protocol)
            before = rig.device.mappings(0.0)
            error = ICMPError(3, 3, Packet(protocol, external, BOB, flags=SYN))
            rig.sendIn(Packet(Protocol.ICMP, BOB, TransportAddress(EXTERNAL, 0), icmp=error))
            self.assertEqual(rig.device.mappings(0.0), before)
            self.assertEqual(rig.reached(BOB, external, protocol), ALICE)

    def test_unknownOriginal(self) -> None:
        """
        Errors about packets that were never translated are dropped, and so are other messages.
        """
        rig = Rig(CONE)
        icmpHost = TransportAddress(EXTERNAL, 0)
        error = ICMPError(3, 3, Packet(Protocol.UDP, TransportAddress(EXTERNAL, 5), BOB))
        for icmp, reason in ((error, DropReason.NO_MAPPING), (None, DropReason.UNSUPPORTED)):
            inward = Packet(Protocol.ICMP, BOB, icmpHost, icmp=icmp)
            self.assertEqual(rig.sendIn(inward), [Drop(inward, reason)])
            outward = Packet(Protocol.ICMP, ALICE, BOB, icmp=icmp)
            self.assertEqual(rig.sendOut(outward), [Drop(outward, reason)])


class OperatorTests(SynchronousTestCase):
    """
    What C{holepunch lab} can do to a device.
    """

    def test_flush(self) -> None:
        """
        After a flush nothing comes in, until the inside sends again.
        """
        for behaviour in everyBehaviour():
            rig = Rig(behaviour)
            external = rig.mapped(ALICE, BOB)
            rig.device.flush()
            self.assertIs(rig.reached(BOB, external), DropReason.NO_MAPPING)
            self.assertEqual(rig.device.mappings(0.0), ())
            self.assertEqual(rig.reached(BOB, rig.mapped(ALICE, BOB)), ALICE)

    def test_flushBreaksConnections(self) -> None:
        """
        A TCP connection does not survive the flush: its segments find no session.
        """
        rig = Rig(CONE)
        rig.connect(ALICE, BOB)
        rig.device.flush()
        self.assertIs(rig.refusedOut(ALICE, BOB, Protocol.TCP, ACK), DropReason.NO_CONNECTION)

    def test_rebind(self) -> None:
        """
        After a change of address, the old one is no longer the device's, and the new one is used.
        """
        for behaviour in (*everyBehaviour(), NAMED_BEHAVIOURS["one-to-one"]):
            rig = Rig(behaviour)
            external = rig.mapped(ALICE, BOB)
            rig.device.rebind(["203.0.113.99"])
            self.assertIs(rig.reached(BOB, external), DropReason.NOT_OURS)
            self.assertEqual(rig.mapped(ALICE, BOB).host, "203.0.113.99")

    def test_block(self) -> None:
        """
        A blocked protocol passes in neither direction, the other does; unblocking undoes it.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB)
        rig.mapped(ALICE, BOB, Protocol.TCP)
        rig.device.block(Protocol.UDP)
        self.assertIs(rig.refusedOut(ALICE, BOB), DropReason.BLOCKED)
        self.assertIs(rig.reached(BOB, external), DropReason.BLOCKED)
        rig.mapped(ALICE, BOB, Protocol.TCP)
        rig.device.unblock(Protocol.UDP)
        self.assertEqual(rig.reached(BOB, external), ALICE)
