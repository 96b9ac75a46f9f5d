"""
Sending the probes of a discovery plan over TCP.

Owns: the local ports, each listened on and connected from, as a peer does it; and the connections,
which stay open until the end, as some NATs forget a mapping with its connection.
Knows nothing of: why a probe is sent (L{holepunch.nat.discoverystreams}).
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionRefusedError,
    NoRouteError,
)
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure

from holepunch.address import Family, TransportAddress
from holepunch.errors import MalformedMessage, NoLocalPort
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from holepunch.peer.discoveryquery import Answer, bindingRequest, outcomeOf
from holepunch.peer.together import together
from holepunch.stun import MessageClass, StunFramer, decode

# Long enough for one more SYN: systems send the second one after a second.
_BRIEF = 1.8
_MOST_STRANGERS = 32
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}


class StreamProber:
    """
    The TCP ports of one discovery.
    """

    def __init__(
        self, reactor: Any, host: str, timeout: float, randomBytes: Callable[[int], bytes]
    ) -> None:
        """
        @param host: Our own address towards the servers.
        @param timeout: Seconds to wait for a server that does not answer.
        """
        self._reactor = reactor
        self._host = host
        self._timeout = timeout
        self._randomBytes = randomBytes
        self._ports: dict[int, Any] = {}
        self._connections: list[StreamAsker] = []
        self._heard: dict[bytes, Deferred[Answer | None]] = {}

    def send(self, probe: Probe) -> Deferred[Outcome]:
        """
        Make one connection now, and ask on it.

        @raise NoLocalPort: There is no port to be had.
        """
        return Deferred.fromCoroutine(self._send(probe))

    async def close(self) -> None:
        """
        Close all connections and ports.
        """
        for connection in self._connections:
            connection.close()
        ports = list(self._ports.values())
        self._ports.clear()
        await together(*(maybeDeferred(port.stopListening) for port in ports))

    async def _send(self, probe: Probe) -> Outcome:
        local = self._local(probe.socket)
        timeout = min(_BRIEF, self._timeout) if probe.isBrief else self._timeout
        endpoint = TCP6ClientEndpoint if local.family is Family.IPV6 else TCP4ClientEndpoint
        binding = makeBinding(local.host, local.port, reuseAddress=True, reusePort=True)
        remote = probe.destination
        request = bindingRequest(self._randomBytes)
        factory = _factory(lambda: StreamAsker(self, request))
        connecting = endpoint(self._reactor, remote.host, remote.port, timeout, binding)
        if probe.isEcho:
            return await self._echo(local, request, timeout, connecting.connect(factory))
        try:
            asker = cast(StreamAsker, await connecting.connect(factory))
        except ConnectError as error:
            return Outcome(fate=_fateOf(error), local=local)
        return outcomeOf(local, await asker.answered.addTimeout(timeout, self._reactor, _giveUp))

    async def _echo(
        self, local: TransportAddress, request: bytes, timeout: float, connecting: Deferred[Any]
    ) -> Outcome:
        """
        Wait until the request comes back, or the connection fails.
        """
        transactionId = decode(request).transactionId
        heard: Deferred[Answer | None] = Deferred()
        self._heard[transactionId] = heard
        fates = [Fate.SILENT]

        def failed(failure: Failure) -> None:
            failure.trap(ConnectError)
            fates.append(_fateOf(failure.value))
            # Some stranger may still have got through to us.
            if fates[-1] is not Fate.SILENT and not heard.called:
                heard.callback(None)

        trying = connecting.addCallbacks(lambda asker: None, failed)
        try:
            answer = await heard.addTimeout(timeout, self._reactor, _giveUp)
        finally:
            del self._heard[transactionId]
            trying.addErrback(lambda failure: None).cancel()
        if answer is not None:
            return outcomeOf(local, answer)
        return Outcome(fate=fates[-1], local=local)

    def requestHeard(self, request: Answer) -> None:
        """
        A request arrived: one of our own, or that of some stranger.
        """
        heard = self._heard.get(request.message.transactionId)
        if heard is not None and not heard.called:
            heard.callback(request)

    def opened(self, connection: StreamAsker) -> bool:
        """
        A connection is there.

        @return: May it stay?
        """
        self._connections.append(connection)
        isStranger = connection.request is None
        return not isStranger or len(self._connections) <= _MOST_STRANGERS

    def closed(self, connection: StreamAsker) -> None:
        """
        A connection is gone.
        """
        self._connections.remove(connection)

    def _local(self, number: int) -> TransportAddress:
        port = self._ports.get(number)
        if port is None:
            binding = makeBinding(self._host, 0, reuseAddress=True, reusePort=True)
            try:
                port = self._reactor.listenTCP(
                    binding, _factory(lambda: StreamAsker(self, None)), interface=self._host
                )
            except CannotListenError as error:
                raise NoLocalPort(f"no TCP port can be opened on {self._host}: {error}") from None
            self._ports[number] = port
        return TransportAddress(self._host, port.getHost().port)


class StreamAsker(Protocol):
    """
    One connection, on which a request is sent at once.

    @ivar request: The request; C{None} on a connection that was accepted.
    @ivar answered: Fires with the answer; with C{None} where the connection ended without one.
    """

    def __init__(self, prober: StreamProber, request: bytes | None) -> None:
        self.request = request
        self._prober = prober
        self._framer = StunFramer()
        self.answered: Deferred[Answer | None] = Deferred()

    def connectionMade(self) -> None:
        """
        Ask.
        """
        transport: Any = self.transport
        peer = transport.getPeer()
        self._remote = TransportAddress(peer.host, peer.port)
        if not self._prober.opened(self):
            transport.abortConnection()
        elif self.request is not None:
            transport.write(self.request)

    def close(self) -> None:
        """
        Close the connection.
        """
        cast(ITransport, self.transport).loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Take the answer, or a request.
        """
        try:
            for message in self._framer.feed(data):
                self._take(Answer(self._remote, decode(message)))
        except MalformedMessage:
            self._finish(None)
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        There will be no answer, if there was none.
        """
        self._prober.closed(self)
        self._finish(None)

    def _take(self, answer: Answer) -> None:
        if answer.message.messageClass is MessageClass.REQUEST:
            self._prober.requestHeard(answer)
        elif (
            self.request is not None
            and answer.message.transactionId == decode(self.request).transactionId
        ):
            self._finish(answer)

    def _finish(self, answer: Answer | None) -> None:
        if not self.answered.called:
            self.answered.callback(answer)


def _factory(build: Callable[[], StreamAsker]) -> Any:
    factory: Any = Factory.forProtocol(build)
    factory.noisy = False
    return factory


def _fateOf(error: Any) -> Fate:
    if isinstance(error, ConnectionRefusedError):
        return Fate.REFUSED
    if isinstance(error, NoRouteError) or error.osError in _UNREACHABLE:
        return Fate.UNREACHABLE
    return Fate.SILENT


def _giveUp(result: object, seconds: float) -> Answer | None:
    return None
