"""
To whom can a peer connect, and how? A forecast from what is known of its NAT (RFC 4787 sections 4
and 5; RFC 5128 section 3).

Owns: the rule by which two NATs let a direct path through, and the kinds of NAT that a forecast
names.
Knows nothing of: how a NAT is found out; how a session is made.
Driven by: C{holepunch check}, and the matrix of the lab; tests hold it against real sessions on the
simulated internet.

Each side knows the other's announced endpoint: what a server saw. A packet to it is let in if

  - the filter lets everybody in; or
  - the filter knows the sender's host, and the target's own packets leave by the announced
    endpoint, so that they open the filter there; or
  - the filter knows the sender's host and port, and in addition the sender's packets come from the
    endpoint that it announced.

One direction is enough, as the answer takes the same way back: it does so even where the target's
own packets would leave from elsewhere, as long as it lets the other side begin. The two flows of
TCP differ in time only, so they need the same; and whatever is answered to strangers, a retry gets
past it. Whether a NAT has hairpin is of no account between two NATs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from collections.abc import Mapping as ReadOnlyDict
from itertools import product
from types import MappingProxyType

import attrs

from holepunch.nat.behaviour import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
)
from holepunch.nat.discovery import NATReport, ProtocolReport
from holepunch.nat.packet import Protocol


class Outlook(enum.Enum):
    """
    What will become of an attempt to connect directly.
    """

    DIRECT = "direct"
    GUESS = "guess"
    NO = "no"
    UNKNOWN = "unknown"


@attrs.frozen
class Prospect:
    """
    What is to be expected with one transport.

    @ivar why: One sentence, without its full stop.
    """

    outlook: Outlook
    why: str


@attrs.frozen(kw_only=True)
class Side:
    """
    What counts of one side's NAT, with one transport. C{None} is "not known".

    @ivar isBlocked: Does the transport not work at all?
    @ivar keepsEndpoint: Does every destination see the peer at one endpoint?
    @ivar filtering: Who may send to that endpoint.
    @ivar isPredictable: If every destination sees another port: can the next one be foretold?
    @ivar note: What is to be said about these values.
    """

    isBlocked: bool | None = False
    keepsEndpoint: bool | None
    filtering: Filtering | None
    isPredictable: bool | None = True
    note: str = ""

    @classmethod
    def ofBehaviour(cls, behaviour: NATBehaviour | None, protocol: Protocol | None = None) -> Side:
        """
        A peer behind a NAT that is known.

        @param behaviour: C{None}: the peer is public.
        @param protocol: With which it is to be reached; C{None}: with one that passes.
        """
        if behaviour is None:
            return cls(keepsEndpoint=True, filtering=Filtering.ENDPOINT_INDEPENDENT)
        isOverloading = behaviour.ports is PortAllocation.PRESERVED and behaviour.overloadsPorts
        return cls(
            # Who may call certain services only can call no peer, whose ports are others.
            isBlocked=bool(behaviour.outbound) or protocol in behaviour.blocked,
            keepsEndpoint=behaviour.isOneToOne
            or isOverloading
            or behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT,
            filtering=behaviour.filtering,
            isPredictable=behaviour.ports is not PortAllocation.RANDOM,
        )

    @classmethod
    def ofReport(cls, report: ProtocolReport, similar: ProtocolReport | None = None) -> Side:
        """
        This peer, as far as it was found out.

        @param similar: What was found out for the other transport: most devices treat both alike,
            so it stands in for what could not be determined.
        """
        isDependent, filtering = report.isDestinationDependent, report.filtering
        ports, note = report.ports, ""
        if similar is not None and filtering is None and similar.filtering is not None:
            filtering = similar.filtering
            note = " (its filter was taken to be the same as that of the other transport)"
        return cls(
            isBlocked=report.isBlocked,
            keepsEndpoint=None if isDependent is None else not isDependent,
            filtering=filtering,
            isPredictable=None if ports is None else ports is not PortAllocation.RANDOM,
            note=note,
        )

    def possibilities(self) -> Iterable[Side]:
        """
        All that this side may be, as far as is known.
        """
        for keeps, filtering, isPredictable in product(
            (True, False) if self.keepsEndpoint is None else (self.keepsEndpoint,),
            Filtering if self.filtering is None else (self.filtering,),
            (True, False) if self.isPredictable is None else (self.isPredictable,),
        ):
            yield attrs.evolve(
                self, keepsEndpoint=keeps, filtering=filtering, isPredictable=isPredictable
            )


@attrs.frozen(kw_only=True)
class Forecast:
    """
    What is to be expected of a peer behind one kind of NAT.

    @ivar kind: The name of the kind.
    @ivar words: The same for people.
    """

    kind: str
    words: str
    udp: Prospect
    tcpSimultaneous: Prospect
    tcpSequential: Prospect


#: The kinds of NAT that a forecast names, from the most open to the least; C{None} is no NAT.
KINDS: ReadOnlyDict[str, tuple[str, NATBehaviour | None]] = MappingProxyType(
    {
        "none": ("a public address", None),
        "full-cone": ("an open NAT (full cone)", NAMED_BEHAVIOURS["full-cone"]),
        "address-restricted": (
            "a NAT that filters by address (restricted cone)",
            NAMED_BEHAVIOURS["address-restricted"],
        ),
        "port-restricted": (
            "the usual home router (port-restricted cone)",
            NAMED_BEHAVIOURS["port-restricted"],
        ),
        "linux-masquerade": ("a Linux router", NAMED_BEHAVIOURS["linux-masquerade"]),
        "carrier-grade": ("a carrier's NAT", NAMED_BEHAVIOURS["carrier-grade"]),
        "firewall": ("a public address and a firewall", NAMED_BEHAVIOURS["firewall"]),
        "symmetric-by-address": (
            "a new port for each host (symmetric)",
            NAMED_BEHAVIOURS["symmetric-by-address"],
        ),
        "symmetric": (
            "a new port for each destination, in sequence (symmetric)",
            NAMED_BEHAVIOURS["symmetric"],
        ),
        "symmetric-random": (
            "a new port for each destination, at random (symmetric)",
            NAMED_BEHAVIOURS["symmetric-random"],
        ),
    }
)


def forecast(report: NATReport) -> tuple[Forecast, ...]:
    """
    What is to be expected of each kind of peer.
    """
    udp, tcp = Side.ofReport(report.udp), Side.ofReport(report.tcp, report.udp)
    found = []
    for kind, (words, behaviour) in KINDS.items():
        other = Side.ofBehaviour(behaviour)
        overTCP = foresee(tcp, other)
        found.append(
            Forecast(
                kind=kind,
                words=words,
                udp=foresee(udp, other),
                tcpSimultaneous=overTCP,
                tcpSequential=overTCP,
            )
        )
    return tuple(found)


def foresee(own: Side, other: Side) -> Prospect:
    """
    What is to be expected of two peers, each behind its own NAT.
    """
    if own.isBlocked is None or other.isBlocked is None:
        return Prospect(Outlook.UNKNOWN, "nothing is known of this transport here")
    if own.isBlocked or other.isBlocked:
        return Prospect(Outlook.NO, "the transport is blocked")
    prospects = {
        _judge(one, another) for one in own.possibilities() for another in other.possibilities()
    }
    if len({prospect.outlook for prospect in prospects}) > 1:
        return Prospect(Outlook.UNKNOWN, "too little is known of this NAT")
    prospect = min(prospects, key=lambda each: each.why)
    return Prospect(prospect.outlook, prospect.why + own.note + other.note)


def _judge(own: Side, other: Side) -> Prospect:
    """
    The rule, for two sides of which all is known.
    """
    if isReachable(other, own):
        return Prospect(Outlook.DIRECT, "the other side's endpoint can be reached")
    if isReachable(own, other):
        return Prospect(Outlook.DIRECT, "our endpoint can be reached from there")
    changing = [side for side in (own, other) if not side.keepsEndpoint]
    if all(side.isPredictable for side in changing):
        return Prospect(Outlook.GUESS, "a port that changes in sequence would have to be guessed")
    return Prospect(Outlook.NO, "a port that is chosen at random cannot be guessed: use a relay")


def isReachable(target: Side, origin: Side) -> bool:
    """
    Can C{origin} send to the endpoint that C{target} announced, and be let in?
    """
    if target.filtering is Filtering.ENDPOINT_INDEPENDENT:
        return True
    if not target.keepsEndpoint:
        return False
    return target.filtering is Filtering.ADDRESS_DEPENDENT or bool(origin.keepsEndpoint)
