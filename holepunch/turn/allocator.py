"""
How allocations come and go at the relay (RFC 8656 sections 7 and 8, RFC 6062 section 5.1).

Sockets are bound outside of here: while one is waited for, the allocation is I{being made}.

Owns: all allocations, their addresses and lifetimes; quotas on their number.
Knows nothing of: credentials; permissions; data.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping

import attrs

from holepunch.address import Family, Transport, TransportAddress
from holepunch.stun import AddressErrorCode, Attribute, AttributeType, ErrorCode
from holepunch.turn.allocation import Allocation
from holepunch.turn.fairshare import FairShare
from holepunch.turn.ports import Ports
from holepunch.turn.relaylimits import RelayLimits
from holepunch.turn.relayrequest import REASONS, RelayRequest
from holepunch.turn.servereffects import (
    AllocationEnded,
    AllocationMade,
    CloseRelay,
    FiveTuple,
    OpenRelay,
    ServerEffect,
)

_TRANSPORTS = {17: Transport.UDP, 6: Transport.TCP}
_ATTEMPTS = 8

_T = AttributeType


@attrs.define(kw_only=True)
class _Making:
    """
    An allocation that waits for its sockets.

    @ivar families: Those that are still to come.
    @ivar kept: The address that a reservation token stands for.
    @ivar opening: The address that is being bound.
    """

    request: RelayRequest
    allocation: Allocation
    families: list[Family]
    isEven: bool
    isNextKept: bool
    kept: TransportAddress | None
    attemptsLeft: int = _ATTEMPTS
    opening: TransportAddress | None = None
    errors: list[AddressErrorCode] = attrs.field(factory=list)


class Allocator:
    """
    All allocations of a relay.

    @ivar allocations: By the 5-tuple of the client.
    @ivar relayed: By the relayed address, for each transport to peers.
    @ivar accounts: Of all users.
    """

    def __init__(
        self,
        hosts: Mapping[Family, str],
        ports: Ports,
        limits: RelayLimits,
        canForbidFragments: bool,
        emit: Callable[[ServerEffect], object],
        now: float,
    ) -> None:
        self.allocations: dict[FiveTuple, Allocation] = {}
        self.relayed: dict[Transport, dict[TransportAddress, Allocation]] = {
            transport: {} for transport in Transport
        }
        self.accounts = FairShare(limits, now)
        self._hosts = dict(hosts)
        self._ports = ports
        self._limits = limits
        self._canForbidFragments = canForbidFragments
        self._emit = emit
        self._making: dict[FiveTuple, _Making] = {}
        self._opening: dict[tuple[Transport, TransportAddress], _Making] = {}
        self._expiries: list[tuple[float, int, Allocation]] = []
        self._counter = itertools.count()

    # --- Allocate ---------------------------------------------------------------------------------

    def allocate(self, request: RelayRequest, now: float) -> None:
        """
        Answer an Allocate request, now or when the sockets are there.
        """
        existing = self.allocations.get(request.client)
        if existing is not None:
            if existing.transactionId == request.message.transactionId:
                # Its answer was lost (section 7.2).
                self._emit(attrs.evolve(request.success(), data=existing.response))
            else:
                self._emit(request.refusal(437))
            return
        if request.client in self._making:
            return
        refused = self._mistakeIn(request) or self._quotaFor(request, now)
        if refused is not None:
            code, *types = refused
            attributes = [Attribute(_T.UNKNOWN_ATTRIBUTES, types)] if types else []
            self._emit(request.refusal(code, attributes))
            return
        token, kept = request.get(_T.RESERVATION_TOKEN), None
        if token is not None:
            kept = self._ports.redeem(token, request.user, now)
            if kept is None:
                self._emit(request.refusal(508))
                return
        account = self.accounts.account(request.user, now)
        account.allocations += 1
        allocation = Allocation(
            request.client,
            request.authenticated.username,
            account,
            _TRANSPORTS[request.get(_T.REQUESTED_TRANSPORT)],
            self._limits,
        )
        evenPort = request.get(_T.EVEN_PORT)
        making = _Making(
            request=request,
            allocation=allocation,
            families=self._familiesFor(request) if kept is None else [kept.family],
            isEven=evenPort is not None,
            isNextKept=bool(evenPort),
            kept=kept,
        )
        self._making[request.client] = making
        self._openNext(making, now)

    def _mistakeIn(self, request: RelayRequest) -> tuple[int, ...] | None:
        """
        An error code, then the attribute types that belong to it; or C{None}.
        """
        number = request.get(_T.REQUESTED_TRANSPORT)
        isTCP = number == 6
        if number is None:
            return (400,)
        if number not in _TRANSPORTS:
            return (442,)
        evenPort, token = request.get(_T.EVEN_PORT), request.get(_T.RESERVATION_TOKEN)
        family = request.get(_T.REQUESTED_ADDRESS_FAMILY)
        additional = request.get(_T.ADDITIONAL_ADDRESS_FAMILY)
        isFragmentless = request.get(_T.DONT_FRAGMENT) is not None
        if isTCP and (
            request.client.transport is not Transport.TCP
            or evenPort is not None
            or token is not None
            or isFragmentless
        ):
            return (400,)
        if isFragmentless and not self._canForbidFragments:
            return (420, _T.DONT_FRAGMENT)
        if token is not None and (evenPort is not None or family or additional):
            return (400,)
        if additional is not None and (
            additional != Family.IPV6.value or family is not None or evenPort
        ):
            return (400,)
        if token is None and not any(each in self._hosts for each in self._familiesFor(request)):
            return (440,)
        return None

    def _familiesFor(self, request: RelayRequest) -> list[Family]:
        wanted = request.get(_T.REQUESTED_ADDRESS_FAMILY)
        if wanted is None:
            wanted = Family.IPV4.value
        families = [each for each in Family if each.value == wanted]
        if request.get(_T.ADDITIONAL_ADDRESS_FAMILY) is not None:
            families.append(Family.IPV6)
        return families

    def _quotaFor(self, request: RelayRequest, now: float) -> tuple[int, ...] | None:
        account = self.accounts.account(request.user, now)
        if account.allocations >= self._limits.allocationsPerUser or account.isUsedUp(now):
            return (486,)
        if len(self.allocations) + len(self._making) >= self._limits.allocations:
            return (508,)
        return None

    def _openNext(self, making: _Making, now: float) -> None:
        while making.families:
            family = making.families[0]
            if family not in self._hosts:
                self._giveUp(making, 440)
                continue
            relayed = self.relayed[making.allocation.transport]
            address = making.kept or self._ports.choose(self._hosts[family], relayed, making.isEven)
            key = (making.allocation.transport, address)
            if address is None or key in self._opening:
                self._giveUp(making, 508)
                continue
            making.opening = address
            self._opening[making.allocation.transport, address] = making
            self._emit(OpenRelay(making.allocation.transport, address))
            return
        self._finish(making, now)

    def _giveUp(self, making: _Making, code: int) -> None:
        error = ErrorCode(code, REASONS[code])
        making.errors.append(AddressErrorCode(making.families.pop(0).value, error))
        making.attemptsLeft = _ATTEMPTS

    def opened(self, transport: Transport, relayed: TransportAddress, now: float) -> None:
        """
        A socket is bound.
        """
        making = self._opening.pop((transport, relayed), None)
        if making is None:
            self._emit(CloseRelay(transport, relayed))
            return
        making.families.pop(0)
        making.allocation.relayed[relayed.family] = relayed
        self.relayed[transport][relayed] = making.allocation
        self._openNext(making, now)

    def failed(self, transport: Transport, relayed: TransportAddress, now: float) -> None:
        """
        A socket cannot be bound.
        """
        making = self._opening.pop((transport, relayed), None)
        if making is None:
            return
        making.attemptsLeft -= 1
        if not making.attemptsLeft or making.kept is not None:
            self._giveUp(making, 508)
        self._openNext(making, now)

    def _finish(self, making: _Making, now: float) -> None:
        request, allocation = making.request, making.allocation
        del self._making[request.client]
        if not allocation.relayed:
            allocation.account.allocations -= 1
            self._emit(request.refusal(making.errors[0].error.code))
            return
        lifetime = self._lifetimeFor(request)
        attributes = [
            Attribute(_T.XOR_RELAYED_ADDRESS, each) for each in allocation.relayed.values()
        ]
        attributes += [
            Attribute(_T.LIFETIME, int(lifetime)),
            Attribute(_T.XOR_MAPPED_ADDRESS, request.client.client),
        ]
        attributes += [Attribute(_T.ADDRESS_ERROR_CODE, each) for each in making.errors]
        if making.isNextKept:
            (relayed,) = allocation.relayed.values()
            following = TransportAddress(relayed.host, relayed.port + 1)
            token = self._ports.reserve(following, request.user, now)
            if token is not None:
                attributes.append(Attribute(_T.RESERVATION_TOKEN, token))
        answer = request.success(attributes)
        allocation.transactionId = request.message.transactionId
        allocation.response = answer.data
        self.allocations[request.client] = allocation
        self._expireAt(allocation, now + lifetime)
        self._emit(answer)
        for each in allocation.relayed.values():
            self._emit(AllocationMade(allocation.client, allocation.username, each))

    # --- Refresh, and the end ---------------------------------------------------------------------

    def refresh(self, request: RelayRequest, allocation: Allocation, now: float) -> None:
        """
        Answer a Refresh request.
        """
        wanted = request.get(_T.REQUESTED_ADDRESS_FAMILY)
        family = next((each for each in allocation.relayed if each.value == wanted), None)
        if wanted is not None and family is None:
            self._emit(request.refusal(443))
            return
        lifetime = 0.0
        if request.get(_T.LIFETIME) != 0:
            lifetime = self._lifetimeFor(request)
            self._expireAt(allocation, now + lifetime)
        elif family is not None and len(allocation.relayed) > 1:
            self._close(allocation, family)
        else:
            self.end(allocation)
        self._emit(request.success([Attribute(_T.LIFETIME, int(lifetime))]))

    def end(self, allocation: Allocation) -> None:
        """
        An allocation is gone.
        """
        if allocation.isEnded:
            return
        allocation.isEnded = True
        allocation.account.allocations -= 1
        del self.allocations[allocation.client]
        for family in list(allocation.relayed):
            self._close(allocation, family)

    def _close(self, allocation: Allocation, family: Family) -> None:
        relayed = allocation.relayed.pop(family)
        del self.relayed[allocation.transport][relayed]
        allocation.forbid(family)
        self._emit(CloseRelay(allocation.transport, relayed))
        self._emit(AllocationEnded(allocation.client, allocation.username, relayed))

    def _lifetimeFor(self, request: RelayRequest) -> float:
        wanted = request.get(_T.LIFETIME) or 0
        limits = self._limits
        return min(max(wanted, limits.lifetime), limits.longestLifetime)

    def _expireAt(self, allocation: Allocation, at: float) -> None:
        allocation.expiresAt = at
        # Refreshing moves no entry: that it is too early is seen when its time comes.
        if at < allocation.queuedAt:
            allocation.queuedAt = at
            heapq.heappush(self._expiries, (at, next(self._counter), allocation))

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}.
        """
        return self._expiries[0][0] if self._expiries else None

    def handleTimeout(self, now: float) -> list[Allocation]:
        """
        Forget what has expired.

        @return: The allocations among it.
        """
        self._ports.handleTimeout(now)
        ended = []
        while self._expiries and self._expiries[0][0] <= now:
            at, _, allocation = heapq.heappop(self._expiries)
            if allocation.isEnded or at != allocation.queuedAt:
                continue
            allocation.queuedAt = float("inf")
            if allocation.expiresAt > now:
                self._expireAt(allocation, allocation.expiresAt)
                continue
            self.end(allocation)
            ended.append(allocation)
        return ended
