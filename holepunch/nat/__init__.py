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
    Unsolicited,
    classicName,
)
from holepunch.nat.effects import Drop, DropReason, Forward, Side
from holepunch.nat.packet import (
    ICMPError,
    ICMPType,
    Packet,
    Protocol,
    TCPFlag,
    UnreachableCode,
)

__all__ = [
    "NAMED_BEHAVIOURS",
    "Drop",
    "DropReason",
    "Filtering",
    "Forward",
    "ICMPError",
    "ICMPType",
    "Mapping",
    "NATBehaviour",
    "Packet",
    "PortAllocation",
    "Protocol",
    "Refresh",
    "Side",
    "TCPFlag",
    "UnreachableCode",
    "Unsolicited",
    "classicName",
]
