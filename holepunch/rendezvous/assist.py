"""
The assist listeners: STUN over UDP and over TCP, on one answering core.

A request with a ticket also tells the service at which mapped address its peer can be reached.

Owns: the limits on what one address may ask, and the way of an answer to the right socket.
Knows nothing of: STUN messages (L{BindingAnswerer}); sessions (L{Exchange}).
Driven by: the reactor; L{AssistListeners<holepunch.rendezvous.listeners.AssistListeners>} binds the
sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IPushProducer,
    ITCPTransport,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.rendezvous.callback import callBack
from holepunch.rendezvous.exchange import Exchange
from holepunch.rendezvous.limits import AddressBuckets, AddressCounts
from holepunch.stun import CALL_FAILED, Answer, BindingAnswerer, StunFramer

_CALLS_PER_CONNECTION = 2
_SERVER_ERROR = 500


class Assist:
    """
    What the assist listeners of one service share.

    @ivar answered: How many requests got an answer.
    @ivar dropped: How many datagrams and messages got none.
    """

    def __init__(self, exchange: Exchange, allowAnonymous: bool = True) -> None:
        self.exchange = exchange
        self.answered = 0
        self.dropped = 0
        self._allowAnonymous = allowAnonymous
        limits = exchange.limits
        self._buckets = AddressBuckets(
            limits.assistRequestsPerSecond, limits.assistBurst, limits.trackedAddresses
        )
        self._calls = AddressBuckets(
            limits.assistCallsPerSecond, limits.assistCallBurst, limits.trackedAddresses
        )
        self._reactor: Any = None
        self.connections = AddressCounts(limits.assistConnectionsPerAddress)
        self._answerer = BindingAnswerer((), exchange.keyFor, allowAnonymous)
        self._sockets: dict[TransportAddress, AssistProtocol] = {}
        self._streams: set[AssistStream] = set()

    def listensOn(
        self,
        listeners: Iterable[TransportAddress],
        advertised: Mapping[TransportAddress, TransportAddress] | None = None,
        reactor: Any = None,
    ) -> None:
        """
        All sockets are bound: behaviour discovery can be offered (RFC 5780).

        @param advertised: The public address of each listener that is behind a NAT itself.
        @param reactor: Provides IReactorTCP, to connect to clients that ask for it; C{None}: none
            is.
        """
        self._reactor = reactor
        self._answerer = BindingAnswerer(
            listeners,
            self.exchange.keyFor,
            self._allowAnonymous,
            advertised=advertised,
            callsBack=reactor is not None,
        )

    def bound(self, local: TransportAddress, protocol: AssistProtocol) -> None:
        """
        A UDP socket is there, and can send answers.
        """
        self._sockets[local] = protocol

    def unbound(self, local: TransportAddress) -> None:
        """
        A UDP socket is gone.
        """
        self._sockets.pop(local, None)

    def connected(self, stream: AssistStream) -> None:
        """
        A client connected over TCP.
        """
        self._streams.add(stream)

    def disconnected(self, stream: AssistStream) -> None:
        """
        A client over TCP left.
        """
        self._streams.discard(stream)
        self.connections.leave(stream.source.host)

    def stop(self) -> None:
        """
        Close the connections over TCP.
        """
        for stream in self._streams:
            stream.abort()

    def answer(
        self, data: bytes, source: TransportAddress, local: TransportAddress, transport: Transport
    ) -> Answer | None:
        """
        Answer one message, and use what it shows.
        """
        answer = None
        if self._buckets.take(source.host, self.exchange.clock.seconds()):
            answer = self._answerer.answer(data, source, local, transport)
        if answer is None:
            self.dropped += 1
            return None
        self.answered += 1
        if answer.username is not None and answer.errorCode is None:
            self.exchange.observe(answer.username, transport, answer.mapped)
        return answer

    async def call(self, request: bytes, answer: Answer) -> bytes:
        """
        Connect to a client over TCP that asked for it.

        @param answer: Says from where to where; and it is the answer, if that works.
        @return: The answer.
        """
        if not self._calls.take(answer.destination.host, self.exchange.clock.seconds()):
            return self._answerer.failed(request, _SERVER_ERROR, "Asked Too Often")
        try:
            failure = await callBack(self._reactor, answer.origin, answer.destination)
        except ConnectError:
            return self._answerer.failed(request, _SERVER_ERROR, "Server Error")
        if failure is None:
            return answer.data
        return self._answerer.failed(request, CALL_FAILED, failure.value)

    def send(self, answer: Answer) -> None:
        """
        Send an answer over UDP, from the socket that it must leave from.
        """
        socket = self._sockets.get(answer.origin)
        if socket is not None:
            socket.send(answer.data, answer.destination)


class AssistProtocol(DatagramProtocol):
    """
    An assist listener over UDP.

    @ivar local: The address that it is bound to.
    """

    local: TransportAddress
    noisy = False

    def __init__(self, assist: Assist) -> None:
        self.assist = assist

    def startProtocol(self) -> None:
        """
        The socket is bound.
        """
        host = cast(IPv4Address, cast(IUDPTransport, self.transport).getHost())
        self.local = TransportAddress(host.host, host.port)
        self.assist.bound(self.local, self)

    def stopProtocol(self) -> None:
        """
        The socket is closed.
        """
        self.assist.unbound(self.local)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Answer a datagram, if it is a request.
        """
        source = TransportAddress(addr[0], addr[1])
        answer = self.assist.answer(datagram, source, self.local, Transport.UDP)
        if answer is not None:
            self.assist.send(answer)

    def send(self, data: bytes, destination: TransportAddress) -> None:
        """
        Send a datagram from this socket.
        """
        host = destination.host
        if ":" in self.local.host and ":" not in host:
            # A socket on all IPv6 addresses gets IPv4's datagrams, too (RFC 3493 section 3.7).
            host = f"::ffff:{host}"
        try:
            cast(IUDPTransport, self.transport).write(data, (host, destination.port))
        except OSError:
            # No route, a full buffer, a packet filter: to the client it is a datagram lost.
            self.assist.dropped += 1


