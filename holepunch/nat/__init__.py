"""
Network address translation: the vocabulary, and a model NAT that translates packets without I/O.
"""

from holepunch.nat.behaviour import (
    NAMED_BEHAVIOURS,
    Filtering,
    Fragments,
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
from holepunch.nat.fragment import Fragment, Reassembly, carriedProtocol
from holepunch.nat.packet import (
    ECHO_PORT,
    Echo,
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
    "ECHO_PORT",
    "NAMED_BEHAVIOURS",
    "PRESETS",
    "Drop",
    "DropReason",
    "Echo",
    "Filtering",
    "Forward",
    "Fragment",
    "Fragments",
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
    "Reassembly",
    "Refresh",
    "Service",
    "Side",
    "TCPFlag",
    "UnreachableCode",
    "Unsolicited",
    "carriedProtocol",
    "classicName",
]
