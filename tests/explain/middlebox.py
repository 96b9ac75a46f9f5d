"""
Something in the way: a NAT that treats some packets in another way than a NAT does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holepunch.address import TransportAddress
from holepunch.lab.fabric import Fabric
from holepunch.lab.refusal import resetFor, unreachableFor
from holepunch.nat.device import NATDevice
from holepunch.nat.effects import Drop, DropReason, Forward, Side
from holepunch.nat.packet import Packet, Protocol, TCPFlag, UnreachableCode

Treatment = Callable[[Packet], Packet | None]
"""
What to answer to a packet that is kept back; C{None}: nothing.
"""

SERVICE = ("5.1.0.1", "5.2.0.1")


def isOfService(packet: Packet) -> bool:
    """
    Does the packet come from the rendezvous service, or go there?
    """
    return packet.source.host in SERVICE or packet.destination.host in SERVICE


def silence(packet: Packet) -> Packet | None:
    """
    Let it vanish.
    """
    return None


def reset(packet: Packet) -> Packet | None:
    """
    Answer in the name of its destination that nobody listens there.
    """
    return resetFor(packet)


def noRoute(packet: Packet) -> Packet | None:
    """
    Answer that there is no way to its destination.
    """
    return unreachableFor(packet, UnreachableCode.HOST, TransportAddress("192.0.2.1", 0))


def accept(packet: Packet) -> Packet | None:
    """
    Accept the connection in the name of its destination; afterwards say nothing.
    """
    if packet.protocol is not Protocol.TCP or packet.flags != TCPFlag.SYN:
        return None
    return Packet(
        Protocol.TCP,
        packet.destination,
        packet.source,
        flags=TCPFlag.SYN | TCPFlag.ACK,
        sequence=1,
        acknowledgment=packet.sequence + 1,
    )


class Middlebox:
    """
    Stands where a NAT stood, has it translate, and keeps some packets back.

    @param isKept: Which packets, as they are on the inside, are kept back.
    """

    def __init__(
        self, device: NATDevice, isKept: Callable[[Packet], bool], treatment: Treatment
    ) -> None:
        self._device = device
        self._isKept = isKept
        self._treatment = treatment
        self._effects: list[Any] = []

    @classmethod
    def install(
        cls,
        fabric: Fabric,
        nats: Sequence[str],
        isKept: Callable[[Packet], bool],
        treatment: Treatment = silence,
    ) -> None:
        """
        Put one in the place of each NAT.
        """
        for name in nats:
            device: Any = fabric.nat(name)
            middlebox: Any = cls(device, isKept, treatment)
            fabric.install(name, middlebox)

    def receiveInside(self, packet: Packet, now: float) -> None:
        if not self._keeps(packet, Side.INSIDE):
            self._device.receiveInside(packet, now)

    def receiveOutside(self, packet: Packet, now: float) -> None:
        if not self._keeps(packet, Side.OUTSIDE):
            self._device.receiveOutside(packet, now)

    def _keeps(self, packet: Packet, side: Side) -> bool:
        if not self._isKept(packet):
            return False
        self._effects.append(Drop(packet, DropReason.BLOCKED))
        answer = self._treatment(packet)
        if answer is not None:
            self._effects.append(Forward(side, answer))
        return True

    def takeEffects(self) -> list[Any]:
        effects, self._effects = self._effects, []
        return effects + self._device.takeEffects()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)
