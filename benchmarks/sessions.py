"""
How many whole sessions a second one processor core works off, beside plain connections.

The peers, the service and the network between them run in one process, in the simulator, where
waiting costs nothing: what remains is what all of them compute. In earnest each has its own
machine. The known quantity is a TCP connection over loopback by Twisted's endpoints, with an echo,
both of its ends in one process, too.

Owns: the kinds of session, and the comparison.
Knows nothing of: how long a session takes on a real network (C{benchmarks/connect.py}).
Driven by: C{python benchmarks/sessions.py [--json] [--rounds N] [--sessions N]}.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.identity import Identity
from holepunch.lab import SimulatedInternet, Topology
from holepunch.peer import FixedHostAddresses, Peer, SessionOptions
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.service import RendezvousService
from holepunch.tls import IdentityTLS

if TYPE_CHECKING:
    from benchmarks.child import python, running, say
    from benchmarks.comparison import Comparison, measureInTurn, publish
else:
    from child import python, running, say
    from comparison import Comparison, measureInTurn, publish

LOOPBACK = "127.0.0.1"
TOPOLOGY = "port-restricted/port-restricted"
PORT = 7000
WARM_UP = 3
# By both transports, all connections would share the session of the first one.
TCP = SessionOptions()
UNLIMITED = 1_000_000

KINDS = {
    "loopback-tcp": "loopback: TCP, echo",
    "loopback-tls": "loopback: TCP, TLS, echo",
    "simulated-tcp": "simulator: TCP through one NAT, echo",
    "warm-udp": "simulator: UDP session of two registered peers, echo",
    "warm-tcp": "simulator: TCP session of two registered peers, echo",
    "whole-udp": "simulator: the same, with the registration of one",
    "whole-tcp": "simulator: the same over TCP",
}


class Echo(Protocol):
    """
    Sends back what it receives.
    """

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


class Once(Protocol):
    """
    Sends one byte, waits for it, and closes.

    @ivar ended: Fires when the connection is closed again.
    """

    transport: Any

    def __init__(self) -> None:
        self.isEchoed = False
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """
        Send it.
        """
        self.transport.write(b"!")

    def dataReceived(self, data: bytes) -> None:
        """
        It is back.
        """
        self.isEchoed = True
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Is it closed after the echo?
        """
        if self.isEchoed:
            self.ended.callback(None)
        else:
            self.ended.errback(reason)


def quiet(protocol: Callable[[], Protocol]) -> Any:
    """
    A factory that says nothing.
    """
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    return factory


async def once(endpoint: Any) -> None:
    """
    One connection with one echo.
    """
    held: list[Once] = []

    def build() -> Once:
        held.append(Once())
        return held[0]

    await endpoint.connect(quiet(build))
    await held[0].ended


async def echoDatagram(peer: Peer) -> None:
    """
    One path with one echo.
    """
    path = await peer.openDatagrams("bob")
    echoed: Deferred[bytes] = Deferred()
    path.setReceiver(lambda data: None if echoed.called else echoed.callback(data))
    path.send(b"!")
    await echoed
    path.close()


