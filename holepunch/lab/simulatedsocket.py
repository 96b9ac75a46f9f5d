"""
The sockets of a simulated host: as much of the interface of C{socket.socket} as Twisted uses.

Owns: what a program can do with a socket, and with which C{errno} it fails.
Knows nothing of: packets and other sockets, beyond what the kernel tells it.
Driven by: Twisted's own transports, and L{holepunch.lab.simulatedkernel}.

UDP sockets honour C{IP_MTU_DISCOVER} and C{IPV6_MTU_DISCOVER}, as L{holepunch.lab.simulatedpathmtu}
has it; C{IP_TTL}, C{IP_RECVERR} and C{IP_RECVFRAGSIZE}, and their counterparts for IPv6, as
L{holepunch.lab.simulatederrors} has it. All sockets are non-blocking. The methods that have the
names of C{socket.socket} behave like those.
"""

from __future__ import annotations

import abc
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from holepunch.address import Family, TransportAddress
from holepunch.lab.simulatederrors import (
    DEFAULT_TTL,
    ERROR_OPTIONS,
    FRAGMENT_SIZE_OPTIONS,
    MSG_ERRQUEUE,
    TTL_OPTIONS,
    Control,
    ErrorQueue,
    control,
)
from holepunch.lab.simulatedpathmtu import (
    DISCOVER_OPTIONS,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_WANT,
    MTU_OPTIONS,
)
from holepunch.lab.simulatedtcp import TCPConnection
from holepunch.lab.tcpstate import TCPState
from holepunch.nat.packet import Packet, Protocol

if TYPE_CHECKING:
    from holepunch.lab.simulatedkernel import SimulatedKernel

# Bytes of datagrams that may wait to be read, and of one datagram.
_DATAGRAM_BUFFER = 208 * 1024
_LONGEST_DATAGRAM = 65507

# Not every platform has it; the simulated network does.
SO_REUSEPORT = getattr(socket, "SO_REUSEPORT", 15)

_FAMILIES = {socket.AF_INET: Family.IPV4, socket.AF_INET6: Family.IPV6}
_WILDCARDS = {Family.IPV4: TransportAddress("0.0.0.0", 0), Family.IPV6: TransportAddress("::", 0)}

_address = lru_cache(maxsize=65536)(TransportAddress)


class SimulatedSocket(abc.ABC):
    """
    What sockets of both kinds have in common.

    @ivar local: Its local address; port 0: not bound.
    @ivar onReady: Called with the socket when it may have become readable or writable.
    """

    protocol: Protocol

    def __init__(self, kernel: SimulatedKernel, family: int) -> None:
        self.family = family
        self.local = _WILDCARDS[_FAMILIES[socket.AddressFamily(family)]]
        self.reuseAddress = False
        self.reusePort = False
        self.onReady: Callable[[SimulatedSocket], object] = _ignore
        self._kernel = kernel
        self._options: dict[tuple[int, int], Any] = {}
        self._number = kernel.add(self)

    @property
    @abc.abstractmethod
    def isReadable(self) -> bool:
        """
        Would a read return at once?
        """

    @property
    @abc.abstractmethod
    def isWritable(self) -> bool:
        """
        Would a write return at once?
        """

    def sharesPortWith(self, other: SimulatedSocket) -> bool:
        """
        May C{other} bind to the address that this socket has?
        """
        return (self.reuseAddress and other.reuseAddress) or (self.reusePort and other.reusePort)

    def fileno(self) -> int:
        return self._number

    def setblocking(self, isBlocking: bool) -> None:
        assert not isBlocking, "simulated sockets do not block"

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_REUSEADDR):
            self.reuseAddress = bool(value)
        elif (level, option) == (socket.SOL_SOCKET, SO_REUSEPORT):
            self.reusePort = bool(value)
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> Any:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self._takeError()
        return self._options.get((level, option), 0)

    def bind(self, address: tuple[Any, ...]) -> None:
        if self.local.port:
            raise OSError(errno.EINVAL, "the socket is bound already")
        self._bind(_address(address[0] or self.local.host, address[1]))

    def getsockname(self) -> tuple[Any, ...]:
        return _tuple(self.local)

    def close(self) -> None:
        if self._number != -1:
            self._kernel.remove(self._number, self)
            self._number = -1
            self.onReady = _ignore

    def _bind(self, local: TransportAddress) -> None:
        self.local = self._kernel.bind(self, local)

    @abc.abstractmethod
    def _takeError(self) -> int:
        """
        What went wrong last: an error number, or 0.
        """

    def _checkFamily(self, remote: TransportAddress) -> None:
        if remote.family is not self.local.family:
            raise OSError(errno.EAFNOSUPPORT, f"{remote} is of another address family")


