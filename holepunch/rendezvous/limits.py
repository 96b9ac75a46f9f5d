"""
What one peer, or one address, may ask of the service; token buckets.

Owns: the numbers, and counting against them.
Knows nothing of: sockets, requests, clocks: C{now} goes in.
Driven by: the main connection, the assist listeners and the L{Switchboard}.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class Limits:
    """
    The service's limits. Times are in seconds, sizes in bytes.

    @ivar connectionsPerAddress: Main connections from one IPv4 address or IPv6 /64.
    @ivar registrationTimeout: How long a main connection may take to the end of its registration.
    @ivar messageSize: Of one AMP message.
    @ivar bytesPerSecond: Over one main connection, in the long run, whatever TLS makes of them.
    @ivar byteBurst: At once.
    @ivar requestsPerSecond: By one peer over its main connection, in the long run.
    @ivar requestBurst: At once.
    @ivar sessionsPerPeer: Sessions that one peer has asked for and that have not ended.
    @ivar offersPerPeer: Sessions that others have asked one peer for and that have not ended.
    @ivar candidatesPerSession: Of one side.
    @ivar sessionLifetime: After which a session ends if nobody ended it.
    @ivar observationLifetime: After which a mapped address is not passed on any more.
    @ivar assistRequestsPerSecond: By one address to the assist listeners, in the long run.
    @ivar assistBurst: At once.
    @ivar assistConnectionsPerAddress: Over TCP.
    @ivar assistIdleTimeout: Of a connection to an assist listener that has asked nothing.
    @ivar assistPatience: The same for one that was answered: how long an idle connection is kept is
        what a client may want to find out.
    @ivar assistCallsPerSecond: How often a client at one address is called over TCP, on its own
        request, in the long run.
    @ivar assistCallBurst: At once.
    @ivar trackedAddresses: Whose requests are counted; the longest silent one is forgotten.
    """

    connectionsPerAddress: int = attrs.field(default=256, validator=validators.gt(0))
    registrationTimeout: float = attrs.field(default=10.0, validator=validators.gt(0))
    messageSize: int = attrs.field(default=64 * 1024, validator=validators.ge(1024))
    bytesPerSecond: float = attrs.field(default=128.0 * 1024, validator=validators.gt(0))
    byteBurst: int = attrs.field(default=512 * 1024, validator=validators.ge(64 * 1024))
    requestsPerSecond: float = attrs.field(default=20.0, validator=validators.gt(0))
    requestBurst: int = attrs.field(default=60, validator=validators.gt(0))
    sessionsPerPeer: int = attrs.field(default=32, validator=validators.gt(0))
    offersPerPeer: int = attrs.field(default=256, validator=validators.gt(0))
    candidatesPerSession: int = attrs.field(default=256, validator=validators.gt(0))
    sessionLifetime: float = attrs.field(default=60.0, validator=validators.gt(0))
    observationLifetime: float = attrs.field(default=60.0, validator=validators.gt(0))
    assistRequestsPerSecond: float = attrs.field(default=100.0, validator=validators.gt(0))
    assistBurst: int = attrs.field(default=400, validator=validators.gt(0))
    assistConnectionsPerAddress: int = attrs.field(default=256, validator=validators.gt(0))
    assistIdleTimeout: float = attrs.field(default=120.0, validator=validators.gt(0))
    assistPatience: float = attrs.field(default=900.0, validator=validators.gt(0))
    assistCallsPerSecond: float = attrs.field(default=1.0, validator=validators.gt(0))
    assistCallBurst: int = attrs.field(default=32, validator=validators.gt(0))
    trackedAddresses: int = attrs.field(default=65536, validator=validators.gt(0))


class TokenBucket:
    """
    Lets C{burst} things happen at once, and C{rate} a second in the long run.
    """

    __slots__ = ("_burst", "_filledAt", "_level", "_rate")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._level = float(burst)
        self._filledAt = now

    def take(self, now: float, count: float = 1.0) -> bool:
        """
        May one more happen, or so many?
        """
        # The reactor's clock is the system's, which may be set back.
        elapsed = max(0.0, now - self._filledAt)
        self._level = min(self._burst, self._level + elapsed * self._rate)
        self._filledAt = now
        if self._level < count:
            return False
        self._level -= count
        return True


class AddressBuckets:
    """
    A token bucket for each address that asks.
    """

    def __init__(self, rate: float, burst: int, capacity: int) -> None:
        self._rate = rate
        self._burst = burst
        self._capacity = capacity
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, host: str, now: float) -> bool:
        """
        May C{host} do one more thing?
        """
        key = addressKey(host)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._capacity:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now)


class AddressCounts:
    """
    How many connections each address has.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, int] = {}

    def enter(self, host: str) -> bool:
        """
        Count one more connection of C{host}, unless that would be too many.
        """
        key = addressKey(host)
        count = self._counts.get(key, 0)
        if count >= self._most:
            return False
        self._counts[key] = count + 1
        return True

    def leave(self, host: str) -> None:
        """
        A connection that was counted is gone.
        """
        key = addressKey(host)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


def addressKey(host: str) -> str:
    """
    What is counted as one address: an IPv4 address, or the network (/64) of an IPv6 one.
    """
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
