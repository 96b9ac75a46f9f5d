"""
What L{holepunch.nat.NATDevice} does with ICMP echoes and IP fragments, and as a firewall.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat import (
    ECHO_PORT,
    NAMED_BEHAVIOURS,
    Drop,
    DropReason,
    Filtering,
    Forward,
    Fragment,
    Fragments,
    ICMPError,
    ICMPType,
    Mapping,
    NATBehaviour,
    NATDevice,
    Packet,
    PortAllocation,
    Protocol,
    Service,
    Side,
)
from tests.nat.harness import ALICE, BOB, CAROL, CONE, EXTERNAL, SYMMETRIC, Rig

ICMP = Protocol.ICMP
BOB_ECHO = TransportAddress(BOB.host, ECHO_PORT)
FIREWALL = NAMED_BEHAVIOURS["firewall"]


@attrs.frozen(kw_only=True)
class Piece(Fragment):
    """
    A fragment that knows the packet it was cut from.
    """

    carried: int = Protocol.UDP
    identification: int = 1
    offset: int
    isLast: bool
    whole: Packet

    def __len__(self) -> int:
        return 8

    def join(self, others: Sequence[Fragment]) -> Packet | None:
        return self.whole


def fragments(whole: Packet, count: int = 3) -> list[Packet]:
    """
    Cut a packet.
    """
    return [
        Packet(
            Protocol.FRAGMENT,
            TransportAddress(whole.source.host, 0),
            TransportAddress(whole.destination.host, 0),
            payload=Piece(offset=8 * number, isLast=number == count - 1, whole=whole),
        )
        for number in range(count)
    ]


class EchoTests(SynchronousTestCase):
    """
    Echo requests and their replies (RFC 5508).
    """

    @given(
        st.sampled_from(Mapping),
        st.sampled_from(Filtering),
        st.sampled_from(PortAllocation),
        st.integers(0, 65535),
        st.integers(0, 65535),
    )
    def test_mapped(
        self,
        mapping: Mapping,
        filtering: Filtering,
        ports: PortAllocation,
        one: int,
        other: int,
    ) -> None:
        """
        Every NAT maps the identifiers of two hosts such that each gets its replies.
        """
        rig = Rig(NATBehaviour(mapping=mapping, filtering=filtering, ports=ports))
        queries = [TransportAddress(ALICE.host, one), TransportAddress(CAROL.host, other)]
        externals = [rig.mapped(query, BOB_ECHO, ICMP) for query in queries]
        self.assertEqual(len(set(externals)), 2)
        for query, external in zip(queries, externals, strict=True):
            self.assertEqual(rig.reached(BOB_ECHO, external, ICMP), query)

    def test_onlyReplies(self) -> None:
        """
        Nobody gets in with a reply that nobody asked for, nor with a request.
        """
        for behaviour in (CONE, SYMMETRIC):
            rig = Rig(behaviour)
            external = TransportAddress(EXTERNAL, 5000)
            self.assertEqual(rig.reached(BOB_ECHO, external, ICMP), DropReason.NO_MAPPING)
            own = TransportAddress(EXTERNAL, ECHO_PORT)
            self.assertEqual(rig.reached(BOB, own, ICMP), DropReason.NO_MAPPING)
            reply = TransportAddress(ALICE.host, ECHO_PORT)
            self.assertEqual(rig.refusedOut(reply, BOB, ICMP), DropReason.NO_CONNECTION)

    def test_inward(self) -> None:
        """
        A one-to-one NAT that keeps nobody out can be pinged through, once it has a pair.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"])
        rig.mapped(ALICE, BOB)
        query = TransportAddress(BOB.host, 77)
        asked = rig.reached(query, TransportAddress(EXTERNAL, ECHO_PORT), ICMP)
        self.assertEqual(asked, TransportAddress(ALICE.host, ECHO_PORT))
        assert isinstance(asked, TransportAddress)
        self.assertEqual(rig.mapped(asked, query, ICMP), TransportAddress(EXTERNAL, ECHO_PORT))

    def test_lifetime(self) -> None:
        """
        A query's mapping has a timeout of its own.
        """
        rig = Rig(attrs.evolve(CONE, icmpTimeout=5.0))
        rig.mapped(ALICE, BOB_ECHO, ICMP)
        self.assertEqual(len(rig.device.mappings(4.9)), 1)
        self.assertEqual(rig.device.mappings(5.0), ())

    def test_services(self) -> None:
        """
        Who names the services that may be used can name the echo.
        """
        for outbound, passes in ((Service(Protocol.TCP, 443), False), (Service(ICMP, 7), True)):
            rig = Rig(attrs.evolve(CONE, outbound=(outbound,)))
            (effect,) = rig.sendOut(Packet(ICMP, ALICE, BOB_ECHO))
            self.assertEqual(isinstance(effect, Forward), passes)

    def test_errors(self) -> None:
        """
        Errors about an echo find who sent it, and its sender is told when its time is over.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB_ECHO, ICMP)
        error = ICMPError(ICMPType.TIME_EXCEEDED, 0, Packet(ICMP, external, BOB_ECHO))
        host = TransportAddress(EXTERNAL, 0)
        (effect,) = rig.sendIn(Packet(ICMP, TransportAddress(CAROL.host, 0), host, icmp=error))
        assert isinstance(effect, Forward) and effect.packet.icmp is not None
        self.assertEqual(effect.packet.icmp.original.source, ALICE)
        dropped, answer = rig.sendOut(Packet(ICMP, ALICE, BOB_ECHO, ttl=1))
        assert isinstance(dropped, Drop) and isinstance(answer, Forward)
        self.assertEqual(dropped.reason, DropReason.TTL_EXPIRED)
        self.assertIs(answer.side, Side.INSIDE)

    def test_mtu(self) -> None:
        """
        The MTU that a router tells reaches the sender.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB)
        error = ICMPError(3, 4, Packet(Protocol.UDP, external, BOB), 1280)
        host = TransportAddress(EXTERNAL, 0)
        (effect,) = rig.sendIn(Packet(ICMP, TransportAddress(CAROL.host, 0), host, icmp=error))
        assert effect.packet.icmp is not None
        self.assertEqual((effect.packet.icmp.mtu, effect.packet.icmp.code), (1280, 4))


