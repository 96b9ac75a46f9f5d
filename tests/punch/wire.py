"""
A small network in memory for whole sessions: hosts, NATs, UDP datagrams, and just enough TCP.

Owns: time, the way of each packet, connection set-up with simultaneous open.
Knows nothing of: Twisted; kernels; what a session does.
Driven by: the tests of whole sessions, through L{tests.punch.station}.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import attrs

from holepunch.address import TransportAddress
from holepunch.nat import Forward, NATBehaviour, NATDevice, Packet, Protocol, Side, TCPFlag
from holepunch.nat.packet import ICMPError, ICMPType


@attrs.define(eq=False)
class Network:
    """
    One network: the public one, or one behind a NAT.

    @ivar gateway: The NAT between this network and its C{parent}.
    """

    parent: Network | None = None
    gateway: NATDevice | None = None
    hosts: dict[str, Callable[[Packet], None]] = attrs.field(factory=dict)
    children: dict[str, Network] = attrs.field(factory=dict)


@attrs.define(eq=False, kw_only=True)
class Wire:
    """
    The clock and the routing; the same seed gives the same run.

    @ivar latency: One way between two networks, in seconds; inside one it is a hundredth of that.
    @ivar loss: The share of datagrams and of SYNs that the public network loses.
    @ivar hops: How many routers there are between two networks.
    @ivar jitter: Up to how much longer a packet may take, as a share of the latency.
    """

    seed: int = 0
    latency: float = 0.03
    loss: float = 0.0
    jitter: float = 0.0
    hops: int = 0
    now: float = 1000.0
    public: Network = attrs.field(factory=Network)
    random: random.Random = attrs.field(init=False)
    _queue: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)
    _order: itertools.count[int] = attrs.field(factory=itertools.count)

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def addNAT(
        self, behaviour: NATBehaviour, external: str, parent: Network | None = None
    ) -> Network:
        """
        A new network behind a NAT.
        """
        parent = self.public if parent is None else parent
        device = NATDevice(behaviour, [external], self.random, self.now)
        network = Network(parent, device)
        parent.children[external] = network
        return network

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """
        Do something in C{delay} seconds.
        """
        heapq.heappush(self._queue, (self.now + delay, next(self._order), call))

    def nextAt(self) -> float | None:
        """
        When something happens next.
        """
        return self._queue[0][0] if self._queue else None

    def step(self) -> None:
        """
        Let the next thing happen.
        """
        at, _, call = heapq.heappop(self._queue)
        self.now = max(self.now, at)
        call()

    def send(self, network: Network, packet: Packet) -> None:
        """
        A host of C{network} sends C{packet}.
        """
        self.callLater(self.latency / 100, lambda: self._route(network, packet))

    def _route(self, network: Network, packet: Packet) -> None:
        host = packet.destination.host
        if host in network.hosts:
            network.hosts[host](packet)
        elif host in network.children:
            child = network.children[host]
            assert child.gateway is not None
            child.gateway.receiveOutside(packet, self.now)
            self._carryOut(child)
        elif network.gateway is not None:
            network.gateway.receiveInside(packet, self.now)
            self._carryOut(network)

    def _carryOut(self, network: Network) -> None:
        assert network.gateway is not None and network.parent is not None
        for effect in network.gateway.takeEffects():
            if isinstance(effect, Forward) and effect.side is Side.INSIDE:
                self._route(network, effect.packet)
            elif isinstance(effect, Forward):
                self._cross(network.parent, effect.packet)

    def _cross(self, network: Network, packet: Packet) -> None:
        isFragile = packet.protocol is Protocol.UDP or TCPFlag.SYN in packet.flags
        if isFragile and self.random.random() < self.loss:
            return
        delay = self.latency * (1 + self.jitter * self.random.random())
        if packet.ttl <= self.hops and packet.icmp is None:
            self.callLater(delay, lambda: self._route(network, expired(packet)))
            return
        if self.hops:
            packet = attrs.evolve(packet, ttl=packet.ttl - self.hops)
        self.callLater(delay, lambda: self._route(network, packet))


def expired(packet: Packet) -> Packet:
    """
    What a router says of a packet that it does not forward any more.
    """
    return Packet(
        Protocol.ICMP,
        TransportAddress("198.51.100.254", 0),
        TransportAddress(packet.source.host, 0),
        icmp=ICMPError(ICMPType.TIME_EXCEEDED, 0, packet),
    )


def address(text: str) -> TransportAddress:
    """
    A transport address, written shortly.
    """
    return TransportAddress.parse(text)
