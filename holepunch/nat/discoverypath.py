"""
The plan by which the way to a server is found out: the routers, the NATs in a row, the path MTU.

Owns: the order of the questions, and the report.
Knows nothing of: sockets and time; what follows from one kind of answer
(L{holepunch.nat.discoveryhops}, L{holepunch.nat.discoverysizes}).
Driven by: L{holepunch.peer.discovery}.

It goes by UDP, as only UDP sockets tell a program without privileges what routers say. All in all
these are at most 9 sockets and 80 requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.discoveryfindings import Finding, Undetermined, undetermined
from holepunch.nat.discoveryhops import NestingFinding, nestingFinding
from holepunch.nat.discoverylifetime import firstAnswering
from holepunch.nat.discoveryprobe import Plan, Probe, paced
from holepunch.nat.discoverysizes import SizesReport, planSizes

#: So many routers away, the nearest devices are looked for.
HOP_LIMIT = 8
_SERVER_LIMIT = 4
_MAIN = 0
_FIRST = 1


@attrs.frozen(kw_only=True)
class PathReport:
    """
    What was found out about the way.

    @ivar nesting: Are there several NATs in a row?
    @ivar sizes: How long may packets be?
    @ivar problem: Why nothing was found out.
    """

    nesting: NestingFinding | None = None
    sizes: SizesReport = attrs.field(factory=SizesReport)
    problem: str | None = None

    @property
    def undetermined(self) -> tuple[Undetermined, ...]:
        """
        What could not be determined, and why.
        """
        if self.nesting is None:
            return ()
        nested = Finding(self.nesting.isNested, self.nesting.why)
        return (*undetermined(nested=nested), *self.sizes.undetermined)


def planPath(servers: Sequence[TransportAddress]) -> Plan[PathReport]:
    """
    Find out all about the way to the first server that answers.

    @param servers: At least one; four are asked at most.
    """
    probes = paced(
        Probe(socket=_MAIN, destination=server, isBrief=True) for server in servers[:_SERVER_LIMIT]
    )
    outcomes = yield probes
    server = firstAnswering(probes, outcomes)
    if server is None:
        return PathReport(problem="no server answered")
    (outcome,) = [each for each in outcomes if each.source == server][:1]
    local, mapped = outcome.local, outcome.mapped
    if local is None or mapped is None:
        return PathReport(problem=f"{server} answers without a mapped address")

    hops = range(1, HOP_LIMIT + 1)
    toServer = yield paced(
        Probe(socket=_FIRST + ttl, destination=server, ttl=ttl, isBrief=True) for ttl in hops
    )
    toSelf = yield paced(
        Probe(
            socket=_FIRST + ttl,
            destination=mapped,
            hearer=_MAIN,
            isEcho=True,
            ttl=ttl,
            isBrief=True,
        )
        for ttl in hops
        if local.host != mapped.host
    )
    nesting = nestingFinding(local.host, mapped.host, toServer, toSelf)
    sizes = yield from planSizes(server, _MAIN)
    return PathReport(nesting=nesting, sizes=sizes)
