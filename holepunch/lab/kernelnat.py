"""
A NAT that is the kernel's own: a namespace that forwards packets and masquerades them (nftables).

Owns: the router's namespace, its two interfaces, its rules, its table of connections.
Knows nothing of: the topology around it.
Driven by: the fabric, in the place of a model NAT. Unlike that one, its effects come later, when
the kernel has done its work.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from pyroute2 import NFCTSocket
from twisted.internet.interfaces import IReactorFDSet

from holepunch.address import TransportAddress
from holepunch.errors import LabError
from holepunch.lab.icmptype import ECHO_REQUESTS
from holepunch.lab.isolation import NetworkNamespace
from holepunch.lab.links import Interface
from holepunch.lab.station import Station
from holepunch.lab.topology import NATSpec
from holepunch.nat import (
    ECHO_PORT,
    Drop,
    DropReason,
    Filtering,
    Forward,
    MappingView,
    NATBehaviour,
    Packet,
    PortAllocation,
    Protocol,
    Side,
    Unsolicited,
)

_TRANSLATION = """
table ip holepunch {{
    chain translate {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "wan" masquerade {ports}
    }}
}}
"""
_FILTER = """
table {family} filter {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "wan" ct state established,related accept
        iifname "wan" {answer}
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "wan" ct state established,related accept
        iifname "wan" {answer}
    }}
}}
"""
_ANSWERS = {
    Unsolicited.DROP: "drop",
    Unsolicited.RST: 'meta l4proto tcp reject with tcp reset\n        iifname "wan" drop',
    Unsolicited.ICMP: "reject with {icmp} port-unreachable",
}
_ICMP = {"ip": "icmp", "ip6": "icmpv6"}


# linux/socket.h: AF_UNSPEC.
_EVERY_FAMILY = 0
_QUERIES = {1: "CTA_PROTO_ICMP_ID", 58: "CTA_PROTO_ICMPV6_ID"}


class KernelNAT:
    """
    One router.

    What of the behaviour the kernel can be told is what unsolicited packets get, and whether ports
    are kept or random. Of a firewall, it is what the unsolicited get, and whether they are let in.

    @param subnets: What other routers inside lead to.
    @param effectsReady: Called when L{takeEffects} has something.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        namespace: NetworkNamespace,
        spec: NATSpec,
        near: tuple[str, str],
        subnets: tuple[str, ...],
        effectsReady: Callable[[], object],
        keepTime: Callable[[], None],
        useOffload: bool = True,
    ) -> None:
        self.namespace = namespace
        self._effects: list[Forward | Drop] = []
        self._blocked = set(spec.behaviour.blocked)
        self._effectsReady = effectsReady
        namespace.setting("ipv4.ip_forward", 1)
        # Before there are interfaces, which would take it for a host's.
        if any(subnet.version == 6 for subnet in spec.subnets):
            namespace.setting("ipv6.conf.all.forwarding", 1)
            namespace.setting("ipv6.conf.default.forwarding", 1)
        self._inside = Station(
            reactor,
            namespace,
            Interface(
                name="lan",
                addresses=tuple(
                    f"{gateway}/{subnet.prefixlen}"
                    for gateway, subnet in zip(spec.gateways, spec.subnets, strict=True)
                ),
                isDefault=False,
                subnets=subnets,
            ),
            near[0],
            lambda packet: self._forward(Side.INSIDE, packet),
            keepTime,
            useOffload,
        )
        self._outside = Station(
            reactor,
            namespace,
            Interface(name="wan", addresses=_alone(spec.addresses), mtu=spec.link.interfaceMTU),
            near[1],
            lambda packet: self._forward(Side.OUTSIDE, packet),
            keepTime,
            useOffload,
        )
        self._setRules(spec)

    def _setRules(self, spec: NATSpec) -> None:
        kept = spec.behaviour.ports is PortAllocation.PRESERVED
        rules = ""
        if spec.translates:
            rules += _TRANSLATION.format(ports="" if kept else "fully-random")
        if spec.translates or not _letsAllIn(spec.behaviour):
            rules += _filter("ip", spec.behaviour)
        if not _letsAllIn(spec.firewall):
            rules += _filter("ip6", spec.firewall)
        try:
            with self.namespace.entered():
                subprocess.run(
                    ["nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True
                )
        except FileNotFoundError:
            raise LabError(f"The NAT {spec.name!r} needs the command nft (package nftables).")
        except subprocess.CalledProcessError as error:
            raise LabError(f"The kernel cannot be the NAT {spec.name!r}: {error.stderr.strip()}")

    def _forward(self, side: Side, packet: Packet) -> None:
        self._effects.append(Forward(side, packet))
        self._effectsReady()

    def receiveInside(self, packet: Packet, now: float) -> None:
        """
        Hand the kernel a packet from inside.
        """
        if not self._isDropped(packet):
            self._inside.deliver(packet)

    def receiveOutside(self, packet: Packet, now: float) -> None:
        """
        Hand the kernel a packet from outside.
        """
        if not self._isDropped(packet):
            self._outside.deliver(packet)

    def _isDropped(self, packet: Packet) -> bool:
        if packet.protocol not in self._blocked:
            return False
        self._effects.append(Drop(packet, DropReason.BLOCKED))
        return True

    def takeEffects(self) -> list[Forward | Drop]:
        """
        What the kernel sent since the last call; it does not say what it drops.
        """
        effects, self._effects = self._effects, []
        return effects

    def block(self, protocol: Protocol) -> None:
        """
        Keep packets of C{protocol} away from the kernel.
        """
        self._blocked.add(protocol)

    def unblock(self, protocol: Protocol) -> None:
        """
        Give them to it again.
        """
        self._blocked.discard(protocol)

    def flush(self) -> None:
        """
        Forget every connection.
        """
        with self.namespace.entered(), NFCTSocket(_EVERY_FAMILY) as connections:
            connections.flush()

    def rebind(self, externalHosts: Sequence[str]) -> None:
        """
        Take other external addresses.
        """
        interface = attrs.evolve(self._outside.interface, addresses=_alone(externalHosts))
        self._outside.readdress(interface)
        self.flush()

    def setMTU(self, mtu: int) -> None:
        """
        Give the outer interface another MTU.
        """
        self._outside.setMTU(mtu)

    def mappings(self, now: float) -> tuple[MappingView, ...]:
        """
        The connections that pass at the moment, one by one.
        """
        with self.namespace.entered(), NFCTSocket(_EVERY_FAMILY) as connections:
            known = [_view(connection, now) for connection in connections.dump()]
        own = {each.partition("/")[0] for each in self._outside.interface.addresses}
        return tuple(view for view in known if view and view.internal.host not in own)

    def counters(self) -> dict[str, Any]:
        """
        What its two interfaces carried.
        """
        return {"inside": self._inside.counters(), "outside": self._outside.counters()}


def _alone(hosts: Sequence[str]) -> tuple[str, ...]:
    """
    Addresses in the core, each with the prefix of a subnet of its own.
    """
    return tuple(f"{host}/{128 if ':' in host else 32}" for host in hosts)


def _letsAllIn(behaviour: NATBehaviour) -> bool:
    return behaviour.filtering is Filtering.ENDPOINT_INDEPENDENT


def _filter(family: str, behaviour: NATBehaviour) -> str:
    answer = _ANSWERS[behaviour.unsolicited].format(icmp=_ICMP[family])
    return _FILTER.format(family=family, answer=answer)


def _view(connection: Any, now: float) -> MappingView | None:
    """
    An entry of the kernel's table: where a flow goes, and to where the answers are to come.

    @return: C{None}: its protocol is none of the lab's.
    """
    original = _tuple(connection.get_attr("CTA_TUPLE_ORIG"))
    reply = _tuple(connection.get_attr("CTA_TUPLE_REPLY"))
    if original is None or reply is None:
        return None
    number, internal, remote = original
    external = reply[2]
    return MappingView(
        protocol=Protocol(number),
        internal=internal,
        external=external,
        remotes=(remote,),
        expiresAt=now + connection.get_attr("CTA_TIMEOUT"),
    )


def _tuple(plain: Any) -> tuple[int, TransportAddress, TransportAddress] | None:
    hosts, ports = plain.get_attr("CTA_TUPLE_IP"), plain.get_attr("CTA_TUPLE_PROTO")
    number = ports.get_attr("CTA_PROTO_NUM")
    local, remote = (
        hosts.get_attr(f"CTA_IP_V4_{end}") or hosts.get_attr(f"CTA_IP_V6_{end}")
        for end in ("SRC", "DST")
    )
    if number in _QUERIES:
        identifier = ports.get_attr(_QUERIES[number]) or 0
        kind = ports.get_attr("CTA_PROTO_ICMP_TYPE" if number == 1 else "CTA_PROTO_ICMPV6_TYPE")
        ends = (identifier, ECHO_PORT) if kind in ECHO_REQUESTS else (ECHO_PORT, identifier)
        number = int(Protocol.ICMP)
    elif number in (Protocol.UDP, Protocol.TCP):
        ends = ports.get_attr("CTA_PROTO_SRC_PORT"), ports.get_attr("CTA_PROTO_DST_PORT")
    else:
        return None
    return number, TransportAddress(local, ends[0]), TransportAddress(remote, ends[1])
