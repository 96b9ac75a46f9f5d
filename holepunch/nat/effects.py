"""
What the model NAT wants done with packets.

Owns: the values that L{NATDevice.takeEffects<holepunch.nat.device.NATDevice.takeEffects>} returns.
Knows nothing of: why the device decided so, beyond the reason it gives.
Driven by: L{holepunch.nat.device}; read by whoever drives the device.
"""

from __future__ import annotations

import enum

from holepunch.nat.fastvalue import fastFrozen
from holepunch.nat.packet import Packet


class Side(enum.Enum):
    """
    The two sides of a NAT.
    """

    INSIDE = "inside"
    OUTSIDE = "outside"


class DropReason(enum.Enum):
    """
    Why a packet went no further; the value says it to a person.
    """

    NO_MAPPING = "nothing is mapped at that port"
    FILTERED = "the sender was never sent to from inside"
    NO_CONNECTION = "no connection is known to which the segment belongs"
    BAD_SEQUENCE = "the SYN-ACK does not continue the SYN that went before"
    HAIRPIN_DISABLED = "packets from inside to a mapped address do not come back"
    TABLE_FULL = "the table of mappings is full"
    HOST_LIMIT = "the internal host has too many mappings"
    PORTS_EXHAUSTED = "no external port is free"
    NO_EXTERNAL_HOST = "no external address is free for the internal host"
    TTL_EXPIRED = "the packet has been forwarded too often"
    NOT_OURS = "the packet is for an address that the device does not have"
    BLOCKED = "the protocol is blocked"
    NOT_PERMITTED = "the device lets nothing out to that port"
    FRAGMENT = "the device lets no fragments pass"
    UNSUPPORTED = "the device cannot translate that kind of packet"


@fastFrozen
class Forward:
    """
    Send this packet out on that side.
    """

    side: Side
    packet: Packet


@fastFrozen
class Drop:
    """
    This packet was thrown away.

    @ivar packet: As it was received, or as it was after the way out in case of a hairpin.
    """

    packet: Packet
    reason: DropReason
