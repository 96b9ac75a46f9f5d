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

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError, NoRouteError
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from holepunch.peer.discoveryprober import Prober
from holepunch.peer.discoveryquery import Answer, bindingRequest, outcomeOf
from holepunch.stun import CALL_FAILED, CallFailure, MessageClass, StunFramer, decode

# Long enough for one more SYN: systems send the second one after a second.
_BRIEF = 1.8
# A connection that is open, and the answer on another one, may become readable in any order.
_ACCEPTING = 0.2
_MOST_STRANGERS = 32
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}
_CALL_FATES = {
    CallFailure.REFUSED: Fate.REFUSED,
    CallFailure.UNREACHABLE: Fate.UNREACHABLE,
    CallFailure.SILENT: Fate.SILENT,
}


class StreamProber(Prober):
    """
    The TCP ports of one discovery.
    """

    transport = Transport.TCP

    def __init__(
        self, reactor: Any, host: str, timeout: float, randomBytes: Callable[[int], bytes]
    ) -> None:
        """
        @param host: Our own address towards the servers.
        @param timeout: Seconds to wait for a server that does not answer.
        """
        super().__init__(reactor, host, timeout, randomBytes)
        self._connections: list[StreamAsker] = []
        self._askers: dict[tuple[int, TransportAddress], StreamAsker] = {}
        self._callers: dict[TransportAddress, TransportAddress] = {}
        self._heard: dict[bytes, Deferred[Answer | None]] = {}

    def send(self, probe: Probe) -> Deferred[Outcome]:
        """
        Make one connection now, unless it is there, and ask on it.

        @raise NoLocalPort: There is no port to be had.
        """
        return Deferred.fromCoroutine(self._send(probe))

    def listen(self, number: int) -> Any:
        """
        Open a port that can be connected from, too.
        """
        binding = makeBinding(self.host, 0, reuseAddress=True, reusePort=True)
        factory = _factory(lambda: StreamAsker(self))
        return self.reactor.listenTCP(binding, factory, interface=self.host)

    async def close(self) -> None:
        """
        Close all connections and ports.
        """
        for connection in self._connections:
            connection.close()
        await super().close()

    async def _send(self, probe: Probe) -> Outcome:
        local = TransportAddress(self.host, self.port(probe.socket).getHost().port)
        timeout = min(_BRIEF, self.timeout) if probe.isBrief else self.timeout
        if probe.isEcho:
            return await self._echo(local, timeout, probe.destination)
        if probe.isAgain:
            asker = self._askers.get((probe.socket, probe.destination))
            if asker is None:
                return Outcome(fate=Fate.SILENT, local=local)
            if asker.idleTime is not None:
                return Outcome(fate=Fate.CLOSED, local=local, idleTime=asker.idleTime)
        else:
            try:
                asker = await self._connect(local, timeout, probe.destination)
            except ConnectError as error:
                return Outcome(fate=_fateOf(error), local=local)
            self._askers[probe.socket, probe.destination] = asker
        answered = asker.ask(bindingRequest(self.randomBytes, probe.change))
        answer = await self.orNothing(answered, timeout)
        if probe.change:
            return await self._called(local, answer)
        return outcomeOf(local, answer)

    def _connect(
        self, local: TransportAddress, timeout: float, remote: TransportAddress
    ) -> Deferred[StreamAsker]:
        endpoint = TCP6ClientEndpoint if local.family is Family.IPV6 else TCP4ClientEndpoint
        binding = makeBinding(local.host, local.port, reuseAddress=True, reusePort=True)
        connecting = endpoint(self.reactor, remote.host, remote.port, timeout, binding)
        factory = _factory(lambda: StreamAsker(self, isOurs=True))
        return cast(Deferred[StreamAsker], connecting.connect(factory))

    async def _called(self, local: TransportAddress, answer: Answer | None) -> Outcome:
        """
        What became of the server's connection to us.
        """
        outcome = outcomeOf(local, answer)
        error = None if answer is None else answer.message.error
        if outcome.fate is Fate.ANSWERED:
            await deferLater(self.reactor, _ACCEPTING)
            return attrs.evolve(outcome, call=Fate.HEARD, caller=self._callers.get(local))
        if error is not None and error.code == CALL_FAILED:
            failure = CallFailure.read(error.reason)
            return attrs.evolve(outcome, call=failure and _CALL_FATES[failure])
        return outcome

    async def _echo(
        self, local: TransportAddress, timeout: float, remote: TransportAddress
    ) -> Outcome:
        """
        Wait until a request comes back, or the connection fails.
        """
        request = bindingRequest(self.randomBytes)
        transactionId = decode(request).transactionId
        heard: Deferred[Answer | None] = Deferred()
        self._heard[transactionId] = heard
        fates = [Fate.SILENT]

        def connected(asker: StreamAsker) -> None:
            asker.ask(request)

        def failed(failure: Failure) -> None:
            failure.trap(ConnectError)
            fates.append(_fateOf(failure.value))
            # Some stranger may still have got through to us.
            if fates[-1] is not Fate.SILENT and not heard.called:
                heard.callback(None)

        trying = self._connect(local, timeout, remote).addCallbacks(connected, failed)
        try:
            answer = await self.orNothing(heard, timeout)
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
        if connection.isOurs:
            return True
        if len(self._callers) < _MOST_STRANGERS:
            self._callers[connection.local] = connection.remote
        return len(self._connections) <= _MOST_STRANGERS

    def closed(self, connection: StreamAsker) -> None:
        """
        A connection is gone.
        """
        self._connections.remove(connection)


