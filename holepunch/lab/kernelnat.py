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
from holepunch.lab.isolation import NetworkNamespace
from holepunch.lab.links import Interface
from holepunch.lab.station import Station
from holepunch.lab.topology import NATSpec
from holepunch.nat import (
    Drop,
    DropReason,
    Forward,
    MappingView,
    Packet,
    PortAllocation,
    Protocol,
    Side,
    Unsolicited,
)

_RULES = """
table ip holepunch {{
    chain translate {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "wan" masquerade {ports}
    }}
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
    Unsolicited.ICMP: "reject with icmp port-unreachable",
}


class KernelNAT:
    """
    One router.

    What of the behaviour the kernel can be told is what unsolicited packets get, and whether ports
    are kept or random.

    @param effectsReady: Called when L{takeEffects} has something.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        namespace: NetworkNamespace,
        spec: NATSpec,
        near: tuple[str, str],
        effectsReady: Callable[[], object],
        keepTime: Callable[[], None],
        useOffload: bool = True,
    ) -> None:
        self.namespace = namespace
        self._effects: list[Forward | Drop] = []
        self._blocked: set[Protocol] = set()
        self._effectsReady = effectsReady
        namespace.setting("ipv4.ip_forward", 1)
        self._inside = Station(
            reactor,
            namespace,
            Interface(
                name="lan",
                addresses=(spec.gateway,),
                prefix=spec.subnet.prefixlen,
                isDefault=False,
            ),
            near[0],
            lambda packet: self._forward(Side.INSIDE, packet),
            keepTime,
            useOffload,
        )
        self._outside = Station(
            reactor,
            namespace,
            Interface(name="wan", addresses=spec.addresses, mtu=spec.link.interfaceMTU),
            near[1],
            lambda packet: self._forward(Side.OUTSIDE, packet),
            keepTime,
            useOffload,
        )
        self._setRules(spec)

    def _setRules(self, spec: NATSpec) -> None:
        rules = _RULES.format(
            ports="" if spec.behaviour.ports is PortAllocation.PRESERVED else "fully-random",
            answer=_ANSWERS[spec.behaviour.unsolicited],
        )
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
        with self.namespace.entered(), NFCTSocket() as connections:
            connections.flush()

    def rebind(self, externalHosts: Sequence[str]) -> None:
        """
        Take other external addresses.
        """
        interface = attrs.evolve(self._outside.interface, addresses=tuple(externalHosts))
        self._outside.readdress(interface)
        self.flush()

    def setMTU(self, mtu: int) -> None:
        """
        Give the outer interface another MTU.
        """
        self._outside.setMTU(mtu)

    def mappings(self, now: float) -> tuple[MappingView, ...]:
        """
        The connections that are translated at the moment, one by one.
        """
        with self.namespace.entered(), NFCTSocket() as connections:
            views = [_view(connection, now) for connection in connections.dump()]
        return tuple(view for view in views if view.internal.host != view.external.host)

    def counters(self) -> dict[str, Any]:
        """
        What its two interfaces carried.
        """
        return {"inside": self._inside.counters(), "outside": self._outside.counters()}


def _view(connection: Any, now: float) -> MappingView:
    """
    An entry of the kernel's table: where a flow goes, and to where the answers are to come.
    """
    number, internal, remote = _tuple(connection.get_attr("CTA_TUPLE_ORIG"))
    _, _, external = _tuple(connection.get_attr("CTA_TUPLE_REPLY"))
    return MappingView(
        protocol=Protocol(number),
        internal=internal,
        external=external,
        remotes=(remote,),
        expiresAt=now + connection.get_attr("CTA_TIMEOUT"),
    )


def _tuple(plain: Any) -> tuple[int, TransportAddress, TransportAddress]:
    hosts, ports = plain.get_attr("CTA_TUPLE_IP"), plain.get_attr("CTA_TUPLE_PROTO")
    return (
        ports.get_attr("CTA_PROTO_NUM"),
        *(
            TransportAddress(
                hosts.get_attr(f"CTA_IP_V4_{end}"), ports.get_attr(f"CTA_PROTO_{end}_PORT")
            )
            for end in ("SRC", "DST")
        ),
    )
