"""
What discovery asks for, and what it is told (RFC 5780 section 4).

Owns: the values that pass between a plan and whoever has the sockets.
Knows nothing of: why a probe is sent; sockets and the bytes of STUN.
Driven by: the plans, which make probes, and L{holepunch.peer.discovery}, which sends them.

A plan is a generator: it yields rounds of probes, gets what became of each, in the same order, and
returns its report. It does no I/O and keeps no time, so the same plan runs on sockets, on the
simulated internet and, packet by packet, on the model NAT alone.
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Iterable, Sequence
from typing import TypeVar

import attrs

from holepunch.address import TransportAddress
from holepunch.stun import ChangeRequest

NO_CHANGE = ChangeRequest(0)

#: Seconds between two probes of one round: home routers break when too many flows begin at once.
PACE = 0.02


@attrs.frozen(kw_only=True)
class Probe:
    """
    One Binding request to send.

    @ivar socket: The number of the local socket that sends it; a number that was not used before
        is a new socket, with a port of its own.
    @ivar change: From where the server is asked to answer.
    @ivar responsePort: To which port of our mapped host the answer is to go; C{None}: to the one
        that the request comes from.
    @ivar hearer: The number of the socket that will hear the answer; with C{isEcho}, the request
        itself. C{None}: the one that sends.
    @ivar isEcho: The destination is no server, but the mapped address of C{hearer}.
    @ivar isBrief: Silence is a likely outcome: do not wait for long.
    @ivar isAgain: Over TCP: ask on the connection of C{socket} to C{destination} that is there.
    @ivar ttl: After so many routers the packet is to end; C{None}: it is not.
    @ivar size: How many bytes the IP packet is to have; C{None}: as few as possible.
    @ivar isFilled: With C{size}: the answer is to be as long as the request (PADDING).
    @ivar mayFragment: May the packet be cut on its way?
    @ivar delay: Seconds after the beginning of the round.
    """

    socket: int
    destination: TransportAddress
    change: ChangeRequest = NO_CHANGE
    responsePort: int | None = None
    hearer: int | None = None
    isEcho: bool = False
    isBrief: bool = False
    isAgain: bool = False
    ttl: int | None = None
    size: int | None = None
    isFilled: bool = False
    mayFragment: bool = True
    delay: float = 0.0


class Fate(enum.Enum):
    """
    What became of a probe; the value says it to a person.
    """

    ANSWERED = "answered"
    HEARD = "came back"
    REJECTED = "answered with an error"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CLOSED = "the connection was closed before"
    EXPIRED = "ended at a router"
    TOO_LONG = "too long for the way"
    SILENT = "no answer"


@attrs.frozen(kw_only=True)
class Outcome:
    """
    What became of one probe.

    @ivar local: The local endpoint that it was sent from; C{None} where nothing could be sent.
    @ivar source: Where the answer came from; where a router complained: its address, and port 0.
    @ivar mapped: The mapped address in the answer.
    @ivar otherAddress: The server's other address in the answer (RFC 5780 section 7.4).
    @ivar idleTime: With L{Fate.CLOSED}: after so many idle seconds.
    @ivar call: Over TCP, where the server was asked to connect from elsewhere: what it says that
        came of this.
    @ivar caller: The address from where it did.
    @ivar size: How many bytes the answer had, as an IP packet.
    @ivar fragmentSize: How many its longest fragment had; C{None}: it came whole.
    @ivar mtu: With L{Fate.TOO_LONG}: how much a router lets through, as it says.
    """

    fate: Fate
    local: TransportAddress | None = None
    source: TransportAddress | None = None
    mapped: TransportAddress | None = None
    otherAddress: TransportAddress | None = None
    idleTime: float | None = None
    call: Fate | None = None
    caller: TransportAddress | None = None
    size: int | None = None
    fragmentSize: int | None = None
    mtu: int | None = None


_Report = TypeVar("_Report")
Plan = Generator[Sequence[Probe], Sequence[Outcome], _Report]


def paced(probes: Iterable[Probe], after: float = 0.0) -> list[Probe]:
    """
    Let the probes of a round begin one after the other.

    @param after: Seconds that are added to each delay.
    """
    return [
        attrs.evolve(probe, delay=probe.delay + after + number * PACE)
        for number, probe in enumerate(probes)
    ]
