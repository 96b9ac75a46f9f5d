"""
The plan by which a NAT's behaviour towards TCP is found out (RFC 5382).

Owns: which connections are made in which round, from which port.
Knows nothing of: sockets and time; what follows from one kind of answer
(L{holepunch.nat.discoveryfindings}).
Driven by: L{holepunch.peer.discovery}; in tests, by the model NAT itself.

No server connects to its clients, so whom the filter lets in, and what strangers get, shows only
where the NAT hairpins: then this machine can be its own stranger. Each local port is listened on
and connected from; a connection stays open until the end, as some NATs forget a mapping with it.
All in all there are at most 9 ports and 19 connections, begun one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping, Unsolicited
from holepunch.nat.discovery import ProtocolReport
from holepunch.nat.discoverydatagrams import MAIN, PORT_SOCKETS, SERVER_LIMIT, bestServer
from holepunch.nat.discoveryevidence import Evidence, filteringBehaviour
from holepunch.nat.discoveryfindings import (
    TOO_FEW,
    Finding,
    corners,
    isTranslated,
    mappingFinding,
)
from holepunch.nat.discoveryprobe import Fate, Outcome, Plan, Probe, paced

# After so long, a port has surely sent to the host that is about to send to it.
_CONTACT = 0.3
_ANSWERS = {
    Fate.REFUSED: Unsolicited.RST,
    Fate.UNREACHABLE: Unsolicited.ICMP,
    Fate.SILENT: Unsolicited.DROP,
}
_NO_HAIRPIN = "no server connects to its clients, and there is no hairpin to do it by"
_NO_NAT = "no server connects to its clients, and only a NAT could have a hairpin to do it by"


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

    strangers = _Strangers()
    if isTranslated([*main, *ports]):
        outcomes = yield strangers.probes({numbers[each.local]: each.mapped for each in ports})
        strangers.take(outcomes)
    else:
        strangers.why = _NO_NAT
    mapping = mappingFinding(evidence, server, main)
    return ProtocolReport.conclude(
        evidence,
        server,
        main,
        ports,
        filtering=strangers.filtering(mapping.value),
        isEchoHeard=strangers.isHeard if strangers.wasTried else None,
        unsolicited=strangers.unsolicited(),
    )


def _nothing(evidence: Evidence, outcomes: Sequence[Outcome]) -> ProtocolReport:
    if any(outcome.fate is Fate.REFUSED for outcome in outcomes):
        # Not blocked: many STUN servers speak UDP only.
        return ProtocolReport(problem="the server refuses TCP")
    isBlocked = all(outcome.fate in (Fate.SILENT, Fate.UNREACHABLE) for outcome in outcomes)
    why = "; ".join(evidence.complaints) or "no server answered"
    return ProtocolReport(isBlocked=isBlocked, problem=why)


@attrs.define
class _Strangers:
    """
    Connections of our own ports to each other's mapped addresses.

    @ivar why: Why nothing is known.
    """

    why: str = _NO_HAIRPIN
    _fates: dict[str, Fate] = attrs.Factory(dict)
    _labels: list[str] = attrs.Factory(list)

    def probes(self, mapped: dict[int, TransportAddress]) -> list[Probe]:
        """
        What to send.

        A port that has sent to servers only is called; then one that has sent to our mapped host,
        but to another port; then two that call each other.

        @param mapped: The mapped address of each socket.
        """
        numbers = list(mapped)
        if len(numbers) < 6:
            self.why = TOO_FEW
            return []
        quiet, stranger, caller, second, one, other = numbers[:6]
        calls = (
            ("stranger", stranger, quiet, 0.0),
            ("contact", second, quiet, 0.0),
            ("same host", caller, second, _CONTACT),
            ("mutual", one, other, 0.0),
            ("mutual again", other, one, 0.0),
        )
        self._labels = [label for label, *_ in calls]
        return paced(
            Probe(
                socket=sender,
                destination=mapped[hearer],
                hearer=hearer,
                isEcho=True,
                isBrief=True,
                delay=delay,
            )
            for _, sender, hearer, delay in calls
        )

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """
        Take what became of them.
        """
        self._fates = {
            label: outcome.fate for label, outcome in zip(self._labels, outcomes, strict=True)
        }

    @property
    def wasTried(self) -> bool:
        """
        Was anything sent?
        """
        return bool(self._fates)

    @property
    def isHeard(self) -> bool:
        """
        Did any come back?
        """
        return Fate.HEARD in self._fates.values()

    def filtering(self, mapping: Mapping | None) -> Finding[Filtering]:
        """
        Whom the filter lets in.
        """
        if self._isHeard("stranger"):
            return Finding(Filtering.ENDPOINT_INDEPENDENT)
        if not self.isHeard:
            return Finding(None, self.why)
        if mapping is not Mapping.ENDPOINT_INDEPENDENT:
            return Finding(None, "each destination has a mapped address of its own")
        return Finding(filteringBehaviour(False, self._isHeard("same host")))

    def unsolicited(self) -> Finding[Unsolicited]:
        """
        What a stranger gets.
        """
        if self._isHeard("stranger"):
            return Finding(None, "strangers are let in")
        if not self.isHeard:
            return Finding(None, self.why)
        return Finding(_ANSWERS.get(self._fates["stranger"]))

    def _isHeard(self, label: str) -> bool:
        return self._fates.get(label) is Fate.HEARD