class FragmentTests(SynchronousTestCase):
    """
    Fragments.
    """

    def test_outward(self) -> None:
        """
        Nothing leaves until all are there; then the whole is translated.
        """
        for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
            rig = Rig(CONE)
            pieces = fragments(Packet(Protocol.UDP, ALICE, BOB))
            self.assertEqual([rig.sendOut(pieces[number]) for number in order[:2]], [[], []])
            (effect,) = rig.sendOut(pieces[order[2]])
            assert isinstance(effect, Forward)
            self.assertEqual(effect.packet.source.host, EXTERNAL)

    def test_inward(self) -> None:
        """
        The filter looks at the whole.
        """
        rig = Rig(NAMED_BEHAVIOURS["port-restricted"])
        external = rig.mapped(ALICE, BOB)
        for sender, kind in ((BOB, Forward), (CAROL, Drop)):
            *first, last = fragments(Packet(Protocol.UDP, sender, external))
            for piece in first:
                self.assertEqual(rig.sendIn(piece), [])
            (effect,) = rig.sendIn(last)
            self.assertIsInstance(effect, kind)

    def test_dropped(self) -> None:
        """
        A device may drop them, in both directions.
        """
        rig = Rig(attrs.evolve(CONE, fragments=Fragments.DROP))
        external = rig.mapped(ALICE, BOB)
        for piece in fragments(Packet(Protocol.UDP, ALICE, BOB)):
            self.assertEqual(rig.sendOut(piece), [Drop(piece, DropReason.FRAGMENT)])
        for piece in fragments(Packet(Protocol.UDP, BOB, external)):
            self.assertEqual(rig.sendIn(piece), [Drop(piece, DropReason.FRAGMENT)])

    def test_blocked(self) -> None:
        """
        Fragments of a protocol that is blocked are blocked when they are whole.
        """
        rig = Rig(CONE)
        rig.device.block(Protocol.UDP)
        effects = [rig.sendOut(piece) for piece in fragments(Packet(Protocol.UDP, ALICE, BOB))]
        (drop,) = effects[-1]
        assert isinstance(drop, Drop)
        self.assertEqual(drop.reason, DropReason.BLOCKED)


class FirewallTests(SynchronousTestCase):
    """
    Firewalls over IPv6.
    """

    def test_untranslated(self) -> None:
        """
        Addresses stay; who was sent to may answer; who was not is kept out.
        """
        inside = TransportAddress("2001:db8:1::10", 4000)
        outside = TransportAddress("2001:db8:2::10", 5000)
        device = NATDevice(FIREWALL, (), Random(1), ownHosts=("31.1.0.1", "2001:db8::1"))
        device.receiveOutside(Packet(Protocol.UDP, outside, inside), 0.0)
        (dropped,) = device.takeEffects()
        self.assertIsInstance(dropped, Drop)
        device.receiveInside(Packet(Protocol.UDP, inside, outside), 0.0)
        device.receiveOutside(Packet(Protocol.UDP, outside, inside), 0.0)
        out, back = device.takeEffects()
        self.assertEqual((out.packet.source, back.packet.destination), (inside, inside))

    def test_speaks(self) -> None:
        """
        It tells by its own address that a packet's time is over.
        """
        inside = TransportAddress("2001:db8:1::10", 4000)
        outside = TransportAddress("2001:db8:2::10", 5000)
        device = NATDevice(FIREWALL, (), Random(1), ownHosts=("31.1.0.1", "2001:db8::1"))
        device.receiveInside(Packet(Protocol.UDP, inside, outside, ttl=1), 0.0)
        _, told = device.takeEffects()
        self.assertEqual(told.packet.source.host, "2001:db8::1")
