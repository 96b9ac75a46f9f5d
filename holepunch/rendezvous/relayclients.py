"""
What clients of the relay talk to: its listeners over UDP, TCP and TLS.

Owns: the short way of ChannelData from clients to peers; framing; how long a connection may be
idle, and what becomes of data for a client that does not read.
Knows nothing of: credentials, permissions: see L{holepunch.turn}.
Driven by: the reactor; L{RelayService<holepunch.rendezvous.relay.RelayService>} binds the sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.rendezvous.relaypipe import RelayPipe
from holepunch.rendezvous.relaysockets import DatagramSocket
from holepunch.turn import channeldata
from holepunch.turn.allocation import Allocation
from holepunch.turn.framing import LONGEST, TurnFramer
from holepunch.turn.servereffects import FiveTuple

if TYPE_CHECKING:
    from holepunch.rendezvous.relayexchange import RelayExchange

# Of a message from somebody who has proved nothing yet.
_SHORT = 2048
_IDLE_TIMEOUT = 30.0
# How much may wait for a client that reads slowly, before its answers are too many.
_UNREAD_ANSWERS = 64

_header = channeldata.header


class DatagramOutlet:
    """
    The way to one client over UDP.
    """

    __slots__ = ("_address", "_socket")

    def __init__(self, socket: DatagramSocket, address: Any) -> None:
        self._socket = socket
        self._address = address

    def sendOnChannel(self, number: int, data: bytes) -> None:
        """
        Send ChannelData.
        """
        try:
            self._socket.sendto(_header.pack(number, len(data)) + data, self._address)
        except OSError:
            # As in DatagramSocket.send, without one more call.
            return


class ClientDatagrams(DatagramProtocol):
    """
    A listener over UDP.
    """

    noisy = False

    def __init__(self, exchange: RelayExchange) -> None:
        self._exchange = exchange
        self._seconds = exchange.clock.seconds
        self._allocations: dict[Any, Allocation] = {}

    def startProtocol(self) -> None:
        """
        The socket is bound.
        """
        self.socket = DatagramSocket(self.transport)
        host = cast(IPv4Address, cast(Any, self.transport).getHost())
        self.local = TransportAddress(host.host, host.port)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Take a client's message.
        """
        allocation = self._allocations.get(addr)
        if (
            allocation is not None
            and len(datagram) >= channeldata.HEADER_LENGTH
            and datagram[0] & 0xC0 == 0x40
        ):
            number, length = _header.unpack_from(datagram)
            payload = datagram[4:]
            if len(payload) > length:
                payload = payload[:length]
            elif len(payload) < length:
                return
            self._exchange.relay(allocation, number, payload, self._seconds())
            return
        client = FiveTuple(Transport.UDP, self.local, TransportAddress(addr[0], addr[1]))
        self._exchange.receive(datagram, client)

    def send(self, data: bytes, client: FiveTuple) -> None:
        """
        Send a message to a client.
        """
        self.socket.send(data, (client.client.host, client.client.port))

    def began(self, allocation: Allocation) -> None:
        """
        A client has an allocation.
        """
        client = allocation.client.client
        address = (client.host, client.port)
        allocation.outlet = DatagramOutlet(self.socket, address)
        self._allocations[address] = allocation

    def ended(self, client: FiveTuple) -> None:
        """
        A client has no allocation any more.
        """
        self._allocations.pop((client.client.host, client.client.port), None)


