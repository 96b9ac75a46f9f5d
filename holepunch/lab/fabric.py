"""
The network between hosts: links, switches, routing, and the model NATs.

Owns: the way of a packet from the host that sends it to the one that gets it, or to its end.
Knows nothing of: what is inside a packet; whether the hosts are simulated or kernel namespaces.
Driven by: the back ends, which attach their hosts and send packets.

A packet climbs the sender's link to the network that the host is in. There it goes to the member
with its destination address; or, in the network behind a NAT, through that NAT and over the NAT's
own link to the next network outside; or, in the core, nowhere. At the last link it comes down to
its destination::

    alice --link-- (LAN) nat-alice --link-- (core) --link-- rendezvous

Everything in flight is in one queue with one timer, so the clock sees one call for all packets that
arrive at one moment, and links without latency cost no call at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random

from twisted.internet.interfaces import IReactorTime

from holepunch.address import TransportAddress
from holepunch.lab.link import Link, LinkCounters
from holepunch.lab.node import HostNode, NATNode, Network, Tap
from holepunch.lab.refusal import echoReplyFor
from holepunch.lab.router import Router, deviceFor
from holepunch.lab.topology import LinkSpec, NATSpec, Topology
from holepunch.lab.transit import Fate, FateObserver, Step, Transit
from holepunch.nat.device import NATDevice
from holepunch.nat.packet import Packet

__all__ = ["CORE_ROUTER", "CORE_ROUTER_6", "Fabric", "Fate", "FateObserver"]

#: The address in the core that sends ICMP errors.
CORE_ROUTER = TransportAddress("5.0.0.1", 0)
#: The same for IPv6.
CORE_ROUTER_6 = TransportAddress("2001:db8::1", 0)


class Fabric:
    """
    The network that a topology describes, in operation.

    @param clock: Tells the time and wakes the fabric up when a packet is due.
    @param seed: All randomness, of links and NATs, comes from it and from the parts' names.
    @param answersUnroutable: Answer a packet to an address that does not exist with an ICMP host
        unreachable; otherwise it vanishes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        topology: Topology,
        seed: int = 0,
        answersUnroutable: bool = False,
    ) -> None:
        self.topology = topology
        self._seed = seed
        self._transit = Transit(clock)
        routers = {each.family: each for each in (CORE_ROUTER, CORE_ROUTER_6)}
        core = Network(self._transit, routers, answersUnroutable)
        self._networks: dict[str | None, Network] = {None: core}
        self._nats: dict[str, NATNode] = {}
        self._hosts: dict[str, HostNode] = {}
        for nat in sorted(topology.nats, key=lambda nat: len(topology.natsAbove(nat))):
            self._addNAT(nat, answersUnroutable)
        self._addRoutes()
        for host in topology.hosts:
            for each in host.allInterfaces:
                network = self._networks[each.behind]
                self._hosts[each.name] = HostNode(
                    self._transit, network, self._link(each.name, each.link), each.addresses
                )

    def attach(self, host: str, deliver: Step | None) -> None:
        """
        Hand the packets for C{host} to C{deliver} from now on; with C{None}, drop them.

        @param host: The name of a host, or of one of its further interfaces; or that of a NAT, for
            packets to its gateway addresses, which otherwise answer echoes alone.
        """
        self._host(host).deliver = deliver

    def send(self, host: str, packet: Packet) -> None:
        """
        Send a packet from C{host}, by the interface of that name.

        With links of no latency, this hands it to its destination before it returns.
        """
        self._transit.tell(host, packet, Fate.SENT)
        self._host(host).climb(packet)
        self._transit.drain()

    def nat(self, name: str) -> NATDevice | Router:
        """
        The device that stands for the NAT of that name.
        """
        return self._nat(name).device

    def install(self, name: str, device: NATDevice) -> None:
        """
        Put another device in the place of a NAT's, with the same methods.
        """
        self._nat(name).device = device

    def passOn(self, name: str) -> None:
        """
        Take the effects of a NAT's device that no packet of the fabric brought about.
        """
        self._nat(name).passOn()
        self._transit.drain()

    def flushNAT(self, name: str) -> None:
        """
        Let a NAT forget all its mappings, as a restart does.
        """
        self._nat(name).device.flush()

    def rebindNAT(self, name: str, hosts: Sequence[str]) -> None:
        """
        Give a NAT other external addresses, as a provider may do at night; its mappings are lost.
        """
        node = self._nat(name)
        node.move(node.network, hosts)
        node.device.rebind(hosts)

    def moveHost(self, name: str, hosts: Sequence[str], behind: str | None) -> None:
        """
        Take a host to another network, as a telephone does; packets for the old addresses are lost.
        """
        if behind is not None:
            self._nat(behind)
        self._host(name).move(self._networks[behind], hosts)

    def setLink(self, name: str, link: LinkSpec) -> None:
        """
        Change the link of a host or NAT for the packets that are still to be sent.
        """
        self._node(name).link.spec = link

    def interfaceMTU(self, name: str) -> int:
        """
        What a host or NAT takes for the MTU of its link.
        """
        return self._node(name).link.spec.interfaceMTU

    def counters(self, name: str) -> LinkCounters:
        """
        What has happened on the link of a host or NAT.
        """
        return self._node(name).link.counters

    def hosts(self, name: str) -> tuple[str, ...]:
        """
        The addresses that a host or NAT has at the moment.
        """
        return self._node(name).hosts

    def freeHosts(self, name: str) -> tuple[str, ...]:
        """
        Other addresses, free in its network, that a host or NAT could have.
        """
        return self._node(name).freeHosts()

    def addTap(self, name: str, tap: Tap) -> None:
        """
        Show C{tap} every packet that crosses the link of a host or NAT, at that end of it.
        """
        self._node(name).taps += (tap,)

    def removeTap(self, name: str, tap: Tap) -> None:
        """
        Show C{tap} no more.
        """
        node = self._node(name)
        node.taps = tuple(each for each in node.taps if each is not tap)

    def addObserver(self, observer: FateObserver) -> None:
        """
        Tell C{observer} of every packet from now on, and what becomes of it.
        """
        self._transit.observers.append(observer)

    def removeObserver(self, observer: FateObserver) -> None:
        """
        Tell C{observer} no more.
        """
        self._transit.observers.remove(observer)

    def _addNAT(self, nat: NATSpec, answersUnroutable: bool) -> None:
        gateways = [TransportAddress(each, 0) for each in nat.gateways]
        routers = {each.family: each for each in gateways}
        inside = Network(self._transit, routers, answersUnroutable)
        self._networks[nat.name] = inside
        random = Random(f"{self._seed}/{nat.name}/ports")
        self._nats[nat.name] = NATNode(
            self._transit,
            self._networks[nat.behind],
            self._link(nat.name, nat.link),
            nat.addresses,
            deviceFor(nat, random, self._transit.now()),
            inside,
        )
        # To the network inside, the NAT is a host as well: the one with the gateway's addresses.
        link = self._link(nat.name, LinkSpec(latency=0.0))
        gateway = HostNode(self._transit, inside, link, nat.gateways)
        gateway.deliver = partial(_answerEcho, gateway)
        self._hosts[nat.name] = gateway

    def _addRoutes(self) -> None:
        """
        Let every network above a NAT know the way to addresses that are not translated: up to the
        core, or to the network behind a NAT that translates them.
        """
        for nat in self.topology.nats:
            for subnet in nat.routed:
                self._networks[nat.behind].addRoute(subnet, self._nats[nat.name])
                for above in self.topology.natsAbove(nat):
                    if subnet.version == 4 and above.translates:
                        break
                    self._networks[above.behind].addRoute(subnet, self._nats[above.name])

    def _link(self, name: str, spec: LinkSpec) -> Link:
        return Link(name, spec, Random(f"{self._seed}/{name}/link"))

    def _host(self, name: str) -> HostNode:
        try:
            return self._hosts[name]
        except KeyError:
            self.topology.host(name)
            raise

    def _nat(self, name: str) -> NATNode:
        try:
            return self._nats[name]
        except KeyError:
            self.topology.nat(name)
            raise

    def _node(self, name: str) -> HostNode | NATNode:
        return self._nats.get(name) or self._host(name)


def _answerEcho(gateway: HostNode, packet: Packet) -> None:
    reply = echoReplyFor(packet)
    if reply is not None:
        gateway.climb(reply)
