"""
One UDP socket, shared by all sessions that punch from it.

Owns: the socket; which remote endpoint belongs to which session.
Knows nothing of: what the datagrams mean, but for the first byte (RFC 7983).
Driven by: L{holepunch.peer.localports}.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress
from holepunch.peer.demultiplexer import DatagramSink, Demultiplexer
from holepunch.stun import looksLikeStun


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

    def listen(self, reactor: IReactorUDP, host: str) -> None:
        """
        Bind to C{host} and a free port.

        @raise twisted.internet.error.CannotListenError: The system refused.
        """
        self._port = reactor.listenUDP(0, self, interface=host, maxPacketSize=65535)
        self.base = TransportAddress(host, cast(IPv4Address, self._port.getHost()).port)

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
        # No route, a full buffer, a firewall of our own: the check fails by its time-out.
        with contextlib.suppress(OSError):
            self.transport.write(data, (remote.host, remote.port))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Pass a datagram on to whom it belongs; strangers' are dropped.
        """
        route = self._routes.get(addr[:2])
        if route is not None:
            remote, sinks = route
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
