"""
Plain sockets in the hosts of a kernel lab, for tests.

Owns: waiting on them under the reactor; the lab of one test case.
Knows nothing of: hole punching.
Driven by: the tests of the namespace back end.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from holepunch.address import Family, TransportAddress
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import LinkSpec, Topology

reactor: Any = installedReactor
PATIENCE = 5.0
#: How long to wait for a packet that must not come.
SILENCE = 0.15
QUICK = LinkSpec(latency=0.002)
SERVER = TransportAddress("5.1.0.1", 3478)
SERVER_HOST_2 = "5.2.0.1"


@implementer(IReadWriteDescriptor)
class _Watch:
    """
    Waits until a socket can be read or written.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.happened: Deferred[None] = Deferred(lambda _: self._leave())
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "test"

    def doRead(self) -> None:
        self._leave()
        self.happened.callback(None)

    doWrite = doRead

    def connectionLost(self, reason: object) -> None:
        # The reactor's view of a socket with an error.
        self.doRead()

    def _leave(self) -> None:
        reactor.removeReader(self)
        reactor.removeWriter(self)


async def readable(sock: socket.socket, patience: float = PATIENCE) -> None:
    """
    Wait until something can be read.
    """
    watch = _Watch(sock)
    reactor.addReader(watch)
    await watch.happened.addTimeout(patience, reactor)


async def received(sock: socket.socket) -> tuple[bytes, TransportAddress]:
    """
    The next datagram, and who sent it.
    """
    await readable(sock)
    data, source = sock.recvfrom(2000)
    return data, TransportAddress(*source[:2])


async def connected(sock: socket.socket, remote: TransportAddress) -> int:
    """
    Connect.

    @return: The error number; 0: connected.
    """
    sock.connect_ex((remote.host, remote.port))
    watch = _Watch(sock)
    reactor.addWriter(watch)
    await watch.happened.addTimeout(PATIENCE, reactor)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


async def accepted(sock: socket.socket) -> tuple[socket.socket, TransportAddress]:
    """
    The next connection, and who made it.
    """
    await readable(sock)
    connection, source = sock.accept()
    connection.setblocking(False)
    return connection, TransportAddress(*source)


async def until(claim: Callable[[], bool]) -> None:
    """
    Wait until a claim about the machine is true, and not for long.
    """
    deadline = reactor.seconds() + PATIENCE
    while not claim():
        if reactor.seconds() > deadline:
            raise AssertionError("it never happened")
        pause: Deferred[None] = Deferred()
        reactor.callLater(0.02, pause.callback, None)
        await pause


def isRunning(process: int) -> bool:
    """
    Is that process alive?
    """
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class LabTestCase(TestCase):
    """
    Tests that need a lab; they fail where there can be none.
    """

    timeout = 60
    lab: NamespaceLab

    async def start(self, topology: Topology | str, **options: Any) -> None:
        """
        Build the lab, and have it torn down after the test.
        """
        if isinstance(topology, str):
            topology = Topology.parse(topology, QUICK)
        self.lab = NamespaceLab(reactor, topology, **options)
        self.addCleanup(self.lab.stop)
        await self.lab.start()

    async def bound(
        self,
        host: str,
        kind: socket.SocketKind = socket.SOCK_DGRAM,
        local: TransportAddress | int = 0,
    ) -> socket.socket:
        """
        Make a bound socket in a host.

        @param local: The address, or a port on all addresses.
        """
        isIPv6 = isinstance(local, TransportAddress) and local.family is Family.IPV6
        family = socket.AF_INET6 if isIPv6 else socket.AF_INET
        sock = await self.lab.makeSocket(host, kind, family)
        self.addCleanup(sock.close)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("", local) if isinstance(local, int) else (local.host, local.port))
        return sock

    async def listening(self, host: str, local: TransportAddress | int) -> socket.socket:
        """
        Make a listening socket in a host.
        """
        sock = await self.bound(host, socket.SOCK_STREAM, local)
        sock.listen()
        return sock

    async def mapped(self, host: str, port: int) -> TransportAddress:
        """
        The address with which a datagram from a port of a host arrives at the rendezvous host.
        """
        server = await self.bound("rendezvous", local=SERVER)
        sock = await self.bound(host, local=port)
        with server, sock:
            sock.sendto(b"hello", (SERVER.host, SERVER.port))
            _, source = await received(server)
        return source

    async def hears(self, sock: socket.socket) -> bool:
        """
        Does a datagram arrive, or silence?
        """
        try:
            await readable(sock, SILENCE)
        except TimeoutError:
            return False
        return True
