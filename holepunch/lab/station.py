"""
One interface of a namespace, joined to the fabric: packets on this side, frames on the other.

Owns: the wire, what it carried, what of it was no packet, and the blocks in its way.
Knows nothing of: the topology; where packets come from or go to.
Driven by: its wire, for what the namespace sends; the engine's fabric, for what it gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorFDSet

from holepunch.lab.frames import Ignored, decodeFrame, encodeFrame
from holepunch.lab.isolation import NetworkNamespace
from holepunch.lab.links import Interface, disableOffload, layLink, setAddresses
from holepunch.lab.wire import Wire
from holepunch.nat import Packet, Protocol, carriedProtocol


@attrs.frozen(kw_only=True)
class Block:
    """
    Packets that go no further, in either direction.

    @ivar protocol: Of this protocol; C{None}: of any.
    @ivar remote: From and to this IP address; C{None}: any.
    """

    protocol: Protocol | None = None
    remote: str | None = None

    def matches(self, packet: Packet, remote: str) -> bool:
        """
        Does it stop this packet?
        """
        return self.protocol in (None, carriedProtocol(packet)) and self.remote in (None, remote)


class Station:
    """
    One interface.

    @param near: The name of the wire's near end.
    @param send: Called with each packet that the namespace sends.
    @param keepTime: Called before and after a run of frames.
    @ivar interface: What its far end is.
    @ivar blocks: What is stopped.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        namespace: NetworkNamespace,
        interface: Interface,
        near: str,
        send: Callable[[Packet], object],
        keepTime: Callable[[], None],
        useOffload: bool = True,
    ) -> None:
        self.namespace = namespace
        self.interface = interface
        self.blocks: tuple[Block, ...] = ()
        self._counters: Counter[str] = Counter()
        self._send = send
        layLink(namespace, interface, near)
        self._wire = Wire(reactor, near, self._received, keepTime, useOffload)
        self._hasOffload = self._wire.hasOffload
        if not self._hasOffload:
            disableOffload(namespace, interface.name)

    def readdress(self, interface: Interface) -> None:
        """
        Give the interface other addresses and another way out.
        """
        self.interface = interface
        setAddresses(self.namespace, interface)

    def setMTU(self, mtu: int) -> None:
        """
        Give the interface another MTU.
        """
        if mtu != self.interface.mtu:
            self.readdress(attrs.evolve(self.interface, mtu=mtu))

    def counters(self) -> dict[str, int]:
        """
        How many frames were received, delivered, blocked, lost, or ignored and why.
        """
        self._counters["overflowed"] += self._wire.overflowed()
        return dict(self._counters)

    def _received(self, frame: bytes) -> None:
        packet = decodeFrame(frame, self._hasOffload)
        if isinstance(packet, Ignored):
            self._counters[packet.value] += 1
            return
        self._counters["received"] += 1
        if self.blocks and self._isBlocked(packet, packet.destination.host):
            return
        self._send(packet)

    def deliver(self, packet: Packet) -> None:
        """
        Hand a packet to the namespace.
        """
        if self.blocks and self._isBlocked(packet, packet.source.host):
            return
        taken = self._wire.write(encodeFrame(packet, self._hasOffload))
        self._counters["delivered" if taken else "not taken by the kernel"] += 1

    def _isBlocked(self, packet: Packet, remote: str) -> bool:
        if any(block.matches(packet, remote) for block in self.blocks):
            self._counters["blocked"] += 1
            return True
        return False
