"""
Tests for L{holepunch.lab.simulatedsocket}, held against the sockets of this machine.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from holepunch.lab import SimulatedInternet, Topology
from holepunch.lab.simulatedsocket import SO_REUSEPORT, DatagramSocket, StreamSocket

_FLAGS = tuple(product((False, True), (False, True)))


def _simulated() -> Callable[[int], Any]:
    kernel = SimulatedInternet(Topology.parse("none/none")).host("alice").reactor.kernel
    kinds = {socket.SOCK_STREAM: StreamSocket, socket.SOCK_DGRAM: DatagramSocket}
    return lambda kind: kinds[socket.SocketKind(kind)](kernel, socket.AF_INET)


def _outcome(function: Callable[..., object], *arguments: object) -> str:
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def _bindTwice(
    make: Callable[[int], Any],
    kind: int,
    port: int,
    flags: tuple[tuple[bool, bool], tuple[bool, bool]],
    listening: tuple[bool, bool],
    hosts: tuple[str, str],
) -> list[str]:
    """
    What becomes of two sockets that want one port.
    """
    outcomes = []
    made = []
    for (reuseAddress, reusePort), listens, host in zip(flags, listening, hosts, strict=True):
        created = make(kind)
        made.append(created)
        created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseAddress)
        created.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, reusePort)
        outcomes.append(_outcome(created.bind, (host, port)))
        if listens and outcomes[-1] == "done":
            outcomes.append(_outcome(created.listen, 5))
    for each in made:
        each.close()
    return outcomes


def _freePort(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BindingTests(SynchronousTestCase):
    """
    Tests for two sockets and one port.
    """

    if sys.platform != "linux":
        skip = "the simulated sockets are modelled on those of Linux"

    def assertSame(self, kind: int, listens: tuple[bool, ...]) -> None:
        """
        Assert that the machine's sockets and ours do the same in every combination.
        """
        port = _freePort(kind)
        hosts = product(("", "127.0.0.1"), ("", "127.0.0.1", "127.0.0.2"))
        for case in product(product(_FLAGS, _FLAGS), product(listens, listens), hosts):
            real = _bindTwice(socket_, kind, port, *case)
            self.assertEqual(_bindTwice(_simulated(), kind, port, *case), real, str(case))

    def test_tcp(self) -> None:
        """
        Whether a TCP port can be shared depends on the options and on who listens, as on Linux.
        """
        self.assertSame(socket.SOCK_STREAM, (False, True))

    def test_udp(self) -> None:
        """
        Whether a UDP port can be shared depends on the options, as on Linux.
        """
        self.assertSame(socket.SOCK_DGRAM, (False,))


class StreamTests(SynchronousTestCase):
    """
    Tests for what a program does with a TCP socket against all advice.
    """

    def test_misuse(self) -> None:
        """
        What makes no sense fails with the C{errno} that Linux has for it.
        """
        make = _simulated()
        created = make(socket.SOCK_STREAM)
        self.assertEqual(_outcome(created.recv, 1), "ENOTCONN")
        self.assertEqual(_outcome(created.shutdown, socket.SHUT_RDWR), "ENOTCONN")
        self.assertEqual(_outcome(created.accept), "EAGAIN")
        created.listen(1)
        self.assertNotEqual(created.getsockname()[1], 0)
        self.assertEqual(_outcome(created.bind, ("", 5)), "EINVAL")
        self.assertEqual(created.connect_ex(("127.0.0.1", 1)), errno.EISCONN)
        other = make(socket.SOCK_STREAM)
        self.assertEqual(other.connect_ex(("2001:db8::1", 5)), errno.EAFNOSUPPORT)
        datagrams = make(socket.SOCK_DGRAM)
        self.assertEqual(_outcome(datagrams.send, b"x"), "EDESTADDRREQ")
        self.assertEqual(_outcome(datagrams.recvfrom, 1), "EAGAIN")

    def test_close(self) -> None:
        """
        A closed socket has no descriptor and no port, and may be closed again.
        """
        make = _simulated()
        created = make(socket.SOCK_STREAM)
        created.bind(("", 5000))
        created.close()
        created.close()
        self.assertEqual(created.fileno(), -1)
        make(socket.SOCK_STREAM).bind(("", 5000))


def socket_(kind: int) -> socket.socket:
    """
    A socket of this machine.
    """
    return socket.socket(socket.AF_INET, kind)
