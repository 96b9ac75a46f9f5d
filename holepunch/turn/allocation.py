"""
One allocation on the relay's side: who may send through it, and by which channel
(RFC 8656 sections 9 and 12).

The way of each packet leads through here, so these are plain classes, and looking something up
makes no objects.

Owns: permissions and channels, and the rules by which channels are bound.
Knows nothing of: messages; sockets; which hosts are allowed at all.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}, and the adapter for ChannelData.
"""

from __future__ import annotations

from typing import Any

from holepunch.address import Family, Transport, TransportAddress
from holepunch.turn.fairshare import Account
from holepunch.turn.relaylimits import RelayLimits
from holepunch.turn.servereffects import FiveTuple

# RFC 8656 sections 9 and 12.
PERMISSION_LIFETIME = 300.0
CHANNEL_LIFETIME = 600.0


class Permission:
    """
    One host may send through an allocation, and be sent to.
    """

    __slots__ = ("expiresAt", "host")

    def __init__(self, host: str) -> None:
        self.host = host
        self.expiresAt = 0.0


class Channel:
    """
    A number that stands for one peer.

    @ivar isInside: Is the peer's host one of the relay's own?
    @ivar allocation: Whose it is.
    @ivar back: Where the peer is another allocation of this relay: its channel to this one, as it
        was seen last.
    @ivar socketAddress: What sockets call the peer.
    @ivar outlet: What sends to it; it belongs to the adapter.
    """

    __slots__ = (
        "allocation",
        "back",
        "expiresAt",
        "isInside",
        "number",
        "outlet",
        "peer",
        "permission",
        "socketAddress",
    )

    def __init__(
        self,
        allocation: Allocation,
        number: int,
        peer: TransportAddress,
        permission: Permission,
        isInside: bool,
    ) -> None:
        self.allocation = allocation
        self.number = number
        self.peer = peer
        self.permission = permission
        self.isInside = isInside
        self.expiresAt = 0.0
        self.back: Channel | None = None
        self.socketAddress: Any = (peer.host, peer.port)
        self.outlet: Any = None

    def isOpen(self, now: float) -> bool:
        """
        Is the channel bound, and its peer permitted?
        """
        return self.expiresAt > now and self.permission.expiresAt > now


class Allocation:
    """
    What one client has at the relay.

    @ivar client: The 5-tuple that it belongs to.
    @ivar username: Of the credential that it was made with.
    @ivar account: Whose quotas it counts against.
    @ivar transport: Between the relay and the peers.
    @ivar relayed: The relayed address of each family.
    @ivar expiresAt: When it is gone unless it is refreshed.
    @ivar queuedAt: When its owner looks at C{expiresAt} next.
    @ivar outlet: How the adapter reaches the client; it belongs to the adapter.
    @ivar isEnded: Is it gone?
    @ivar transactionId: Of the request that made it, to know that one again.
    @ivar response: To that request.
    """

    __slots__ = (
        "_channels",
        "_channelsByPeer",
        "_limits",
        "_permissions",
        "account",
        "client",
        "expiresAt",
        "isEnded",
        "isReliable",
        "outlet",
        "queuedAt",
        "relayed",
        "response",
        "transactionId",
        "transport",
        "username",
    )

    def __init__(
        self,
        client: FiveTuple,
        username: str,
        account: Account,
        transport: Transport,
        limits: RelayLimits,
    ) -> None:
        self.client = client
        self.username = username
        self.account = account
        self.transport = transport
        self.isReliable = client.transport is Transport.TCP
        self.relayed: dict[Family, TransportAddress] = {}
        self.expiresAt = 0.0
        self.queuedAt = float("inf")
        self.isEnded = False
        self.outlet: Any = None
        self.transactionId = b""
        self.response = b""
        self._limits = limits
        self._permissions: dict[str, Permission] = {}
        self._channels: dict[int, Channel] = {}
        self._channelsByPeer: dict[TransportAddress, Channel] = {}

    # --- the way of a packet ----------------------------------------------------------------------

    def outbound(self, number: int, size: int, now: float) -> Channel | None:
        """
        A client sends C{size} bytes on a channel: where do they go?

        @return: C{None} for nowhere.
        """
        channel = self._channels.get(number)
        if channel is None or channel.expiresAt <= now or channel.permission.expiresAt <= now:
            return None
        return channel if self.account.spend(size, now) else None

    def isPermitted(self, host: str, now: float) -> bool:
        """
        May a host send through this allocation, and be sent to?
        """
        permission = self._permissions.get(host)
        return permission is not None and permission.expiresAt > now

    def channelTo(self, peer: TransportAddress, now: float) -> Channel | None:
        """
        The channel that is bound to a peer, whether it is permitted or not.
        """
        channel = self._channelsByPeer.get(peer)
        return channel if channel is not None and channel.expiresAt > now else None

    # --- what clients ask for ---------------------------------------------------------------------

    def permit(self, hosts: list[str], now: float) -> bool:
        """
        Install or refresh permissions: all of them, or none.

        @return: False where there would be too many.
        """
        new = {host for host in hosts if host not in self._permissions}
        if len(self._permissions) + len(new) > self._limits.permissions:
            self._purge(now)
            new = {host for host in hosts if host not in self._permissions}
            if len(self._permissions) + len(new) > self._limits.permissions:
                return False
        for host in new:
            self._permissions[host] = Permission(host)
        for host in hosts:
            self._permissions[host].expiresAt = now + PERMISSION_LIFETIME
        return True

    def mayBind(self, number: int, peer: TransportAddress, now: float) -> bool:
        """
        Is neither the number bound to another peer, nor the peer to another number (section 12.2)?
        """
        byNumber, byPeer = self._channels.get(number), self.channelTo(peer, now)
        return (byNumber is None or byNumber.expiresAt <= now or byNumber.peer == peer) and (
            byPeer is None or byPeer.number == number
        )

    def bind(self, number: int, peer: TransportAddress, isInside: bool, now: float) -> bool:
        """
        Bind a channel or refresh it, and permit the peer.

        @return: False where there would be too many channels or permissions.
        """
        channel = self._channels.get(number)
        if channel is None or channel.peer != peer:
            if len(self._channels) >= self._limits.channels:
                self._purge(now)
            if len(self._channels) >= self._limits.channels:
                return False
        if not self.permit([peer.host], now):
            return False
        if channel is not None and channel.peer != peer:
            self._channelsByPeer.pop(channel.peer, None)
            channel = None
        if channel is None:
            before = self._channelsByPeer.pop(peer, None)
            if before is not None:
                self._channels.pop(before.number, None)
            channel = Channel(self, number, peer, self._permissions[peer.host], isInside)
            self._channels[number] = self._channelsByPeer[peer] = channel
        channel.permission = self._permissions[peer.host]
        channel.expiresAt = now + CHANNEL_LIFETIME
        return True

    def forbid(self, family: Family) -> None:
        """
        A relayed address is gone, and with it the permissions and channels of its family.
        """
        for permission in self._permissions.values():
            if TransportAddress(permission.host, 0).family is family:
                permission.expiresAt = 0.0

    def _purge(self, now: float) -> None:
        for number, channel in list(self._channels.items()):
            if channel.expiresAt <= now:
                del self._channels[number]
                del self._channelsByPeer[channel.peer]
        # A channel keeps its permission object: one that replaced it would not be seen.
        kept = {channel.permission.host for channel in self._channels.values()}
        for host, permission in list(self._permissions.items()):
            if permission.expiresAt <= now and host not in kept:
                del self._permissions[host]
