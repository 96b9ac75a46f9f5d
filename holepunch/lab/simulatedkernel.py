"""
What a simulated host has in place of a kernel: its ports, and who gets which packet.

Owns: binding and port reuse as Linux has them, listeners, demultiplexing, answers of closed ports,
the choice of local addresses and ephemeral ports.
Knows nothing of: Twisted's transports and reactors.
Driven by: packets of the fabric, and L{holepunch.lab.simulatedsocket}.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from twisted.internet.interfaces import IReactorTime

from holepunch.address import Family, TransportAddress
from holepunch.lab.ippacket import RawSegment
from holepunch.lab.refusal import resetFor, unreachableFor
from holepunch.lab.simulatedpathmtu import IP_PMTUDISC_WANT, PathMTUs
from holepunch.lab.simulatedping import Pinger
from holepunch.lab.simulatedsocket import DatagramSocket, SimulatedSocket, StreamSocket
from holepunch.lab.simulatedtcp import TCPConnection
from holepunch.lab.tcpstate import TCPState
from holepunch.nat.fragment import Reassembly
from holepunch.nat.packet import ICMPType, Packet, Protocol, TCPFlag, UnreachableCode

_EPHEMERAL = (32768, 61000)
_WILDCARDS = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}
_LOOPBACKS = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}

# What Linux makes of a "destination unreachable" (RFC 1122 section 4.2.3.9).
_UNREACHABLE: dict[int, int] = {
    UnreachableCode.PORT: errno.ECONNREFUSED,
    UnreachableCode.TOO_BIG: errno.EMSGSIZE,
}
_SYN, _ACK, _RST = int(TCPFlag.SYN), int(TCPFlag.ACK), int(TCPFlag.RST)


class SimulatedKernel:
    """
    The network stack of one host.

    @ivar hosts: The IP addresses of the host's interface.
    @param output: Sends a packet to the network.
    @param interfaceMTU: That of the interface with an address.
    @ivar pinger: Sends and answers echoes.
    @ivar pathMTUs: What is known of the ways to others.
    """

    def __init__(
        self,
        clock: IReactorTime,
        hosts: Sequence[str],
        output: Callable[[Packet], None],
        random: Random,
        interfaceMTU: Callable[[str], int],
    ) -> None:
        self.clock = clock
        self.pathMTUs = PathMTUs(clock.seconds, interfaceMTU, 0)
        self.pinger = Pinger(clock, lambda packet: self.transmitInPieces(packet, IP_PMTUDISC_WANT))
        self._reassembly = Reassembly()
        self.hosts = tuple(hosts)
        self._output = output
        self._random = random
        self._isUp = True
        self._isTransmitting = False
        self._sockets: dict[int, SimulatedSocket] = {}
        self._nextNumber = 3
        self._bound: dict[tuple[Protocol, int], list[SimulatedSocket]] = {}
        self._connections: dict[tuple[TransportAddress, TransportAddress], TCPConnection] = {}
        # How many connections each local port has: they outlive their sockets.
        self._connectionPorts: Counter[int] = Counter()

    def shutDown(self) -> None:
        """
        Stop at once: nothing is sent or received any more, nobody is told.
        """
        self._isUp = False
        for connection in list(self._connections.values()):
            connection.drop()
        self._bound.clear()

    # --- packets ----------------------------------------------------------------------------------

    def transmit(self, packet: Packet) -> None:
        """
        Send a packet; to an address of this host, it never leaves it.
        """
        if not self._isUp:
            return
        if self._isLocal(packet.destination.host):
            self.clock.callLater(0, self._receive, packet)
        elif packet.source.host in self.hosts:
            self._isTransmitting = True
            try:
                self._output(packet)
            finally:
                self._isTransmitting = False

    def transmitInPieces(self, packet: Packet, mode: int) -> None:
        """
        Send a datagram that may be too long.

        @param mode: The socket's C{IP_MTU_DISCOVER}.
        @raise OSError: It is (C{EMSGSIZE}).
        """
        if self._isLocal(packet.destination.host):
            self.transmit(packet)
        else:
            for piece in self.pathMTUs.packets(packet, mode):
                self.transmit(piece)

    def receive(self, packet: Packet) -> None:
        """
        Take a packet from the network.
        """
        if packet.destination.host not in self.hosts:
            return
        if self._isTransmitting:
            # A network without latency answers before the question is out of the house.
            self.clock.callLater(0, self._receive, packet)
        else:
            self._receive(packet)

    def _receive(self, packet: Packet) -> None:
        if not self._isUp:
            return
        if packet.protocol is Protocol.TCP:
            self._receiveSegment(packet)
        elif packet.protocol is Protocol.UDP:
            self._receiveDatagram(packet)
        elif packet.protocol is Protocol.FRAGMENT:
            whole = self._reassembly.add(packet, self.clock.seconds())
            if whole is not None:
                self._receive(whole)
        elif packet.icmp is not None:
            self._receiveError(packet)
        elif packet.protocol is Protocol.ICMP:
            self.pinger.receive(packet)

    def _receiveSegment(self, packet: Packet) -> None:
        connection = self._connections.get((packet.destination, packet.source))
        flags = int(packet.flags) & (_SYN | _ACK | _RST)
        if connection is not None:
            if connection.state is not TCPState.TIME_WAIT or flags != _SYN:
                connection.receive(packet)
                return
            connection.drop()
        listener = self._listener(packet.destination) if flags == _SYN else None
        if listener is None:
            self._answer(resetFor(packet))
        elif listener.hasRoom:
            accepted = self._addConnection(packet.destination, packet.source)
            listener.expect(accepted)
            accepted.accept(packet)

    def _receiveDatagram(self, packet: Packet) -> None:
        socket = self._datagramSocket(packet)
        if socket is None:
            self._answer(unreachableFor(packet, UnreachableCode.PORT))
        else:
            payload = packet.payload
            # One that came in fragments still has its headers.
            if isinstance(payload, RawSegment):
                socket.deliver(payload.content, packet.source, payload.largestFragment)
            else:
                socket.deliver(payload, packet.source)

    def _receiveError(self, packet: Packet) -> None:
        error = packet.icmp
        assert error is not None
        original, number = error.original, errno.EHOSTUNREACH
        if error.type == ICMPType.DESTINATION_UNREACHABLE:
            number = _UNREACHABLE.get(error.code, number)
        isTooBig = number == errno.EMSGSIZE
        if isTooBig:
            self.pathMTUs.learn(original.destination.host, error.mtu)
        if original.protocol is Protocol.TCP:
            connection = self._connections.get((original.source, original.destination))
            if connection is not None and isTooBig:
                connection.receiveTooBig(error.mtu)
            elif connection is not None:
                connection.receiveError(number)
            return
        for socket in self._bound.get((original.protocol, original.source.port), ()):
            if isinstance(socket, DatagramSocket):
                socket.complain(packet, number)

    def _answer(self, packet: Packet | None) -> None:
        if packet is not None:
            self.transmit(packet)

    def _listener(self, local: TransportAddress) -> StreamSocket | None:
        best = None
        for socket in self._bound.get((Protocol.TCP, local.port), ()):
            if isinstance(socket, StreamSocket) and socket.isListening:
                if socket.local.host == local.host:
                    return socket
                if best is None and socket.local.host == _WILDCARDS[local.family]:
                    best = socket
        return best

    def _datagramSocket(self, packet: Packet) -> DatagramSocket | None:
        best, bestScore = None, -1
        local = packet.destination
        for socket in self._bound.get((Protocol.UDP, local.port), ()):
            if not isinstance(socket, DatagramSocket):
                continue
            score = 0
            if socket.local.host == local.host:
                score = 1
            elif socket.local.host != _WILDCARDS[local.family]:
                continue
            if socket.remote is not None:
                if socket.remote != packet.source:
                    continue
                score += 2
            if score > bestScore:
                best, bestScore = socket, score
        return best

    # --- sockets ----------------------------------------------------------------------------------

    def add(self, socket: SimulatedSocket) -> int:
        """
        Enter a new socket.

        @return: Its file descriptor.
        """
        number = self._nextNumber
        self._nextNumber += 1
        self._sockets[number] = socket
        return number

    def socket(self, number: int) -> SimulatedSocket:
        """
        The socket with that file descriptor.
        """
        return self._sockets[number]

    def remove(self, number: int, socket: SimulatedSocket) -> None:
        """
        Forget a closed socket, and its port.
        """
        self._sockets.pop(number, None)
        self.unbind(socket)

    def bind(self, socket: SimulatedSocket, local: TransportAddress) -> TransportAddress:
        """
        Give a socket its local address.

        @raise OSError: Another socket has it and may not share it; or the address is not ours.
        """
        if not (self._isLocal(local.host) or local.host == _WILDCARDS[local.family]):
            raise OSError(errno.EADDRNOTAVAIL, f"{local.host} is not an address of this host")
        if local.port == 0:
            local = TransportAddress(local.host, self._ephemeralPort(socket.protocol))
        users = self._bound.setdefault((socket.protocol, local.port), [])
        for user in users:
            if _overlap(user.local.host, local.host) and not user.sharesPortWith(socket):
                raise OSError(errno.EADDRINUSE, f"{local} is in use")
        users.append(socket)
        return local

    def share(self, socket: SimulatedSocket) -> None:
        """
        Note that an accepted socket has its listener's port.
        """
        self._bound.setdefault((socket.protocol, socket.local.port), []).append(socket)

    def unbind(self, socket: SimulatedSocket) -> None:
        """
        Let a socket's port go.
        """
        key = (socket.protocol, socket.local.port)
        users = self._bound.get(key, [])
        if socket in users:
            users.remove(socket)
            if not users:
                del self._bound[key]

    def checkListen(self, socket: StreamSocket) -> None:
        """
        May this socket begin to listen?

        @raise OSError: Another one listens, and they do not both reuse the port.
        """
        for user in self._bound.get((socket.protocol, socket.local.port), ()):
            if user is socket or not _overlap(user.local.host, socket.local.host):
                continue
            isSame = isinstance(user, StreamSocket) and user.isListening
            if isSame and not (user.reusePort and socket.reusePort):
                raise OSError(errno.EADDRINUSE, f"{socket.local} is in use")

    def route(self, remote: TransportAddress) -> str:
        """
        The local address to talk to C{remote} from.

        @raise OSError: This host has no address of that family.
        """
        if remote.isLoopback:
            return _LOOPBACKS[remote.family]
        if remote.host in self.hosts:
            return remote.host
        for host in self.hosts:
            if TransportAddress(host, 0).family is remote.family:
                return host
        raise OSError(errno.ENETUNREACH, f"no route to {remote.host}")

    def connect(self, local: TransportAddress, remote: TransportAddress) -> TCPConnection:
        """
        Begin a connection.

        @raise OSError: There is such a connection already.
        """
        if (local, remote) in self._connections:
            raise OSError(errno.EADDRNOTAVAIL, f"there is a connection from {local} to {remote}")
        return self._addConnection(local, remote)

    def _addConnection(self, local: TransportAddress, remote: TransportAddress) -> TCPConnection:
        sequence = self._random.randrange(1 << 24, 1 << 31)
        mtu = self.pathMTUs.of(local.host, remote.host)
        connection = TCPConnection(self.clock, self.transmit, local, remote, sequence, mtu)
        connection.onEnd = self._forget
        self._connections[local, remote] = connection
        self._connectionPorts[local.port] += 1
        return connection

    def _forget(self, connection: TCPConnection) -> None:
        key = (connection.local, connection.remote)
        if self._connections.get(key) is connection:
            del self._connections[key]
            self._connectionPorts[connection.local.port] -= 1

    def _ephemeralPort(self, protocol: Protocol) -> int:
        for _ in range(1000):
            port = self._random.randrange(*_EPHEMERAL)
            isBusy = protocol is Protocol.TCP and self._connectionPorts[port]
            if not isBusy and (protocol, port) not in self._bound:
                return port
        raise OSError(errno.EADDRINUSE, "no port is free")

    def _isLocal(self, host: str) -> bool:
        return host in self.hosts or host.startswith("127.") or host == "::1"


def _overlap(one: str, other: str) -> bool:
    if (":" in one) != (":" in other):
        return False
    return one == other or one in _WILDCARDS.values() or other in _WILDCARDS.values()
