"""
The kinds of NAT that a matrix compares, and the ways in which each pair of them is tried.

Owns: the values, and whether a kind keeps its ports, as the other side sees it.
Knows nothing of: grids, networks, sessions.
Driven by: L{holepunch.lab.matrixgrid} and all that runs or shows a matrix.
"""

from __future__ import annotations

import enum

import attrs

from holepunch.nat.behaviour import (
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
)


class Flow(enum.Enum):
    """
    How a pair is tried.
    """

    UDP = "udp"
    TCP_SIMULTANEOUS = "tcp-simultaneous"
    TCP_SEQUENTIAL = "tcp-sequential"


@attrs.frozen(kw_only=True)
class NATKind:
    """
    What one peer is behind.

    @ivar name: Short; for people.
    @ivar behaviour: C{None}: the peer is public.
    @ivar isKernel: In namespaces, the kernel's own masquerade is used; simulated, the behaviour.
    @ivar hasPortMapping: The device would map ports for who asks by PCP, NAT-PMP or UPnP.
    @ivar isSameLAN: The peer is on the other one's LAN, behind whatever that one is behind.
    """

    name: str
    behaviour: NATBehaviour | None = None
    isKernel: bool = False
    hasPortMapping: bool = False
    isSameLAN: bool = False

    @property
    def filtering(self) -> Filtering:
        """
        Who may send to the address that the peer announces.
        """
        if self.behaviour is None:
            return Filtering.ENDPOINT_INDEPENDENT
        return self.behaviour.filtering

    @property
    def keepsPort(self) -> bool:
        """
        Does every destination see the peer at one endpoint?

        So it does through a mapping that is endpoint-independent or one-to-one; and through one
        that depends on the destination, but preserves and overloads ports, as long as no other host
        inside uses the port.
        """
        behaviour = self.behaviour
        if behaviour is None or behaviour.isOneToOne:
            return True
        if behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT:
            return True
        return behaviour.ports is PortAllocation.PRESERVED and behaviour.overloadsPorts

    @property
    def isPredictable(self) -> bool:
        """
        Can its next port be foretold from the last ones?
        """
        behaviour = self.behaviour
        return behaviour is None or behaviour.ports is not PortAllocation.RANDOM
