"""
What the tests of TCP in the simulated internet have in common.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import makeBinding
from twisted.trial.unittest import SynchronousTestCase

from holepunch.lab import LinkSpec, SimulatedInternet, Topology
from tests.lab.programs import Accepting, Recorder, Trace

RENDEZVOUS = "5.1.0.1"
ALICE = "31.1.0.10"
BOB = "31.2.0.10"


def reusing(port: int) -> Any:
    """
    A binding that shares its port.
    """
    return makeBinding("", port, reuseAddress=True, reusePort=True)


class TCPTestCase(SynchronousTestCase):
    """
    What the tests have in common: by default, everybody is public.
    """

    def setUp(self) -> None:
        self.build("none/none")

    def build(self, topology: str | Topology, link: LinkSpec | None = None, seed: int = 1) -> None:
        """
        Begin with another network.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology)
        if link is not None:
            topology = topology.withLinks(link)
        self.internet = SimulatedInternet(topology, seed)
        self.trace = Trace(self.internet.fabric)

    def listen(
        self, host: str, port: Any = 4460, kind: type[Recorder] = Recorder, backlog: int = 50
    ) -> tuple[Accepting, IListeningPort]:
        """
        Listen on a host.
        """
        factory = Accepting(kind)
        return factory, self.internet.host(host).reactor.listenTCP(port, factory, backlog)  # type: ignore[arg-type]

    def connecting(
        self,
        host: str,
        remote: str = RENDEZVOUS,
        port: int = 4460,
        kind: type[Recorder] = Recorder,
        **options: Any,
    ) -> Deferred[Any]:
        """
        Begin to connect from a host.
        """
        reactor = self.internet.host(host).reactor
        endpoint = TCP4ClientEndpoint(reactor, remote, port, **options)
        return endpoint.connect(Accepting(kind))

    def connect(self, host: str, *args: Any, **options: Any) -> Any:
        """
        Connect from a host.
        """
        return self.internet.waitFor(self.connecting(host, *args, **options))

    def pair(self, kind: type[Recorder] = Recorder) -> tuple[Any, Any]:
        """
        Both ends of a connection from alice to the rendezvous host.
        """
        factory, _ = self.listen("rendezvous", kind=kind)
        client = self.connect("alice", kind=kind)
        self.internet.advance(1.0)
        return client, factory.built[0]
