"""
The plan by which a NAT's behaviour towards UDP is found out (RFC 5780 section 4).

Owns: which probes are sent in which round, from which socket.
Knows nothing of: sockets and time; what follows from one kind of answer
(L{holepunch.nat.discoveryfindings}).
Driven by: L{holepunch.peer.discovery}; in tests, by the model NAT itself.

Each question has sockets of its own, as whom a socket has sent to may pass the filter. All in all
these are at most 10 sockets, 20 requests and 20 new flows, begun one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.address import TransportAddress
from holepunch.nat.discovery import ProtocolReport
from holepunch.nat.discoveryevidence import Evidence, Observation
from holepunch.nat.discoveryfindings import corners, filteringFinding
from holepunch.nat.discoveryprobe import Fate, Plan, Probe, paced
from holepunch.stun import ChangeRequest

MAIN = 0
FILTERED = 1
PORT_SOCKETS = range(2, 10)
SERVER_LIMIT = 4

_CHANGES = (ChangeRequest.HOST | ChangeRequest.PORT, ChangeRequest.PORT)


def planDatagrams(servers: Sequence[TransportAddress]) -> Plan[ProtocolReport]:
    """
    Find out all about UDP in three rounds.

    @param servers: At least one; four are asked at most.
    """
    servers = servers[:SERVER_LIMIT]
    evidence = Evidence()
    probes = paced(Probe(socket=MAIN, destination=server) for server in servers)
    outcomes = yield probes
    main = list(evidence.take(probes, outcomes))
    if not main:
        isBlocked = all(outcome.fate is Fate.SILENT for outcome in outcomes)
        why = "; ".join(evidence.complaints) or "no server answered"
        return ProtocolReport(isBlocked=isBlocked, problem=why)
    server = bestServer(evidence, main)

    others = corners(server, evidence.otherAddresses.get(server))
    probes = paced(
        [
            # Once more: a server that lies may not remember what it said.
            Probe(socket=MAIN, destination=server),
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
    local = main[0].local
    main = [each for each in evidence.observations if each.local == local]
    ports = [each for each in seen if each.local != local]

    questions = [
        Probe(socket=FILTERED, destination=server, change=change, isBrief=True)
        for change in _CHANGES
    ]
    echoes = _echoes(probes, [outcome.local for outcome in outcomes], ports)
    outcomes = yield paced([Probe(socket=FILTERED, destination=server), *questions, *echoes])
    last = 1 + len(questions)
    return ProtocolReport.conclude(
        evidence,
        server,
        main,
        ports,
        filtering=filteringFinding(evidence, server, questions, outcomes[1:last]),
        isEchoHeard=any(outcome.fate is Fate.HEARD for outcome in outcomes[last:])
        if echoes
        else None,
    )


def bestServer(evidence: Evidence, observations: Sequence[Observation]) -> TransportAddress:
    """
    The server to ask further: the first one with another address, or else the first one.
    """
    servers = [each.server for each in observations]
    able = [each for each in servers if corners(each, evidence.otherAddresses.get(each))]
    return (able or servers)[0]


def _echoes(
    probes: Sequence[Probe],
    locals: Sequence[TransportAddress | None],
    ports: Sequence[Observation],
) -> list[Probe]:
    """
    Let two sockets send to each other's mapped address, as filters want both to have sent.
    """
    numbers = {local: probe.socket for probe, local in zip(probes, locals, strict=True)}
    if len(ports) < 2:
        return []
    pair = ports[:2]
    return [
        Probe(
            socket=numbers[sender.local],
            destination=hearer.mapped,
            hearer=numbers[hearer.local],
            isEcho=True,
            isBrief=True,
        )
        for sender, hearer in (pair, pair[::-1])
    ]
