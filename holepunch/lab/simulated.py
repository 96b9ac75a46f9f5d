"""
A whole internet in one process, without sockets, threads and waiting.

Owns: hosts with a reactor each, and the simulated time that all of them share.
Knows nothing of: what the programs on the hosts do.
Driven by: tests.

Programs get a reactor as they do in earnest, and cannot tell it from a real one; NATs stand between
them, links are slow and lossy, and a minute passes in a millisecond::

    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
    from holepunch.lab import SimulatedInternet, Topology

    internet = SimulatedInternet(Topology.parse("port-restricted/symmetric"), seed=7)
    server = internet.host("rendezvous").reactor
    client = internet.host("alice").reactor
    internet.waitFor(TCP4ServerEndpoint(server, 4460).listen(serverFactory))
    protocol = internet.waitFor(TCP4ClientEndpoint(client, "5.1.0.1", 4460).connect(clientFactory))
    protocol.transport.write(b"hello")
    internet.advance(1.0)

The same seed gives the same run, packet by packet. L{SimulatedInternet.fabric} lets you look at the
packets (C{addObserver}), and change the network as it runs: C{setLink}, C{flushNAT}, C{rebindNAT}.

TLS: a C{TLSMemoryBIOFactory} collects small writes with the I{global} reactor unless it is told
otherwise. Give it, or C{wrapClientTLS} and C{wrapServerTLS}, the host's reactor: C{clock=reactor}.
C{transport.startTLS} offers no such argument.
"""

from __future__ import annotations

from random import Random
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.errors import SimulationStuck
from holepunch.lab.clock import SimulatedClock
from holepunch.lab.fabric import Fabric
from holepunch.lab.simulatedkernel import SimulatedKernel
from holepunch.lab.simulatednames import SimulatedResolver
from holepunch.lab.simulatedreactor import SimulatedReactor
from holepunch.lab.topology import HostSpec, Topology
from holepunch.nat.packet import Packet

_T = TypeVar("_T")


class SimulatedHost:
    """
    One machine of the simulated internet.

    What is bound to an address leaves by the interface that has it; all else leaves by the first
    interface with an address of the right family.

    @ivar name: Its name in the topology.
    @ivar reactor: What its programs run on.
    """

    reactor: SimulatedReactor

    def __init__(self, internet: SimulatedInternet, spec: HostSpec, seed: str) -> None:
        self.name = spec.name
        self._internet = internet
        self._places = {each.name: each.addresses for each in spec.allInterfaces}
        self._random = Random(seed)
        self.boot()

    @property
    def addresses(self) -> tuple[str, ...]:
        """
        The IP addresses of its interfaces.
        """
        return tuple(address for each in self._places.values() for address in each)

    def boot(self) -> None:
        """
        Start with a new reactor, on which nothing runs; what ran before is lost, as in L{crash}.
        """
        self.crash()
        fabric = self._internet.fabric
        kernel = SimulatedKernel(
            self._internet.clock,
            self.addresses,
            self._send if len(self._places) > 1 else lambda packet: fabric.send(self.name, packet),
            self._random,
            lambda local: fabric.interfaceMTU(self._interfaceOf(local)),
        )
        self.reactor = SimulatedReactor(self._internet.clock, kernel, self._internet.resolver)
        for interface in self._places:
            fabric.attach(interface, kernel.receive)

    def _send(self, packet: Packet) -> None:
        self._internet.fabric.send(self._interfaceOf(packet.source.host), packet)

    def _interfaceOf(self, local: str) -> str:
        """
        The interface that has an address, by which packets from it leave.
        """
        for name, addresses in self._places.items():
            if local in addresses:
                return name
        return self.name

    def crash(self) -> None:
        """
        Stop everything on this host at once. Nobody is told, neither its programs nor others.
        """
        if hasattr(self, "reactor"):
            self.reactor.kernel.shutDown()
            self.reactor.shutDown()
        for interface in self._places:
            self._internet.fabric.attach(interface, None)

    def ping(
        self, remote: str, size: int = 56, patience: float = 1.0, local: str | None = None
    ) -> Deferred[float]:
        """
        Send an ICMP echo request.

        @param remote: An IP address.
        @param size: Bytes of data.
        @param local: The address to send from; C{None}: the usual one.
        @return: The round trip in seconds.
        @raise TimeoutError: (from the Deferred) There was no reply for C{patience} seconds.
        """
        kernel = self.reactor.kernel
        source = local or kernel.route(TransportAddress(remote, 0))
        return kernel.pinger.ping(source, remote, size, patience)

    def move(self, *addresses: str, behind: str | None, interface: str | None = None) -> None:
        """
        Take the host to another network, with other addresses; what it has open stays open.

        @param behind: The name of a NAT, or C{None}: the public core.
        @param interface: The name of a further interface that moves; C{None}: the first does.
        """
        name = interface or self.name
        self._internet.fabric.moveHost(name, addresses, behind)
        self._places[name] = addresses
        self.reactor.kernel.hosts = self.addresses


class SimulatedInternet:
    """
    A topology in operation, with a reactor for each host.

    @param seed: All randomness comes from it: that of links, NATs, ports and sequence numbers.
    @param answersUnroutable: See L{Fabric}.
    @ivar clock: The one time of all hosts, from 0.
    @ivar fabric: The network between the hosts.
    @ivar names: IP addresses by name. The hosts' own names are there; add what else is to be found.
    """

    def __init__(self, topology: Topology, seed: int = 0, answersUnroutable: bool = False) -> None:
        self.clock = SimulatedClock()
        self.fabric = Fabric(self.clock, topology, seed, answersUnroutable)
        self.names: dict[str, tuple[str, ...]] = {"localhost": ("127.0.0.1",)}
        self.names.update((spec.name, spec.allAddresses) for spec in topology.hosts)
        self.resolver = SimulatedResolver(self.names, lambda call: self.clock.callLater(0, call))
        self._hosts = {
            spec.name: SimulatedHost(self, spec, f"{seed}/{spec.name}/kernel")
            for spec in topology.hosts
        }

    def host(self, name: str) -> SimulatedHost:
        """
        The host of that name.

        @raise BadTopology: There is none.
        """
        if name not in self._hosts:
            self.fabric.topology.host(name)
        return self._hosts[name]

    def advance(self, seconds: float) -> None:
        """
        Let time pass, with everything that happens in it.

        @raise SimulationStuck: Something happens again and again without any time passing.
        """
        self.clock.advance(seconds)

    def waitFor(self, deferred: Deferred[_T], limit: float = 60.0) -> _T:
        """
        Let time pass until C{deferred} fires, and no longer.

        @param limit: Simulated seconds to wait at most.
        @return: Its result; if it failed, the exception is raised.
        @raise SimulationStuck: It did not fire in time, or nothing is left that could make it fire.
        """
        results: list[_T | Failure] = []
        deferred.addBoth(results.append)
        until = self.clock.seconds() + limit
        while not results:
            if not self.clock.step(until):
                raise SimulationStuck(
                    f"{deferred!r} has not fired within {limit:g} simulated seconds"
                )
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result
