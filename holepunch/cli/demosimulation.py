"""
The demonstration in the simulated internet, where kernel namespaces cannot be had: the same service
and the same peers, in one process, on reactors whose network and time are simulated.

Owns: the service, the peers and their protocols.
Knows nothing of: the order of the acts.
Driven by: C{holepunch demo}.
"""

from __future__ import annotations

import random
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.cli.demoprocesses import Told
from holepunch.cli.demostage import PATIENCE, PING_INTERVAL, PINGS, Act, Stage
from holepunch.cli.notice import describe
from holepunch.errors import HolepunchError
from holepunch.identity import Identity
from holepunch.lab.simulated import SimulatedInternet
from holepunch.lab.topology import Topology
from holepunch.peer import FixedHostAddresses, Peer, SessionOptions
from holepunch.peer.events import PeerEvent
from holepunch.punch import TCPFlow
from holepunch.rendezvous.service import RendezvousService

FILE_SIZE = 1_000_000
_ASSIST_PORTS = (3478, 3479)
_SETTLED = 0.5
_UDP = SessionOptions(transports=frozenset({Transport.UDP}), timeout=PATIENCE)


@implementer(IHalfCloseableProtocol)
class _Exchange(Protocol):
    """
    Sends a file, and receives one.

    @ivar finished: Fires with what was received.
    """

    def __init__(self, file: bytes) -> None:
        self.finished: Deferred[bytes] = Deferred()
        self._file = file
        self._received = bytearray()

    @property
    def _connection(self) -> ITCPTransport:
        return cast(ITCPTransport, self.transport)

    def connectionMade(self) -> None:
        """
        Send it all.
        """
        self._connection.write(self._file)
        self._connection.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        A part of the other one.
        """
        self._received += data

    def readConnectionLost(self) -> None:
        """
        That was all of it.
        """

    def writeConnectionLost(self) -> None:
        """
        Ours is sent.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Both are through, or not.
        """
        self.finished.callback(bytes(self._received))


class SimulatedStage(Stage):
    """
    The play in the simulated internet.
    """

    def __init__(self, topology: Topology, told: Told, seed: int = 0) -> None:
        """
        @param told: Called with a host and each event that a peer there tells.
        """
        self._topology = topology
        self._told = told
        self._random = random.Random(seed)
        self._internet = SimulatedInternet(topology, seed)
        self._peers: list[Peer] = []
        self._service: RendezvousService | None = None
        self._bobEvents: list[PeerEvent] = []

    async def build(self) -> None:
        """
        It is there already.
        """
        self._files = {name: self._random.randbytes(FILE_SIZE) for name in ("alice", "bob")}

    async def serve(self) -> None:
        """
        Start the service.
        """
        host = self._internet.host("rendezvous")
        identity = Identity.generate()
        self._location = f"{identity.peerID}@{host.addresses[0]}"
        assist = [
            TransportAddress(address, port)
            for address, port in zip(host.addresses, _ASSIST_PORTS, strict=False)
        ]
        self._service = RendezvousService(host.reactor, identity, assist=assist)
        self._service.startService()

    async def listen(self) -> None:
        """
        Make bob's peer.
        """
        self._bobs: list[_Exchange] = []
        bob = self._peer("bob", "bob", self._bobEvents)
        listening = bob.listenEndpoint().listen(Factory.forProtocol(self._newBob))
        self._internet.waitFor(listening)
        # His UDP mapping is known by then, too.
        self._internet.advance(_SETTLED)

    def _newBob(self) -> _Exchange:
        protocol = _Exchange(self._files["bob"])
        self._bobs.append(protocol)
        return protocol

    async def move(self, flow: TCPFlow) -> Act:
        """
        Make a peer for alice that connects.
        """
        events: list[PeerEvent] = []
        options = SessionOptions(tcpFlow=flow, timeout=PATIENCE)
        peer = self._peer("alice", None, events)
        endpoint = peer.connectEndpoint("bob", options)
        factory = Factory.forProtocol(lambda: _Exchange(self._files["alice"]))
        failure, startedAt = "", self._internet.clock.seconds()
        try:
            self._internet.waitFor(peer.whenRegistered())
            alice = cast(_Exchange, self._internet.waitFor(endpoint.connect(factory)))
            startedAt = self._internet.clock.seconds()
            toAlice = self._internet.waitFor(alice.finished)
            (bob,) = self._bobs
            toBob = self._internet.waitFor(bob.finished)
            if (toBob, toAlice) != (self._files["alice"], self._files["bob"]):
                failure = "what arrived is not what was sent"
        except HolepunchError as error:
            failure = str(error)
        return Act(
            transport=Transport.TCP,
            asking=tuple(events),
            asked=tuple(self._bobEvents),
            failure=failure,
            size=0 if failure else FILE_SIZE,
            moved=self._internet.clock.seconds() - startedAt,
        )

    async def ping(self) -> Act:
        """
        Make another peer for alice, that pings.
        """
        events: list[PeerEvent] = []
        times: list[float] = []
        failure = ""
        peer = self._peer("alice", None, events)
        try:
            self._internet.waitFor(peer.whenRegistered())
            path = self._internet.waitFor(peer.openPingPath("bob", _UDP))
            path.whenLost().addErrback(lambda failure: None)
            for _ in range(PINGS):
                times.append(self._internet.waitFor(path.ping()))
                self._internet.advance(PING_INTERVAL)
            path.close()
        except HolepunchError as error:
            failure = str(error)
        return Act(
            transport=Transport.UDP,
            asking=tuple(events),
            asked=tuple(self._bobEvents),
            failure=failure,
            roundTrips=tuple(times),
        )

    async def close(self) -> None:
        """
        Stop everything.
        """
        stopping: list[Deferred[None]] = [
            peer.stopService() for peer in self._peers if peer.running
        ]
        if self._service is not None:
            stopping.append(self._service.stopService())
        self._internet.waitFor(gatherResults(stopping))

    def _peer(self, hostName: str, name: str | None, events: list[PeerEvent]) -> Peer:
        def observe(event: PeerEvent) -> None:
            events.append(event)
            notice = describe(event)
            self._told(hostName, {"event": notice.event, **notice.fields})

        host = self._internet.host(hostName)
        reactor: Any = host.reactor
        peer = Peer(
            reactor,
            Identity.generate(),
            self._location,
            name=name,
            hostAddresses=FixedHostAddresses(host.addresses),
            observer=observe,
        )
        self._peers.append(peer)
        return peer
