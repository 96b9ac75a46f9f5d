"""
What the sockets of one relay share: its state, and the way of each effect to its socket.

Owns: the timer, and the sockets by what they are for.
Knows nothing of: how sockets are made; TURN messages.
Driven by: the protocols in L{holepunch.rendezvous.relayclients} and
L{holepunch.rendezvous.relaysockets}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from holepunch.address import Transport, TransportAddress
from holepunch.rendezvous.complaints import Complaints
from holepunch.rendezvous.limits import AddressBuckets, AddressCounts
from holepunch.rendezvous.relayclients import ClientDatagrams, ClientStream
from holepunch.rendezvous.relaypipe import RelayPipe
from holepunch.rendezvous.relaysockets import (
    PeerConnector,
    PeerStream,
    RelayedDatagrams,
    openRelayed,
)
from holepunch.turn import PeerPolicy, RelayLimits, RelayServer
from holepunch.turn.allocation import Allocation
from holepunch.turn.servereffects import (
    AllocationEnded,
    AllocationMade,
    ClosePeer,
    CloseRelay,
    ConnectPeer,
    FiveTuple,
    JoinStreams,
    OpenRelay,
    SendToClient,
    SendToPeer,
    ServerEffect,
)

_TRACKED_ADDRESSES = 65536


class RelayExchange:
    """
    One relay at work.

    @ivar server: Its state.
    @ivar clock: The reactor.
    @ivar connections: How many clients each address has over TCP.
    @ivar listeners: The UDP listeners by their local address.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        publicHosts: Mapping[str, str],
        *,
        realm: str,
        secret: bytes,
        policy: PeerPolicy,
        limits: RelayLimits,
        ports: tuple[int, int],
        allocated: Callable[[str, TransportAddress], object],
        users: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param publicHosts: The public address of each local one that relayed addresses are made on.
        @param allocated: Called with the user name and the relayed address of each allocation.
        """
        self.clock = reactor
        self.connections = AddressCounts(limits.connectionsPerAddress)
        self.listeners: dict[TransportAddress, ClientDatagrams] = {}
        self._public = dict(publicHosts)
        self._local = {public: local for local, public in publicHosts.items()}
        self._allocated = allocated
        self._complaints = Complaints(reactor)
        self._buckets = AddressBuckets(
            limits.requestsPerSecond, limits.requestBurst, _TRACKED_ADDRESSES
        )
        self._streams: dict[FiveTuple, ClientStream] = {}
        self._peers: dict[int, PeerStream] = {}
        self._ports: dict[tuple[Transport, TransportAddress], Any] = {}
        self._datagrams: dict[TransportAddress, RelayedDatagrams] = {}
        self._timer: IDelayedCall | None = None
        self._isPerforming = False
        self._isStopped = False
        self.server = RelayServer(
            publicHosts.values(),
            realm=realm,
            secret=secret,
            nonceSecret=os.urandom(32),
            randomBytes=os.urandom,
            policy=policy,
            now=reactor.seconds(),
            limits=limits,
            users=users,
            ports=ports,
            mayAsk=self._buckets.take,
        )
        self._acts: dict[type[Any], Callable[[Any], None]] = {
            SendToClient: self._sendToClient,
            SendToPeer: self._sendToPeer,
            OpenRelay: self._open,
            CloseRelay: self._close,
            AllocationMade: self._made,
            AllocationEnded: self._ended,
            ConnectPeer: self._connect,
            JoinStreams: self._join,
            ClosePeer: self._closePeer,
        }

    # --- the way of a packet ----------------------------------------------------------------------

    def relay(self, allocation: Allocation, number: int, data: bytes, now: float) -> None:
        """
        A client sends on a channel.
        """
        size = len(data)
        channel = allocation.outbound(number, size, now)
        if channel is None:
            return
        if channel.isInside:
            back = self.server.across(channel, size, now)
            if back is not None:
                back.allocation.outlet.sendOnChannel(back.number, data)
            else:
                self.server.forward(allocation, channel.peer, data, now)
                self.perform()
            return
        send = channel.outlet
        if send is None:
            relayed = self._datagrams.get(allocation.relayed[channel.peer.family])
            if relayed is None:
                return
            send = channel.outlet = relayed.socket.sendto
        try:
            send(data, channel.socketAddress)
        except OSError:
            # As in DatagramSocket.send, without one more call.
            return

    def receive(self, data: bytes, client: FiveTuple) -> None:
        """
        A client sent a message.
        """
        self.server.receive(data, client, self.clock.seconds())
        self.perform()

    # --- connections ------------------------------------------------------------------------------

    def connectedBy(self, stream: ClientStream) -> None:
        """
        A client has connected.
        """
        self._streams[stream.client] = stream

    def lostBy(self, stream: ClientStream) -> None:
        """
        A client's connection is gone.
        """
        self.connections.leave(stream.client.client.host)
        if self._streams.get(stream.client) is stream:
            del self._streams[stream.client]
            self.server.clientLost(stream.client)
            self.perform()

    def accepted(
        self, relayed: TransportAddress, peer: TransportAddress, stream: PeerStream
    ) -> int | None:
        """
        A peer has connected; C{None} where it may not.
        """
        number = self.server.peerAccepted(relayed, peer, self.clock.seconds())
        if number is not None:
            self._peers[number] = stream
        self.perform()
        return number

    def connected(self, number: int, stream: PeerStream) -> None:
        """
        The relay has connected to a peer.
        """
        self._peers[number] = stream
        self.server.peerConnected(number, self.clock.seconds())
        self.perform()

    def connectFailed(self, number: int) -> None:
        """
        The relay cannot connect to a peer.
        """
        self.server.peerConnectFailed(number)
        self.perform()

    def peerLost(self, number: int) -> None:
        """
        A peer's connection is gone.
        """
        self._peers.pop(number, None)
        self.server.peerClosed(number)
        self.perform()

    def public(self, local: TransportAddress) -> TransportAddress:
        """
        What others know one of our addresses as; other addresses stay as they are.
        """
        host = self._public.get(local.host)
        return local if host is None else TransportAddress(host, local.port)

    def local(self, public: TransportAddress) -> TransportAddress:
        """
        The way back.
        """
        host = self._local.get(public.host)
        return public if host is None else TransportAddress(host, public.port)

    def complain(self, who: TransportAddress, reason: str) -> None:
        """
        A client misbehaved.
        """
        self._complaints.complain(who, reason)

    def stop(self) -> Deferred[object]:
        """
        Close everything but the listeners.
        """
        self._isStopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for stream in [*self._streams.values(), *self._peers.values()]:
            transport: Any = stream.transport
            transport.abortConnection()
        ports, self._ports = self._ports, {}
        self._datagrams.clear()
        closing = [maybeDeferred(port.stopListening) for port in ports.values()]
        closed: Deferred[object] = DeferredList(closing).addCallback(lambda results: None)
        return closed

    # --- effects ----------------------------------------------------------------------------------

    def perform(self) -> None:
        """
        Do what the state wants done.
        """
        # Binding a socket and joining connections lead back to here.
        if self._isPerforming:
            return
        self._isPerforming = True
        try:
            while effects := self.server.takeEffects():
                for effect in effects:
                    self._perform(effect)
        finally:
            self._isPerforming = False
        self._rearm()

    def _perform(self, effect: ServerEffect) -> None:
        self._acts[type(effect)](effect)

    def _rearm(self) -> None:
        at = self.server.nextTimeout()
        if at is None or self._isStopped:
            return
        if self._timer is not None:
            if self._timer.getTime() <= at:
                # Too early does no harm.
                return
            self._timer.cancel()
        self._timer = self.clock.callLater(max(0.0, at - self.clock.seconds()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.server.handleTimeout(self.clock.seconds())
        self.perform()

    def _sendToClient(self, effect: SendToClient) -> None:
        client = effect.client
        if client.transport is Transport.UDP:
            listener = self.listeners.get(client.server)
            if listener is not None:
                listener.send(effect.data, client)
        else:
            stream = self._streams.get(client)
            if stream is not None:
                stream.send(effect.data, effect.mayBeDropped)

    def _sendToPeer(self, effect: SendToPeer) -> None:
        relayed = self._datagrams.get(effect.relayed)
        if relayed is not None:
            address = (effect.peer.host, effect.peer.port)
            if effect.isWhole:
                relayed.socket.sendWhole(effect.data, address)
            else:
                relayed.socket.send(effect.data, address)

    def _open(self, effect: OpenRelay) -> None:
        now = self.clock.seconds()
        transport, relayed = effect.transport, effect.relayed
        try:
            port, datagrams = openRelayed(self, self.clock, transport, self.local(relayed), relayed)
        except CannotListenError:
            self.server.relayFailed(transport, relayed, now)
            return
        self._ports[transport, relayed] = port
        if datagrams is not None:
            self._datagrams[relayed] = datagrams
        self.server.relayOpened(transport, relayed, now)

    def _close(self, effect: CloseRelay) -> None:
        port = self._ports.pop((effect.transport, effect.relayed), None)
        if effect.transport is Transport.UDP:
            self._datagrams.pop(effect.relayed, None)
        if port is not None:
            port.stopListening()

    def _made(self, effect: AllocationMade) -> None:
        allocation = self.server.allocationOf(effect.client)
        outlet = self._outlet(effect.client)
        if allocation is None or outlet is None:
            return
        outlet.began(allocation)
        self._log.info(
            "relay: {user} from {client} has {relayed}",
            user=allocation.account.user,
            client=str(effect.client.client),
            relayed=str(effect.relayed),
        )
        self._allocated(effect.username, effect.relayed)

    def _ended(self, effect: AllocationEnded) -> None:
        outlet = self._outlet(effect.client)
        if outlet is not None and self.server.allocationOf(effect.client) is None:
            outlet.ended(effect.client)

    def _outlet(self, client: FiveTuple) -> ClientDatagrams | ClientStream | None:
        if client.transport is Transport.UDP:
            return self.listeners.get(client.server)
        return self._streams.get(client)

    def _connect(self, effect: ConnectPeer) -> None:
        connector = PeerConnector(self, effect.connection, effect.peer)
        connector.connect(self.clock, self.local(effect.relayed), self.local(effect.peer))

    def _join(self, effect: JoinStreams) -> None:
        stream = self._streams.get(effect.client)
        peer = self._peers.get(effect.connection)
        account = self.server.accountOf(effect.connection)
        if stream is None or peer is None or account is None:
            self._closePeer(ClosePeer(effect.connection))
            return
        client: Any = stream.transport
        # What the client does not read was its own matter; from now on it holds up the peer.
        client.unregisterProducer()
        stream.join(RelayPipe(self.clock, client, peer.transport, account))
        peer.join(RelayPipe(self.clock, peer.transport, client, account))

    def _closePeer(self, effect: ClosePeer) -> None:
        peer = self._peers.pop(effect.connection, None)
        if peer is not None:
            transport: Any = peer.transport
            transport.abortConnection()
