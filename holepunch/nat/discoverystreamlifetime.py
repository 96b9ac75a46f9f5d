"""
The plan by which it is measured how long a NAT keeps an idle TCP connection (RFC 5382 section 5).

Owns: which connections are made, and when each is used again.
Knows nothing of: sockets and time; which idle times are tried
(L{holepunch.nat.discoverylifetime.IdleTimes}).
Driven by: L{holepunch.peer.discovery}, when a person asks for it: it takes minutes.

Over TCP, no server can be asked to send to another connection. So each connection is left alone for
its time and then asks once more: an answer proves that the connection still works, silence or a
reset that the NAT has forgotten it. The question comes from inside, so that a NAT which lets one go
on that it had forgotten counts as one that remembers: to whoever uses the connection, it is the
same. A server that closes the idle connection ends the measurement there, since its goodbye has
come through. All in all there are at most 30 connections.
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.address import TransportAddress
from holepunch.nat.discoveryfindings import Finding
from holepunch.nat.discoverylifetime import IdleTimes, Lifetime, firstAnswering
from holepunch.nat.discoveryprobe import Fate, Plan, Probe, paced

_SERVER_LIMIT = 4
_FIRST_SOCKET = 1000


def planStreamLifetime(
    servers: Sequence[TransportAddress], longest: float
) -> Plan[Finding[Lifetime]]:
    """
    Measure the lifetime.

    @param servers: The first that answers is asked.
    @param longest: Seconds; above that, nothing is tried.
    """
    probes = paced(
        Probe(socket=_FIRST_SOCKET, destination=server) for server in servers[:_SERVER_LIMIT]
    )
    server = firstAnswering(probes, (yield probes))
    if server is None:
        return Finding(None, "no server answered")
    idle = IdleTimes(longest)
    socket = _FIRST_SOCKET + 1
    closed: list[float] = []
    while times := [time for time in idle.next() if not closed or time < min(closed)]:
        probes = paced(
            Probe(socket=socket + number, destination=server) for number in range(len(times))
        )
        socket += len(times)
        outcomes = yield probes
        made = [
            (probe.socket, time)
            for probe, outcome, time in zip(probes, outcomes, times, strict=True)
            if outcome.fate is Fate.ANSWERED
        ]
        outcomes = yield [
            Probe(socket=number, destination=server, isAgain=True, isBrief=True, delay=time)
            for number, time in made
        ]
        survived = {}
        for (_, time), outcome in zip(made, outcomes, strict=True):
            if outcome.fate is Fate.CLOSED:
                closed.append(outcome.idleTime or 0.0)
                survived[closed[-1]] = True
            else:
                survived[time] = outcome.fate is Fate.ANSWERED
        if not survived.get(0.0, True) or (closed and min(closed) < 1.0):
            return Finding(None, f"{server} answers only once on a connection")
        idle.take(survived)
    why = None
    if closed and idle.lifetime.dead is None:
        why = (
            f"a connection that is idle for {min(closed):.0f} seconds still works; then {server},"
            " or something on the way, closes it"
        )
    return Finding(idle.lifetime, why)
