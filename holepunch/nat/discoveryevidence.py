"""
What follows from mapped addresses, and from answers that came or did not
(RFC 4787 sections 4 and 5; RFC 5780 sections 4.3 and 4.4).

Owns: the conclusions, one by one, and which answers are to be believed.
Knows nothing of: which probes are sent when.
Driven by: the plans of discovery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

import attrs

from holepunch.address import TransportAddress, isUsableHost
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation
from holepunch.nat.discoveryprobe import NO_CHANGE, Fate, Outcome, Probe

_LARGEST_STEP = 64
# So many ports may others take between two of our probes.
_STRANGERS = 16
_FEWEST_PORTS = 4


@attrs.frozen(kw_only=True)
class Observation:
    """
    How one server saw one local endpoint.

    @ivar server: Where the request went.
    @ivar mapped: Where it came from, as the server saw it.
    """

    local: TransportAddress
    server: TransportAddress
    mapped: TransportAddress


@attrs.frozen(kw_only=True)
class PortFinding:
    """
    How external ports are chosen.

    @ivar step: With sequential ports: from one new mapping to the next.
    @ivar confidence: The share of the probes that agree, from 0 to 1.
    """

    ports: PortAllocation
    step: int | None = None
    confidence: float


class Evidence:
    """
    The answers that can be believed, and what is wrong with the others.

    @ivar observations: In the order of the probes.
    @ivar otherAddresses: The other address that each server names.
    @ivar complaints: Sentences about servers that answer in a wrong way.
    """

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.otherAddresses: dict[TransportAddress, TransportAddress] = {}
        self.complaints: list[str] = []
        self._mapped: dict[tuple[TransportAddress, TransportAddress], TransportAddress] = {}
        self._liars: set[str] = set()

    def take(self, probes: Sequence[Probe], outcomes: Sequence[Outcome]) -> list[Observation]:
        """
        Judge the answers of a round.

        @return: What was observed in this round.
        """
        before = list(self.observations)
        for probe, outcome in zip(probes, outcomes, strict=True):
            isPlain = probe.change == NO_CHANGE and probe.responsePort is None
            if isPlain and not probe.isEcho:
                self._judge(probe.destination, outcome)
        return [each for each in self.observations if each not in before]

    def isReached(self, server: TransportAddress) -> bool:
        """
        Has that server answered, as servers do?
        """
        return any(each.server == server for each in self.observations)

    def _judge(self, server: TransportAddress, outcome: Outcome) -> None:
        if outcome.fate is Fate.REJECTED:
            self._complain(f"{server} answers with an error")
        if outcome.fate is not Fate.ANSWERED or outcome.local is None:
            return
        mapped = outcome.mapped
        if outcome.source != server:
            self._complain(f"{server} answers from another address, {outcome.source}")
        elif mapped is None:
            self._complain(f"{server} answers without a mapped address")
        elif not isUsableHost(mapped.host) or not mapped.port or mapped.family != server.family:
            self._complain(f"{server} claims to see us at {mapped}, which cannot be")
        elif server.host in self._liars:
            pass
        elif self._mapped.setdefault((outcome.local, server), mapped) != mapped:
            self._complain(f"{server} contradicts itself about one mapped address")
            self._distrust(server)
        else:
            self.observations.append(Observation(local=outcome.local, server=server, mapped=mapped))
            if outcome.otherAddress is not None:
                self.otherAddresses.setdefault(server, outcome.otherAddress)

    def _distrust(self, server: TransportAddress) -> None:
        """
        Believe nothing more of a server, nor of what it calls its other address.
        """
        self._liars |= {server.host, self.otherAddresses.get(server, server).host}
        self.observations = [
            each for each in self.observations if each.server.host not in self._liars
        ]

    def _complain(self, text: str) -> None:
        if text not in self.complaints:
            self.complaints.append(text)


def possibleMappings(observations: Iterable[Observation]) -> frozenset[Mapping]:
    """
    Which mapping behaviours explain the observations of one local endpoint (RFC 5780 section 4.3).

    Each pair of servers rules some out; where too few servers were asked, several are left.
    """
    left = set(Mapping)
    for one, other in combinations(observations, 2):
        isSame = one.mapped == other.mapped
        if one.server.host != other.server.host:
            if isSame:
                left &= {Mapping.ENDPOINT_INDEPENDENT}
            else:
                left -= {Mapping.ENDPOINT_INDEPENDENT}
        elif one.server.port != other.server.port:
            if isSame:
                left -= {Mapping.ADDRESS_AND_PORT_DEPENDENT}
            else:
                left &= {Mapping.ADDRESS_AND_PORT_DEPENDENT}
    return frozenset(left)


def findPorts(observations: Sequence[Observation]) -> PortFinding | None:
    """
    How external ports are chosen.

    @param observations: Of one new local endpoint each, in the order in which they were sent.
    @return: C{None} where there are too few.
    """
    if len(observations) < _FEWEST_PORTS:
        return None
    preserved = sum(each.local.port == each.mapped.port for each in observations)
    share = preserved / len(observations)
    if share > 0.5:
        return PortFinding(ports=PortAllocation.PRESERVED, confidence=share)
    steps = [after.mapped.port - before.mapped.port for before, after in pairwise(observations)]
    counts = Counter(step for step in steps if 0 < abs(step) <= _LARGEST_STEP)
    if counts:
        step = max(counts, key=lambda step: (_explained(step, steps), counts[step], -abs(step)))
        share = _explained(step, steps) / len(steps)
        if share > 0.5:
            return PortFinding(ports=PortAllocation.SEQUENTIAL, step=step, confidence=share)
    else:
        share = 0.0
    return PortFinding(ports=PortAllocation.RANDOM, confidence=1.0 - share)


def _explained(step: int, steps: Sequence[int]) -> int:
    """
    How many of the C{steps} are C{step}, or some times as much, as others use the NAT, too.
    """
    return sum(each % step == 0 and 0 < each // step <= _STRANGERS for each in steps)


def filteringBehaviour(
    isOtherHostHeard: bool | None, isOtherPortHeard: bool | None
) -> Filtering | None:
    """
    Who may send to a mapped address that has sent to one endpoint only (RFC 5780 section 4.4).

    @param isOtherHostHeard: Did something from another host come in?
    @param isOtherPortHeard: Did something from the same host, and another port?
        C{None} for each: nobody could send it.
    """
    if isOtherHostHeard:
        return Filtering.ENDPOINT_INDEPENDENT
    if isOtherHostHeard is None or isOtherPortHeard is None:
        return None
    if isOtherPortHeard:
        return Filtering.ADDRESS_DEPENDENT
    return Filtering.ADDRESS_AND_PORT_DEPENDENT
