"""
A router of both IP versions: a NAT or a firewall for IPv4, a firewall for IPv6.

Owns: which of the two devices a packet goes to; both as one.
Knows nothing of: what the devices decide.
Driven by: L{NATNode<holepunch.lab.node.NATNode>}, in the place of a single device.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from holepunch.lab.part import NATSpec
from holepunch.nat.device import NATDevice
from holepunch.nat.effects import Drop, Forward
from holepunch.nat.packet import Packet, Protocol
from holepunch.nat.session import MappingView


class Router:
    """
    Two devices, with the methods of L{NATDevice}.
    """

    def __init__(self, spec: NATSpec, random: Random, now: float) -> None:
        self._translates = spec.translates
        hosts = _translated(spec.addresses) if spec.translates else ()
        self._four = NATDevice(spec.behaviour, hosts, random, now, spec.addresses)
        self._six = NATDevice(spec.firewall, (), random, now, spec.addresses)
        self._both = (self._four, self._six)

    def receiveInside(self, packet: Packet, now: float) -> None:
        """
        See L{NATDevice.receiveInside}.
        """
        device = self._six if ":" in packet.source.host else self._four
        device.receiveInside(packet, now)

    def receiveOutside(self, packet: Packet, now: float) -> None:
        """
        See L{NATDevice.receiveOutside}.
        """
        device = self._six if ":" in packet.source.host else self._four
        device.receiveOutside(packet, now)

    def takeEffects(self) -> list[Forward | Drop]:
        """
        See L{NATDevice.takeEffects}.
        """
        return [*self._four.takeEffects(), *self._six.takeEffects()]

    def mappings(self, now: float) -> tuple[MappingView, ...]:
        """
        See L{NATDevice.mappings}; those of a firewall lead from an address to itself.
        """
        return (*self._four.mappings(now), *self._six.mappings(now))

    def flush(self) -> None:
        """
        See L{NATDevice.flush}.
        """
        for device in self._both:
            device.flush()

    def rebind(self, externalHosts: Sequence[str]) -> None:
        """
        See L{NATDevice.rebind}; a firewall only forgets whom it knows.
        """
        self._four.rebind(_translated(externalHosts) if self._translates else ())
        self._six.flush()

    def assign(self, internalHost: str, externalHost: str) -> None:
        """
        See L{NATDevice.assign}.
        """
        self._four.assign(internalHost, externalHost)

    def block(self, protocol: Protocol) -> None:
        """
        See L{NATDevice.block}.
        """
        for device in self._both:
            device.block(protocol)

    def unblock(self, protocol: Protocol) -> None:
        """
        See L{NATDevice.unblock}.
        """
        for device in self._both:
            device.unblock(protocol)


def deviceFor(spec: NATSpec, random: Random, now: float) -> NATDevice | Router:
    """
    What does the work of a NAT of a topology.
    """
    if spec.routed:
        return Router(spec, random, now)
    return NATDevice(spec.behaviour, spec.addresses, random, now)


def _translated(hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(host for host in hosts if ":" not in host)
