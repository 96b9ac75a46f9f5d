"""
The plan by which the lifetime of a NAT's UDP mappings is measured (RFC 5780 section 4.6).

Owns: which idle times are tried.
Knows nothing of: sockets and time.
Driven by: L{holepunch.peer.discovery}, when a person asks for it: it takes minutes.

A mapping is made and left alone. After a while another socket asks the server to answer to the
mapped port (RESPONSE-PORT), so that the question itself keeps nothing alive. Several idle times are
tried at once, each with a socket of its own; the next round tries those between the longest that
the mapping survived and the shortest that it did not.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.discoveryfindings import Finding
from holepunch.nat.discoveryprobe import Fate, Plan, Probe, paced

_ASKER = 1000
_FIRST_SOCKET = 1001
# The usual lifetimes of devices and systems lie between these.
_FIRST_TIMES = (12.0, 25.0, 45.0, 75.0, 150.0, 240.0, 450.0)
_TIMES_PER_ROUND = 4
_ROUNDS = 3
_PRECISION = 2.0


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


def planLifetime(servers: Sequence[TransportAddress], longest: float) -> Plan[Finding[Lifetime]]:
    """
    Measure the lifetime.

    @param servers: The first that answers is asked.
    @param longest: Seconds; above that, nothing is tried.
    """
    probes = paced(Probe(socket=_ASKER, destination=server) for server in servers)
    outcomes = yield probes
    reached = [
        probe.destination
        for probe, outcome in zip(probes, outcomes, strict=True)
        if outcome.fate is Fate.ANSWERED and outcome.source == probe.destination
    ]
    if not reached:
        return Finding(None, "no server answered")
    server = reached[0]
    alive, dead = 0.0, None
    times = [0.0, *(time for time in _FIRST_TIMES if time < longest), longest]
    number = _FIRST_SOCKET
    for _ in range(1 + _ROUNDS):
        survived: dict[float, bool] = {}
        sockets = range(number, number + len(times))
        number += len(times)
        outcomes = yield paced(Probe(socket=each, destination=server) for each in sockets)
        made = [
            (each, time, outcome.mapped.port)
            for each, time, outcome in zip(sockets, times, outcomes, strict=True)
            if outcome.fate is Fate.ANSWERED and outcome.mapped is not None
        ]
        probes = [
            Probe(
                socket=_ASKER,
                destination=server,
                responsePort=port,
                hearer=each,
                isBrief=True,
                delay=time,
            )
            for each, time, port in made
        ]
        outcomes = yield probes
        for (_, time, _), outcome in zip(made, outcomes, strict=True):
            survived[time] = outcome.fate is Fate.ANSWERED
        if alive == 0.0 and dead is None and not survived.get(0.0):
            return Finding(None, f"{server} does not know RESPONSE-PORT")
        alive = max([alive, *(time for time, isAlive in survived.items() if isAlive)])
        # A mapping that outlives a dead one means that a datagram was lost.
        deaths = [time for time, isAlive in survived.items() if not isAlive and time > alive]
        dead = min([*deaths, *([] if dead is None else [dead])], default=None)
        if dead is None or dead - alive <= _PRECISION:
            break
        step = (dead - alive) / (_TIMES_PER_ROUND + 1)
        times = [alive + step * (1 + index) for index in range(_TIMES_PER_ROUND)]
    return Finding(Lifetime(alive, dead))
