"""
The plan by which a NAT's behaviour towards TCP is found out (RFC 5382).

Owns: which connections are made in which round, from which port.
Knows nothing of: sockets and time; what follows from one kind of answer
(L{holepunch.nat.discoveryfindings}).
Driven by: L{holepunch.peer.discovery}; in tests, by the model NAT itself.

Whom the filter lets in, and what strangers get, shows where a server connects to its clients on
request, as ours does, or where the NAT hairpins. Each local port is listened on and connected from;
a connection stays open until the end, as some NATs forget a mapping with it. All in all there are
at most 9 ports and 19 connections, begun one after the other, and two that the server begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.address import TransportAddress
from holepunch.nat.discovery import ProtocolReport
from holepunch.nat.discoverydatagrams import MAIN, PORT_SOCKETS, SERVER_LIMIT, bestServer
from holepunch.nat.discoveryevidence import Evidence
from holepunch.nat.discoveryfindings import corners, isTranslated, mappingFinding
from holepunch.nat.discoveryprobe import Fate, Outcome, Plan, Probe, paced
from holepunch.nat.discoverystrangers import OwnCalls, ServerCalls, strangersFinding

_NO_HAIRPIN = "there is no hairpin to do it by"
_NO_NAT = "only a NAT could have a hairpin to do it by"
# So many of the ports are kept for calls of the server.
_CALLED = 2


def planStreams(servers: Sequence[TransportAddress]) -> Plan[ProtocolReport]:
    """
    Find out all about TCP in three rounds.

    @param servers: At least one; four are asked at most.
    """
    servers = servers[:SERVER_LIMIT]
    evidence = Evidence()
    probes = paced(Probe(socket=MAIN, destination=server) for server in servers)
    outcomes = yield probes
    main = list(evidence.take(probes, outcomes))
    if not main:
        return _nothing(evidence, outcomes)
    server = bestServer(evidence, main)

    others = corners(server, evidence.otherAddresses.get(server))
    probes = paced(
        [
            *(
                Probe(socket=MAIN, destination=other, isBrief=True)
                for other in others
                if other not in servers
            ),
            *(Probe(socket=number, destination=server) for number in PORT_SOCKETS),
        ]
    )
    outcomes = yield probes
    seen = evidence.take(probes, outcomes)
    numbers = {outcome.local: probe.socket for probe, outcome in zip(probes, outcomes, strict=True)}
    main += [each for each in seen if each.local == main[0].local]
    ports = [each for each in seen if each.local != main[0].local]

    isNAT = isTranslated([*main, *ports])
    calls = ServerCalls(server, evidence.otherAddresses.get(server))
    own = OwnCalls(_NO_HAIRPIN if isNAT else _NO_NAT)
    asked = calls.probes([numbers[each.local] for each in ports[-_CALLED:]])
    mapped = {numbers[each.local]: each.mapped for each in ports[:-_CALLED]}
    outcomes = yield [*asked, *(own.probes(mapped) if isNAT else ())]
    calls.take(outcomes[: len(asked)])
    own.take(outcomes[len(asked) :])
    strangers = strangersFinding(calls, own, mappingFinding(evidence, server, main).value)
    return ProtocolReport.conclude(
        evidence,
        server,
        main,
        ports,
        filtering=strangers.filtering,
        isEchoHeard=strangers.isEchoHeard,
        unsolicited=strangers.unsolicited,
    )


def _nothing(evidence: Evidence, outcomes: Sequence[Outcome]) -> ProtocolReport:
    if any(outcome.fate is Fate.REFUSED for outcome in outcomes):
        # Not blocked: many STUN servers speak UDP only.
        return ProtocolReport(problem="the server refuses TCP")
    isBlocked = all(outcome.fate in (Fate.SILENT, Fate.UNREACHABLE) for outcome in outcomes)
    why = "; ".join(evidence.complaints) or "no server answered"
    return ProtocolReport(isBlocked=isBlocked, problem=why)
