"""
TURN without I/O: a relay's state and a client's allocation (RFC 8656, RFC 6062).
"""

from holepunch.turn.allocationclient import AllocationClient, AllocationState
from holepunch.turn.channeldata import encodeChannelData, looksLikeChannelData
from holepunch.turn.credential import EphemeralCredential, mintCredential
from holepunch.turn.effects import (
    Allocated,
    AllocationClosed,
    AllocationFailed,
    AllocationLost,
    PermissionRefused,
    Permitted,
    RelayedData,
    SendToServer,
)
from holepunch.turn.framing import TurnFramer
from holepunch.turn.peerpolicy import PeerPolicy
from holepunch.turn.relaylimits import RelayLimits
from holepunch.turn.relayserver import RelayServer
from holepunch.turn.servereffects import FiveTuple

__all__ = [
    "Allocated",
    "AllocationClient",
    "AllocationClosed",
    "AllocationFailed",
    "AllocationLost",
    "AllocationState",
    "EphemeralCredential",
    "FiveTuple",
    "PeerPolicy",
    "PermissionRefused",
    "Permitted",
    "RelayLimits",
    "RelayServer",
    "RelayedData",
    "SendToServer",
    "TurnFramer",
    "encodeChannelData",
    "looksLikeChannelData",
    "mintCredential",
]
