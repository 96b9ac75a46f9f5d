"""
What an allocation asks its driver to do, and what it tells: the values that C{takeEffects} returns.

Owns: the effects of the client's side.
Knows nothing of: how an effect is carried out.
Driven by: L{AllocationClient<holepunch.turn.allocationclient.AllocationClient>}; read by the peer's
driver.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import RelayFailed


@attrs.frozen
class SendToServer:
    """
    Send these bytes to the relay: one datagram, or the next bytes of the stream.
    """

    data: bytes


@attrs.frozen
class Allocated:
    """
    The allocation is there.

    @ivar relayed: Where peers send to.
    @ivar mapped: The client, as the relay sees it.
    @ivar lifetime: Seconds until it would expire; it is refreshed before.
    """

    relayed: TransportAddress
    mapped: TransportAddress
    lifetime: float


@attrs.frozen
class Permitted:
    """
    The relay lets this host send to the relayed address.
    """

    host: str


@attrs.frozen
class PermissionRefused:
    """
    The relay does not let this host send, or not any more.
    """

    host: str
    reason: RelayFailed


@attrs.frozen
class RelayedData:
    """
    A peer sent a datagram to the relayed address.
    """

    peer: TransportAddress
    data: bytes


@attrs.frozen
class AllocationFailed:
    """
    There is no allocation, and this object will get none.
    """

    reason: RelayFailed


@attrs.frozen
class AllocationLost:
    """
    There was an allocation, and it is gone.
    """

    reason: RelayFailed


@attrs.frozen
class AllocationClosed:
    """
    The relay has given up the allocation as it was told to, or does not answer.
    """


Effect: TypeAlias = (
    SendToServer
    | Allocated
    | Permitted
    | PermissionRefused
    | RelayedData
    | AllocationFailed
    | AllocationLost
    | AllocationClosed
)
