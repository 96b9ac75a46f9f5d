"""
What one user, and all users together, may take of a relay.

Owns: the numbers.
Knows nothing of: who counts against them.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}; C{--relay-quota} changes them.
"""

from __future__ import annotations

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class RelayLimits:
    """
    The limits of a relay. Times are in seconds, sizes in bytes; 0 stands for no limit where there
    may be none.

    @ivar bandwidth: Bytes a second that one user may have relayed, both directions together.
    @ivar totalBandwidth: Bytes a second of all users; divided fairly among those who want more.
    @ivar bytesPerUser: That one user may have relayed in each period.
    @ivar bytesPeriod: The length of that period.
    @ivar allocationsPerUser: At a time.
    @ivar allocations: Of all users.
    @ivar permissions: Of one allocation.
    @ivar channels: Of one allocation.
    @ivar connections: To peers, of one allocation for TCP.
    @ivar lifetime: Of an allocation whose client asks for less, or for nothing.
    @ivar longestLifetime: Of an allocation, whatever its client asks for.
    @ivar requestsPerSecond: By one address without an allocation, in the long run.
    @ivar requestBurst: At once.
    @ivar connectionsPerAddress: Of clients over TCP and TLS.
    @ivar trackedUsers: Whose use is remembered while they have no allocation.
    """

    bandwidth: int = attrs.field(default=0, validator=validators.ge(0))
    totalBandwidth: int = attrs.field(default=0, validator=validators.ge(0))
    bytesPerUser: int = attrs.field(default=0, validator=validators.ge(0))
    bytesPeriod: float = attrs.field(default=86400.0, validator=validators.gt(0))
    allocationsPerUser: int = attrs.field(default=16, validator=validators.gt(0))
    allocations: int = attrs.field(default=8192, validator=validators.gt(0))
    permissions: int = attrs.field(default=128, validator=validators.gt(0))
    channels: int = attrs.field(default=128, validator=validators.gt(0))
    connections: int = attrs.field(default=32, validator=validators.gt(0))
    lifetime: float = attrs.field(default=600.0, validator=validators.gt(0))
    longestLifetime: float = attrs.field(default=3600.0, validator=validators.gt(0))
    requestsPerSecond: float = attrs.field(default=50.0, validator=validators.gt(0))
    requestBurst: int = attrs.field(default=200, validator=validators.gt(0))
    connectionsPerAddress: int = attrs.field(default=256, validator=validators.gt(0))
    trackedUsers: int = attrs.field(default=65536, validator=validators.gt(0))
