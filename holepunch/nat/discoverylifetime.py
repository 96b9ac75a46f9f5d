"""
The plan by which the lifetime of a NAT's UDP mappings is measured (RFC 5780 section 4.6).

Owns: which idle times are tried, for both protocols.
Knows nothing of: sockets and time; how TCP is asked (L{holepunch.nat.discoverystreamlifetime}).
Driven by: L{holepunch.peer.discovery}, when a person asks for it: it takes minutes.

A mapping is made and left alone. After a while another socket asks the server to answer to the
mapped port (RESPONSE-PORT), so that the question itself keeps nothing alive. Several idle times are
tried at once, each with a socket of its own; the next round tries those between the longest that
the mapping survived and the shortest that it did not. All in all that is at most 50 requests.
"""

from __future__ import annotations

from collections.abc import Mapping as ReadOnlyDict
from collections.abc import Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.discoveryfindings import Finding
from holepunch.nat.discoveryprobe import Fate, Outcome, Plan, Probe, paced

_SERVER_LIMIT = 4
_ASKER = 1000
_FIRST_SOCKET = 1001
# The usual lifetimes of devices and systems lie between these. Most are below the first round's
# longest, so that few have to wait for the second round's.
_TIMES = ((0.0, 12.0, 25.0, 45.0, 75.0), (150.0, 240.0, 450.0))
_TIMES_PER_ROUND = 4
_REFINEMENTS = 3
# What is near enough: so many seconds, or such a share.
_PRECISION = 2.0
_SHARE = 0.05


@attrs.frozen
class Lifetime:
    """
    Between which idle times a mapping is forgotten, in seconds.

    @ivar dead: C{None}: it was alive after the longest one that was tried.
    """

    alive: float
    dead: float | None

    @property
    def estimate(self) -> float:
        """
        One number.
        """
        return self.alive if self.dead is None else round((self.alive + self.dead) / 2, 1)


class IdleTimes:
    """
    Which idle times are tried, until two neighbours are near enough.

    @param longest: Seconds; above that, nothing is tried.
    """

    def __init__(self, longest: float) -> None:
        self.lifetime = Lifetime(0.0, None)
        self._rounds = [[time for time in times if time < longest] for times in _TIMES]
        self._rounds[-1].append(longest)
        self._refinements = 0

    def next(self) -> Sequence[float]:
        """
        The idle times of the next round; none: it is over.
        """
        return self._rounds.pop(0) if self._rounds else ()

    def stop(self) -> None:
        """
        Longer ones cannot be tried.
        """
        self._rounds = []

    def take(self, survived: ReadOnlyDict[float, bool]) -> None:
        """
        Take which idle times of the round the mapping survived.
        """
        before = self.lifetime
        alive = max([before.alive, *(time for time, isAlive in survived.items() if isAlive)])
        # Where one died and an older one lives, a packet was lost.
        deaths = [time for time, isAlive in survived.items() if not isAlive and time > alive]
        dead = min([*deaths, *([] if before.dead is None else [before.dead])], default=None)
        self.lifetime = Lifetime(alive, dead)
        if dead is None:
            return
        step = (dead - alive) / (_TIMES_PER_ROUND + 1)
        self._rounds = [[alive + step * (1 + index) for index in range(_TIMES_PER_ROUND)]]
        self._refinements += 1
        if dead - alive <= max(_PRECISION, alive * _SHARE) or self._refinements > _REFINEMENTS:
            self._rounds = []


def planLifetime(servers: Sequence[TransportAddress], longest: float) -> Plan[Finding[Lifetime]]:
    """
    Measure the lifetime.

    @param servers: The first that answers is asked.
    @param longest: Seconds; above that, nothing is tried.
    """
    probes = paced(Probe(socket=_ASKER, destination=server) for server in servers[:_SERVER_LIMIT])
    server = firstAnswering(probes, (yield probes))
    if server is None:
        return Finding(None, "no server answered")
    idle = IdleTimes(longest)
    socket = _FIRST_SOCKET
    while times := idle.next():
        probes = paced(
            Probe(socket=socket + number, destination=server) for number in range(len(times))
        )
        socket += len(times)
        outcomes = yield probes
        made = [
            (probe.socket, outcome.mapped.port, time)
            for probe, outcome, time in zip(probes, outcomes, times, strict=True)
            if outcome.fate is Fate.ANSWERED and outcome.mapped is not None
        ]
        outcomes = yield [
            Probe(
                socket=_ASKER,
                destination=server,
                responsePort=port,
                hearer=hearer,
                isBrief=True,
                delay=time,
            )
            for hearer, port, time in made
        ]
        survived = {
            time: outcome.fate is Fate.ANSWERED
            for (*_, time), outcome in zip(made, outcomes, strict=True)
        }
        if not survived.get(0.0, True):
            return Finding(None, f"{server} does not know RESPONSE-PORT")
        idle.take(survived)
    return Finding(idle.lifetime)


def firstAnswering(probes: Sequence[Probe], outcomes: Sequence[Outcome]) -> TransportAddress | None:
    """
    The first server that answered from the address that was asked.
    """
    for probe, outcome in zip(probes, outcomes, strict=True):
        if outcome.fate is Fate.ANSWERED and outcome.source == probe.destination:
            return probe.destination
    return None