class StreamSocket(SimulatedSocket):
    """
    A TCP socket.
    """

    protocol = Protocol.TCP

    def __init__(self, kernel: SimulatedKernel, family: int) -> None:
        super().__init__(kernel, family)
        self.isListening = False
        self._connection: TCPConnection | None = None
        self._backlog = 0
        self._opening: list[TCPConnection] = []
        self._accepted: deque[TCPConnection] = deque()

    @property
    def isReadable(self) -> bool:
        if self._connection is not None:
            return self._connection.isReadable
        return bool(self._accepted)

    @property
    def isWritable(self) -> bool:
        return self._connection is not None and self._connection.isWritable

    def sharesPortWith(self, other: SimulatedSocket) -> bool:
        if self.reusePort and other.reusePort:
            return True
        return self.reuseAddress and other.reuseAddress and not self.isListening

    # --- listening --------------------------------------------------------------------------------

    def listen(self, backlog: int) -> None:
        if not self.local.port:
            self._bind(self.local)
        self._kernel.checkListen(self)
        self.isListening = True
        self._backlog = backlog

    @property
    def hasRoom(self) -> bool:
        """
        May the listener take one more connection?
        """
        self._opening = [each for each in self._opening if each.isOpening]
        return len(self._opening) + len(self._accepted) <= self._backlog

    def expect(self, connection: TCPConnection) -> None:
        """
        A connection is being opened to this listener.
        """
        self._opening.append(connection)
        connection.onChange = self._opened

    def accept(self) -> tuple[StreamSocket, tuple[Any, ...]]:
        if not self._accepted:
            raise BlockingIOError(errno.EWOULDBLOCK, "no connection to accept")
        accepted = StreamSocket(self._kernel, self.family)
        accepted.reuseAddress, accepted.reusePort = self.reuseAddress, self.reusePort
        connection = accepted._connection = self._accepted.popleft()
        connection.onChange = accepted._changed
        accepted.local = connection.local
        self._kernel.share(accepted)
        return accepted, _tuple(connection.remote)

    def _opened(self, connection: TCPConnection) -> None:
        if connection in self._opening and not connection.isOpening:
            self._opening.remove(connection)
            if connection.state is not TCPState.CLOSED:
                self._accepted.append(connection)
                self.onReady(self)

    # --- connecting -------------------------------------------------------------------------------

    def connect_ex(self, address: tuple[Any, ...]) -> int:
        if self._connection is not None:
            if self._connection.isOpening:
                return errno.EALREADY
            return self._connection.error or errno.EISCONN
        if self.isListening:
            return errno.EISCONN
        try:
            self._connect(_address(address[0], address[1]))
        except OSError as error:
            return error.errno or errno.EINVAL
        return errno.EINPROGRESS

    def getpeername(self) -> tuple[Any, ...]:
        return _tuple(self._connected().remote)

    def send(self, data: bytes) -> int:
        return self._connected().write(data)

    def recv(self, size: int) -> bytes:
        return self._connected().read(size)

    def shutdown(self, how: int) -> None:
        connection = self._connected()
        if how != socket.SHUT_RD:
            connection.shutDownWriting()

    def close(self) -> None:
        if self._connection is not None:
            linger = self._options.get((socket.SOL_SOCKET, socket.SO_LINGER))
            self._connection.close(isAbrupt=linger == struct.pack("ii", 1, 0))
        for connection in (*self._opening, *self._accepted):
            connection.close(isAbrupt=True)
        self._opening.clear()
        self._accepted.clear()
        super().close()

    def _connect(self, remote: TransportAddress) -> None:
        self._checkFamily(remote)
        host = self.local.host
        if host == _WILDCARDS[self.local.family].host:
            host = self._kernel.route(remote)
        if not self.local.port:
            self._bind(self.local)
        local = _address(host, self.local.port)
        connection = self._connection = self._kernel.connect(local, remote)
        self.local = local
        connection.onChange = self._changed
        connection.connect()

    def _connected(self) -> TCPConnection:
        if self._connection is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return self._connection

    def _takeError(self) -> int:
        if self._connection is None:
            return 0
        number, self._connection.error = self._connection.error, 0
        return number

    def _changed(self, connection: TCPConnection) -> None:
        self.onReady(self)


