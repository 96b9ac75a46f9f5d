"""
Finding out what a NAT does to UDP (RFC 5780 section 4).

Owns: which requests are sent from which socket.
Knows nothing of: what the answers mean (L{holepunch.nat.discovery}).
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering
from holepunch.nat.discovery import ProtocolReport, filteringBehaviour
from holepunch.peer.stunquery import Answer, DatagramAsker, corners, giveUp, observations
from holepunch.peer.together import together
from holepunch.stun import ChangeRequest

_QUICK = 3


@attrs.frozen(kw_only=True)
class DatagramDiscovery:
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
        All about UDP, from three sockets.
        """
        askers = [DatagramAsker(self.reactor, self.randomBytes) for _ in range(3)]
        ports = [self.reactor.listenUDP(0, asker, interface=self.host) for asker in askers]
        try:
            return await self._reportFrom(*askers)
        finally:
            await together(*(maybeDeferred(port.stopListening) for port in ports))

    async def _reportFrom(
        self, main: DatagramAsker, fresh: DatagramAsker, second: DatagramAsker
    ) -> ProtocolReport:
        """
        Each question has a socket of its own: whom a socket has sent to may pass the filter.
        """
        answers = await together(*(self._ask(main, server) for server in self.servers))
        seen = observations(main.local, self.servers, answers)
        if not seen:
            return ProtocolReport(isBlocked=True, problem="no server answered")
        server = seen[0].server
        others = [each for each in corners(server, answers) if each not in self.servers]
        further, changed, echoed = await together(
            together(*(self._ask(main, other) for other in others)),
            self._askForChanges(fresh, server),
            Deferred.fromCoroutine(self._hairpin(main, seen[0].mapped, second, server)),
        )
        seen += observations(main.local, others, further)
        seen += observations(fresh.local, [server], changed[:1])
        seen += observations(second.local, [server], echoed[:1])
        report = ProtocolReport.conclude(
            seen,
            filtering=_filtering(server, [each.server for each in seen], *changed[1:]),
            isHairpinning=any(echoed[1:]),
        )
        isHairpinKnown = report.isTranslated and report.isDestinationDependent is False
        return report if isHairpinKnown else attrs.evolve(report, isHairpinning=None)

    def _ask(self, asker: DatagramAsker, server: TransportAddress) -> Deferred[Answer | None]:
        return asker.ask(server).addTimeout(self.timeout, self.reactor, giveUp)

    def _askForChanges(
        self, asker: DatagramAsker, server: TransportAddress
    ) -> Deferred[list[Answer | None]]:
        """
        Ask for three answers: from where we sent to, from another host and port, from another port.
        """
        return together(
            self._ask(asker, server),
            asker.ask(server, ChangeRequest.HOST | ChangeRequest.PORT, _QUICK),
            asker.ask(server, ChangeRequest.PORT, _QUICK),
        )

    async def _hairpin(
        self,
        main: DatagramAsker,
        mapped: TransportAddress,
        second: DatagramAsker,
        server: TransportAddress,
    ) -> list[Answer | None]:
        """
        Let two sockets send to each other's mapped address, as filters want both to have sent.

        @return: What the server answered to the second socket, and what came back.
        """
        answer = await self._ask(second, server)
        if answer is None or answer.mapped is None:
            return [answer]
        echoes = await together(main.hear(second, mapped), second.hear(main, answer.mapped))
        return [answer, *echoes]


def _filtering(
    server: TransportAddress,
    reached: Sequence[TransportAddress],
    fromOtherHost: Answer | None,
    fromOtherPort: Answer | None,
) -> Filtering | None:
    """
    @param reached: The servers that answered when they were asked directly; that no answer came
        says something about the NAT only where there is somebody to send it.
    """

    def isHeard(answer: Answer | None, canAnswer: bool) -> bool | None:
        if answer is None:
            return False if canAnswer else None
        # A server that knows no CHANGE-REQUEST says so, or answers from where it was asked.
        return True if answer.mapped is not None and answer.source != server else None

    return filteringBehaviour(
        isHeard(fromOtherHost, any(each.host != server.host for each in reached)),
        isHeard(
            fromOtherPort,
            any(each.host == server.host and each.port != server.port for each in reached),
        ),
    )
