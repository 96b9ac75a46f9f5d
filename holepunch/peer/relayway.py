"""
One way to a relay: by UDP, TCP or TLS.

Owns: the socket, the framing, the one timer of the allocation's core.
Knows nothing of: other ways; what the allocation is for.
Driven by: L{holepunch.peer.relayallocation}, the socket, the clock.
"""

from __future__ import annotations

import abc
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IConnector, IDelayedCall, ITCPTransport
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import (
    HolepunchError,
    LocalProtocolError,
    MalformedMessage,
    RelayFailed,
    RelayUnreachable,
)
from holepunch.peer.keepalive import keepAlive
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.sendqueue import SendQueue
from holepunch.rendezvous.relaygrant import RelayGrant, RelayServer
from holepunch.turn import (
    Allocated,
    AllocationClient,
    AllocationClosed,
    AllocationFailed,
    AllocationLost,
    AllocationState,
    EphemeralCredential,
    RelayedData,
    SendToServer,
    TurnFramer,
    looksLikeChannelData,
)

_CONNECT_TIMEOUT = 10.0


class RelayWay(abc.ABC):
    """
    One way, and the allocation that is got by it.

    @ivar client: The core of the allocation.
    """

    isReliable = True

    def __init__(
        self,
        reactor: PeerReactor,
        server: TransportAddress,
        grant: RelayGrant,
        *,
        allocated: Callable[[RelayWay, TransportAddress], None],
        received: Callable[[TransportAddress, bytes], None],
        ended: Callable[[RelayWay, HolepunchError], None],
    ) -> None:
        """
        @param allocated: Called with the relayed address once there is one.
        @param received: Called with each datagram that comes to it, and where from.
        @param ended: Called once, with the reason, when there is no allocation any more, or never
            will be.
        """
        self._reactor = reactor
        self._server = server
        self._allocated = allocated
        self._received = received
        self._ended: Callable[[RelayWay, HolepunchError], None] | None = ended
        self._timer: IDelayedCall | None = None
        self._isPumping = False
        self._permitted: list[str] = []
        self.client = AllocationClient(
            server,
            EphemeralCredential(grant.username, grant.password),
            isReliable=self.isReliable,
            randomBytes=os.urandom,
            realm=grant.realm or None,
            nonce=grant.nonce.encode() or None,
        )

    @abc.abstractmethod
    def start(self) -> None:
        """
        Open the socket, and ask.
        """

    @abc.abstractmethod
    def _transmit(self, data: bytes) -> None:
        """
        Send to the relay.
        """

    @abc.abstractmethod
    def _closeSocket(self) -> None:
        """
        Let go of the socket.
        """

    @property
    def isOver(self) -> bool:
        """
        Is there nothing to be expected any more?
        """
        return self._ended is None

    def renew(self, grant: RelayGrant) -> None:
        """
        Use another credential from now on.
        """
        credential = EphemeralCredential(grant.username, grant.password)
        self.client.renew(credential, self._reactor.seconds())

    def verify(self) -> None:
        """
        Make sure that the allocation is still there.
        """
        self._do(self.client.verify)

    def permit(self, host: str) -> None:
        """
        Let a host send to the relayed address.
        """
        if self.client.state is AllocationState.NEW:
            self._permitted.append(host)
        else:
            self._do(self.client.permit, host)

    def bindChannel(self, remote: TransportAddress) -> None:
        """
        Let datagrams to and from C{remote} take the short form.
        """
        self._do(self.client.bindChannel, remote)

    def send(self, remote: TransportAddress, data: bytes) -> None:
        """
        Send a datagram from the relayed address.
        """
        self._do(self.client.send, remote, data)

    def close(self) -> None:
        """
        Give up the allocation.
        """
        if not self.isOver:
            self._ended = None
            with contextlib.suppress(LocalProtocolError):
                self.client.close(self._reactor.seconds())
            self._pump()
            self._cancelTimer()
            self._closeSocket()

    # --- the core ---------------------------------------------------------------------------

    def _begin(self) -> None:
        self._do(self.client.start)
        # With a nonce that is known, they leave in the same flight.
        for host in self._permitted:
            self._do(self.client.permit, host)

    def _do(self, call: Callable[..., None], *arguments: Any) -> None:
        if not self.isOver:
            call(*arguments, self._reactor.seconds())
            self._pump()

    def _messageReceived(self, data: bytes) -> None:
        self._do(self.client.receive, data)

    def _pump(self) -> None:
        if self._isPumping:
            return
        self._isPumping = True
        carriedOut = 0
        data = 0
        try:
            while effects := self.client.takeEffects():
                for effect in effects:
                    carriedOut += 1
                    data += _isData(effect)
                    self._carryOut(effect)
        finally:
            self._isPumping = False
        # Where nothing but data passed, the timer is right as it is.
        if carriedOut == 0 or data < carriedOut or self._timer is None:
            self._rearm()

    def _carryOut(self, effect: object) -> None:
        if isinstance(effect, SendToServer):
            self._transmit(effect.data)
        elif self.isOver:
            return
        elif isinstance(effect, RelayedData):
            self._received(effect.peer, effect.data)
        elif isinstance(effect, Allocated):
            self._allocated(self, effect.relayed)
        elif isinstance(effect, (AllocationFailed, AllocationLost)):
            self._end(effect.reason)
        elif isinstance(effect, AllocationClosed):
            self._end(RelayFailed("the allocation was given up"))

    def _end(self, reason: HolepunchError) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            self._cancelTimer()
            self._closeSocket()
            ended(self, reason)

    def _rearm(self) -> None:
        self._cancelTimer()
        at = None if self.isOver else self.client.nextTimeout()
        if at is not None:
            delay = max(0.0, at - self._reactor.seconds())
            self._timer = self._reactor.callLater(delay, self._timedOut)

    def _timedOut(self) -> None:
        self._timer = None
        self._do(self.client.handleTimeout)

    def _cancelTimer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _isData(effect: object) -> bool:
    """
    Does an effect leave all times as they are?
    """
    return isinstance(effect, RelayedData) or (
        isinstance(effect, SendToServer) and looksLikeChannelData(effect.data)
    )


