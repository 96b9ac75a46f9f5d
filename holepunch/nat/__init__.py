"""
Network address translation: the vocabulary, and a model NAT that translates packets without I/O.
"""

from holepunch.nat.behaviour import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Refresh,
    Service,
    Unsolicited,
    classicName,
)
from holepunch.nat.device import NATDevice
from holepunch.nat.effects import Drop, DropReason, Forward, Side
from holepunch.nat.packet import (
    ICMPError,
    ICMPType,
    Packet,
    Protocol,
    TCPFlag,
    UnreachableCode,
)
from holepunch.nat.portallocation import RandomSource
from holepunch.nat.presets import PRESETS
from holepunch.nat.session import MappingView

__all__ = [
    "NAMED_BEHAVIOURS",
    "PRESETS",
    "Drop",
    "DropReason",
    "Filtering",
    "Forward",
    "ICMPError",
    "ICMPType",
    "Mapping",
    "MappingView",
    "NATBehaviour",
    "NATDevice",
    "Packet",
    "PortAllocation",
    "Protocol",
    "RandomSource",
    "Refresh",
    "Service",
    "Side",
    "TCPFlag",
    "UnreachableCode",
    "Unsolicited",
    "classicName",
]
