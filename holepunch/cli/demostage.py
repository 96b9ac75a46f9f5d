"""
The demonstration as a play: what happens in which order, wherever it happens.

Owns: the network and its latencies, the acts, what each of them gave.
Knows nothing of: how programs are run (L{holepunch.cli.demoprocesses},
L{holepunch.cli.demosimulation}); how the results are shown (L{holepunch.cli.demoreport}).
Driven by: C{holepunch demo}.
"""

from __future__ import annotations

import abc
import statistics
from collections.abc import Sequence

import attrs

from holepunch.address import Transport
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.peer.events import Connected, PeerEvent
from holepunch.punch import TCPFlow

LATENCY = 0.025
"""
Of each link to the internet, in seconds, one way.
"""

PINGS = 5
PING_INTERVAL = 0.1
PATIENCE = 10.0
"""
Seconds after which a session counts as failed.
"""


def homeNetworks(text: str, latency: float = LATENCY) -> Topology:
    """
    Build the topology that a text names, with slow links to the internet, and home networks of no
    latency.

    @raise BadTopology: The text names none.
    """
    topology = Topology.parse(text, LinkSpec(latency=latency))
    home = LinkSpec(latency=0.0)
    hosts = (attrs.evolve(each, link=home) if each.behind else each for each in topology.hosts)
    return attrs.evolve(topology, hosts=tuple(hosts))


@attrs.frozen(kw_only=True)
class Act:
    """
    What came of one session.

    @ivar asking: What alice's peer told.
    @ivar asked: What bob's peer told.
    @ivar failure: Why it came to nothing; empty if it did not.
    @ivar size: Bytes that were moved each way over the path, and arrived as they were sent.
    @ivar moved: Seconds that that took.
    @ivar roundTrips: Seconds of each ping over the path.
    """

    transport: Transport
    asking: tuple[PeerEvent, ...]
    asked: tuple[PeerEvent, ...]
    failure: str = ""
    size: int = 0
    moved: float = 0.0
    roundTrips: tuple[float, ...] = ()

    @property
    def connected(self) -> Connected | None:
        """
        The path, as alice knows it.
        """
        found = [each for each in self.asking if isinstance(each, Connected)]
        return found[-1] if found else None

    @property
    def roundTrip(self) -> float | None:
        """
        The median of the round trips.
        """
        return statistics.median(self.roundTrips) if self.roundTrips else None


class Stage(abc.ABC):
    """
    A network with a rendezvous service, and bob who listens.

    Each method is called once, in this order; L{close} always.
    """

    @abc.abstractmethod
    async def build(self) -> None:
        """
        Build the network.

        @raise NamespacesUnavailable: This machine cannot have such a one.
        """

    @abc.abstractmethod
    async def serve(self) -> None:
        """
        Start the rendezvous service.
        """

    @abc.abstractmethod
    async def listen(self) -> None:
        """
        Let bob register and listen.
        """

    @abc.abstractmethod
    async def move(self, flow: TCPFlow) -> Act:
        """
        Let alice reach bob by TCP, and both send the other a file.
        """

    @abc.abstractmethod
    async def ping(self) -> Act:
        """
        Let alice reach bob by UDP, and ping him.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """
        Leave nothing behind.
        """


def transportsOf(choice: str) -> Sequence[Transport]:
    """
    What C{--transport} means: C{auto} is both, one after the other.
    """
    return (Transport.TCP, Transport.UDP) if choice == "auto" else (Transport(choice),)
