"""
The check list: which pairs are formed of the candidates, and in which order they are checked
(RFC 8445 sections 6.1.2 and 7.3.1.3).

Owns: the candidates of both sides, the pairs, and the limits on both.
Knows nothing of: checks; time; connections.
Driven by: L{PunchSession}, for announced candidates; L{DatagramChecks} and L{StreamChecks}, for
peer-reflexive ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from holepunch.address import Family, Transport, TransportAddress
from holepunch.punch.candidate import Candidate, CandidateType, TCPType
from holepunch.punch.pair import CandidatePair, PairState
from holepunch.punch.priority import pairPriority
from holepunch.punch.role import Role

_Key = tuple[Transport, TransportAddress, TransportAddress]


class CheckList:
    """
    All pairs of one session.

    Two local candidates with the same base make the same packets, so a base and a remote address
    make one pair, with the better of the local candidates (RFC 8445 section 6.1.2.4).
    """

    def __init__(
        self,
        role: Role,
        randomBytes: Callable[[int], bytes],
        transports: frozenset[Transport] = frozenset(Transport),
        maximalCandidates: int = 32,
        maximalPairs: int = 100,
    ) -> None:
        self._role = role
        self._randomBytes = randomBytes
        self._transports = transports
        self._maximalCandidates = maximalCandidates
        self._maximalPairs = maximalPairs
        self._local: list[Candidate] = []
        self._remote: dict[tuple[Transport, TransportAddress], Candidate] = {}
        self._pairs: dict[_Key, CandidatePair] = {}
        self._ordered: list[CandidatePair] | None = None
        self._checkOrders: dict[Transport, list[CandidatePair]] = {}

    @property
    def localCandidates(self) -> tuple[Candidate, ...]:
        """
        This side's candidates, in the order in which they came.
        """
        return tuple(self._local)

    @property
    def remoteCandidates(self) -> tuple[Candidate, ...]:
        """
        The other side's candidates, in the order in which they came.
        """
        return tuple(self._remote.values())

    @property
    def pairs(self) -> list[CandidatePair]:
        """
        All pairs, best first. Do not change the list.
        """
        if self._ordered is None:
            self._ordered = sorted(self._pairs.values(), key=lambda pair: -pair.priority)
        return self._ordered

    def ofTransport(self, transport: Transport) -> list[CandidatePair]:
        """
        The pairs of one transport, best first.
        """
        return [pair for pair in self.pairs if pair.transport is transport]

    def inCheckOrder(self, transport: Transport) -> list[CandidatePair]:
        """
        The pairs of one transport in the order in which their first checks leave: best first, but
        IPv6 and IPv4 take turns, so that neither waits for a family that is broken (RFC 8421
        section 4). Do not change the list.
        """
        order = self._checkOrders.get(transport)
        if order is None:
            pairs = self.ofTransport(transport)
            place: dict[CandidatePair, int] = {}
            counts: Counter[Family] = Counter()
            for pair in pairs:
                place[pair] = counts[pair.base.family]
                counts[pair.base.family] += 1
            order = self._checkOrders[transport] = sorted(pairs, key=place.__getitem__)
        return order

    def find(
        self, transport: Transport, base: TransportAddress, remote: TransportAddress
    ) -> CandidatePair | None:
        """
        The pair of a local and a remote address, if it was formed.
        """
        return self._pairs.get((transport, base, remote))

    def isBase(self, transport: Transport, address: TransportAddress) -> bool:
        """
        Is C{address} one that local candidates send from?
        """
        return any(
            candidate.transport is transport and candidate.sendingAddress == address
            for candidate in self._local
        )

    def addLocal(self, candidate: Candidate) -> list[CandidatePair] | None:
        """
        Take a candidate of this side.

        @return: The pairs that it made; C{None} where the candidate is of no use, or one too many.
        """
        if not self._isWanted(candidate) or candidate in self._local:
            return None
        if len(self._local) >= self._maximalCandidates:
            return None
        self._local.append(candidate)
        return self._form([(candidate, remote) for remote in self._remote.values()])

    def addRemote(self, candidate: Candidate) -> list[CandidatePair] | None:
        """
        Take a candidate that the other side announced.

        One that was learned as peer-reflexive before becomes what it was announced as.

        @return: As L{addLocal}.
        """
        key = (candidate.transport, candidate.address)
        known = self._remote.get(key)
        isLearned = known is not None and known.type is CandidateType.PEER_REFLEXIVE
        if not self._isWanted(candidate) or candidate.address.port == 0:
            return None
        if known is not None and not isLearned:
            return None
        if known is None and len(self._remote) >= self._maximalCandidates:
            return None
        self._remote[key] = candidate
        if isLearned:
            for pair in self._pairs.values():
                if pair.remote == known:
                    pair.remote = candidate
            self.recompute()
        return self._form([(local, candidate) for local in self._local])

    def learnRemote(
        self,
        transport: Transport,
        base: TransportAddress,
        remote: TransportAddress,
        priority: int,
    ) -> CandidatePair | None:
        """
        An authenticated check came from an address to a base that make no pair yet: a
        peer-reflexive candidate (RFC 8445 section 7.3.1.3).

        @return: The new pair; C{None} where there is no such base, or no place.
        """
        locals = [
            candidate
            for candidate in self._local
            if candidate.transport is transport and candidate.sendingAddress == base
        ]
        if not locals or remote.port == 0:
            return None
        candidate = self._remote.get((transport, remote))
        if candidate is None:
            # Twice the limit for announced ones: only the peer itself can make us learn.
            if len(self._remote) >= 2 * self._maximalCandidates:
                return None
            candidate = Candidate(
                foundation=self._randomBytes(8).hex(),
                transport=transport,
                priority=priority,
                address=remote,
                type=CandidateType.PEER_REFLEXIVE,
                # Whoever connects to us from an unforeseen port cannot be connected to there.
                tcpType=TCPType.ACTIVE if transport is Transport.TCP else None,
            )
            self._remote[transport, remote] = candidate
        best = max(locals, key=lambda local: local.priority)
        return self._insert(best, candidate)

    def learnMapped(self, pair: CandidatePair, mapped: TransportAddress, priority: int) -> None:
        """
        A response told how the other side sees this one: find the local candidate that this is, or
        learn a peer-reflexive one (RFC 8445 section 7.2.5.3.1).
        """
        for candidate in self._local:
            if (
                candidate.transport is pair.transport
                and candidate.address == mapped
                and candidate.sendingAddress == pair.base
            ):
                pair.mapped = candidate
                return
        pair.mapped = Candidate(
            foundation=self._randomBytes(8).hex(),
            transport=pair.transport,
            priority=priority,
            address=mapped,
            type=CandidateType.PEER_REFLEXIVE,
            related=pair.base,
            tcpType=pair.local.tcpType,
            base=pair.base,
        )

    def endWaiting(self) -> list[CandidatePair]:
        """
        From now on, send from those of this side's candidates that waited, too.

        @return: The pairs that this makes.
        """
        called = {
            candidate: attrs.evolve(
                candidate,
                isWaiting=False,
                tcpType=None if candidate.tcpType is None else TCPType.SIMULTANEOUS_OPEN,
            )
            for candidate in self._local
            if candidate.isWaiting
        }
        self._local = [called.get(candidate, candidate) for candidate in self._local]
        for pair in self._pairs.values():
            pair.local = called.get(pair.local, pair.local)
        return self._form(
            [(local, remote) for local in called.values() for remote in self._remote.values()]
        )

    def recompute(self) -> None:
        """
        The role or a candidate changed, and with it the priorities (RFC 8445 section 7.2.5.1).
        """
        for pair in self._pairs.values():
            pair.priority = self._priority(pair.local, pair.remote)
        self._forgetOrder()

    def _forgetOrder(self) -> None:
        self._ordered = None
        self._checkOrders.clear()

    def _isWanted(self, candidate: Candidate) -> bool:
        return candidate.transport in self._transports and candidate.component == 1

    def _priority(self, local: Candidate, remote: Candidate) -> int:
        if self._role.isControlling:
            return pairPriority(local.priority, remote.priority)
        return pairPriority(remote.priority, local.priority)

    def _form(self, couples: list[tuple[Candidate, Candidate]]) -> list[CandidatePair]:
        formed = []
        for local, remote in couples:
            if not canPair(local, remote):
                continue
            known = self.find(local.transport, local.sendingAddress, remote.address)
            if known is None:
                pair = self._insert(local, remote)
                if pair is not None:
                    formed.append(pair)
            elif known.local.priority < local.priority:
                known.local = local
                self.recompute()
        return formed

    def _insert(self, local: Candidate, remote: Candidate) -> CandidatePair | None:
        pair = CandidatePair(local=local, remote=remote, priority=self._priority(local, remote))
        if len(self._pairs) >= self._maximalPairs:
            # RFC 8445 section 6.1.2.5: the lowest priorities go; but nothing that was begun.
            untried = [p for p in self.pairs if p.state is PairState.WAITING and not p.attempts]
            if not untried or untried[-1].priority >= pair.priority:
                return None
            worst = untried[-1]
            del self._pairs[worst.transport, worst.base, worst.remote.address]
        self._pairs[pair.transport, pair.base, remote.address] = pair
        self._forgetOrder()
        return pair


def canPair(local: Candidate, remote: Candidate) -> bool:
    """
    Do two candidates make a pair (RFC 8445 section 6.1.2.2, RFC 6544 section 6.2)?

    They are of one transport and family. Loopback and link-local addresses reach only their own
    kind. Where the peer has the same private address and port, we would reach ourselves. Over TCP,
    at least one side must be able to connect to the other; a remote active candidate names no port,
    so a pair with it is formed when its connection has come. Likewise with a local candidate that
    waits.
    """
    if local.isWaiting or local.transport is not remote.transport:
        return False
    if local.sendingAddress.family is not remote.address.family:
        return False
    if local.sendingAddress == remote.address:
        return False
    if local.sendingAddress.isLoopback is not remote.address.isLoopback:
        return False
    if _isLinkLocal(local.sendingAddress) is not _isLinkLocal(remote.address):
        return False
    if local.tcpType is None or remote.tcpType is None:
        return True
    if not remote.tcpType.mayAccept:
        return False
    return local.tcpType.mayConnect or (local.tcpType.mayAccept and remote.tcpType.mayConnect)


def _isLinkLocal(address: TransportAddress) -> bool:
    packed = address.packedHost
    return len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