class DatagramWay(RelayWay, DatagramProtocol):
    """
    By UDP.
    """

    isReliable = False
    noisy = False

    def start(self) -> None:
        """
        Open a socket, and ask.
        """
        interface = "::" if self._server.family is Family.IPV6 else ""
        try:
            self._port = self._reactor.listenUDP(0, self, interface=interface, maxPacketSize=65535)
        except CannotListenError as error:
            self._end(RelayFailed(str(error.socketError)))
            return
        transport: Any = self.transport
        self._sendTo: Callable[[bytes, tuple[str, int]], object] = transport.write
        handle = getattr(self._port, "getHandle", lambda: None)()
        if isinstance(handle, socket.socket):
            # The transport's own method looks at the address anew for each datagram.
            self._sendTo = handle.sendto
        self._relay = (self._server.host, self._server.port)
        self._begin()

    def _transmit(self, data: bytes) -> None:
        # Where the system refuses, a datagram is as lost as any other.
        with contextlib.suppress(OSError):
            self._sendTo(data, self._relay)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        The relay says something, or somebody who pretends to be it.
        """
        if addr[:2] == self._relay:
            self._messageReceived(datagram)

    def _closeSocket(self) -> None:
        if self.transport is not None:
            self._port.stopListening()


class _Connection(Protocol):
    """
    A connection to the relay.
    """

    def __init__(self, way: StreamWay) -> None:
        self._way = way

    def connectionMade(self) -> None:
        self._way.connectionMade(cast(ITCPTransport, self.transport))

    def dataReceived(self, data: bytes) -> None:
        self._way.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._way.connectionLost(reason)


class _ConnectFactory(ClientFactory):
    noisy = False

    def __init__(self, way: StreamWay) -> None:
        self._way = way

    def buildProtocol(self, addr: object) -> Protocol:
        return _Connection(self._way)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._way.connectionLost(reason)


class StreamWay(RelayWay):
    """
    By TCP.
    """

    _tcp: ITCPTransport | None = None
    _connector: IConnector | None = None

    def start(self) -> None:
        """
        Connect; the request follows when the connection is there.
        """
        self._queue = SendQueue(super().send)
        self._queue.pause()
        self._framer = TurnFramer()
        self._connector = self._reactor.connectTCP(
            self._server.host, self._server.port, self._factory(), timeout=_CONNECT_TIMEOUT
        )

    def _factory(self) -> Any:
        return _ConnectFactory(self)

    def connectionMade(self, transport: ITCPTransport) -> None:
        """
        Connected.
        """
        self._tcp = transport
        transport.setTcpNoDelay(True)
        keepAlive(transport)
        cast(Any, transport).registerProducer(self, True)
        if self.client.state is AllocationState.NEW:
            self._begin()
        self._queue.resume()

    def send(self, remote: TransportAddress, data: bytes) -> None:
        """
        Send a datagram from the relayed address, unless too many wait already.
        """
        self._queue.put(remote, data)

    def dataReceived(self, data: bytes) -> None:
        """
        The relay says something.
        """
        try:
            messages = self._framer.feed(data)
        except MalformedMessage:
            self._end(RelayFailed("the relay sends nonsense"))
            return
        for message in messages:
            self._messageReceived(message)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone, or never was.
        """
        self._tcp = None
        self._queue.clear()
        self._end(RelayUnreachable(reason.getErrorMessage()))

    def pauseProducing(self) -> None:
        """
        The connection is full.
        """
        self._queue.pause()

    def resumeProducing(self) -> None:
        """
        There is room again.
        """
        self._queue.resume()

    def stopProducing(self) -> None:
        """
        The connection is gone; L{connectionLost} follows.
        """

    def _transmit(self, data: bytes) -> None:
        if self._tcp is not None:
            self._tcp.write(data)

    def _closeSocket(self) -> None:
        tcp, self._tcp = self._tcp, None
        if tcp is not None:
            cast(Any, tcp).unregisterProducer()
            tcp.loseConnection()
        elif self._connector is not None:
            self._connector.disconnect()


class SecureWay(StreamWay):
    """
    By TLS over TCP, which gets through where only the web does.

    The relay need not be believed in anything, so it need not prove who it is: what is relayed is
    encrypted between the peers.
    """

    def _factory(self) -> Any:
        return TLSMemoryBIOFactory(
            CertificateOptions(verify=False), True, _ConnectFactory(self), self._reactor
        )


def wayTo(server: RelayServer) -> type[RelayWay]:
    """
    How that relay is talked to.
    """
    if server.transport is Transport.UDP:
        return DatagramWay
    return SecureWay if server.isSecure else StreamWay
