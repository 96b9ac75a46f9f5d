"""
A TURN server without I/O (RFC 8656, RFC 6062): messages of clients and packets of peers go in, what
its sockets are to do comes out.

What nobody has proved leaves no state: an unauthenticated request is answered from a nonce that the
server recognises again without remembering it.

Owns: who may ask for what, and relaying from client to peer and back.
Knows nothing of: sockets; framing; where the shared secret comes from.
Driven by: the adapters of the rendezvous service, which pass C{now} in seconds of Unix time:
ephemeral credentials expire by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    AttributeType,
    LongTermVerifier,
    Message,
    MessageClass,
    Method,
    PasswordAlgorithmNumber,
    ReceivedMessage,
    decode,
    longTermKey,
)
from holepunch.turn import channeldata
from holepunch.turn.allocation import Allocation, Channel
from holepunch.turn.allocator import Allocator
from holepunch.turn.credential import expiryOf, passwordFor
from holepunch.turn.fairshare import Account
from holepunch.turn.peerconnections import PeerConnections
from holepunch.turn.peerpolicy import PeerPolicy
from holepunch.turn.ports import HIGHEST, LOWEST, Ports
from holepunch.turn.relaylimits import RelayLimits
from holepunch.turn.relayrequest import RelayRequest
from holepunch.turn.servereffects import FiveTuple, SendToClient, SendToPeer, ServerEffect

# What fits an indication. Nothing near it gets through a network, but loopback bears it.
_LONGEST_DATA = 65000

#: In seconds. As long as what L{nonceFor<RelayServer.nonceFor>} gives out should serve.
NONCE_LIFETIME = 3600.0

_T = AttributeType


class RelayServer:
    """
    The state of one relay.

    @ivar realm: Of its credentials.
    @ivar dropped: How many messages and packets led to nothing.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        *,
        realm: str,
        secret: bytes,
        nonceSecret: bytes,
        randomBytes: Callable[[int], bytes],
        policy: PeerPolicy,
        now: float,
        limits: RelayLimits | None = None,
        users: Mapping[str, str] | None = None,
        ports: tuple[int, int] = (LOWEST, HIGHEST),
        mayAsk: Callable[[str, float], bool] = lambda host, now: True,
        canForbidFragments: bool = True,
    ) -> None:
        """
        @param hosts: The public addresses on which relayed addresses are made; the first one of
            each family is used.
        @param secret: Shared with whoever makes ephemeral credentials.
        @param nonceSecret: At least 16 random bytes.
        @param users: The passwords of users without a time limit.
        @param ports: The lowest and the highest port of relayed addresses.
        @param mayAsk: May a host without an allocation ask once more? Keeps the rate.
        @param canForbidFragments: Can the sockets send with the DF bit?
        """
        self.realm = realm
        self.dropped = 0
        self._secret = secret
        self._dummySecret = nonceSecret
        self._randomBytes = randomBytes
        self._policy = policy
        self._users = dict(users or {})
        self._mayAsk = mayAsk
        self._now = now
        byFamily = {TransportAddress(host, 0).family: host for host in reversed(list(hosts))}
        self._relayHosts = frozenset(byFamily.values())
        limits = limits or RelayLimits()
        self._effects: list[ServerEffect] = []
        self._allocator = Allocator(
            byFamily, Ports(*ports, randomBytes), limits, canForbidFragments, self._emit, now
        )
        self._peers = PeerConnections(limits, randomBytes, self._emit)
        self._verifier = LongTermVerifier(
            realm, self._keyFor, nonceSecret, nonceLifetime=NONCE_LIFETIME, isTerse=True
        )
        self._answers: dict[int, Callable[[RelayRequest, Allocation, float], None]] = {
            Method.REFRESH: self._refresh,
            Method.CREATE_PERMISSION: self._createPermission,
            Method.CHANNEL_BIND: self._bindChannel,
            Method.CONNECT: self._connect,
        }

    def takeEffects(self) -> list[ServerEffect]:
        """
        Take what is to be done, and what happened.
        """
        effects, self._effects = self._effects, []
        return effects

    def _emit(self, effect: ServerEffect) -> None:
        self._effects.append(effect)

    # --- what is there ----------------------------------------------------------------------------

    @property
    def allocationCount(self) -> int:
        """
        How many allocations there are.
        """
        return len(self._allocator.allocations)

    def allocationOf(self, client: FiveTuple) -> Allocation | None:
        """
        The allocation of a client.
        """
        return self._allocator.allocations.get(client)

    def allocationAt(
        self, relayed: TransportAddress, transport: Transport = Transport.UDP
    ) -> Allocation | None:
        """
        The allocation that a relayed address belongs to.
        """
        return self._allocator.relayed[transport].get(relayed)

    def nonceFor(self, username: str, host: str, now: float) -> bytes:
        """
        A nonce to hand out with a credential, so that the first request need not be challenged.

        @param host: Where the user will come from.
        """
        return self._verifier.nonceFor(username, host, now)

    # --- messages of clients ----------------------------------------------------------------------

    def receive(self, data: bytes, client: FiveTuple, now: float) -> None:
        """
        Take one message of a client: STUN or ChannelData, cut out of the stream where there is one.
        """
        if channeldata.looksLikeChannelData(data):
            self._receiveChannelData(data, client, now)
            return
        try:
            message = decode(data)
        except MalformedMessage:
            self.dropped += 1
            return
        if message.messageClass is MessageClass.INDICATION and message.method == Method.SEND:
            self._receiveSend(message, client, now)
        elif message.messageClass is MessageClass.REQUEST:
            self._receiveRequest(message, client, now)
        else:
            self.dropped += 1

    def _receiveRequest(self, message: ReceivedMessage, client: FiveTuple, now: float) -> None:
        isKnown = client in self._allocator.allocations
        if not isKnown and not self._mayAsk(client.client.host, now):
            self.dropped += 1
            return
        if message.method == Method.BINDING:
            mapped = Attribute(_T.XOR_MAPPED_ADDRESS, client.client)
            answer = Message.success(message, [mapped])
            self._emit(SendToClient(client, answer.encode(fingerprint=message.hasFingerprint)))
            return
        if message.method not in (Method.ALLOCATE, Method.CONNECTION_BIND, *self._answers):
            self.dropped += 1
            return
        self._now = now
        # A client binds a new connection by what it learnt on its first one (RFC 6062 section 4.4).
        first = self._peers.ownerOf(message.get(_T.CONNECTION_ID))
        judged = self._verifier.verify(message, client.client, now, first)
        if isinstance(judged, Message):
            if isKnown and not self._mayAsk(client.client.host, now):
                self.dropped += 1
                return
            self._emit(SendToClient(client, judged.encode(fingerprint=message.hasFingerprint)))
            return
        self._answer(RelayRequest(client=client, message=message, authenticated=judged), now)

    def _answer(self, request: RelayRequest, now: float) -> None:
        unknown = request.message.unknownRequired
        allocation = self._allocator.allocations.get(request.client)
        if unknown:
            self._emit(request.refusal(420, [Attribute(_T.UNKNOWN_ATTRIBUTES, unknown)]))
        elif request.message.method == Method.ALLOCATE:
            self._allocator.allocate(request, now)
        elif request.message.method == Method.CONNECTION_BIND:
            self._peers.bind(request)
        elif allocation is None:
            self._emit(request.refusal(437))
        elif allocation.account.user != request.user:
            self._emit(request.refusal(441))
        else:
            self._answers[request.message.method](request, allocation, now)

    def _keyFor(self, username: str, algorithm: PasswordAlgorithmNumber) -> bytes:
        expiry = expiryOf(username)
        password = self._users.get(username)
        if password is None and expiry is not None and expiry > self._now:
            password = passwordFor(self._secret, username)
        if password is None:
            # Nobody knows this one. It takes the time that a password takes.
            password = passwordFor(self._dummySecret, username)
        return longTermKey(username, self.realm, password, algorithm)

    # --- requests about an allocation -------------------------------------------------------------

    def _refresh(self, request: RelayRequest, allocation: Allocation, now: float) -> None:
        self._allocator.refresh(request, allocation, now)
        if allocation.isEnded:
            self._peers.end(allocation)

    def _refusalOf(self, allocation: Allocation, peer: TransportAddress) -> int | None:
        if peer.family not in allocation.relayed:
            return 443
        # What is sent to the relay's own host ends at its relayed addresses: see _forward.
        if peer.host in self._relayHosts or self._policy.allows(peer.host):
            return None
        return 403

    def _createPermission(self, request: RelayRequest, allocation: Allocation, now: float) -> None:
        peers: tuple[TransportAddress, ...] = request.message.getAll(_T.XOR_PEER_ADDRESS)
        code = 400 if not peers else None
        for peer in peers:
            code = code or self._refusalOf(allocation, peer)
        if code is None and not allocation.permit([peer.host for peer in peers], now):
            code = 508
        self._emit(request.success() if code is None else request.refusal(code))

    def _bindChannel(self, request: RelayRequest, allocation: Allocation, now: float) -> None:
        number, peer = request.get(_T.CHANNEL_NUMBER), request.get(_T.XOR_PEER_ADDRESS)
        code = None
        if (
            allocation.transport is not Transport.UDP
            or peer is None
            or number is None
            or not channeldata.FIRST_CHANNEL <= number <= channeldata.LAST_OLD_CHANNEL
            or not allocation.mayBind(number, peer, now)
        ):
            code = 400
        else:
            code = self._refusalOf(allocation, peer)
        if code is None:
            isInside = peer.host in self._relayHosts
            code = None if allocation.bind(number, peer, isInside, now) else 508
        self._emit(request.success() if code is None else request.refusal(code))

    def _connect(self, request: RelayRequest, allocation: Allocation, now: float) -> None:
        peer = request.get(_T.XOR_PEER_ADDRESS)
        code = None
        if peer is None or not peer.port or allocation.transport is not Transport.TCP:
            code = 400
        elif peer.family not in allocation.relayed:
            code = 443
        elif self.allocationAt(peer, Transport.TCP) is None and not self._policy.allows(peer.host):
            code = 403
        if code is None:
            self._peers.connect(request, allocation, peer, now)
        else:
            self._emit(request.refusal(code))

    # --- data from clients ------------------------------------------------------------------------

    def _receiveChannelData(self, data: bytes, client: FiveTuple, now: float) -> None:
        allocation = self._allocator.allocations.get(client)
        length = channeldata.dataLength(data)
        channel = None
        if allocation is not None and length is not None:
            channel = allocation.outbound(data[0] << 8 | data[1], length, now)
        if allocation is None or length is None or channel is None:
            self.dropped += 1
            return
        payload = data[channeldata.HEADER_LENGTH : channeldata.HEADER_LENGTH + length]
        self.forward(allocation, channel.peer, payload, now)

    def _receiveSend(self, message: ReceivedMessage, client: FiveTuple, now: float) -> None:
        allocation = self._allocator.allocations.get(client)
        peer, data = message.get(_T.XOR_PEER_ADDRESS), message.get(_T.DATA)
        if (
            allocation is None
            or allocation.transport is not Transport.UDP
            or peer is None
            or data is None
            or message.unknownRequired
            or peer.family not in allocation.relayed
            or not allocation.isPermitted(peer.host, now)
            or not allocation.account.spend(len(data), now)
        ):
            self.dropped += 1
            return
        self.forward(allocation, peer, data, now, message.get(_T.DONT_FRAGMENT) is not None)

    def across(self, channel: Channel, size: int, now: float) -> Channel | None:
        """
        The short way of C{size} bytes from one allocation to another one of this relay, where both
        have a channel. They are paid for on the first side, and by this on the second one.

        @return: The channel on which the other client gets them; C{None} for the way of L{forward},
            or nowhere.
        """
        back = channel.back
        if back is None or back.allocation.isEnded or not back.isOpen(now):
            other = self.allocationAt(channel.peer)
            relayed = channel.allocation.relayed.get(channel.peer.family)
            if other is None or relayed is None:
                return None
            back = channel.back = other.channelTo(relayed, now)
            if back is None or not back.isOpen(now):
                return None
        return back if back.allocation.account.spend(size, now) else None

    def forward(
        self,
        allocation: Allocation,
        peer: TransportAddress,
        data: bytes,
        now: float,
        isWhole: bool = False,
    ) -> None:
        """
        Relay a datagram to a peer that is permitted, and paid for.

        One from a relayed address to another one of this relay stays inside of it.
        """
        relayed = allocation.relayed.get(peer.family)
        other = self.allocationAt(peer)
        if relayed is None:
            self.dropped += 1
        elif other is not None:
            self._deliver(other, relayed, data, now)
        elif self._policy.allows(peer.host) and peer.port:
            self._emit(SendToPeer(relayed, peer, data, isWhole))
        else:
            self.dropped += 1

    # --- data from peers --------------------------------------------------------------------------

    def receiveFromPeer(
        self, relayed: TransportAddress, peer: TransportAddress, data: bytes, now: float
    ) -> None:
        """
        Take a datagram that reached a relayed address.
        """
        allocation = self.allocationAt(relayed)
        if allocation is None:
            self.dropped += 1
        else:
            self._deliver(allocation, peer, data, now)

    def _deliver(
        self, allocation: Allocation, peer: TransportAddress, data: bytes, now: float
    ) -> None:
        if not allocation.isPermitted(peer.host, now) or not allocation.account.spend(
            len(data), now
        ):
            self.dropped += 1
            return
        channel = allocation.channelTo(peer, now)
        if channel is not None:
            message = channeldata.encodeChannelData(channel.number, data, allocation.isReliable)
        elif len(data) > _LONGEST_DATA:
            self.dropped += 1
            return
        else:
            message = Message.indication(
                Method.DATA,
                self._randomBytes(TRANSACTION_ID_LENGTH),
                (Attribute(_T.XOR_PEER_ADDRESS, peer), Attribute(_T.DATA, data)),
            ).encode(fingerprint=False)
        self._emit(SendToClient(allocation.client, message, mayBeDropped=True))

    # --- sockets and time -------------------------------------------------------------------------

    def relayOpened(self, transport: Transport, relayed: TransportAddress, now: float) -> None:
        """
        The socket of a relayed address is bound.
        """
        self._allocator.opened(transport, relayed, now)

    def relayFailed(self, transport: Transport, relayed: TransportAddress, now: float) -> None:
        """
        The socket of a relayed address cannot be bound.
        """
        self._allocator.failed(transport, relayed, now)

    def clientLost(self, client: FiveTuple) -> None:
        """
        A client's connection over TCP is gone, and with it what it asked for.
        """
        allocation = self._allocator.allocations.get(client)
        if allocation is not None:
            self._end(allocation)

    def peerConnected(self, connection: int, now: float) -> None:
        """
        A peer has taken the connection that the relay made.
        """
        self._peers.connected(connection, now)

    def peerConnectFailed(self, connection: int) -> None:
        """
        A peer has not taken the connection.
        """
        self._peers.failed(connection)

    def peerAccepted(
        self, relayed: TransportAddress, peer: TransportAddress, now: float
    ) -> int | None:
        """
        A peer has connected to a relayed address.

        @return: The number of the connection; C{None} where it is to be closed: the peer has no
            permission, or there are too many.
        """
        allocation = self.allocationAt(relayed, Transport.TCP)
        if allocation is None or not allocation.isPermitted(peer.host, now):
            self.dropped += 1
            return None
        return self._peers.accepted(allocation, peer, now)

    def accountOf(self, connection: int) -> Account | None:
        """
        Who pays for what a peer's connection carries.
        """
        return self._peers.accountOf(connection)

    def peerClosed(self, connection: int) -> None:
        """
        A peer's connection, or the client's that is joined to it, is gone.
        """
        self._peers.closed(connection)

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}; C{None} where nothing is waited for.
        """
        due = (self._allocator.nextTimeout(), self._peers.nextTimeout())
        return min((at for at in due if at is not None), default=None)

    def handleTimeout(self, now: float) -> None:
        """
        Tell the relay what time it is.
        """
        for allocation in self._allocator.handleTimeout(now):
            self._peers.end(allocation)
        self._peers.handleTimeout(now)

    def _end(self, allocation: Allocation) -> None:
        self._allocator.end(allocation)
        self._peers.end(allocation)
