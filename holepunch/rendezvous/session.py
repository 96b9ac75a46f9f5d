"""
A session, as the service sees it: two sides, and what each may be told of the other.

Owns: which candidates of a side are known, held back or dropped.
Knows nothing of: connections, clocks, when something is sent.
Driven by: the L{Switchboard}.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.punch.candidate import Candidate, CandidateType
from holepunch.punch.config import TCPFlow
from holepunch.punch.credentials import Credentials
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous.introduction import Introduction, RelayPolicy, Ticket, Use
from holepunch.rendezvous.registry import Registration
from holepunch.rendezvous.trust import Verdict, judge

# Over UDP a source can be forged: a ticket is good for so many addresses, and no more.
_OBSERVATIONS = 64


@attrs.define(kw_only=True)
class Side:
    """
    One of the two peers of a session.

    @ivar hasOwnPorts: Does it use other local ports than those that it registered?
    @ivar isIntroduced: Has it been told about the other side?
    @ivar isReady: Has it said so?
    @ivar relayCredentials: Those for checks through the relay, where there may be any.
    """

    registration: Registration
    credentials: Credentials
    ticket: Ticket
    hasOwnPorts: bool = False
    isIntroduced: bool = False
    isReady: bool = False
    relayCredentials: Credentials | None = None
    _dropped: int = 0
    _observed: set[TransportAddress] = attrs.field(factory=set)
    _hosts: set[str] = attrs.field(factory=set)
    _known: dict[tuple[Transport, TransportAddress], Candidate] = attrs.field(factory=dict)
    _held: list[Candidate] = attrs.field(factory=list)

    @property
    def connection(self) -> int:
        """
        The number of the peer's main connection.
        """
        return self.registration.connection

    @property
    def refused(self) -> int:
        """
        How many of the claimed candidates were not passed on.
        """
        return self._dropped + len(self._held)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """
        All that the other side may be told.
        """
        return tuple(self._known.values())

    @property
    def isHere(self) -> bool:
        """
        Has the service seen the peer at a loopback address?
        """
        return any(address.isLoopback for address in self._observed)

    def saw(self, address: TransportAddress) -> bool:
        """
        The service observed the peer at C{address}. False where that is one address too many.
        """
        if address not in self._observed and len(self._observed) >= _OBSERVATIONS:
            return False
        self._observed.add(address)
        self._hosts.add(address.host)
        return True

    def knows(self, candidate: Candidate) -> bool:
        """
        Note a candidate that may be passed on. Is it a new one?
        """
        key = (candidate.transport, candidate.address)
        if key in self._known:
            return False
        self._known[key] = candidate
        return True

    def claim(self, candidates: Iterable[Candidate], most: int) -> None:
        """
        The peer says that it has these candidates.

        @param most: How many of them are remembered.
        """
        for candidate in candidates:
            if len(self._known) + len(self._held) < most:
                self._held.append(candidate)
            else:
                self._dropped += 1

    def release(
        self, areBothHere: bool, transports: tuple[Transport, ...], relayHosts: Collection[str]
    ) -> list[Candidate]:
        """
        Take those of the claimed candidates that may be passed on by now.

        @param transports: What direct ones may use.
        @param relayHosts: Where relayed ones may be.
        """
        released = []
        held = []
        for candidate in self._held:
            if candidate.type is CandidateType.RELAYED:
                if candidate.address.host not in relayHosts:
                    self._dropped += 1
                elif self.knows(candidate):
                    released.append(candidate)
                continue
            verdict = judge(candidate, self._observed, self._hosts, areBothHere)
            if verdict is Verdict.HELD:
                held.append(candidate)
            elif verdict is Verdict.DROPPED:
                self._dropped += 1
            elif candidate.transport in transports and self.knows(candidate):
                released.append(candidate)
        self._held = held
        return released


@attrs.define(kw_only=True)
class Session:
    """
    Two peers that are to reach each other.

    @ivar isAwaitingAnswer: Is the requester told nothing before the other peer has answered?
    @ivar relay: May a relay carry the data? With C{ONLY}, no other addresses are passed on.
    @ivar relayHosts: Where relayed addresses may be that the peers themselves tell us of.
    @ivar continues: The session whose streams are to go on.
    @ivar application: What the requester wants a stream for.
    """

    sessionID: str
    requester: Side
    target: Side
    transports: tuple[Transport, ...]
    flow: TCPFlow
    expiresAt: float
    isAwaitingAnswer: bool = False
    use: Use = Use.STREAMS
    relay: RelayPolicy = RelayPolicy.NEVER
    relayHosts: frozenset[str] = frozenset()
    continues: str | None = None
    application: str | None = None

    @property
    def isMovable(self) -> bool:
        """
        May the path be moved: to a relay, and away from it?
        """
        return self.relay is not RelayPolicy.NEVER

    @property
    def sides(self) -> tuple[Side, Side]:
        """
        Both sides.
        """
        return self.requester, self.target

    def sideOf(self, connection: int) -> Side:
        """
        The side that has the main connection of this number.
        """
        return self.requester if self.requester.connection == connection else self.target

    def other(self, side: Side) -> Side:
        """
        The side that is not C{side}.
        """
        return self.target if side is self.requester else self.requester

    def observe(self, side: Side, transport: Transport, address: TransportAddress) -> bool:
        """
        The service saw C{side} at a mapped address. Is that a new candidate?
        """
        if not side.saw(address) or transport not in self._directTransports:
            return False
        return side.knows(
            gatheredCandidate(CandidateType.SERVER_REFLEXIVE, transport, address, server="assist")
        )

    def relayed(self, side: Side, address: TransportAddress) -> bool:
        """
        The relay has given C{side} an address. Is that a new candidate?
        """
        if not self.isMovable:
            return False
        return side.knows(
            gatheredCandidate(CandidateType.RELAYED, Transport.UDP, address, server="relay")
        )

    @property
    def _directTransports(self) -> tuple[Transport, ...]:
        return () if self.relay is RelayPolicy.ONLY else self.transports

    def release(self, side: Side) -> list[Candidate]:
        """
        Take those candidates of C{side} that may be told to the other one by now.
        """
        areBothHere = self.requester.isHere and self.target.isHere
        hosts = self.relayHosts if self.isMovable else ()
        return side.release(areBothHere, self._directTransports, hosts)

    def introductionFor(self, side: Side, candidates: tuple[Candidate, ...]) -> Introduction:
        """
        What C{side} is told about the session.

        @param candidates: The first ones of the other side.
        """
        other = self.other(side)
        isRequester = side is self.requester
        return Introduction(
            sessionID=self.sessionID,
            remote=other.registration.peerID,
            remoteName=other.registration.name,
            isRequester=isRequester,
            isControlling=isRequester,
            isRemoteBehindNAT=other.registration.isBehindNAT,
            transports=self.transports,
            flow=self.flow,
            local=side.credentials,
            remoteCredentials=other.credentials,
            remoteCandidates=candidates,
            ticket=side.ticket,
            use=self.use,
            relay=self.relay,
            relayLocal=side.relayCredentials,
            relayRemote=other.relayCredentials,
            continues=self.continues,
            application=self.application,
        )