class Simulation:
    """
    A service, one peer that answers, and others that come and go.
    """

    def __init__(self) -> None:
        self.internet = SimulatedInternet(Topology.parse(TOPOLOGY), seed=1)
        host = self.internet.host("rendezvous")
        self._serviceIdentity = Identity.generate()
        self._location = f"{self._serviceIdentity.peerID}@{host.addresses[0]}"
        limits = Limits(
            requestsPerSecond=UNLIMITED,
            requestBurst=UNLIMITED,
            assistRequestsPerSecond=UNLIMITED,
            assistBurst=UNLIMITED,
        )
        reactor: Any = host.reactor
        RendezvousService(
            reactor,
            self._serviceIdentity,
            assist=[TransportAddress(each, 3478 + n) for n, each in enumerate(host.addresses)],
            limits=limits,
        ).startService()
        self.internet.waitFor(TCP4ServerEndpoint(reactor, PORT).listen(quiet(Echo)))
        self._server = host.addresses[0]
        bob = self._peer("bob")
        self.waitFor(self._answer(bob))
        self._alice = self._peer("alice")
        self.internet.waitFor(self._alice.whenRegistered())
        self.internet.advance(1.0)

    def _peer(self, name: str) -> Peer:
        host = self.internet.host(name)
        reactor: Any = host.reactor
        return Peer(
            reactor,
            Identity.generate(),
            self._location,
            name=name,
            hostAddresses=FixedHostAddresses(host.addresses),
        )

    async def _answer(self, peer: Peer) -> None:
        await peer.listenEndpoint().listen(quiet(Echo))
        await peer.acceptDatagrams(lambda path: path.setReceiver(path.send))

    def waitFor(self, doing: Any) -> None:
        """
        Run a coroutine to its end.
        """
        self.internet.waitFor(Deferred.fromCoroutine(doing))

    def plain(self) -> None:
        """
        A connection to the server, without a peer.
        """
        reactor: Any = self.internet.host("alice").reactor
        self.waitFor(once(TCP4ClientEndpoint(reactor, self._server, PORT)))

    def session(self, isTCP: bool, isWhole: bool) -> None:
        """
        One session.
        """
        if isWhole:
            self.waitFor(self._whole(isTCP))
        else:
            self.waitFor(self._session(self._alice, isTCP))

    async def _whole(self, isTCP: bool) -> None:
        await self._alice.stopService()
        self._alice = self._peer("alice")
        await self._alice.whenRegistered()
        await self._session(self._alice, isTCP)

    async def _session(self, peer: Peer, isTCP: bool) -> None:
        if isTCP:
            await once(peer.connectEndpoint("bob", TCP))
        else:
            await echoDatagram(peer)


def simulate(kind: str, count: int) -> float:
    """
    Run so many in the simulator.

    @return: How many a processor second.
    """
    simulation = Simulation()
    what, _, transport = kind.partition("-")
    one: Callable[[], None] = simulation.plain
    if what != "simulated":
        one = partial(simulation.session, transport == "tcp", what == "whole")
    for _ in range(WARM_UP):
        one()
    usedBefore = time.process_time()
    for _ in range(count):
        one()
    return count / (time.process_time() - usedBefore)


async def loopback(reactor: Any, kind: str, count: int) -> None:
    """
    Run so many over real sockets, and say how many a processor second.
    """

    def secured(factory: Factory, isClient: bool) -> Any:
        if kind != "loopback-tls":
            return factory
        return TLSMemoryBIOFactory(IdentityTLS(Identity.generate()), isClient, factory, reactor)

    class Endpoint(TCP4ClientEndpoint):
        def connect(self, protocolFactory: Any) -> Any:
            return super().connect(secured(protocolFactory, True))

    server = TCP4ServerEndpoint(reactor, 0, interface=LOOPBACK)
    port = await server.listen(secured(quiet(Echo), False))
    endpoint: Any = Endpoint(reactor, LOOPBACK, port.getHost().port)
    for _ in range(WARM_UP):
        await once(endpoint)
    usedBefore = time.process_time()
    for _ in range(count):
        await once(endpoint)
    say(rate=count / (time.process_time() - usedBefore))


def measure(kind: str, count: int) -> float:
    """
    Measure once, in a process of its own.
    """
    with running(*python(__file__, f"--kind={kind}", f"--sessions={count}")) as child:
        rate: float = child.says()["rate"]
        return rate


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--kind", choices=list(KINDS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind is not None:
        if options.kind.startswith("loopback"):
            task.react(loopback, (options.kind, options.sessions))
        say(rate=simulate(options.kind, options.sessions))
        return
    subjects: dict[str, Callable[[], float]] = {
        name: partial(measure, kind, options.sessions) for kind, name in KINDS.items()
    }
    comparison = Comparison(
        title="a processor second",
        reference=KINDS["loopback-tcp"],
        samples=measureInTurn(subjects, options.rounds),
    )
    publish([comparison], options.rounds, options.json)


if __name__ == "__main__":
    main()
