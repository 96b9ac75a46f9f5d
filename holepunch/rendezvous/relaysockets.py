"""
The sockets of relayed addresses: what peers send to, and what the relay sends to peers from.

Owns: the short way of datagrams from peers into channels; connections to and from peers.
Knows nothing of: messages of clients; quotas, but that they are asked.
Driven by: L{RelayExchange<holepunch.rendezvous.relayexchange.RelayExchange>}, and the reactor.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ISystemHandle
from twisted.internet.protocol import (
    ClientFactory,
    DatagramProtocol,
    Factory,
    Protocol,
    connectionDone,
)
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.rendezvous.relaypipe import RelayPipe
from holepunch.turn.allocation import Allocation, Channel

if TYPE_CHECKING:
    from holepunch.rendezvous.relayexchange import RelayExchange

#: The longest datagram that is taken from anybody: longer ones cross no network, but loopback.
LONGEST_DATAGRAM = 65535
#: Room for what comes while the process does something else.
RECEIVE_BUFFER = 1 << 20

_BACKLOG = 16
_CONNECT_SECONDS = 30.0
# More peers than an allocation may have channels.
_KNOWN_PEERS = 1024

# Linux's numbers, which the socket module does not name.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_PMTUDISC_DO = 2


class DatagramSocket:
    """
    Sends datagrams by the shortest way there is.
    """

    def __init__(self, transport: Any) -> None:
        #: What C{send} does, for those who catch its C{OSError} themselves.
        self.sendto: Any = transport.write
        self._handle: socket.socket | None = None
        if ISystemHandle.providedBy(transport):
            handle = cast(socket.socket, cast(Any, transport).getHandle())
            with contextlib.suppress(OSError):
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._handle = handle
            self.sendto = handle.sendto

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        """
        Send a datagram, or lose it.
        """
        # No route, a full buffer, a packet filter, too long: a datagram may be lost.
        with contextlib.suppress(OSError):
            self.sendto(data, address)

    def sendWhole(self, data: bytes, address: tuple[str, int]) -> None:
        """
        Send a datagram with the DF bit, or lose it.
        """
        handle = self._handle
        if handle is None:
            self.send(data, address)
            return
        option = (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
        if handle.family == socket.AF_INET6:
            option = (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER)
        with contextlib.suppress(OSError):
            before = handle.getsockopt(*option)
            handle.setsockopt(*option, _PMTUDISC_DO)
            try:
                self.send(data, address)
            finally:
                handle.setsockopt(*option, before)


class RelayedDatagrams(DatagramProtocol):
    """
    A relayed address for UDP.
    """

    noisy = False

    def __init__(self, exchange: RelayExchange, relayed: TransportAddress) -> None:
        self._exchange = exchange
        self._relayed = relayed
        self._seconds = exchange.clock.seconds
        self._allocation: Allocation | None = None
        self._channels: dict[Any, Channel] = {}

    def startProtocol(self) -> None:
        """
        The socket is bound.
        """
        self.socket = DatagramSocket(self.transport)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Pass a peer's datagram on to the client.
        """
        channel = self._channels.get(addr)
        now = self._seconds()
        if channel is not None and channel.isOpen(now):
            allocation = channel.allocation
            if allocation.account.spend(len(datagram), now):
                allocation.outlet.sendOnChannel(channel.number, datagram)
            return
        self._receive(datagram, addr, now)

    def _receive(self, datagram: bytes, addr: Any, now: float) -> None:
        allocation = self._allocation
        if allocation is None or allocation.isEnded:
            allocation = self._allocation = self._exchange.server.allocationAt(self._relayed)
        # Strangers come at any rate, and go no further than this.
        if allocation is None or not allocation.isPermitted(addr[0], now):
            return
        peer = TransportAddress(addr[0], addr[1])
        channel = allocation.channelTo(peer, now)
        if channel is not None and allocation.outlet is not None:
            if len(self._channels) >= _KNOWN_PEERS:
                self._channels.clear()
            self._channels[addr] = channel
        self._exchange.server.receiveFromPeer(self._relayed, peer, datagram, now)
        self._exchange.perform()


@implementer(IHalfCloseableProtocol)
class PeerStream(Protocol):
    """
    A peer's connection to a relayed address, or from it.

    What the peer says waits in the kernel until a client's connection is joined to it.
    """

    def __init__(self, exchange: RelayExchange, number: int | None, peer: TransportAddress) -> None:
        self._exchange = exchange
        self._number = number
        self._peer = peer
        self._pipe: RelayPipe | None = None
        self.isLost = False

    def connectionMade(self) -> None:
        """
        The connection is there.
        """
        transport = cast(Any, self.transport)
        transport.pauseProducing()
        if self._number is None:
            local = cast(IPv4Address, transport.getHost())
            relayed = self._exchange.public(TransportAddress(local.host, local.port))
            self._number = self._exchange.accepted(relayed, self._peer, self)
            if self._number is None:
                transport.abortConnection()
        else:
            self._exchange.connected(self._number, self)

    def join(self, pipe: RelayPipe) -> None:
        """
        From now on it is read.
        """
        self._pipe = pipe

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on to the client.
        """
        if self._pipe is not None:
            self._pipe.write(data)

    def readConnectionLost(self) -> None:
        """
        The peer has no more to say.
        """
        if self._pipe is not None:
            self._pipe.end(isHalf=True)
        else:
            cast(Any, self.transport).loseConnection()

    def writeConnectionLost(self) -> None:
        """
        The client has no more to say.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone.
        """
        self.isLost = True
        if self._pipe is not None:
            self._pipe.end(isHalf=False)
        if self._number is not None:
            self._exchange.peerLost(self._number)


class RelayedStreams(Factory):
    """
    Makes the protocols of connections to a relayed address for TCP.
    """

    noisy = False

    def __init__(self, exchange: RelayExchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Make the protocol of one connection.
        """
        remote = cast(IPv4Address, addr)
        peer = self._exchange.public(TransportAddress(remote.host, remote.port))
        return PeerStream(self._exchange, None, peer)


class PeerConnector(ClientFactory):
    """
    Makes one connection from a relayed address to a peer.
    """

    noisy = False

    def __init__(self, exchange: RelayExchange, number: int, peer: TransportAddress) -> None:
        self._exchange = exchange
        self._number = number
        self._peer = peer

    def connect(self, reactor: Any, local: TransportAddress, remote: TransportAddress) -> None:
        """
        Connect from a port on which the relay listens, too.
        """
        binding = makeBinding(local.host, local.port, reuseAddress=True, reusePort=True)
        reactor.connectTCP(
            remote.host, remote.port, self, timeout=_CONNECT_SECONDS, bindAddress=binding
        )

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        The peer has taken the connection.
        """
        return PeerStream(self._exchange, self._number, self._peer)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """
        It has not.
        """
        self._exchange.connectFailed(self._number)


def openRelayed(
    exchange: RelayExchange,
    reactor: Any,
    transport: Transport,
    local: TransportAddress,
    relayed: TransportAddress,
) -> tuple[Any, RelayedDatagrams | None]:
    """
    Bind the socket of a relayed address.

    @param local: Where to bind.
    @return: The port of the reactor, and over UDP its protocol.
    @raise CannotListenError: The port is taken.
    """
    if transport is Transport.UDP:
        protocol = RelayedDatagrams(exchange, relayed)
        port = reactor.listenUDP(local.port, protocol, local.host, LONGEST_DATAGRAM)
        return port, protocol
    binding = makeBinding(local.host, local.port, reuseAddress=True, reusePort=True)
    return reactor.listenTCP(binding, RelayedStreams(exchange), _BACKLOG, local.host), None
