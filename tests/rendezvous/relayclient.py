"""
Clients of a relay over real sockets, ours and those of other makers.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from holepunch.address import TransportAddress
from holepunch.turn import (
    Allocated,
    AllocationClient,
    EphemeralCredential,
    Permitted,
    RelayedData,
    SendToServer,
    TurnFramer,
)
from holepunch.turn.effects import Effect

_T = TypeVar("_T")


@implementer(IOpenSSLClientConnectionCreator)
class AnyCertificate:
    """
    TLS that believes everybody.
    """

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        Make the OpenSSL side of one connection.
        """
        return SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)


class Client:
    """
    An allocation over a socket.

    @ivar core: The allocation.
    @ivar told: What it told, but for what was to be sent.
    """

    def __init__(self, reactor: Any, core: AllocationClient) -> None:
        self.core = core
        self.told: list[Effect] = []
        self._reactor = reactor
        self._timer: Any = None
        self._waiting: list[tuple[type[Any], Deferred[Any]]] = []
        self._send: Any = None
        self._isClosed = False

    @classmethod
    async def connect(
        cls,
        reactor: Any,
        server: TransportAddress,
        credential: EphemeralCredential,
        kind: str = "udp",
        mayFail: bool = False,
        interface: str = "127.0.0.1",
        **options: Any,
    ) -> Client:
        """
        Allocate.

        @param kind: C{udp}, C{tcp} or C{tls}.
        @param mayFail: Wait for whatever comes of it.
        """
        core = AllocationClient(
            server, credential, isReliable=kind != "udp", randomBytes=os.urandom, **options
        )
        client = cls(reactor, core)
        if kind == "udp":
            datagrams = _Datagrams(client)
            port = reactor.listenUDP(0, datagrams, interface, 65535)
            client._send = lambda data: datagrams.transport.write(data, (server.host, server.port))
            client._close = port.stopListening
        else:
            endpoint: Any = TCP4ClientEndpoint(reactor, server.host, server.port)
            if kind == "tls":
                endpoint = wrapClientTLS(AnyCertificate(), endpoint)
            stream = _Stream(client)
            await connectProtocol(endpoint, stream)
            client._send = stream.transport.write
            client._close = stream.close
        core.start(reactor.seconds())
        allocated: Deferred[Any] = client.wait(object if mayFail else Allocated)
        client.perform()
        await allocated
        return client

    def wait(self, kind: type[_T]) -> Deferred[_T]:
        """
        The next effect of a kind.
        """
        waiting: Deferred[_T] = Deferred()
        self._waiting.append((kind, waiting))
        return waiting

    def receive(self, data: bytes) -> None:
        """
        Take a message.
        """
        self.core.receive(data, self._reactor.seconds())
        self.perform()

    def send(self, peer: TransportAddress, data: bytes) -> None:
        """
        Send to a peer.
        """
        self.core.send(peer, data, self._reactor.seconds())
        self.perform()

    async def permit(self, host: str) -> None:
        """
        Permit a host; whatever comes of it is told.
        """
        if Permitted(TransportAddress(host, 0).host) in self.told:
            return
        self.core.permit(host, self._reactor.seconds())
        answered = self.wait(object)
        self.perform()
        await answered

    def bind(self, peer: TransportAddress) -> None:
        """
        Ask for a channel.
        """
        self.core.bindChannel(peer, self._reactor.seconds())
        self.perform()

    async def received(self) -> RelayedData:
        """
        The next datagram of a peer.
        """
        return await self.wait(RelayedData)

    def perform(self) -> None:
        """
        Do what the allocation wants done.
        """
        if self._isClosed:
            return
        for effect in self.core.takeEffects():
            if isinstance(effect, SendToServer):
                self._send(effect.data)
                continue
            self.told.append(effect)
            for waiting in list(self._waiting):
                if isinstance(effect, waiting[0]):
                    self._waiting.remove(waiting)
                    waiting[1].callback(effect)
                    break
        self._stopTimer()
        if self._isClosed:
            return
        at = self.core.nextTimeout()
        if at is not None:
            self._timer = self._reactor.callLater(max(0, at - self._reactor.seconds()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.core.handleTimeout(self._reactor.seconds())
        self.perform()

    def close(self) -> Any:
        """
        Give up, and close the socket.
        """
        if self._isClosed:
            return None
        self.core.close(self._reactor.seconds())
        self.perform()
        self._isClosed = True
        self._stopTimer()
        return self._close()

    def _stopTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    _close: Any


class _Datagrams(DatagramProtocol):
    transport: Any
    noisy = False

    def __init__(self, client: Client) -> None:
        self._client = client

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._client.receive(datagram)


class _Stream(Protocol):
    transport: Any

    def __init__(self, client: Client) -> None:
        self._client = client
        self._framer = TurnFramer()
        self._lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        for message in self._framer.feed(data):
            self._client.receive(message)

    def connectionLost(self, reason: Any = None) -> None:
        self._lost.callback(None)

    def close(self) -> Deferred[None]:
        self.transport.loseConnection()
        return self._lost