@implementer(IPushProducer, IHalfCloseableProtocol)
class ClientStream(Protocol, TimeoutMixin):
    """
    A client's connection over TCP or TLS.
    """

    def __init__(self, exchange: RelayExchange, source: TransportAddress) -> None:
        self._exchange = exchange
        self._source = source
        self._framer = TurnFramer(_SHORT)
        self._allocation: Allocation | None = None
        self._pipe: RelayPipe | None = None
        self._isFull = False
        self._unread = 0

    def callLater(self, period: float, func: Callable[[], object]) -> IDelayedCall:
        """
        Where C{TimeoutMixin} takes the time from.
        """
        return cast(IDelayedCall, self._exchange.clock.callLater(period, func))

    def connectionMade(self) -> None:
        """
        A client connected.
        """
        transport = cast(Any, self.transport)
        host = transport.getHost()
        local = TransportAddress(host.host, host.port)
        self.client = FiveTuple(Transport.TCP, local, self._source)
        transport.setTcpNoDelay(True)
        cast(IConsumer, transport).registerProducer(self, True)
        self._exchange.connectedBy(self)
        self.setTimeout(_IDLE_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        """
        Take the messages that are complete.
        """
        if self._pipe is not None:
            self._pipe.write(data)
            return
        self._framer.append(data)
        try:
            while self._pipe is None and (message := self._framer.next()) is not None:
                self._take(message)
        except MalformedMessage as error:
            self._exchange.complain(self._source, f"relay: {error}")
            self._abort()
            return
        if self._pipe is not None and (rest := self._framer.takeBuffered()):
            # It may have been waiting behind the request that joined the two connections.
            self._pipe.write(rest)

    def _take(self, message: bytes) -> None:
        allocation = self._allocation
        if allocation is not None and message[0] & 0xC0 == 0x40:
            number, length = _header.unpack_from(message)
            payload = message[4 : 4 + length]
            self._exchange.relay(allocation, number, payload, self._exchange.clock.seconds())
        else:
            self._exchange.receive(message, self.client)

    # --- the way to the client --------------------------------------------------------------------

    def send(self, data: bytes, mayBeDropped: bool) -> None:
        """
        Send a message; a datagram is dropped where the client does not read.
        """
        if self._isFull:
            if mayBeDropped:
                return
            self._unread += 1
            if self._unread > _UNREAD_ANSWERS:
                self._abort()
                return
        cast(Any, self.transport).write(data)

    def sendOnChannel(self, number: int, data: bytes) -> None:
        """
        Send ChannelData, unless the client does not read.
        """
        if not self._isFull:
            message = channeldata.encodeChannelData(number, data, isReliable=True)
            cast(Any, self.transport).write(message)

    def pauseProducing(self) -> None:
        """
        The client does not read.
        """
        self._isFull = True

    def resumeProducing(self) -> None:
        """
        The client reads again.
        """
        self._isFull = False
        self._unread = 0

    def stopProducing(self) -> None:
        """
        C{connectionLost} follows.
        """

    # --- what becomes of it -----------------------------------------------------------------------

    def began(self, allocation: Allocation) -> None:
        """
        The client has an allocation: it may be idle now, as that has its own lifetime.
        """
        allocation.outlet = self
        self._allocation = allocation
        self._framer.limit = LONGEST
        self.setTimeout(None)

    def ended(self, client: FiveTuple) -> None:
        """
        The client has no allocation any more.
        """
        self._allocation = None
        self.setTimeout(_IDLE_TIMEOUT)

    def join(self, pipe: RelayPipe) -> None:
        """
        From now on the connection carries a peer's bytes.
        """
        self.setTimeout(None)
        self._pipe = pipe

    def readConnectionLost(self) -> None:
        """
        The client has no more to say.
        """
        if self._pipe is not None:
            self._pipe.end(isHalf=True)
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        The peer has no more to say.
        """

    def loseConnection(self) -> None:
        """
        Close, when what was written is gone.
        """
        if self._pipe is None:
            cast(IConsumer, self.transport).unregisterProducer()
        cast(Any, self.transport).loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client left.
        """
        self.setTimeout(None)
        if self._pipe is not None:
            self._pipe.end(isHalf=False)
        self._exchange.lostBy(self)

    def timeoutConnection(self) -> None:
        """
        The client wants nothing.
        """
        self._abort()

    def _abort(self) -> None:
        cast(Any, self.transport).abortConnection()


class ClientStreams(Factory):
    """
    Makes the protocols of a listener over TCP or TLS.
    """

    noisy = False

    def __init__(self, exchange: RelayExchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Make the protocol of one connection, unless its address has too many.
        """
        remote = cast(IPv4Address, addr)
        source = TransportAddress(remote.host, remote.port)
        if not self._exchange.connections.enter(source.host):
            self._exchange.complain(source, "too many connections to the relay")
            return None
        return ClientStream(self._exchange, source)