@implementer(IPushProducer)
class AssistStream(Protocol, TimeoutMixin):
    """
    One connection to an assist listener over TCP.

    It stays open while the client asks now and then: some NATs drop a mapping with its connection.
    On request, the client is called back from another address.
    """

    def __init__(self, assist: Assist, source: TransportAddress) -> None:
        self.assist = assist
        self.source = source
        self._framer = StunFramer()
        self._calls: list[Deferred[bytes]] = []

    def callLater(self, period: float, func: Callable[[], object]) -> IDelayedCall:
        """
        Where C{TimeoutMixin} takes the time from.
        """
        return self.assist.exchange.clock.callLater(period, func)

    def connectionMade(self) -> None:
        """
        A client connected.
        """
        transport = cast(ITCPTransport, self.transport)
        host = cast(IPv4Address, transport.getHost())
        self.local = TransportAddress(host.host, host.port)
        cast(IConsumer, transport).registerProducer(self, True)
        self.assist.connected(self)
        self.setTimeout(self.assist.exchange.limits.assistIdleTimeout)

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the requests that are complete.
        """
        try:
            messages = self._framer.feed(data)
        except MalformedMessage as error:
            self.assist.exchange.complaints.complain(self.source, f"assist listener: {error}")
            self._close()
            return
        for message in messages:
            answer = self.assist.answer(message, self.source, self.local, Transport.TCP)
            if answer is not None:
                self.setTimeout(self.assist.exchange.limits.assistPatience)
                if answer.origin == self.local:
                    cast(ITCPTransport, self.transport).write(answer.data)
                else:
                    self._call(message, answer)

    def _call(self, request: bytes, answer: Answer) -> None:
        """
        Answer when it has shown whether the client can be called.
        """
        if len(self._calls) == _CALLS_PER_CONNECTION:
            self.assist.dropped += 1
            return
        calling = Deferred.fromCoroutine(self.assist.call(request, answer))
        self._calls.append(calling)
        calling.addCallback(cast(ITCPTransport, self.transport).write)
        calling.addErrback(_trapCancelled)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client left.
        """
        self.setTimeout(None)
        for calling in self._calls:
            calling.cancel()
        self.assist.disconnected(self)

    def timeoutConnection(self) -> None:
        """
        The client has not asked for a long time, or does not let us close.
        """
        self.abort()

    def pauseProducing(self) -> None:
        """
        The client does not read its answers.
        """
        self.abort()

    def resumeProducing(self) -> None:
        """
        Cannot be, after L{pauseProducing}.
        """

    def stopProducing(self) -> None:
        """
        C{connectionLost} follows.
        """

    def abort(self) -> None:
        """
        Close at once.
        """
        cast(ITCPTransport, self.transport).abortConnection()

    def _close(self) -> None:
        cast(IConsumer, self.transport).unregisterProducer()
        cast(ITCPTransport, self.transport).loseConnection()


class AssistStreamFactory(Factory):
    """
    Makes the protocols of an assist listener over TCP.
    """

    noisy = False

    def __init__(self, assist: Assist) -> None:
        self.assist = assist

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Make the protocol of one connection, unless its address has too many.
        """
        remote = cast(IPv4Address, addr)
        source = TransportAddress(remote.host, remote.port)
        if not self.assist.connections.enter(source.host):
            self.assist.exchange.complaints.complain(source, "too many assist connections")
            return None
        return AssistStream(self.assist, source)


def _trapCancelled(failure: Failure) -> None:
    failure.trap(CancelledError, ConnectingCancelledError)
