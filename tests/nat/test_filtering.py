"""
Whom L{holepunch.nat.NATDevice} lets in, held against the definitions of RFC 4787 section 5, and
what it answers to the others.
"""

from __future__ import annotations

from itertools import product

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
    Packet,
    Protocol,
    Side,
    TCPFlag,
    UnreachableCode,
    Unsolicited,
)
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
    SYN,
    Rig,
    everyBehaviour,
)

DAVE_OTHER_PORT = TransportAddress(DAVE.host, 6001)

# Who may send to a mapped address after the inside has sent to BOB alone.
ALLOWED = {
    Filtering.ENDPOINT_INDEPENDENT: {BOB, BOB_OTHER_PORT, DAVE, DAVE_OTHER_PORT},
    Filtering.ADDRESS_DEPENDENT: {BOB, BOB_OTHER_PORT},
    Filtering.ADDRESS_AND_PORT_DEPENDENT: {BOB},
}

PORT_RESTRICTED = attrs.evolve(CONE, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)


class FilteringTests(SynchronousTestCase):
    """
    Who gets through.
    """

    def test_allowedSet(self) -> None:
        """
        Every behaviour lets in exactly the remote endpoints that its definition names.
        """
        for behaviour, protocol in product(everyBehaviour(), (Protocol.UDP, Protocol.TCP)):
            allowed = ALLOWED[behaviour.filtering]
            for remote in (BOB, BOB_OTHER_PORT, DAVE, DAVE_OTHER_PORT):
                rig = Rig(behaviour)
                external = rig.mapped(ALICE, BOB, protocol)
                self.assertEqual(
                    rig.reached(remote, external, protocol),
                    ALICE if remote in allowed else DropReason.FILTERED,
                    (behaviour, remote),
                )

    def test_opensWithEachDestination(self) -> None:
        """
        Sending to a second endpoint lets that in, too, at the address that it was shown.
        """
        for behaviour in everyBehaviour():
            rig = Rig(behaviour)
            rig.mapped(ALICE, BOB)
            external = rig.mapped(ALICE, DAVE)
            self.assertEqual(rig.reached(DAVE, external), ALICE, behaviour)

    def test_inboundOpensNothing(self) -> None:
        """
        A packet that was let in does not let in others from its host.
        """
        behaviour = attrs.evolve(CONE, filtering=Filtering.ADDRESS_DEPENDENT)
        rig = Rig(behaviour)
        external = rig.mapped(ALICE, BOB)
        self.assertEqual(rig.reached(BOB_OTHER_PORT, external), ALICE)
        self.assertIs(rig.reached(DAVE, external), DropReason.FILTERED)

    def test_replyComesFromWhereTheRequestWent(self) -> None:
        """
        Who was let in to a mapped address is answered from that address, under every mapping.
        """
        for behaviour in everyBehaviour():
            rig = Rig(behaviour)
            external = rig.mapped(ALICE, BOB)
            if rig.reached(BOB_OTHER_PORT, external) == ALICE:
                self.assertEqual(rig.mapped(ALICE, BOB_OTHER_PORT), external, behaviour)

    def test_knownByAnotherMapping(self) -> None:
        """
        A sender to whom the inside has a mapping may use another one, and is answered by its own.
        """
        behaviour = NATBehaviour(
            mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
            filtering=Filtering.ENDPOINT_INDEPENDENT,
            overloadsPorts=False,
        )
        rig = Rig(behaviour)
        first, second = rig.mapped(ALICE, BOB), rig.mapped(ALICE, DAVE)
        self.assertEqual(rig.reached(DAVE, first), ALICE)
        self.assertEqual(rig.mapped(ALICE, DAVE), second)

    def test_notOurs(self) -> None:
        """
        Packets for other addresses are dropped and never answered.
        """
        rig = Rig(attrs.evolve(CONE, unsolicited=Unsolicited.ICMP))
        packet = Packet(Protocol.UDP, BOB, DAVE)
        self.assertEqual(rig.sendIn(packet), [Drop(packet, DropReason.NOT_OURS)])


