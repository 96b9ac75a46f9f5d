"""
A peer on the small network: a session with its driver, as small as can be.

Owns: carrying out effects, and what an application sees: the path, data, failure.
Knows nothing of: rendezvous; the two stations exchange candidates by L{introduce}.
Driven by: the tests of whole sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.nat import Packet, Protocol
from holepunch.punch import (
    Candidate,
    CandidateType,
    CloseConnection,
    ConnectFailure,
    Credentials,
    DatagramReceived,
    Effect,
    OpenConnection,
    OpenWaitingPort,
    Path,
    PathLost,
    PathSelected,
    PunchSession,
    SayReady,
    SendDatagram,
    SendStream,
    SessionConfig,
    SessionFailed,
    StartStream,
    StreamData,
    TCPFlow,
    TCPType,
    Trace,
    gatheredCandidate,
)
from tests.punch.minitcp import MiniConnection, MiniTCP
from tests.punch.wire import Network, Wire

BOTH = frozenset(Transport)
UDP = frozenset({Transport.UDP})
TCP = frozenset({Transport.TCP})

ALICE = Credentials("alice", "alicealicealicealicealice")
BOB = Credentials("bobb", "bobbobbobbobbobbobbobbobbob")
HELLO = b"\x16\x03\x01hello from the controlling side"
ANSWER = b"\x16\x03\x03answer from the controlled side"


@attrs.define(eq=False, kw_only=True)
class Station:
    """
    One peer.

    @ivar isStrict: Accepted connections get to the session only when their first bytes are a frame
        that names it, as with the real driver.
    @ivar observer: Tells the mapped address of a port on which the station waits.
    @ivar bases: All its ports.
    @ivar heard: Application data that arrived.
    @ivar selections: Each path that was selected, and when.
    """

    wire: Wire
    network: Network
    host: str
    port: int = 5000
    isStrict: bool = True
    preferred: Transport = Transport.TCP
    session: PunchSession = attrs.field(init=False)
    tcp: MiniTCP = attrs.field(init=False)
    effects: list[Effect] = attrs.field(factory=list)
    selections: list[tuple[float, Path]] = attrs.field(factory=list)
    failure: SessionFailed | None = None
    lost: PathLost | None = None
    heard: list[bytes] = attrs.field(factory=list)
    started: set[int] = attrs.field(factory=set)
    bases: set[TransportAddress] = attrs.field(factory=set)
    other: Station | None = None
    observer: Observer | None = None
    signalling: float = 0.05
    isControlling: bool = True
    transports: frozenset[Transport] = BOTH
    mapped: dict[Transport, TransportAddress] = attrs.field(factory=dict)
    _connections: dict[int, MiniConnection] = attrs.field(factory=dict)
    _ids: dict[MiniConnection, int] = attrs.field(factory=dict)
    _armedAt: float | None = None
    _handedOver: int | None = None

    def __attrs_post_init__(self) -> None:
        self.network.hosts[self.host] = self._receive
        self.bases.add(self.base)
        self.tcp = MiniTCP(self.wire, self.network, self._accepted)

    @property
    def base(self) -> TransportAddress:
        """
        The punching port, of UDP and of TCP.
        """
        return TransportAddress(self.host, self.port)

    @property
    def path(self) -> Path | None:
        """
        The last path that was selected.
        """
        return self.selections[-1][1] if self.selections else None

    @property
    def opened(self) -> set[int]:
        """
        Connections that exist, and are not handed over to the application.
        """
        return set(self._connections) - {self._handedOver}

    def start(self, config: SessionConfig) -> None:
        """
        Begin the session.
        """
        self.isControlling = config.isControlling
        self.transports = config.transports
        self.session = PunchSession(config, self.wire.now)
        if Transport.TCP in config.transports:
            self.tcp.listening.add(self.base)
        self.pump()

    def candidates(self, transports: Iterable[Transport]) -> list[Candidate]:
        """
        The host candidates, and the mapped ones that L{gather} found.
        """
        found = []
        for transport in sorted(transports, key=lambda transport: transport.value):
            found.append(
                gatheredCandidate(
                    CandidateType.HOST, transport, self.base, preferredTransport=self.preferred
                )
            )
            mapped = self.mapped.get(transport)
            if mapped is not None and mapped != self.base:
                found.append(
                    gatheredCandidate(
                        CandidateType.SERVER_REFLEXIVE, transport, mapped, base=self.base
                    )
                )
        return found

    # --- carrying out -----------------------------------------------------------------------

    def pump(self) -> None:
        """
        After each input: carry out the effects and arm the timer.
        """
        while effects := self.session.takeEffects():
            self.effects += effects
            for effect in effects:
                self._do(effect)
        self._arm()

    def _arm(self) -> None:
        at = self.session.nextTimeout()
        if at is None or (self._armedAt is not None and self._armedAt <= at):
            return
        self._armedAt = at

        def fire() -> None:
            if self._armedAt == at:
                self._armedAt = None
                due = self.session.nextTimeout()
                if due is not None and due <= self.wire.now:
                    self.session.handleTimeout(self.wire.now)
                    self.pump()
                else:
                    self._arm()

        self.wire.callLater(max(0.0, at - self.wire.now), fire)

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendDatagram():
                self.send(effect.local, effect.remote, effect.data)
            case OpenConnection():
                self._open(effect)
            case SendStream():
                self.tcp.write(self._connections[effect.connection], effect.data)
            case CloseConnection():
                connection = self._connections.pop(effect.connection, None)
                if connection is not None:
                    self._ids.pop(connection, None)
                    self.tcp.close(connection)
            case OpenWaitingPort():
                self._openWaitingPort()
            case StartStream():
                self.started.add(effect.connection)
                self.tcp.write(self._connections[effect.connection], HELLO)
            case StreamData() | DatagramReceived():
                self.hear(effect.data)
            case PathSelected():
                self._selected(effect.path)
            case SayReady():
                other = self.other
                if other is not None:
                    self.wire.callLater(self.signalling, other.remoteReady)
            case SessionFailed():
                self.failure = effect
            case PathLost():
                self.lost = effect
            case Trace():
                pass

    def _openWaitingPort(self) -> None:
        if self.observer is None:
            return
        base = attrs.evolve(self.base, port=self.port + 1)
        self.bases.add(base)
        if Transport.TCP in self.transports:
            self.tcp.listening.add(base)
        for transport in self.transports:
            candidate = gatheredCandidate(
                CandidateType.HOST, transport, base, tcpType=TCPType.PASSIVE
            )
            self.session.addLocalCandidate(attrs.evolve(candidate, isWaiting=True), self.wire.now)
        self.observer.ask(self, base, self._observed)

    def _observed(self, transport: Transport, mapped: TransportAddress) -> None:
        candidate = gatheredCandidate(CandidateType.SERVER_REFLEXIVE, transport, mapped)

        def tell() -> None:
            if self.other is not None and transport in self.transports:
                self.other.session.addRemoteCandidate(candidate, self.wire.now)
                self.other.pump()

        self.wire.callLater(self.signalling, tell)

    def send(self, local: TransportAddress, remote: TransportAddress, data: bytes) -> None:
        """
        Send a datagram.
        """
        self.wire.send(self.network, Packet(Protocol.UDP, local, remote, payload=data))

    def _selected(self, path: Path) -> None:
        self.selections.append((self.wire.now, path))
        self._handedOver = path.connection
        if path.connection is None and self.isControlling:
            self.send(path.local, path.remote, HELLO)

    def hear(self, data: bytes) -> None:
        """
        The application gets data; the controlled side answers.
        """
        self.heard.append(data)
        path = self.path
        if self.session.isControlling or path is None or data != HELLO:
            return
        if path.connection is None:
            self.send(path.local, path.remote, ANSWER)
        else:
            self.tcp.write(self._connections[path.connection], ANSWER)

    def remoteReady(self) -> None:
        """
        The other side said ready.
        """
        self.session.remoteReady(self.wire.now)
        self.pump()

    # --- the network ------------------------------------------------------------------------

    def _receive(self, packet: Packet) -> None:
        if packet.protocol is Protocol.TCP or packet.icmp is not None:
            self.tcp.receive(packet)
        elif packet.destination in self.bases:
            self.session.receiveDatagram(
                packet.destination, packet.source, packet.payload, self.wire.now
            )
            self.pump()

    def _open(self, effect: OpenConnection) -> None:
        connection = self.tcp.connect(
            effect.local,
            effect.remote,
            self._made,
            self._failed,
            self._received,
            self._lost,
            effect.ttl,
        )
        if connection is None:
            self.wire.callLater(
                0.0, lambda: self._report(effect.connection, ConnectFailure.ADDRESS_IN_USE)
            )
            return
        self._connections[effect.connection] = connection
        self._ids[connection] = effect.connection

    def _report(self, connection: int, failure: ConnectFailure) -> None:
        self.session.connectFailed(connection, failure, self.wire.now)
        self.pump()

    def _made(self, connection: MiniConnection) -> None:
        self.session.connectionMade(self._ids[connection], connection.local, self.wire.now)
        self.pump()

    def _failed(self, connection: MiniConnection) -> None:
        id = self._ids.pop(connection)
        del self._connections[id]
        self._report(id, ConnectFailure.REFUSED)

    def _accepted(self, connection: MiniConnection) -> None:
        connection.received = self._receivedFirst
        connection.lost = lambda _: None

    def _receivedFirst(self, connection: MiniConnection, data: bytes) -> None:
        if self.isStrict and len(data) < 20:
            self.tcp.close(connection)
            return
        id = self.session.connectionAccepted(connection.local, connection.remote, self.wire.now)
        self._connections[id] = connection
        self._ids[connection] = id
        connection.received = self._received
        connection.lost = self._lost
        self.pump()
        if id in self._connections:
            self._received(connection, data)

    def _received(self, connection: MiniConnection, data: bytes) -> None:
        id = self._ids[connection]
        if id == self._handedOver:
            self.hear(data)
            return
        self.session.receiveStream(id, data, self.wire.now)
        self.pump()

    def _lost(self, connection: MiniConnection) -> None:
        id = self._ids.pop(connection)
        del self._connections[id]
        if id == self._handedOver:
            self.lost = PathLost("the connection was reset")
            return
        self.session.connectionLost(id, self.wire.now)
        self.pump()


@attrs.define(eq=False)
class Observer:
    """
    The public host that tells a station its mapped addresses, as the assist listener does.
    """

    wire: Wire
    host: str = "198.51.100.1"
    told: dict[str, Callable[[Transport, TransportAddress], None]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.wire.public.hosts[self.host] = self._receive
        self.tcp = MiniTCP(self.wire, self.wire.public, lambda connection: None)
        self.tcp.listening.add(self.address)

    tcp: MiniTCP = attrs.field(init=False)

    @property
    def address(self) -> TransportAddress:
        """
        Where the observer answers.
        """
        return TransportAddress(self.host, 3478)

    def _receive(self, packet: Packet) -> None:
        if packet.protocol is Protocol.UDP:
            self._seen(Transport.UDP, packet.payload, packet.source)
        else:
            self.tcp.receive(packet)
            if isinstance(packet.payload, tuple) and packet.payload[1]:
                self._seen(Transport.TCP, packet.payload[1], packet.source)

    def _seen(self, transport: Transport, name: bytes, source: TransportAddress) -> None:
        self.told[name.decode()](transport, source)

    def ask(
        self,
        station: Station,
        base: TransportAddress,
        mapped: Callable[[Transport, TransportAddress], None],
    ) -> None:
        """
        Let C{station} ask from C{base}, by UDP several times, for an answer may be lost.
        """
        name = str(base)
        self.told[name] = mapped

        def made(connection: MiniConnection) -> None:
            station.tcp.write(connection, name.encode())

        def nothing(*_: object) -> None:
            pass

        for delay in (0.0, 0.5, 1.0, 2.0, 4.0):
            self.wire.callLater(delay, lambda: station.send(base, self.address, name.encode()))
        station.tcp.connect(base, self.address, made, nothing, nothing, nothing)


def gather(observer: Observer, stations: Iterable[Station]) -> None:
    """
    Let the stations learn their mapped addresses, over UDP and over TCP.
    """
    for station in stations:
        station.observer = observer
        observer.ask(station, station.base, station.mapped.__setitem__)
    run(observer.wire, lambda: False, 5.0 + 4 * observer.wire.latency)


def run(wire: Wire, isDone: Callable[[], bool], limit: float = 60.0) -> None:
    """
    Let time go by until C{isDone}, or for C{limit} seconds.
    """
    end = wire.now + limit
    steps = 0
    while not isDone():
        steps += 1
        assert steps < 200_000, "a session never comes to rest"
        at = wire.nextAt()
        if at is None or at > end:
            wire.now = end
            return
        wire.step()


def configs(
    wire: Wire,
    transports: frozenset[Transport] = BOTH,
    flow: TCPFlow = TCPFlow.SIMULTANEOUS,
    **more: object,
) -> tuple[SessionConfig, SessionConfig]:
    """
    The two sides' parameters: the first controls and asked for the session.
    """

    def config(isControlling: bool, local: Credentials, remote: Credentials) -> SessionConfig:
        return SessionConfig(
            isControlling=isControlling,
            isRequester=isControlling,
            localCredentials=local,
            remoteCredentials=remote,
            transports=transports,
            tcpFlow=flow,
            randomBytes=wire.random.randbytes,
            **more,  # type: ignore[arg-type]
        )

    return config(True, ALICE, BOB), config(False, BOB, ALICE)


def introduce(
    alice: Station,
    bob: Station,
    transports: frozenset[Transport] = BOTH,
    skew: float = 0.0,
) -> None:
    """
    Give each side the other's candidates, the second C{skew} seconds later.
    """
    alice.other, bob.other = bob, alice
    wire = alice.wire

    def tell(station: Station, other: Station) -> None:
        for candidate in station.candidates(transports):
            station.session.addLocalCandidate(candidate, wire.now)
        station.session.endOfLocalCandidates(wire.now)
        for candidate in other.candidates(transports):
            station.session.addRemoteCandidate(Candidate.parse(candidate.format()), wire.now)
        station.session.endOfRemoteCandidates(wire.now)
        station.pump()

    tell(alice, bob)
    wire.callLater(skew, lambda: tell(bob, alice))


def isSettled(*stations: Station) -> bool:
    """
    Have all stations a path or a failure?
    """
    return all(station.selections or station.failure for station in stations)
