"""
The places in the network where a packet changes its direction.

Owns: the decision where a packet goes next: switches, hosts' interfaces, NATs.
Knows nothing of: delays and loss; which topology it is part of.
Driven by: L{holepunch.lab.fabric}, and by packets arriving out of L{Transit}.
"""

from __future__ import annotations

import abc
import ipaddress
from collections.abc import Callable, Mapping, Sequence

from holepunch.address import Family, TransportAddress
from holepunch.errors import BadTopology
from holepunch.lab.fragments import divided, fragmentLimit, ipLength, tooBigFor
from holepunch.lab.link import Link
from holepunch.lab.part import Subnet
from holepunch.lab.refusal import unreachableFor
from holepunch.lab.router import Router
from holepunch.lab.transit import Fate, Step, Transit
from holepunch.nat.device import NATDevice
from holepunch.nat.effects import Drop, Side
from holepunch.nat.packet import Packet, Protocol, UnreachableCode

_MOST_WAYS = 4096

#: Called with the time and a packet.
Tap = Callable[[float, Packet], object]


class Network:
    """
    A switch: the core, or the network behind a NAT.

    @ivar members: Who has which address.
    @ivar gateway: The NAT that leads outside; C{None} in the core.
    @param routers: The address that sends ICMP errors, of each family.
    @param answersUnroutable: Answer with an ICMP host unreachable where there is no way; otherwise
        such packets vanish.
    """

    gateway: NATNode | None = None

    def __init__(
        self, transit: Transit, routers: Mapping[Family, TransportAddress], answersUnroutable: bool
    ) -> None:
        self.members: dict[str, Node] = {}
        self._transit = transit
        self._routers = routers
        self._routes: tuple[tuple[Subnet, NATNode], ...] = ()
        # What was found in them, by the address.
        self._ways: dict[str, NATNode | None] = {}
        self._answersUnroutable = answersUnroutable

    def fromMember(self, packet: Packet) -> None:
        """
        Pass on what a member of the network sent.
        """
        member = self.members.get(packet.destination.host) or self._way(packet)
        if member is not None:
            member.descend(packet)
        elif self.gateway is not None:
            self.gateway.fromInside(packet)
        else:
            self._giveUp("core", packet)

    def fromGateway(self, packet: Packet) -> None:
        """
        Pass on what the gateway sends into the network.
        """
        member = self.members.get(packet.destination.host) or self._way(packet)
        if member is not None:
            member.descend(packet)
        elif self.gateway is not None:
            self._giveUp(self.gateway.name, packet)

    def addRoute(self, subnet: Subnet, router: NATNode) -> None:
        """
        Send packets for a subnet to a router from now on.
        """
        self._routes += ((subnet, router),)
        self._ways.clear()

    def _way(self, packet: Packet) -> NATNode | None:
        """
        The router that leads to the destination of a packet, where it is not translated.
        """
        if not self._routes:
            return None
        host = packet.destination.host
        if host not in self._ways:
            if len(self._ways) >= _MOST_WAYS:
                self._ways.clear()
            parsed = ipaddress.ip_address(host)
            found = (router for subnet, router in self._routes if parsed in subnet)
            self._ways[host] = next(found, None)
        return self._ways[host]

    def _giveUp(self, place: str, packet: Packet) -> None:
        self._transit.tell(place, packet, Fate.UNROUTABLE)
        router = self._routers.get(packet.source.family)
        if self._answersUnroutable and router is not None:
            self._answer(place, unreachableFor(packet, UnreachableCode.HOST, router))

    def router(self, family: Family) -> TransportAddress | None:
        """
        The address that sends ICMP errors.
        """
        return self._routers.get(family)

    def _answer(self, place: str, answer: Packet | None) -> None:
        if answer is not None:
            self._transit.tell(place, answer, Fate.SENT)
            self.fromMember(answer)


