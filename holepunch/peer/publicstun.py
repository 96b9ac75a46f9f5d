"""
Finding out one's own mapped addresses from any STUN servers, where no rendezvous service observes
them and tells the other side.

Owns: the names of the servers, the requests, the server-reflexive candidates that come of it (RFC
8445 section 5.1.1.2).
Knows nothing of: sessions; who is told the candidates.
Driven by: L{holepunch.peer.outofband}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from holepunch.address import Transport, TransportAddress, splitHostPort
from holepunch.errors import UnknownHost
from holepunch.peer.assist import AssistClient, AssistRequests, MappedCallback
from holepunch.peer.gathering import oneOfEachHost
from holepunch.peer.hosts import isLocalService
from holepunch.peer.localports import LocalPorts
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.resolving import resolveFamilies
from holepunch.punch import Candidate, CandidateType, gatheredCandidate

DEFAULT_PORT = 3478
# Some NATs forget after 20 s.
_REPEAT_INTERVAL = 12.0
_LISTENERS = 2


@attrs.frozen(kw_only=True)
class Sighting:
    """
    A server saw one of our ports.
    """

    transport: Transport
    local: TransportAddress
    mapped: TransportAddress
    server: TransportAddress = attrs.field(eq=False)

    @property
    def candidate(self) -> Candidate:
        """
        Where we may be reached, by that.
        """
        return gatheredCandidate(
            CandidateType.SERVER_REFLEXIVE,
            self.transport,
            self.mapped,
            base=self.local,
            server=self.server.host,
        )


class PublicSTUN:
    """
    The STUN servers that one program asks about its ports.

    """

    def __init__(
        self,
        reactor: PeerReactor,
        servers: Sequence[str],
        told: Callable[[Candidate], None],
    ) -> None:
        """
        @param servers: C{HOST[:PORT]} each. At most two of each version of IP are asked: that shows
            whether the NAT maps by destination.
        @param told: Called with each new candidate.
        @raise BadAddress: C{servers} makes no sense.
        """
        self._reactor = reactor
        self._names = [splitHostPort(each, DEFAULT_PORT) for each in servers]
        self._told = told
        self._servers: tuple[TransportAddress, ...] = ()
        self._gathering: AssistClient | None = None
        self._watching: list[_Known] = []
        self._ports: LocalPorts | None = None
        self._waiting: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None
        self._seen: list[Sighting] = []

    @property
    def isHere(self) -> bool:
        """
        Is one of the servers on this very machine?
        """
        return any(isLocalService(host) for host, _ in self._names)

    async def resolve(self) -> None:
        """
        Look the servers up.

        @raise UnknownHost: None of them has an address.
        """
        looked = [await self._lookUp(host, port) for host, port in self._names]
        self._servers = tuple(address for found in looked for address in found)
        if self._names and not self._servers:
            names = ", ".join(host[:80] for host, _ in self._names)
            raise UnknownHost(f"no STUN server has an address ({names}): check the spelling")

    async def _lookUp(self, host: str, port: int) -> tuple[TransportAddress, ...]:
        resolver: Any = self._reactor
        try:
            return await resolveFamilies(resolver, host, port)
        except UnknownHost:
            return ()

    def gather(
        self, ports: LocalPorts, transports: frozenset[Transport], patience: float
    ) -> Deferred[None]:
        """
        Ask about the ports of a session, and go on asking, so that its mappings stay.

        @param patience: Seconds.
        @return: Fires when all servers have answered, or C{patience} is at its end.
        """
        self._ports = ports
        self._waiting = Deferred(lambda _: self._stopWaiting())
        self._patience = self._reactor.callLater(patience, self._gathered)
        self._gathering = self._ask(ports, _LISTENERS, self._mapped)
        if Transport.UDP in transports:
            self._gathering.askByUDP(repeatInterval=_REPEAT_INTERVAL)
        if Transport.TCP in transports:
            self._gathering.askByTCP()
        waiting = self._waiting
        self._lookIfSettled()
        return waiting

    def newAssist(
        self, ports: LocalPorts, listeners: int, mapped: MappedCallback
    ) -> AssistRequests:
        """
        What a L{Session<holepunch.peer.session.Session>} asks.
        """
        if ports is self._ports:
            known = _Known(mapped)
            self._watching.append(known)
            for sighting in self._seen:
                known.tell(sighting)
            return known

        def also(
            transport: Transport,
            local: TransportAddress,
            address: TransportAddress,
            server: TransportAddress,
        ) -> None:
            self._note(transport, local, address, server)
            mapped(transport, local, address, server)

        return self._ask(ports, listeners, also)

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._stopWaiting()
        if self._gathering is not None:
            self._gathering.stop()

    def _ask(self, ports: LocalPorts, listeners: int, mapped: MappedCallback) -> AssistClient:
        servers = oneOfEachHost(self._servers, limit=listeners)
        return AssistClient(self._reactor, ports, servers, None, os.urandom, mapped)

    def _mapped(
        self,
        transport: Transport,
        local: TransportAddress,
        mapped: TransportAddress,
        server: TransportAddress,
    ) -> None:
        sighting = self._note(transport, local, mapped, server)
        if sighting is not None:
            for known in self._watching:
                known.tell(sighting)
        self._lookIfSettled()

    def _note(
        self,
        transport: Transport,
        local: TransportAddress,
        mapped: TransportAddress,
        server: TransportAddress,
    ) -> Sighting | None:
        sighting = Sighting(transport=transport, local=local, mapped=mapped, server=server)
        if sighting in self._seen:
            return None
        self._seen.append(sighting)
        if mapped != local:
            self._told(sighting.candidate)
        return sighting

    def _lookIfSettled(self) -> None:
        if self._gathering is not None and self._gathering.isSettled:
            self._gathered()

    def _gathered(self) -> None:
        waiting = self._waiting
        self._stopWaiting()
        if waiting is not None:
            waiting.callback(None)

    def _stopWaiting(self) -> None:
        self._waiting = None
        if self._patience is not None and self._patience.active():
            self._patience.cancel()


class _Known:
    """
    Tells a session what is known of its ports already: they are being asked about.
    """

    def __init__(self, mapped: MappedCallback) -> None:
        self._mapped = mapped
        self._isStopped = False

    def askByUDP(self) -> None:
        """
        That is done.
        """

    def askByTCP(self) -> None:
        """
        That is done.
        """

    def tell(self, sighting: Sighting) -> None:
        """
        One of our ports was seen.
        """
        if not self._isStopped:
            self._mapped(sighting.transport, sighting.local, sighting.mapped, sighting.server)

    def stop(self) -> None:
        """
        Tell no more.
        """
        self._isStopped = True