class DatagramSocket(SimulatedSocket):
    """
    A UDP socket.

    @ivar remote: The address that it is connected to, if any.
    """

    protocol = Protocol.UDP

    def __init__(self, kernel: SimulatedKernel, family: int) -> None:
        super().__init__(kernel, family)
        self.remote: TransportAddress | None = None
        self._received: deque[tuple[bytes, TransportAddress, int]] = deque()
        self._waiting = 0
        self._error = 0
        self._ttl = DEFAULT_TTL
        self._errors: ErrorQueue | None = None
        self._discovery = IP_PMTUDISC_WANT

    @property
    def isReadable(self) -> bool:
        return bool(self._received or self._error)

    @property
    def isWritable(self) -> bool:
        return True

    @property
    def hearsOfMTU(self) -> bool:
        """
        Is a program told when what it sent is too long for the way?
        """
        return self.remote is not None and self._discovery != IP_PMTUDISC_DONT

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        super().setsockopt(level, option, value)
        if (level, option) in DISCOVER_OPTIONS:
            self._discovery = int(value)
        elif (level, option) in TTL_OPTIONS:
            self._ttl = DEFAULT_TTL if value == -1 else int(value)
        elif (level, option) in ERROR_OPTIONS:
            self._errors = ErrorQueue() if value else None

    def getsockopt(self, level: int, option: int) -> Any:
        if (level, option) in DISCOVER_OPTIONS:
            return self._discovery
        if (level, option) in MTU_OPTIONS:
            if self.remote is None:
                raise OSError(errno.ENOTCONN, "the socket is not connected")
            return self._kernel.pathMTUs.of(self._localFor(self.remote).host, self.remote.host)
        return super().getsockopt(level, option)

    def deliver(self, data: bytes, remote: TransportAddress, largestFragment: int = 0) -> None:
        """
        Take a datagram from the network; there is a limit to how many wait to be read.

        @param largestFragment: The bytes of its longest fragment; 0: it came whole.
        """
        if self._waiting + len(data) <= _DATAGRAM_BUFFER:
            self._waiting += len(data)
            self._received.append((data, remote, largestFragment))
            self.onReady(self)

    def complain(self, packet: Packet, number: int) -> None:
        """
        Take an ICMP error for what was sent, of which the system makes an error number.
        """
        if self._errors is not None:
            self._errors.add(packet, number)
            return
        error = packet.icmp
        isOurs = error is not None and error.original.destination == self.remote
        if isOurs and (self.hearsOfMTU or number != errno.EMSGSIZE):
            self._error = number
            self.onReady(self)

    def connect(self, address: tuple[Any, ...]) -> None:
        remote = _address(address[0], address[1])
        self._checkFamily(remote)
        self._kernel.route(remote)
        self.remote = remote

    def send(self, data: bytes) -> int:
        if self.remote is None:
            raise OSError(errno.EDESTADDRREQ, "the socket is not connected")
        self._raiseError()
        return self._send(data, self.remote)

    def sendto(self, data: bytes, address: tuple[Any, ...]) -> int:
        return self._send(data, _address(address[0], address[1]))

    def recvfrom(self, size: int) -> tuple[bytes, tuple[Any, ...]]:
        if not self._received:
            self._raiseError()
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing to read")
        data, remote, _ = self._received.popleft()
        self._waiting -= len(data)
        return data[:size], _tuple(remote)

    def recvmsg(
        self, size: int, controlSize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Control], int, tuple[Any, ...]]:
        if flags & MSG_ERRQUEUE:
            data, controls, remote = (self._errors or ErrorQueue()).take()
            return data[:size], controls if controlSize else [], flags, _tuple(remote)
        largest = self._received[0][2] if self._received else 0
        data, address = self.recvfrom(size)
        controls = []
        if largest and controlSize and self._wants(FRAGMENT_SIZE_OPTIONS):
            largestBytes = struct.pack("=i", largest)
            controls = [control(FRAGMENT_SIZE_OPTIONS, self.local.family, largestBytes)]
        return data, controls, 0, address

    def _wants(self, options: tuple[tuple[int, int], ...]) -> bool:
        return any(self._options.get(option) for option in options)

    def _send(self, data: bytes, remote: TransportAddress) -> int:
        if len(data) > _LONGEST_DATAGRAM:
            raise OSError(errno.EMSGSIZE, "the datagram is too long")
        self._checkFamily(remote)
        if not self.local.port:
            self._bind(self.local)
        packet = Packet(
            Protocol.UDP, self._localFor(remote), remote, payload=bytes(data), ttl=self._ttl
        )
        if len(data) > self._kernel.pathMTUs.surelyFits or self._discovery != IP_PMTUDISC_WANT:
            self._kernel.transmitInPieces(packet, self._discovery)
        else:
            self._kernel.transmit(packet)
        return len(data)

    def _localFor(self, remote: TransportAddress) -> TransportAddress:
        local = self.local
        if local.host == _WILDCARDS[local.family].host:
            return _address(self._kernel.route(remote), local.port)
        return local

    def _raiseError(self) -> None:
        number = self._takeError()
        if number:
            raise OSError(number, "the other side refused")

    def _takeError(self) -> int:
        number, self._error = self._error, 0
        return number


def _tuple(address: TransportAddress) -> tuple[Any, ...]:
    if address.family is Family.IPV6:
        return (address.host, address.port, 0, 0)
    return (address.host, address.port)


def _ignore(socket: SimulatedSocket) -> None:
    """
    Nobody is interested.
    """
