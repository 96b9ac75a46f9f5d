"""
Twisted's own transports over simulated sockets.

Owns: nothing but the choice of the socket.
Knows nothing of: the network.
Driven by: L{holepunch.lab.simulatedreactor}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp, udp

from holepunch.lab.simulatedsocket import SO_REUSEPORT, DatagramSocket, StreamSocket


class SimulatedClient(tcp.Client):
    """
    The client's end of a TCP connection.
    """

    def createInternetSocket(self) -> StreamSocket:
        return StreamSocket(self.connector.reactor.kernel, self.addressFamily)


class SimulatedConnector(tcp.Connector):
    """
    An attempt to connect over TCP.
    """

    def _makeTransport(self) -> tcp.Client:
        return SimulatedClient(self.host, self.port, self.bindAddress, self, self.reactor)


class SimulatedTCPPort(tcp.Port):
    """
    A listening TCP port; what it accepts are C{tcp.Server} transports.
    """

    reactor: Any
    # What tcp.Port took out of the port number or binding that it was given.
    _reuseAddress: bool
    _reusePort: bool

    def createInternetSocket(self) -> Any:
        created = StreamSocket(self.reactor.kernel, self.addressFamily)
        created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, self._reuseAddress)
        created.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, self._reusePort)
        return created


class SimulatedUDPPort(udp.Port):
    """
    A UDP port.
    """

    reactor: Any

    def createInternetSocket(self) -> Any:
        return DatagramSocket(self.reactor.kernel, self.addressFamily)
