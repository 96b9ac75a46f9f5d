"""
The local ports of a session: one TCP port and one UDP port, listened on and connected from.

Owns: opening the sockets for each address family, counting their users, closing them after the
last one.
Knows nothing of: checks and sessions.
Driven by: L{holepunch.peer.registration} (the warm ports, from which the main connection is made)
and L{holepunch.peer.peer} (fresh ports where the warm ones are in use towards the same peer).
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from holepunch.address import Family, Transport, TransportAddress
from holepunch.errors import NoLocalPort
from holepunch.peer.datagramport import DatagramPort
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.streamport import StreamPort


class LocalPorts:
    """
    The sockets of one or more sessions.

    Whoever uses them calls L{retain} first and L{release} last.
    """

    _log = Logger()

    def __init__(self, demultiplexer: Demultiplexer) -> None:
        self._demultiplexer = demultiplexer
        self._streamPorts: dict[Family, StreamPort] = {}
        self._datagramPorts: dict[TransportAddress, DatagramPort] = {}
        self._hosts: tuple[str, ...] = ()
        self._users = 0

    @classmethod
    def open(
        cls,
        reactor: PeerReactor,
        hosts: Sequence[str],
        demultiplexer: Demultiplexer,
        number: int = 0,
    ) -> LocalPorts:
        """
        Open ports for the addresses of this machine.

        A family or an address that the system refuses is left out.

        @param hosts: IP literals; sorted by preference.
        @param number: The port, over TCP and UDP; 0 for free ones.
        @raise NoLocalPort: Nothing could be opened at all.
        """
        ports = cls(demultiplexer)
        refusals: list[str] = []
        for host in hosts:
            family = TransportAddress(host, 0).family
            try:
                if family not in ports._streamPorts:
                    streamPort = StreamPort(reactor, demultiplexer)
                    streamPort.listen(family, number)
                    ports._streamPorts[family] = streamPort
                datagramPort = DatagramPort(demultiplexer)
                datagramPort.listen(reactor, host, number)
            except CannotListenError as error:
                refusals.append(f"{host}: {error.socketError}")
                cls._log.debug("cannot use {host}: {error}", host=host, error=error)
                continue
            ports._datagramPorts[datagramPort.base] = datagramPort
            ports._hosts += (host,)
        if not ports._hosts:
            ports._close()
            detail = f" ({'; '.join(refusals)})" if refusals else ""
            raise NoLocalPort(f"no local port could be opened{detail}: is there a network?")
        return ports

    def retain(self) -> LocalPorts:
        """
        Count one more user.
        """
        self._users += 1
        return self

    def release(self) -> None:
        """
        Count one user less; after the last one the sockets are closed.
        """
        self._users -= 1
        if self._users == 0:
            self._close()

    def _close(self) -> None:
        for streamPort in self._streamPorts.values():
            streamPort.close()
        for datagramPort in self._datagramPorts.values():
            datagramPort.close()

    @property
    def hosts(self) -> tuple[str, ...]:
        """
        The addresses of this machine that are used.
        """
        return self._hosts

    def bases(self, transport: Transport) -> tuple[TransportAddress, ...]:
        """
        The local endpoints, one for each address of this machine.
        """
        if transport is Transport.UDP:
            return tuple(self._datagramPorts)
        return tuple(
            TransportAddress(host, self._streamPorts[family].port)
            for host in self._hosts
            if (family := TransportAddress(host, 0).family) in self._streamPorts
        )

    def datagramPort(self, base: TransportAddress) -> DatagramPort:
        """
        The UDP socket of a local endpoint.
        """
        return self._datagramPorts[base]

    def datagramPorts(self) -> tuple[DatagramPort, ...]:
        """
        All UDP sockets.
        """
        return tuple(self._datagramPorts.values())

    def streamPort(self, family: Family) -> StreamPort | None:
        """
        The punching port of an address family; C{None} where this machine lacks the family.
        """
        return self._streamPorts.get(family)
