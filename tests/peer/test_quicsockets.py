"""
Tests for L{holepunch.peer.quic} over real UDP sockets on this machine.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from holepunch.errors import PeerClosed
from holepunch.peer.quic import QUICConnection
from holepunch.peer.quicstream import QUICStream
from tests.peer.quicnetwork import ALICE, BOB, MemoryPath

SIZE = 5_000_000


class SocketPath(MemoryPath, DatagramProtocol):
    """
    One end of a path over a UDP socket.
    """

    noisy = False
    remotePort = 0

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        cast(Any, self.transport).write(data, ("127.0.0.1", self.remotePort))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.deliver(datagram)


class Digest(Protocol):
    """
    Sums up what arrives.
    """

    def __init__(self) -> None:
        self.sum = hashlib.sha256()
        self.lost: Deferred[BaseException | None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.sum.update(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


class SocketTests(TestCase):
    """
    Two connections in one process.
    """

    timeout = 60

    async def test_transfer(self) -> None:
        """
        Five megabytes each way arrive whole over loopback, and both sides end in order.
        """
        reactor = cast(Any, installedReactor)
        paths = [
            SocketPath(cast(Clock, reactor), ids, 0)
            for ids in ((ALICE.peerID, BOB.peerID), (BOB.peerID, ALICE.peerID))
        ]
        ports = [reactor.listenUDP(0, path, interface="127.0.0.1") for path in paths]
        for port in ports:
            self.addCleanup(port.stopListening)
        paths[0].remotePort, paths[1].remotePort = (port.getHost().port for port in reversed(ports))
        sent = bytes(range(256)) * (SIZE // 256)
        far = Digest()

        def opened(stream: QUICStream, application: bytes) -> None:
            stream.attach(far)
            stream.write(sent)
            stream.loseWriteConnection()

        bob = QUICConnection(
            reactor, paths[1], BOB, ALICE.peerID, isClient=False, streamOpened=opened
        )
        alice = QUICConnection(
            reactor, paths[0], ALICE, BOB.peerID, isClient=True, streamOpened=opened
        )
        await alice.whenConnected()
        near = Digest()
        stream = alice.openStream(b"test")
        stream.attach(near)
        stream.write(sent)
        stream.loseWriteConnection()
        reasons = await gatherResults([near.lost, far.lost])
        for digest, reason in zip((near, far), reasons, strict=True):
            self.assertIsInstance(reason, ConnectionDone)
            self.assertEqual(hashlib.sha256(sent).digest(), digest.sum.digest())
        lost = [bob.whenLost(), alice.whenLost()]
        alice.close()
        for each in lost:
            await self.assertFailure(each, PeerClosed)
        # What closing took to be told in vain ends with the path.
        for path in paths:
            path.lose()
