"""
Devices as they stand in the field, by name.

Owns: the examples; the times and limits are what makers and RFCs write, where they do.
Knows nothing of: packets.
Driven by: the lab's topologies. The plain kinds of NAT are in L{holepunch.nat.behaviour}.
"""

from __future__ import annotations

from collections.abc import Mapping as ReadOnlyDict
from types import MappingProxyType

import attrs

from holepunch.nat.behaviour import (
    NAMED_BEHAVIOURS,
    NATBehaviour,
    PortAllocation,
    Refresh,
    Service,
    Unsolicited,
)
from holepunch.nat.packet import Protocol

_PORT_RESTRICTED = NAMED_BEHAVIOURS["port-restricted"]
_SYMMETRIC_RANDOM = NAMED_BEHAVIOURS["symmetric-random"]

PRESETS: ReadOnlyDict[str, NATBehaviour] = MappingProxyType(
    {
        # The box that the provider sends: a cone that keeps ports, with a small table.
        "home-router": attrs.evolve(
            _PORT_RESTRICTED,
            udpTimeout=180.0,
            tcpEstablishedTimeout=7200.0,
            refresh=Refresh.BOTH,
            maxSessions=16384,
        ),
        # iptables MASQUERADE --random-fully: a new random port for every destination.
        "linux-fully-random": attrs.evolve(
            NAMED_BEHAVIOURS["linux-masquerade"], ports=PortAllocation.RANDOM
        ),
        # RFC 6888 with a hard end: after an hour the carrier takes the port away.
        "carrier-grade-lifetime": attrs.evolve(
            NAMED_BEHAVIOURS["carrier-grade"], mappingLifetime=3600.0
        ),
        # OpenBSD's pf with nat-to: symmetric, ports from 50001 up; times are those of pf.conf(5).
        "pf": attrs.evolve(
            _SYMMETRIC_RANDOM,
            firstPort=50001,
            udpTimeout=60.0,
            tcpEstablishedTimeout=86400.0,
            tcpTransitoryTimeout=120.0,
            refresh=Refresh.BOTH,
        ),
        # What a cloud provider sells: symmetric, 350 idle seconds for all, unknown segments reset.
        "cloud-gateway": attrs.evolve(
            _SYMMETRIC_RANDOM,
            udpTimeout=350.0,
            tcpEstablishedTimeout=350.0,
            tcpTransitoryTimeout=120.0,
            refresh=Refresh.BOTH,
            unsolicited=Unsolicited.RST,
        ),
        # A guests' network that lets only TCP through.
        "udp-blocked": attrs.evolve(_PORT_RESTRICTED, blocked=(Protocol.UDP,)),
        # Web pages by TLS, and nothing else.
        "corporate-firewall": attrs.evolve(
            _PORT_RESTRICTED,
            hairpin=False,
            outbound=(Service(Protocol.TCP, 443),),
            tcpEstablishedTimeout=3600.0,
        ),
    }
)
