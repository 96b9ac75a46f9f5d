"""
How much memory a registered peer that does nothing costs the service.

A process holds so many main connections to a service in another process. The service's resident set
before the last of them and after is divided by their number; the first ones, which make Python and
OpenSSL take what they take once, do not count. The kernel's socket buffers are not in it.

Owns: the listeners, the connections, and the comparison with plain TCP and with bare TLS.
Knows nothing of: what the memory is used for.
Driven by: C{python benchmarks/idle.py [--json] [--rounds N] [--peers N]}.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from OpenSSL.crypto import X509, PKey
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.identity import Identity
from holepunch.interfaces import IRendezvousEvents
from holepunch.punch import Candidate, CandidateType
from holepunch.rendezvous.connecting import connectRendezvous
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.location import ServiceLocation
from holepunch.rendezvous.service import RendezvousService
from holepunch.tls import IdentityTLS

if TYPE_CHECKING:
    from benchmarks.child import python, running, say
    from benchmarks.comparison import Comparison, measureInTurn, publish
else:
    from child import python, running, say
    from comparison import Comparison, measureInTurn, publish

HOST = "127.0.0.1"
KIB = 1024
WARM = 100
AT_ONCE = 20
SETTLE_SECONDS = 1.0

KINDS = {
    "tls": "TLS, as Twisted has it",
    "lean": "TLS, as the service has it",
    "tcp": "plain TCP",
    "peer": "a registered peer",
}


class Silent(Protocol):
    """
    Says one byte, so that the handshake is over when it has come.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Say it.
        """
        self.transport.write(b"!")


class Counted(Protocol):
    """
    The other end of L{Silent}.

    @ivar greeted: Fires when the connection stands.
    """

    def __init__(self) -> None:
        self.greeted: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        It stands.
        """
        self.greeted.callback(None)


@implementer(IRendezvousEvents)
class NoEvents:
    """
    A peer that nothing is offered to.
    """

    def sessionOffered(self, introduction: Any) -> bool:
        """
        Decline.
        """
        return False

    def candidatesReceived(self, sessionID: str, candidates: Any) -> None:
        """
        Cannot be.
        """

    def remoteReady(self, sessionID: str) -> None:
        """
        Cannot be.
        """

    def sessionEnded(self, sessionID: str, end: Any) -> None:
        """
        Cannot be.
        """

    def mainConnectionLost(self, reason: Exception) -> None:
        """
        The figure would be wrong.
        """
        print(reason, file=sys.stderr)


def withTLS(reactor: Any, kind: str, isClient: bool, factory: Factory) -> Any:
    """
    Put one kind of TLS under a factory.
    """
    if kind == "tcp":
        return factory
    identity = Identity.generate()
    tls: Any = IdentityTLS(identity, isLean=kind == "lean")
    if kind == "tls" and not isClient:
        tls = CertificateOptions(
            privateKey=PKey.from_cryptography_key(identity.privateKey),
            certificate=X509.from_cryptography(identity.certificate()),
            raiseMinimumTo=TLSVersion.TLSv1_3,
        )
    return TLSMemoryBIOFactory(tls, isClient, factory, reactor)


def quiet(protocol: type[Protocol]) -> Any:
    """
    A factory that says nothing.
    """
    factory = ClientFactory.forProtocol(protocol)
    factory.noisy = False
    return factory


def serve(reactor: Any, options: argparse.Namespace) -> Deferred[None]:
    """
    In a process of its own: hold one end of the connections.
    """
    if options.kind == "peer":
        identity = Identity.generate()
        service = RendezvousService(
            reactor,
            identity,
            main=[f"tcp:0:interface={HOST}"],
            assist=[TransportAddress(HOST, 0)],
            limits=Limits(connectionsPerAddress=options.peers + WARM),
        )
        service.startService()
        say(location=f"{identity.peerID}@{service.mainAddresses[0]}")
    else:
        factory = withTLS(reactor, options.kind, False, quiet(Silent))
        say(location=f"{HOST}:{reactor.listenTCP(0, factory, 50, HOST).getHost().port}")
    return Deferred()


async def hold(reactor: Any, options: argparse.Namespace) -> None:
    """
    In a process of its own: make the connections, in two goes, and hold them.
    """
    location = ServiceLocation.parse(options.location)
    held: list[Any] = []

    async def connect(number: int) -> None:
        if options.kind == "peer":
            client = await connectRendezvous(reactor, location, Identity.generate(), NoEvents())
            address = TransportAddress(f"10.0.{number >> 8}.{number & 255}", 40000)
            candidate = Candidate(
                foundation="1",
                transport=Transport.UDP,
                priority=1,
                address=address,
                type=CandidateType.HOST,
            )
            await client.register(name=f"peer-{number}", candidates=[candidate])
            held.append(client)
        else:
            factory = withTLS(reactor, options.kind, True, quiet(Counted))
            endpoint = TCP4ClientEndpoint(reactor, HOST, location.port)
            protocol: Any = await endpoint.connect(factory)
            held.append(protocol)
            await getattr(protocol, "wrappedProtocol", protocol).greeted

    async def some(numbers: Iterator[int]) -> None:
        for number in numbers:
            await connect(number)

    for first, last in ((0, WARM), (WARM, WARM + options.peers)):
        numbers = iter(range(first, last))
        await gatherResults([Deferred.fromCoroutine(some(numbers)) for _ in range(AT_ONCE)])
        say(held=len(held))
        await deferToThread(sys.stdin.readline)


def measure(kind: str, peers: int) -> float:
    """
    Measure once.

    @return: KiB for each connection.
    """
    arguments = (f"--kind={kind}", f"--peers={peers}")
    with running(*python(__file__, "--role=serve", *arguments)) as server:
        location = f"--location={server.says()['location']}"
        with running(*python(__file__, "--role=hold", location, *arguments)) as holder:
            resident = []
            for _ in range(2):
                holder.says()
                time.sleep(SETTLE_SECONDS)
                resident.append(server.residentBytes())
                holder.tell()
    return (resident[1] - resident[0]) / peers / KIB


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=int, default=1000)
    for hidden in ("--role", "--kind", "--location"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.role == "serve":
        task.react(serve, (options,))
    elif options.role == "hold":
        task.react(hold, (options,))
    subjects: dict[str, Callable[[], float]] = {
        name: partial(measure, kind, options.peers) for kind, name in KINDS.items()
    }
    comparison = Comparison(
        title=f"KiB for each of {options.peers} idle connections",
        reference=KINDS["tls"],
        samples=measureInTurn(subjects, options.rounds),
        digits=1,
    )
    publish([comparison], options.rounds, options.json)


if __name__ == "__main__":
    main()