class StreamAsker(Protocol):
    """
    One connection, on which requests are sent.

    @ivar isOurs: Did we open it?
    @ivar idleTime: How long it was idle when it ended; C{None} while it is there.
    """

    local: TransportAddress
    remote: TransportAddress

    def __init__(self, prober: StreamProber, isOurs: bool = False) -> None:
        self.isOurs = isOurs
        self.idleTime: float | None = None
        self._prober = prober
        self._framer = StunFramer()
        self._asked: dict[bytes, Deferred[Answer | None]] = {}
        self._usedAt = prober.reactor.seconds()

    def connectionMade(self) -> None:
        """
        Requests can be sent.
        """
        transport: Any = self.transport
        host, peer = transport.getHost(), transport.getPeer()
        self.local = TransportAddress(host.host, host.port)
        self.remote = TransportAddress(peer.host, peer.port)
        if not self._prober.opened(self):
            transport.abortConnection()

    def ask(self, request: bytes) -> Deferred[Answer | None]:
        """
        Send a request.

        @return: Fires with the answer; with C{None} where the connection ended without one.
        """
        answered: Deferred[Answer | None] = Deferred()
        if self.idleTime is not None:
            answered.callback(None)
            return answered
        self._asked[decode(request).transactionId] = answered
        cast(ITransport, self.transport).write(request)
        self._usedAt = self._prober.reactor.seconds()
        return answered

    def close(self) -> None:
        """
        Close the connection.
        """
        cast(ITransport, self.transport).loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Take an answer, or a request.
        """
        self._usedAt = self._prober.reactor.seconds()
        try:
            for message in self._framer.feed(data):
                self._take(Answer(self.remote, decode(message)))
        except MalformedMessage:
            self._giveUp()
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        There will be no answers.
        """
        self.idleTime = self._prober.reactor.seconds() - self._usedAt
        self._prober.closed(self)
        self._giveUp()

    def _take(self, answer: Answer) -> None:
        if answer.message.messageClass is MessageClass.REQUEST:
            self._prober.requestHeard(answer)
            return
        answered = self._asked.pop(answer.message.transactionId, None)
        if answered is not None and not answered.called:
            answered.callback(answer)

    def _giveUp(self) -> None:
        asked, self._asked = self._asked, {}
        for answered in asked.values():
            if not answered.called:
                answered.callback(None)


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
