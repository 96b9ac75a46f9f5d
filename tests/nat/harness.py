"""
A device under test, asked in terms of endpoints: who is mapped where, who gets through.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from random import Random

import attrs

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
    PortAllocation,
    Protocol,
    Side,
    TCPFlag,
    Unsolicited,
)

SYN = TCPFlag.SYN
ACK = TCPFlag.ACK
FIN = TCPFlag.FIN
RST = TCPFlag.RST

EXTERNAL = "203.0.113.1"
ALICE = TransportAddress("192.168.1.10", 5000)
CAROL = TransportAddress("192.168.1.11", 5000)
BOB = TransportAddress("198.51.100.7", 6000)
BOB_OTHER_PORT = TransportAddress("198.51.100.7", 6001)
DAVE = TransportAddress("198.51.100.8", 6000)

CONE = NATBehaviour(mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=Filtering.ENDPOINT_INDEPENDENT)
SYMMETRIC = NATBehaviour(
    mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
    filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
    ports=PortAllocation.SEQUENTIAL,
)


def everyBehaviour() -> Iterable[NATBehaviour]:
    """
    Every combination of what RFC 4787 classifies, and of the answers to the unsolicited.
    """
    for mapping, filtering, ports, overloads, unsolicited, hairpin in product(
        Mapping, Filtering, PortAllocation, (False, True), Unsolicited, (False, True)
    ):
        yield NATBehaviour(
            mapping=mapping,
            filtering=filtering,
            ports=ports,
            overloadsPorts=overloads,
            unsolicited=unsolicited,
            hairpin=hairpin,
        )


@attrs.define(init=False)
class Rig:
    """
    One device, with a clock that the test turns.
    """

    device: NATDevice
    now: float

    def __init__(
        self, behaviour: NATBehaviour, hosts: tuple[str, ...] = (EXTERNAL,), seed: int = 1
    ) -> None:
        self.device = NATDevice(behaviour, hosts, Random(seed))
        self.now = 0.0

    def sendOut(self, packet: Packet) -> list[Forward | Drop]:
        """
        Send a packet from inside.
        """
        self.device.receiveInside(packet, self.now)
        return self.device.takeEffects()

    def sendIn(self, packet: Packet) -> list[Forward | Drop]:
        """
        Send a packet from outside.
        """
        self.device.receiveOutside(packet, self.now)
        return self.device.takeEffects()

    def mapped(
        self,
        internal: TransportAddress,
        remote: TransportAddress,
        protocol: Protocol = Protocol.UDP,
        flags: TCPFlag = SYN,
    ) -> TransportAddress:
        """
        Send from C{internal} to C{remote}: the source that C{remote} sees.
        """
        (effect,) = self.sendOut(Packet(protocol, internal, remote, flags=flags))
        assert isinstance(effect, Forward), effect
        assert effect.side is Side.OUTSIDE
        return effect.packet.source

    def refusedOut(
        self,
        internal: TransportAddress,
        remote: TransportAddress,
        protocol: Protocol = Protocol.UDP,
        flags: TCPFlag = SYN,
    ) -> DropReason:
        """
        Send from C{internal} to C{remote} what must not leave: the reason given.
        """
        (effect,) = self.sendOut(Packet(protocol, internal, remote, flags=flags))
        assert isinstance(effect, Drop), effect
        return effect.reason

    def reached(
        self,
        remote: TransportAddress,
        external: TransportAddress,
        protocol: Protocol = Protocol.UDP,
        flags: TCPFlag = SYN,
    ) -> TransportAddress | DropReason:
        """
        Send from C{remote} to C{external}: the internal endpoint that gets it, or why none does.
        """
        effect = self.sendIn(Packet(protocol, remote, external, flags=flags))[0]
        if isinstance(effect, Drop):
            return effect.reason
        assert effect.side is Side.INSIDE
        assert effect.packet.source == remote
        return effect.packet.destination

    def connect(self, internal: TransportAddress, remote: TransportAddress) -> TransportAddress:
        """
        Do a TCP handshake from inside: the mapped address of the connection.
        """
        external = self.mapped(internal, remote, Protocol.TCP, SYN)
        assert self.reached(remote, external, Protocol.TCP, SYN | ACK) == internal
        assert self.mapped(internal, remote, Protocol.TCP, ACK) == external
        return external