class UnsolicitedTests(SynchronousTestCase):
    """
    What strangers are told.
    """

    def answers(self, behaviour: NATBehaviour, packet: Packet) -> tuple[DropReason, list[Packet]]:
        """
        Send a packet that must be dropped: the reason, and what goes back outside.
        """
        rig = Rig(behaviour)
        rig.mapped(ALICE, BOB, packet.protocol)
        drop, *rest = rig.sendIn(packet)
        assert isinstance(drop, Drop)
        self.assertEqual(drop.packet, packet)
        answers = []
        for effect in rest:
            assert isinstance(effect, Forward)
            self.assertIs(effect.side, Side.OUTSIDE)
            self.assertEqual(effect.packet.destination.host, packet.source.host)
            answers.append(effect.packet)
        return drop.reason, answers

    def test_everyBehaviour(self) -> None:
        """
        Each behaviour answers each protocol in its own way, be the port mapped or not.
        """
        unmapped = TransportAddress(EXTERNAL, 1)
        for behaviour, protocol in product(everyBehaviour(), (Protocol.UDP, Protocol.TCP)):
            packet = Packet(protocol, DAVE, unmapped, flags=SYN, sequence=41)
            reason, answers = self.answers(behaviour, packet)
            self.assertIs(reason, DropReason.NO_MAPPING)
            kinds = {
                Unsolicited.DROP: [],
                Unsolicited.RST: [Protocol.TCP] if protocol is Protocol.TCP else [],
                Unsolicited.ICMP: [Protocol.ICMP],
            }
            self.assertEqual(
                [answer.protocol for answer in answers], kinds[behaviour.unsolicited], behaviour
            )

    def test_resetOfSyn(self) -> None:
        """
        The RST acknowledges the SYN, so that the sender accepts it (RFC 9293 section 3.10.7.1).
        """
        behaviour = attrs.evolve(PORT_RESTRICTED, unsolicited=Unsolicited.RST)
        for sequence, acknowledgment in ((41, 42), (0xFFFFFFFF, 0)):
            external = TransportAddress(EXTERNAL, 5000)
            syn = Packet(Protocol.TCP, DAVE, external, flags=SYN, sequence=sequence)
            reason, answers = self.answers(behaviour, syn)
            self.assertIs(reason, DropReason.FILTERED)
            self.assertEqual(
                answers,
                [
                    Packet(
                        Protocol.TCP,
                        external,
                        DAVE,
                        flags=RST | ACK,
                        acknowledgment=acknowledgment,
                    )
                ],
            )

    def test_resetOfAcknowledgment(self) -> None:
        """
        The RST to a segment with ACK has the sequence number which that expects.
        """
        behaviour = attrs.evolve(CONE, unsolicited=Unsolicited.RST)
        external = TransportAddress(EXTERNAL, 5000)
        segment = Packet(
            Protocol.TCP, DAVE, external, flags=SYN | ACK, sequence=7, acknowledgment=99
        )
        reason, answers = self.answers(behaviour, segment)
        self.assertIs(reason, DropReason.NO_CONNECTION)
        self.assertEqual(answers, [Packet(Protocol.TCP, external, DAVE, flags=RST, sequence=99)])

    def test_noResetOfReset(self) -> None:
        """
        A RST is never answered with another.
        """
        behaviour = attrs.evolve(PORT_RESTRICTED, unsolicited=Unsolicited.RST)
        for flags in (RST, RST | ACK, RST | SYN):
            segment = Packet(Protocol.TCP, DAVE, TransportAddress(EXTERNAL, 5000), flags=flags)
            self.assertEqual(self.answers(behaviour, segment)[1], [])

    def test_unreachable(self) -> None:
        """
        The ICMP error quotes the packet, and tells an unmapped port from one not open to it.
        """
        behaviour = attrs.evolve(PORT_RESTRICTED, unsolicited=Unsolicited.ICMP)
        for port, code in ((5000, UnreachableCode.HOST), (1, UnreachableCode.PORT)):
            packet = Packet(Protocol.UDP, DAVE, TransportAddress(EXTERNAL, port))
            (answer,) = self.answers(behaviour, packet)[1]
            assert answer.icmp is not None
            self.assertEqual(
                (answer.icmp.type, answer.icmp.code, answer.icmp.original), (3, code, packet)
            )
            self.assertEqual(answer.source, TransportAddress(EXTERNAL, 0))

    def test_tableFullIsSilent(self) -> None:
        """
        A device that is merely full answers nothing.
        """
        rig = Rig(attrs.evolve(CONE, maxSessions=1, unsolicited=Unsolicited.ICMP))
        external = rig.mapped(ALICE, BOB)
        packet = Packet(Protocol.UDP, DAVE, external)
        self.assertEqual(rig.sendIn(packet), [Drop(packet, DropReason.TABLE_FULL)])


