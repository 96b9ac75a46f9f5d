"""
Which way the data went: packets and bytes between addresses, at each place; and what NATs dropped.

Owns: the counts.
Knows nothing of: links and NATs.
Driven by: L{Fabric<holepunch.lab.fabric.Fabric>}, as an observer of packets' fates.
"""

from __future__ import annotations

from collections import Counter

import attrs

from holepunch.lab.transit import Fate
from holepunch.nat import Packet, Protocol, carriedProtocol

_MOST_FLOWS = 4096
_PROTOCOLS: dict[int, Protocol] = {each: each for each in Protocol}


@attrs.define(kw_only=True)
class Flow:
    """
    The traffic of one host with one remote IP address, with one protocol.

    @ivar sentBytes: Above IP.
    """

    protocol: Protocol
    local: str
    remote: str
    sent: int = 0
    sentBytes: int = 0
    received: int = 0
    receivedBytes: int = 0


class FlowCounter:
    """
    Counts what hosts send and get. A direct path shows as a flow to the address of the other
    peer's NAT, a relayed one as a flow to the relay.

    The number of flows is bounded: what comes later is not counted.
    """

    def __init__(self) -> None:
        self._flows: dict[tuple[str, Protocol, str, str], Flow] = {}
        self._drops: Counter[tuple[str, str]] = Counter()

    def __call__(self, now: float, place: str, packet: Packet, fate: Fate, reason: str) -> None:
        """
        See L{Fabric.addObserver<holepunch.lab.fabric.Fabric.addObserver>}.
        """
        if fate is Fate.DROPPED:
            self._drops[place, reason] += 1
            return
        protocol = packet.protocol
        if protocol is Protocol.FRAGMENT:
            protocol = _PROTOCOLS.get(carriedProtocol(packet), protocol)
        if fate is Fate.SENT:
            flow = self._flow(place, protocol, packet.source.host, packet.destination.host)
            if flow is not None:
                flow.sent += 1
                flow.sentBytes += len(packet.payload)
        elif fate is Fate.DELIVERED:
            flow = self._flow(place, protocol, packet.destination.host, packet.source.host)
            if flow is not None:
                flow.received += 1
                flow.receivedBytes += len(packet.payload)

    def _flow(self, place: str, protocol: Protocol, local: str, remote: str) -> Flow | None:
        key = (place, protocol, local, remote)
        flow = self._flows.get(key)
        if flow is None and len(self._flows) < _MOST_FLOWS:
            flow = self._flows[key] = Flow(protocol=protocol, local=local, remote=remote)
        return flow

    def flows(self, place: str) -> tuple[Flow, ...]:
        """
        Those of one host, in the order in which they began.
        """
        return tuple(flow for key, flow in self._flows.items() if key[0] == place)

    def drops(self, place: str) -> dict[str, int]:
        """
        How many packets one NAT dropped for each of its reasons.
        """
        return {reason: count for (name, reason), count in self._drops.items() if name == place}
