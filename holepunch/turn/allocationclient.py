"""
One allocation at a relay, from the client's side (RFC 8656 sections 7 to 12).

Where realm and nonce are known in advance, nothing waits for an answer: Allocate, the permissions
and the first data leave at once, and a nonce that has become stale costs one more round trip.

Owns: the state of the allocation; its permissions and channels, and when each is refreshed.
Knows nothing of: sockets; framing; what the data is.
Driven by: the peer's relay driver, which passes C{now} in seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable

import attrs

from holepunch.address import Family, TransportAddress
from holepunch.errors import (
    LocalProtocolError,
    MalformedMessage,
    RelayFailed,
    RelayFull,
    RelayRefused,
    RelayUnreachable,
)
from holepunch.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    AttributeType,
    LongTermClient,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    decode,
)
from holepunch.turn import channeldata
from holepunch.turn.credential import EphemeralCredential
from holepunch.turn.effects import (
    Allocated,
    AllocationClosed,
    AllocationFailed,
    AllocationLost,
    Effect,
    PermissionRefused,
    Permitted,
    RelayedData,
    SendToServer,
)
from holepunch.turn.requests import Outcome, Request, RequestFlow

_UDP = 17
_MISMATCH = 437
# Allocation Quota Reached, Insufficient Capacity.
_FULL = (486, 508)
# RFC 8656 section 9: a permission lasts 300 s; section 12: a channel 600 s. Asked for again early
# enough for several retransmissions.
_PERMISSION_INTERVAL = 240.0
_CHANNEL_INTERVAL = 480.0
_REFRESH_MARGIN = 60.0
# However short a lifetime the relay gives.
_SHORTEST_REFRESH = 5.0

_T = AttributeType


class AllocationState(enum.Enum):
    """
    How far an allocation is.
    """

    NEW = "new"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    CLOSING = "closing"
    ENDED = "ended"


class _Step(enum.Enum):
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    CLOSE = "close"


_TRANSITIONS = {
    (AllocationState.NEW, _Step.START): AllocationState.ALLOCATING,
    (AllocationState.NEW, _Step.CLOSE): AllocationState.ENDED,
    (AllocationState.ALLOCATING, _Step.SUCCEED): AllocationState.ALLOCATED,
    (AllocationState.ALLOCATING, _Step.FAIL): AllocationState.ENDED,
    (AllocationState.ALLOCATING, _Step.CLOSE): AllocationState.CLOSING,
    (AllocationState.ALLOCATED, _Step.FAIL): AllocationState.ENDED,
    (AllocationState.ALLOCATED, _Step.CLOSE): AllocationState.CLOSING,
    (AllocationState.CLOSING, _Step.CLOSE): AllocationState.CLOSING,
    (AllocationState.CLOSING, _Step.FAIL): AllocationState.ENDED,
    (AllocationState.ENDED, _Step.CLOSE): AllocationState.ENDED,
}


class _Purpose(enum.Enum):
    ALLOCATE = "allocate"
    REFRESH = "refresh"
    CLOSE = "close"


@attrs.frozen
class _Permit:
    host: str


@attrs.frozen
class _Bind:
    peer: TransportAddress


@attrs.define
class _Channel:
    number: int
    refreshAt: float
    isBound: bool = False


class AllocationClient:
    """
    An allocation for UDP between this client and its peers.

    @ivar server: The relay.
    @ivar state: How far it is.
    @ivar relayed: The relayed address, once there is one.
    @ivar mapped: The client's address as the relay sees it, once that is known.
    """

    def __init__(
        self,
        server: TransportAddress,
        credential: EphemeralCredential,
        *,
        isReliable: bool,
        randomBytes: Callable[[int], bytes],
        realm: str | None = None,
        nonce: bytes | None = None,
        lifetime: float = 600.0,
        family: Family | None = None,
        rto: float = 0.5,
    ) -> None:
        """
        @param isReliable: The relay is reached over TCP or TLS.
        @param randomBytes: As C{os.urandom}.
        @param realm: The relay's, where it is known in advance, as is C{nonce}.
        @param lifetime: What to ask for, in seconds.
        @param family: Of the relayed address; the relay's choice, which is IPv4, without.
        @param rto: The first retransmission time-out, in seconds.
        @raise BadCredentials: The credential cannot be one.
        """
        self.server = server
        self.state = AllocationState.NEW
        self.relayed: TransportAddress | None = None
        self.mapped: TransportAddress | None = None
        self._isReliable = isReliable
        self._randomBytes = randomBytes
        self._lifetime = lifetime
        self._family = family
        self._flow = RequestFlow(
            LongTermClient(credential.username, credential.password, realm, nonce),
            randomBytes,
            isReliable,
            rto,
        )
        # Else it is another relay than ours: coturn may take what follows Allocate before it.
        self._isPipelining = realm is not None and nonce is not None
        self._refreshAt: float | None = None
        self._expiresAt = 0.0
        self._permissions: dict[str, float] = {}
        self._confirmed: set[str] = set()
        self._refused: set[str] = set()
        self._mismatched: set[Hashable] = set()
        self._channels: dict[TransportAddress, _Channel] = {}
        self._peers: dict[int, TransportAddress] = {}
        self._nextChannel = channeldata.FIRST_CHANNEL
        self._effects: list[Effect] = []

    # --- inputs -----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """
        Ask for the allocation.
        """
        self._go(_Step.START)
        attributes = [
            Attribute(_T.REQUESTED_TRANSPORT, _UDP),
            Attribute(_T.LIFETIME, int(self._lifetime)),
        ]
        if self._family is not None:
            attributes.append(Attribute(_T.REQUESTED_ADDRESS_FAMILY, self._family.value))
        self._flow.submit(Request(_Purpose.ALLOCATE, Method.ALLOCATE, tuple(attributes)), now)
        self._flush()

    def permit(self, host: str, now: float) -> None:
        """
        Let a host send to the relayed address, and be sent to, until the allocation ends.

        @raise BadAddress: C{host} is no IP literal.
        """
        host = TransportAddress(host, 0).host
        if host not in self._permissions and self._isOpen:
            self._refused.discard(host)
            self._askPermission(host, now)
            self._flush()

    def bindChannel(self, peer: TransportAddress, now: float) -> None:
        """
        Save 32 bytes or more in each datagram to and from a peer; it gets a permission, too.
        """
        if peer in self._channels or not self._isOpen:
            return
        if self._nextChannel <= channeldata.LAST_CHANNEL:
            self._channels[peer] = _Channel(self._nextChannel, now + _CHANNEL_INTERVAL)
            self._peers[self._nextChannel] = peer
            self._nextChannel += 1
            self._askChannel(peer)
            if self._mayAsk:
                self._flow.release(now)
        self.permit(peer.host, now)
        self._flush()

    def send(self, peer: TransportAddress, data: bytes, now: float) -> None:
        """
        Send a datagram to a peer, which gets a permission where it has none.

        Datagrams that the relay could not take yet, or refused to, are dropped.
        """
        channel = self._channels.get(peer)
        if channel is not None and channel.isBound and self.state is AllocationState.ALLOCATED:
            self._effects.append(
                SendToServer(channeldata.encodeChannelData(channel.number, data, self._isReliable))
            )
            return
        if peer.host in self._refused:
            return
        if peer.host not in self._permissions:
            self.permit(peer.host, now)
        if not self._mayAsk or not self._isOpen:
            return
        message = Message.indication(
            Method.SEND,
            self._randomBytes(TRANSACTION_ID_LENGTH),
            (Attribute(_T.XOR_PEER_ADDRESS, peer), Attribute(_T.DATA, data)),
        )
        self._effects.append(SendToServer(message.encode(fingerprint=False)))

    def receive(self, data: bytes, now: float) -> None:
        """
        Take one message from the relay: STUN or ChannelData, cut out of the stream where there is
        one. Nonsense is dropped.
        """
        if channeldata.looksLikeChannelData(data):
            peer = self._peers.get(data[0] << 8 | data[1])
            length = channeldata.dataLength(data)
            if peer is not None and length is not None and self._isOpen:
                self._effects.append(RelayedData(peer, data[4 : 4 + length]))
            return
        try:
            message = decode(data)
        except MalformedMessage:
            return
        if message.messageClass is MessageClass.INDICATION:
            self._receiveIndication(message)
            return
        outcome = self._flow.receive(message, now)
        if outcome is not None:
            self._end(outcome, now)
        self._flush()

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}; C{None} where nothing is waited for.
        """
        if self.state is AllocationState.ENDED:
            return None
        due = [self._flow.nextTimeout()]
        if self.state is AllocationState.ALLOCATED:
            due.append(self._refreshAt)
            due.extend(self._permissions.values())
            due.extend(channel.refreshAt for channel in self._channels.values())
        return min((at for at in due if at is not None), default=None)

    def handleTimeout(self, now: float) -> None:
        """
        Tell the allocation what time it is.
        """
        for outcome in self._flow.handleTimeout(now):
            self._end(outcome, now)
        if self.state is AllocationState.ALLOCATED:
            self._refresh(now)
        self._flush()

    def verify(self, now: float) -> None:
        """
        There is a reason to doubt: ask whether the allocation is still there, and for this client's
        address. L{AllocationLost} tells where it is not.
        """
        if self.state is AllocationState.ALLOCATED:
            self._refreshAt = now
            self._refresh(now)
            self._flush()

    def renew(self, credential: EphemeralCredential, now: float) -> None:
        """
        Use another credential of the same user from now on: the first one expires.

        @raise BadCredentials: It cannot be one.
        """
        self._flow.renew(credential.username, credential.password)

    def close(self, now: float) -> None:
        """
        Give the allocation up. L{AllocationClosed} follows; there is no harm in not waiting for it.
        """
        before = self.state
        self._go(_Step.CLOSE)
        if self.state is not AllocationState.CLOSING or before is self.state:
            return
        self._flow.clear()
        request = Request(_Purpose.CLOSE, Method.REFRESH, (Attribute(_T.LIFETIME, 0),))
        self._flow.submit(request, now)
        self._flush()

    def takeEffects(self) -> list[Effect]:
        """
        Take what is to be done, and what happened.
        """
        effects, self._effects = self._effects, []
        return effects

    # --- what comes of requests -------------------------------------------------------------------

    def _end(self, outcome: Outcome, now: float) -> None:
        if self.state is AllocationState.ENDED:
            # Of several requests that end in the same moment, the first one ended it all.
            return
        purpose, response = outcome.request.purpose, outcome.response
        isSuccess = response is not None and response.messageClass is MessageClass.SUCCESS
        code = response.error.code if response is not None and response.error is not None else 0
        if purpose is _Purpose.CLOSE:
            self._finish(AllocationClosed())
        elif purpose is _Purpose.ALLOCATE:
            if isSuccess and response is not None:
                self._allocated(response, now)
            else:
                self._finish(AllocationFailed(_reason(outcome)))
        elif code == _MISMATCH and self._mayHaveOvertaken(purpose):
            self._flow.hold(outcome.request)
            if self.state is AllocationState.ALLOCATED:
                self._flow.release(now)
        elif purpose is _Purpose.REFRESH:
            if isSuccess and response is not None:
                self._setLifetime(response.get(_T.LIFETIME), now)
            else:
                self._finish(AllocationLost(_reason(outcome)))
        elif code == _MISMATCH or outcome.isRefused:
            self._finish(
                AllocationLost(_reason(outcome))
                if self.state is AllocationState.ALLOCATED
                else AllocationFailed(_reason(outcome))
            )
        elif isinstance(purpose, _Permit):
            if isSuccess and purpose.host not in self._confirmed:
                self._confirmed.add(purpose.host)
                self._effects.append(Permitted(purpose.host))
            elif isSuccess:
                return
            else:
                self._permissions.pop(purpose.host, None)
                self._refused.add(purpose.host)
                self._confirmed.discard(purpose.host)
                self._effects.append(PermissionRefused(purpose.host, _reason(outcome)))
        elif isinstance(purpose, _Bind):
            channel = self._channels[purpose.peer]
            # Refused: the number stays, as it can be bound to no other peer, and is asked for again
            # with the next refresh; until then data goes in indications.
            channel.isBound = isSuccess

    def _mayHaveOvertaken(self, purpose: Hashable) -> bool:
        """
        May the relay have seen this request before Allocate? Once is believed.
        """
        if self.state is AllocationState.ALLOCATING:
            return True
        isFirst = isinstance(purpose, (_Permit, _Bind)) and purpose not in self._mismatched
        self._mismatched.add(purpose)
        return isFirst

    def _allocated(self, response: ReceivedMessage, now: float) -> None:
        relayed = next(
            (
                address
                for address in response.getAll(_T.XOR_RELAYED_ADDRESS)
                if self._family in (None, address.family)
            ),
            None,
        )
        mapped = response.get(_T.XOR_MAPPED_ADDRESS)
        if relayed is None or mapped is None:
            self._finish(AllocationFailed(RelayFailed("the relay named no relayed address")))
            return
        self._go(_Step.SUCCEED)
        self.relayed, self.mapped = relayed, mapped
        self._setLifetime(response.get(_T.LIFETIME), now)
        self._effects.append(Allocated(relayed, mapped, self._expiresAt - now))
        self._flow.release(now)

    def _setLifetime(self, lifetime: int | None, now: float) -> None:
        seconds = self._lifetime if lifetime is None else float(lifetime)
        self._expiresAt = now + seconds
        self._refreshAt = now + max(seconds - _REFRESH_MARGIN, seconds / 2, _SHORTEST_REFRESH)

    def _receiveIndication(self, message: ReceivedMessage) -> None:
        if message.method != Method.DATA or not self._isOpen:
            return
        peer, data = message.get(_T.XOR_PEER_ADDRESS), message.get(_T.DATA)
        if peer is not None and data is not None and peer.host in self._permissions:
            self._effects.append(RelayedData(peer, data))

    # --- requests ---------------------------------------------------------------------------------

    @property
    def _isOpen(self) -> bool:
        return self.state in (
            AllocationState.NEW,
            AllocationState.ALLOCATING,
            AllocationState.ALLOCATED,
        )

    @property
    def _mayAsk(self) -> bool:
        """
        Is there a point in sending more than the Allocate request?
        """
        isEarly = self.state is AllocationState.ALLOCATING and self._isPipelining
        return isEarly or self.state is AllocationState.ALLOCATED

    def _ask(self, purpose: Hashable, method: Method, attributes: tuple[Attribute, ...]) -> None:
        self._flow.hold(Request(purpose, method, attributes))

    def _askPermission(self, host: str, now: float) -> None:
        self._permissions[host] = now + _PERMISSION_INTERVAL
        peer = TransportAddress(host, 0)
        self._ask(_Permit(host), Method.CREATE_PERMISSION, (Attribute(_T.XOR_PEER_ADDRESS, peer),))
        if self._mayAsk:
            self._flow.release(now)

    def _askChannel(self, peer: TransportAddress) -> None:
        number = Attribute(_T.CHANNEL_NUMBER, self._channels[peer].number)
        address = Attribute(_T.XOR_PEER_ADDRESS, peer)
        self._ask(_Bind(peer), Method.CHANNEL_BIND, (number, address))

    def _refresh(self, now: float) -> None:
        if self._refreshAt is not None and now >= self._refreshAt:
            self._refreshAt = None
            lifetime = Attribute(_T.LIFETIME, int(self._lifetime))
            self._ask(_Purpose.REFRESH, Method.REFRESH, (lifetime,))
        for host, due in list(self._permissions.items()):
            if now >= due:
                self._askPermission(host, now)
        for peer, channel in self._channels.items():
            if now >= channel.refreshAt:
                channel.refreshAt = now + _CHANNEL_INTERVAL
                self._askChannel(peer)
        self._flow.release(now)

    # --- ends -------------------------------------------------------------------------------------

    def _go(self, step: _Step) -> None:
        try:
            self.state = _TRANSITIONS[self.state, step]
        except KeyError:
            raise LocalProtocolError(
                f"an allocation that is {self.state.value} cannot {step.value}"
            ) from None

    def _finish(self, effect: Effect) -> None:
        self._go(_Step.FAIL)
        self._flow.clear()
        self._effects.append(effect)

    def _flush(self) -> None:
        self._effects.extend(SendToServer(data) for data in self._flow.takeOutgoing())


def _reason(outcome: Outcome) -> RelayFailed:
    if outcome.isRefused:
        return RelayRefused("the relay refuses the credential")
    error = outcome.response.error if outcome.response is not None else None
    if error is None:
        return RelayUnreachable("the relay does not answer")
    said = f" ({error.reason})" if error.reason else ""
    kind = RelayFull if error.code in _FULL else RelayFailed
    return kind(f"the relay refuses with error {error.code}{said}")