class Node(abc.ABC):
    """
    Something with addresses in a network, and a link to it.

    @ivar hosts: Its IP addresses there.
    @ivar taps: Called with the time and each packet that crosses the link, at this end of it.
    """

    def __init__(
        self, transit: Transit, network: Network, link: Link, hosts: Sequence[str]
    ) -> None:
        self.name = link.name
        self.taps: tuple[Tap, ...] = ()
        self.link = link
        self.transit = transit
        self._checkFree(network, hosts)
        self._join(network, hosts)

    def move(self, network: Network, hosts: Sequence[str]) -> None:
        """
        Leave the network and join another, or the same with other addresses.

        @raise BadTopology: Another member has one of the addresses.
        """
        self._checkFree(network, hosts)
        for host in self.hosts:
            del self.network.members[host]
        self._join(network, hosts)

    def climb(self, packet: Packet) -> None:
        """
        Send a packet over the link into the network.
        """
        if len(packet.payload) > self.link.surelyFits:
            for piece in self._fitting(packet, True):
                self._climb(piece)
        elif self.taps:
            self._climb(packet)
        else:
            self.transit.cross(self.link, True, self._climbed, packet)

    def descend(self, packet: Packet) -> None:
        """
        Send a packet over the link from the network to here.
        """
        step = self._descended if self.taps else self.receive
        if len(packet.payload) > self.link.surelyFits:
            for piece in self._fitting(packet, False):
                self.transit.cross(self.link, False, step, piece)
        else:
            self.transit.cross(self.link, False, step, packet)

    @abc.abstractmethod
    def receive(self, packet: Packet) -> None:
        """
        A packet has come over the link.
        """

    def freeHosts(self) -> tuple[str, ...]:
        """
        As many addresses as it has, that nobody in the network has: the next ones above.
        """
        found: list[str] = []
        for host in self.hosts:
            candidate = ipaddress.ip_address(host) + 1
            while str(candidate) in self.network.members or str(candidate) in found:
                candidate += 1
            found.append(str(candidate))
        return tuple(found)

    def _climb(self, packet: Packet) -> None:
        if self.taps:
            self._tap(packet)
        self.transit.cross(self.link, True, self._climbed, packet)

    def _fitting(self, packet: Packet, isUpward: bool) -> Sequence[Packet]:
        """
        What of a packet can cross the link: the whole, its fragments, or nothing.
        """
        link = self.link
        if link.spec.losesFragments and packet.protocol is Protocol.FRAGMENT:
            self._lose(packet)
            return ()
        mtu = link.spec.mtu
        length = ipLength(packet)
        # One that came in fragments leaves in fragments, even if the whole were not too long.
        if length <= mtu and not getattr(packet.payload, "largestFragment", 0):
            return (packet,)
        limit = fragmentLimit(packet, mtu)
        if length <= (limit or mtu):
            return (packet,)
        if limit:
            pieces = divided(packet, limit, self.transit.identification())
            if not link.spec.losesFragments:
                return pieces
            for piece in pieces:
                self._lose(piece)
            return ()
        link.counters.tooBig += 1
        self.transit.tell(self.name, packet, Fate.TOO_BIG)
        if not link.spec.isBlackHole:
            self._complain(packet, isUpward)
        return ()

    def _complain(self, packet: Packet, isUpward: bool) -> None:
        """
        Tell the sender of a packet that it is longer than the link carries.
        """
        router = self._router(packet.source.family, isUpward)
        answer = None if router is None else tooBigFor(packet, self.link.spec.mtu, router)
        if answer is None:
            return
        self.transit.tell(self.name, answer, Fate.SENT)
        if isUpward:
            self.receive(answer)
        else:
            self.network.fromMember(answer)

    def _router(self, family: Family, isUpward: bool) -> TransportAddress | None:
        """
        The address of who is before the link.
        """
        return self.network.router(family)

    def _lose(self, packet: Packet) -> None:
        self.link.counters.sent += 1
        self.link.counters.lost += 1
        self.transit.tell(self.name, packet, Fate.LOST)

    def _climbed(self, packet: Packet) -> None:
        self.network.fromMember(packet)

    def _descended(self, packet: Packet) -> None:
        self._tap(packet)
        self.receive(packet)

    def _tap(self, packet: Packet) -> None:
        for tap in self.taps:
            tap(self.transit.now(), packet)

    def _checkFree(self, network: Network, hosts: Sequence[str]) -> None:
        for host in hosts:
            owner = network.members.get(host, self)
            if owner is not self:
                raise BadTopology(f"{owner.name!r} and {self.name!r} both have the address {host}")

    def _join(self, network: Network, hosts: Sequence[str]) -> None:
        self.network = network
        self.hosts = tuple(hosts)
        for host in self.hosts:
            network.members[host] = self


class HostNode(Node):
    """
    The interface of a host.

    @ivar deliver: Takes the packets; C{None} while the host is down.
    """

    deliver: Step | None = None

    def receive(self, packet: Packet) -> None:
        if self.deliver is None:
            self.transit.tell(self.name, packet, Fate.UNATTACHED)
            return
        self.transit.tell(self.name, packet, Fate.DELIVERED)
        self.deliver(packet)


class NATNode(Node):
    """
    A NAT; its link is the one outside.
    """

    def __init__(
        self,
        transit: Transit,
        network: Network,
        link: Link,
        hosts: Sequence[str],
        device: NATDevice | Router,
        inside: Network,
    ) -> None:
        super().__init__(transit, network, link, hosts)
        self.device = device
        self.inside = inside
        inside.gateway = self

    def receive(self, packet: Packet) -> None:
        self.device.receiveOutside(packet, self.transit.now())
        self.passOn()

    def _router(self, family: Family, isUpward: bool) -> TransportAddress | None:
        if not isUpward:
            return super()._router(family, isUpward)
        own = (TransportAddress(host, 0) for host in self.hosts)
        return next((address for address in own if address.family is family), None)

    def fromInside(self, packet: Packet) -> None:
        """
        A packet of the network inside wants to get out.
        """
        self.device.receiveInside(packet, self.transit.now())
        self.passOn()

    def passOn(self) -> None:
        """
        Carry out what the device wants done.
        """
        for effect in self.device.takeEffects():
            packet = effect.packet
            if isinstance(effect, Drop):
                self.transit.tell(self.name, packet, Fate.DROPPED, effect.reason.value)
                continue
            self.transit.tell(self.name, packet, Fate.TRANSLATED)
            if effect.side is Side.OUTSIDE:
                self.climb(packet)
            else:
                self.inside.fromGateway(packet)
