"""
One UDP socket, shared by all sessions that punch from it.

Owns: the socket; which remote endpoint belongs to which session.
Knows nothing of: what the datagrams mean, but for the first byte (RFC 7983).
Driven by: L{holepunch.peer.localports}.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress
from holepunch.peer.demultiplexer import DatagramSink, Demultiplexer
from holepunch.stun import looksLikeStun

# A window of QUIC in one burst; the system may allow less.
_BUFFER = 1 << 22


class DatagramPort(DatagramProtocol):
    """
    A UDP socket bound to one address of this machine.

    @ivar base: The local endpoint: the base of its candidates (RFC 8445 section 4).
    """

    noisy = False
    transport: IUDPTransport

    def __init__(self, demultiplexer: Demultiplexer) -> None:
        self._demultiplexer = demultiplexer
        # Keyed by what the socket reports, so that the way of a datagram makes no new objects.
        self._routes: dict[tuple[str, int], tuple[TransportAddress, list[DatagramSink]]] = {}

    def listen(self, reactor: IReactorUDP, host: str, number: int = 0) -> None:
        """
        Bind to C{host} and a port.

        @param number: The port; 0 for a free one.

        @raise twisted.internet.error.CannotListenError: The system refused.
        """
        self._port = reactor.listenUDP(number, self, interface=host, maxPacketSize=65535)
        self.base = TransportAddress(host, cast(IPv4Address, self._port.getHost()).port)
        self._sendTo: Callable[[bytes, tuple[str, int]], object] = self.transport.write
        handle = getattr(self._port, "getHandle", lambda: None)()
        if isinstance(handle, socket.socket):
            # The transport's own method looks at the address anew for each datagram.
            self._sendTo = handle.sendto
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                with contextlib.suppress(OSError):
                    handle.setsockopt(socket.SOL_SOCKET, option, _BUFFER)

    def close(self) -> None:
        """
        Close the socket.
        """
        self._routes.clear()
        self._port.stopListening()

    def addRoute(self, remote: TransportAddress, sink: DatagramSink) -> None:
        """
        From now on, give C{sink} what comes from C{remote}.
        """
        _, sinks = self._routes.setdefault((remote.host, remote.port), (remote, []))
        if sink not in sinks:
            sinks.append(sink)

    def removeRoutes(self, sink: DatagramSink) -> None:
        """
        C{sink} takes nothing more.
        """
        for key, (_, sinks) in list(self._routes.items()):
            if sink in sinks:
                sinks.remove(sink)
                if not sinks:
                    del self._routes[key]

    def send(self, remote: TransportAddress, data: bytes) -> None:
        """
        Send one datagram; where the system refuses, it is as lost as any other.
        """
        try:
            self._sendTo(data, (remote.host, remote.port))
        except OSError:
            # No route, a full buffer, a firewall of our own: the check fails by its time-out.
            return

    def sendMany(self, remote: TransportAddress, datagrams: Iterable[bytes]) -> None:
        """
        Send several datagrams, each as L{send} does.
        """
        sendTo, address = self._sendTo, (remote.host, remote.port)
        for data in datagrams:
            with contextlib.suppress(OSError):
                sendTo(data, address)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Pass a datagram on to whom it belongs; strangers' are dropped.
        """
        route = self._routes.get(addr[:2])
        if route is not None:
            remote, sinks = route
            if len(sinks) == 1:
                sinks[0].datagramReceived(self.base, remote, datagram)
            else:
                for sink in tuple(sinks):
                    sink.datagramReceived(self.base, remote, datagram)
            return
        if not looksLikeStun(datagram):
            return
        # A peer-reflexive endpoint shows itself first by a check.
        session = self._demultiplexer.sessionFor(datagram)
        if session is not None:
            try:
                remote = TransportAddress(addr[0], addr[1])
            except BadAddress:
                return
            session.datagramReceived(self.base, remote, datagram)

    def connectionRefused(self) -> None:
        """
        The system reports an ICMP error; it may be forged, so only time-outs count (RFC 8445
        section 7.2.5.2.2 allows that).
        """
