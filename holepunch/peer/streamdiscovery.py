"""
Finding out what a NAT does to TCP.

Owns: which connections are made from which port.
Knows nothing of: what the answers mean (L{holepunch.nat.discovery}).
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import makeBinding

from holepunch.address import Family, TransportAddress
from holepunch.nat.discovery import Observation, ProtocolReport
from holepunch.peer.stunquery import Answer, StreamAsker, corners, giveUp, observations
from holepunch.peer.together import together


@attrs.frozen
class _StreamResult:
    """
    What became of one request over TCP.
    """

    local: TransportAddress | None = None
    answer: Answer | None = None
    isRefused: bool = False


@attrs.frozen(kw_only=True)
class StreamDiscovery:
    """
    One run.

    @ivar host: Our own address towards the servers.
    @ivar timeout: Seconds to wait for a server that does not answer.
    """

    reactor: Any
    servers: Sequence[TransportAddress]
    host: str
    timeout: float
    randomBytes: Callable[[int], bytes]

    async def report(self) -> ProtocolReport:
        """
        All about TCP: from one port, on which we listen as a peer does, and from fresh ones.
        """
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        binding = makeBinding(self.host, 0, reuseAddress=True, reusePort=True)
        listening = self.reactor.listenTCP(binding, factory, interface=self.host)
        askers: list[StreamAsker] = []
        try:
            port = listening.getHost().port
            results = await self._askAll([(server, port) for server in self.servers], askers)
            seen = _streamObservations(self.servers, results)
            if not seen:
                if any(result.isRefused for result in results):
                    # Not blocked: many STUN servers speak UDP only.
                    return ProtocolReport(problem="the server refuses TCP")
                return ProtocolReport(isBlocked=True, problem="no server answered")
            server = seen[0].server
            others = corners(server, [result.answer for result in results])
            questions = [(each, port) for each in others if each not in self.servers]
            questions += [(server, 0), (server, 0)]
            results = await self._askAll(questions, askers)
            seen += _streamObservations([each for each, _ in questions], results)
        finally:
            # Not before: some NATs forget a mapping with the connection that made it.
            for asker in askers:
                asker.close()
            await maybeDeferred(listening.stopListening)
        return ProtocolReport.conclude(seen)

    async def _askAll(
        self, questions: Sequence[tuple[TransportAddress, int]], askers: list[StreamAsker]
    ) -> list[_StreamResult]:
        return await together(
            *(
                Deferred.fromCoroutine(self._askStream(server, port, askers))
                for server, port in questions
            )
        )

    async def _askStream(
        self, server: TransportAddress, port: int, askers: list[StreamAsker]
    ) -> _StreamResult:
        """
        Ask one server.

        @param port: Our own; 0 takes a fresh one.
        @param askers: The connection is appended; who calls closes it.
        """
        endpoint = TCP6ClientEndpoint if server.family is Family.IPV6 else TCP4ClientEndpoint
        binding = makeBinding(self.host, port, reuseAddress=True, reusePort=True)
        factory = Factory.forProtocol(lambda: StreamAsker(self.randomBytes))
        factory.noisy = False
        try:
            asker: Any = await endpoint(
                self.reactor, server.host, server.port, self.timeout, binding
            ).connect(factory)
        except ConnectError as error:
            return _StreamResult(isRefused=isinstance(error, ConnectionRefusedError))
        askers.append(asker)
        answer = await asker.answered.addTimeout(self.timeout, self.reactor, giveUp)
        return _StreamResult(asker.local, answer)


def _streamObservations(
    servers: Sequence[TransportAddress], results: Sequence[_StreamResult]
) -> list[Observation]:
    return [
        observation
        for server, result in zip(servers, results, strict=True)
        if result.local is not None
        for observation in observations(result.local, [server], [result.answer])
    ]
