"""
A whole network for the tests: a rendezvous service and peers in the simulated internet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import TransportAddress
from holepunch.identity import Identity
from holepunch.interfaces import IHostAddresses, IRegistry
from holepunch.lab import SimulatedHost, SimulatedInternet, Topology
from holepunch.peer import Peer, PeerConfig
from holepunch.peer.events import Mapped, PeerEvent, Registered
from holepunch.rendezvous.relay import RelayService
from holepunch.rendezvous.relaytls import RelayTLS
from holepunch.rendezvous.service import RendezvousService

_T = TypeVar("_T")


class Recorder(Protocol):
    """
    Keeps what arrives.

    @ivar lost: Fires with the exception that says why the connection ended.
    """

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[BaseException] = Deferred()
        self._expected: list[tuple[int, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        for length, waiting in self._expected:
            if len(self.received) >= length and not waiting.called:
                waiting.callback(self.received)

    def whenReceived(self, length: int) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred()
        self._expected.append((length, waiting))
        self.dataReceived(b"")
        return waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.value is not None
        self.lost.callback(reason.value)


class RecorderFactory(Factory):
    """
    Builds recorders and keeps them.
    """

    def __init__(self) -> None:
        self.built: list[Recorder] = []

    def buildProtocol(self, addr: Any) -> Recorder:
        protocol = Recorder()
        self.built.append(protocol)
        return protocol


class EchoFactory(RecorderFactory):
    """
    Its protocols send back what they get.
    """

    def buildProtocol(self, addr: Any) -> Recorder:
        protocol = super().buildProtocol(addr)
        received = protocol.dataReceived

        def dataReceived(data: bytes) -> None:
            received(data)
            protocol.transport.write(data)  # type: ignore[union-attr]

        protocol.dataReceived = dataReceived  # type: ignore[method-assign]
        return protocol


class GreetingFactory(RecorderFactory):
    """
    Its protocols speak first, and say what has the form of a frame (RFC 4571).
    """

    def buildProtocol(self, addr: Any) -> Recorder:
        protocol = super().buildProtocol(addr)
        protocol.connectionMade = (  # type: ignore[method-assign]
            lambda: protocol.transport.write(b"\x00\x04junk")  # type: ignore[union-attr]
        )
        return protocol


class Mirror(DatagramProtocol):
    """
    Sends each datagram back to where it came from.
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)  # type: ignore[union-attr]


@implementer(IHostAddresses)
class AddressesOf:
    """
    The addresses that a simulated host has at the moment.
    """

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host

    def hostAddresses(self) -> Sequence[str]:
        return self._host.addresses


class Network:
    """
    A service on the host C{rendezvous}, and peers where a test wants them.
    """

    def __init__(
        self, topology: Topology | str, seed: int = 0, relay: Sequence[int] | None = None
    ) -> None:
        """
        @param relay: The ports on which the service relays: over UDP and TCP, and then over TLS.
        """
        self.relayPorts = relay
        if isinstance(topology, str):
            topology = Topology.parse(topology)
        self.internet = SimulatedInternet(topology, seed)
        self.hostNames = [spec.name for spec in topology.hosts if "decoy" not in spec.name]
        self.serviceIdentity = Identity.generate()
        self.events: dict[str, list[PeerEvent]] = {}
        self.peers: list[tuple[Peer, SimulatedHost]] = []
        self.startService()

    def startService(self, registry: IRegistry | None = None) -> None:
        host = self.internet.host("rendezvous")
        self.service = RendezvousService(
            host.reactor,
            self.serviceIdentity,
            assist=[
                TransportAddress(address, 3478 + index)
                for index, address in enumerate(host.addresses)
            ],
            registry=registry,
            relay=self.makeRelay(),
        )
        self.service.startService()

    def makeRelay(self) -> RelayService | None:
        """
        The relay of the service, if it is to have one.
        """
        if self.relayPorts is None:
            return None
        host = self.internet.host("rendezvous")
        port, *tlsPorts = self.relayPorts
        return RelayService(
            host.reactor,
            [TransportAddress(host.addresses[0], port)],
            tlsPorts=tlsPorts,
            tls=RelayTLS(self.serviceIdentity),
            ownHosts=lambda: host.addresses,
        )

    @property
    def location(self) -> str:
        return f"{self.serviceIdentity.peerID}@{self.internet.host('rendezvous').addresses[0]}"

    def peer(
        self,
        hostName: str,
        name: str | None = None,
        config: PeerConfig | None = None,
        identity: Identity | None = None,
        **options: Any,
    ) -> Peer:
        host = self.internet.host(hostName)
        events = self.events.setdefault(name or hostName, [])
        reactor: Any = host.reactor
        peer = Peer(
            reactor,
            identity if identity is not None else Identity.generate(),
            self.location,
            name=name,
            config=config,
            hostAddresses=AddressesOf(host),
            observer=events.append,
            **options,
        )
        self.peers.append((peer, host))
        return peer

    def listen(self, peer: Peer, factory: Factory) -> Any:
        return self.internet.waitFor(peer.listenEndpoint().listen(factory))

    def waitFor(self, deferred: Deferred[_T], limit: float = 60.0) -> _T:
        return self.internet.waitFor(deferred, limit)

    def stop(self) -> None:
        """
        Stop everything.
        """
        # On a host that crashed, nothing is left to be stopped.
        stopping = [
            peer.stopService() for peer, host in self.peers if peer.running and host.reactor.running
        ]
        self.waitFor(gatherResults([*stopping, self.service.stopService()]))
        self.internet.advance(60.0)

    def startDecoys(self) -> None:
        """
        Let strangers listen at the peers' private addresses, on the very ports that the peers use.

        They greet each connection with rubbish, and send each datagram back.
        """
        for name in ("alice", "bob"):
            reactor: Any = self.internet.host(f"decoy-{name}").reactor
            for event in self.events[name]:
                if isinstance(event, Registered):
                    reactor.listenTCP(event.observed.port, GreetingFactory())
                elif isinstance(event, Mapped) and event.session is None:
                    reactor.listenUDP(event.local.port, Mirror())