class HairpinTests(SynchronousTestCase):
    """
    Packets from inside to a mapped address (RFC 4787 section 6).
    """

    def test_everyBehaviour(self) -> None:
        """
        With hairpin on, two internal hosts that send to each other's mapped address get through as
        the filter allows, and see each other's mapped address; with hairpin off, never.
        """
        for behaviour, protocol in product(everyBehaviour(), (Protocol.UDP, Protocol.TCP)):
            if behaviour.mapping is not Mapping.ENDPOINT_INDEPENDENT:
                continue
            rig = Rig(behaviour)
            alice, carol = rig.mapped(ALICE, BOB, protocol), rig.mapped(CAROL, BOB, protocol)
            if not behaviour.hairpin:
                reason = rig.refusedOut(ALICE, carol, protocol)
                self.assertIs(reason, DropReason.HAIRPIN_DISABLED)
                continue
            (effect, *_) = rig.sendOut(Packet(protocol, ALICE, carol, flags=SYN))
            if behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT:
                self.assertEqual(effect, self.delivered(protocol, alice, CAROL))
            else:
                assert isinstance(effect, Drop)
                self.assertIs(effect.reason, DropReason.FILTERED)
            (effect,) = rig.sendOut(Packet(protocol, CAROL, alice, flags=SYN))
            self.assertEqual(effect, self.delivered(protocol, carol, ALICE))
            (effect,) = rig.sendOut(Packet(protocol, ALICE, carol, flags=SYN | ACK))
            self.assertEqual(effect, self.delivered(protocol, alice, CAROL, SYN | ACK))

    def delivered(
        self,
        protocol: Protocol,
        source: TransportAddress,
        destination: TransportAddress,
        flags: TCPFlag = SYN,
    ) -> Forward:
        """
        The effect of a packet that came back in, forwarded once.
        """
        return Forward(Side.INSIDE, Packet(protocol, source, destination, flags=flags, ttl=63))

    def test_answersComeBackToo(self) -> None:
        """
        A RST to a hairpinned SYN reaches the internal host that sent it.
        """
        rig = Rig(attrs.evolve(PORT_RESTRICTED, unsolicited=Unsolicited.RST))
        carol = rig.mapped(CAROL, BOB, Protocol.TCP)
        drop, answer = rig.sendOut(Packet(Protocol.TCP, ALICE, carol, flags=SYN, sequence=9))
        assert isinstance(drop, Drop)
        assert isinstance(answer, Forward)
        self.assertIs(answer.side, Side.INSIDE)
        self.assertEqual((answer.packet.source, answer.packet.destination), (carol, ALICE))
        self.assertEqual(answer.packet.acknowledgment, 10)

    def test_toOneself(self) -> None:
        """
        An internal endpoint can reach its own mapped address.
        """
        rig = Rig(CONE)
        external = rig.mapped(ALICE, BOB)
        (effect,) = rig.sendOut(Packet(Protocol.UDP, ALICE, external))
        self.assertEqual(
            effect, Forward(Side.INSIDE, Packet(Protocol.UDP, external, ALICE, ttl=63))
        )
