"""
The kinds of NAT that a matrix compares, and the ways in which each pair of them is tried.

Owns: the values.
Knows nothing of: grids, networks, sessions.
Driven by: L{holepunch.lab.matrixgrid} and all that runs or shows a matrix.
"""

from __future__ import annotations

import enum

import attrs

from holepunch.nat.behaviour import NATBehaviour


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
