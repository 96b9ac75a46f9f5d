"""
Tests for L{holepunch.peer.discoverypath} and L{holepunch.peer.discoverysocket}: complaints about
packets, and what else may come.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from holepunch.peer.discoverypath import PathProber
from holepunch.peer.discoverysocket import systemSocket
from holepunch.stun import Attribute, AttributeType, Message, decode

SERVER = TransportAddress("198.51.100.7", 3478)
ROUTER = TransportAddress("10.0.0.1", 0)
_LEVELS = {4: (socket.IPPROTO_IP, 11, 25, 2), 6: (socket.IPPROTO_IPV6, 25, 77, 3)}
_QUEUE = 0x2000


class FakeSocket:
    """
    A socket of which a test decides what it hears.

    @ivar sent: Datagrams, with the options that they left with.
    @ivar refuses: With which error it refuses to send.
    """

    def __init__(self, version: int = 4) -> None:
        self.version = version
        self.sent: list[tuple[bytes, dict[tuple[int, int], int]]] = []
        self.refuses = 0
        self.received: deque[Any] = deque()
        self.complaints: deque[Any] = deque()
        self.isClosed = False
        self._options: dict[tuple[int, int], int] = {}

    def setblocking(self, isBlocking: bool) -> None:
        assert not isBlocking

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self._options[level, option] = value

    def bind(self, address: tuple[str, int]) -> None:
        self.address = (address[0], 40000)

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        if self.refuses:
            raise OSError(self.refuses, "refused")
        self.sent.append((data, dict(self._options)))

    def recvmsg(self, size: int, room: int, flags: int = 0) -> Any:
        waiting = self.complaints if flags & _QUEUE else self.received
        if not waiting:
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing")
        return waiting.popleft()

    def close(self) -> None:
        self.isClosed = True

    def complain(
        self, data: bytes, number: int, type: int, code: int = 0, info: int = 0, origin: int = 0
    ) -> None:
        """
        Let a router say something of a packet to the server.
        """
        level, option, _, usual = _LEVELS[self.version]
        head = struct.pack("=IBBBBII", number, origin or usual, type, code, 0, info, 0)
        if self.version == 4:
            name = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton("10.0.0.1"))
        else:
            packed = socket.inet_pton(socket.AF_INET6, "fd00::1")
            name = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, packed, 0)
        address = (SERVER.host, SERVER.port) if self.version == 4 else ("2001:db8::7", 3478)
        self.complaints.append((data, [(level, option, head + name)], _QUEUE, address))

    def answer(self, request: bytes, largest: int = 0) -> None:
        """
        Let the server answer.
        """
        mapped = Attribute(AttributeType.XOR_MAPPED_ADDRESS, TransportAddress("192.0.2.1", 7))
        data = Message.success(decode(request), [mapped]).encode(fingerprint=False)
        level, _, option, _ = _LEVELS[self.version]
        extra = [(level, option, struct.pack("=i", largest))] if largest else []
        self.received.append((data, extra, 0, (SERVER.host, SERVER.port)))


class ProberTestCase(SynchronousTestCase):
    """
    A prober with one socket.
    """

    host = "192.168.1.10"
    version = 4
    server = SERVER

    def setUp(self) -> None:
        self.clock = Clock()
        self.socket = FakeSocket(self.version)
        numbers = iter(range(1, 100))
        self.prober = PathProber(
            self.clock,
            self.host,
            lambda family: self.socket,
            lambda size: bytes([next(numbers)] * size),
        )

    def tearDown(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.prober.close()))
        self.assertTrue(self.socket.isClosed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def probe(self, **values: Any) -> Deferred[Outcome]:
        return self.prober.send(Probe(socket=1, destination=self.server, **values))

    def outcome(self, asking: Deferred[Outcome]) -> Outcome:
        self.clock.advance(0.02)
        return self.successResultOf(asking)


class PathProberTests(ProberTestCase):
    """
    L{PathProber}.
    """

    def test_answer(self) -> None:
        """
        An answer is told with its size and its fragments.
        """
        asking = self.probe(size=1200, mayFragment=False)
        data, options = self.socket.sent[0]
        self.assertEqual((len(data), options[0, 10], options[0, 2]), (1172, 3, -1))
        self.socket.answer(data, largest=1396)
        outcome = self.outcome(asking)
        self.assertEqual((outcome.fate, outcome.source), (Fate.ANSWERED, SERVER))
        self.assertEqual((outcome.size, outcome.fragmentSize), (60, 1396))
        self.assertEqual(outcome.mapped, TransportAddress("192.0.2.1", 7))

    def test_silence(self) -> None:
        """
        What is not answered is sent three times, and given up after one and a half seconds.
        """
        asking = self.probe()
        self.clock.pump([0.1] * 16)
        self.assertEqual(self.successResultOf(asking).fate, Fate.SILENT)
        self.assertEqual(len(self.socket.sent), 3)

    def test_expired(self) -> None:
        """
        The router at which a packet ended is told, even if it quotes nothing of it.
        """
        for quoted in (100, 8, 0):
            asking = self.probe(ttl=3)
            data, options = self.socket.sent[-1]
            self.assertEqual(options[0, 2], 3)
            self.socket.complain(data[:quoted], errno.EHOSTUNREACH, 11)
            outcome = self.outcome(asking)
            self.assertEqual((outcome.fate, outcome.source), (Fate.EXPIRED, ROUTER))

    def test_others(self) -> None:
        """
        The other errors are told apart.
        """
        for number, code, fate in (
            (errno.ECONNREFUSED, 3, Fate.REFUSED),
            (errno.EHOSTUNREACH, 1, Fate.UNREACHABLE),
        ):
            asking = self.probe()
            self.socket.complain(self.socket.sent[-1][0], number, 3, code)
            self.assertEqual(self.outcome(asking).fate, fate)

    def test_tooLong(self) -> None:
        """
        A router that quotes nothing means all packets that are too long, and may not be cut.
        """
        sizes = (1200, 1400, 1500)
        asked = [self.probe(size=size, mayFragment=False) for size in sizes]
        cut = self.probe(size=1600)
        self.socket.complain(b"", errno.EMSGSIZE, 3, 4, info=1300)
        self.clock.advance(0.02)
        for asking in asked[1:]:
            outcome = self.successResultOf(asking)
            self.assertEqual((outcome.fate, outcome.mtu), (Fate.TOO_LONG, 1300))
        self.assertNoResult(asked[0])
        self.assertNoResult(cut)
        self.socket.complain(self.socket.sent[0][0][:100], errno.EMSGSIZE, 3, 4, info=576)
        self.assertEqual(self.outcome(asked[0]).mtu, 576)

    def test_refusedHere(self) -> None:
        """
        What our own interface does not carry is too long at once; other errors are silence.
        """
        self.socket.refuses = errno.EMSGSIZE
        self.assertEqual(self.outcome(self.probe(size=1500)).fate, Fate.TOO_LONG)
        self.socket.refuses = errno.ENETUNREACH
        asking = self.probe()
        self.clock.pump([0.1] * 16)
        self.assertEqual(self.successResultOf(asking).fate, Fate.SILENT)

    def test_strangers(self) -> None:
        """
        Garbage, answers to others and errors about others change nothing, however many there are.
        """
        asking = self.probe()
        data = self.socket.sent[0][0]
        other = data[:8] + bytes(12)
        for _ in range(500):
            self.socket.received.append((b"garbage", [], 0, ("203.0.113.9", 1)))
            self.socket.answer(other)
            self.socket.complain(other, errno.EHOSTUNREACH, 11)
        self.socket.complaints.append((b"", [], _QUEUE, ("203.0.113.9", 1)))
        self.clock.advance(0.02)
        self.assertNoResult(asking)
        self.assertGreater(len(self.socket.received), 900)
        self.socket.received.clear()
        self.socket.answer(data)
        self.assertEqual(self.outcome(asking).fate, Fate.ANSWERED)

    def test_echo(self) -> None:
        """
        A request that comes back to the socket that is to hear it is heard; an answer is not.
        """
        asking = self.probe(isEcho=True, hearer=1)
        data = self.socket.sent[0][0]
        self.socket.answer(data)
        self.clock.advance(0.02)
        self.assertNoResult(asking)
        self.socket.received.append((data, [], 0, ("192.0.2.1", 5)))
        self.assertEqual(self.outcome(asking).fate, Fate.HEARD)


class PathProber6Tests(ProberTestCase):
    """
    The same with IPv6, where options and errors have other numbers.
    """

    host = "2001:db8::10"
    version = 6
    server = TransportAddress("2001:db8::7", 3478)

    def test_answer(self) -> None:
        """
        IPv6 has a longer header.
        """
        self.probe(size=1280, mayFragment=False)
        data, options = self.socket.sent[0]
        self.assertEqual((len(data), options[socket.IPPROTO_IPV6, 23]), (1232, 3))

    def test_expired(self) -> None:
        """
        The router at which a packet ended is told.
        """
        asking = self.probe(ttl=3)
        data, options = self.socket.sent[-1]
        self.assertEqual(options[socket.IPPROTO_IPV6, 16], 3)
        self.socket.complain(data, errno.EHOSTUNREACH, 3)
        outcome = self.outcome(asking)
        self.assertEqual(
            (outcome.fate, outcome.source), (Fate.EXPIRED, TransportAddress("fd00::1", 0))
        )


class SystemSocketTests(SynchronousTestCase):
    """
    L{systemSocket}.
    """

    def test_otherSystems(self) -> None:
        """
        Systems that tell programs nothing of errors are known.
        """
        self.patch(sys, "platform", "win32")
        with self.assertRaisesRegex(OSError, "does not tell programs"):
            systemSocket(socket.AF_INET)
