"""
Tests for L{holepunch.peer.framedpath}.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.address import Transport, TransportAddress
from holepunch.errors import PathLost
from holepunch.identity import Identity
from holepunch.interfaces import IDatagramPath
from holepunch.peer.framedpath import FramedPath
from holepunch.punch import (
    CandidateType,
    Credentials,
    Path,
    SessionConfig,
    gatheredCandidate,
)
from holepunch.stun import Rfc4571Framer, frameRfc4571

HERE = TransportAddress("192.0.2.1", 1)
THERE = TransportAddress("192.0.2.2", 2)
IDS = (Identity.generate().peerID, Identity.generate().peerID)
STUN = bytes.fromhex("00010000 2112a442") + bytes(12)


class End:
    """
    One end of a connection.
    """

    def __init__(self, clock: Clock, credentials: list[Credentials], isControlling: bool) -> None:
        mine, other = credentials if isControlling else reversed(credentials)
        chance = random.Random(isControlling)
        self.ended: list[Exception] = []
        self.transport: Any = StringTransport()
        self.received: list[bytes] = []
        candidates = [
            gatheredCandidate(CandidateType.HOST, Transport.TCP, each) for each in (HERE, THERE)
        ]
        self.path = FramedPath(
            clock,
            Path(
                transport=Transport.TCP,
                local=HERE,
                remote=THERE,
                localCandidate=candidates[0],
                remoteCandidate=candidates[1],
                connection=1,
            ),
            IDS,
            SessionConfig(
                isControlling=isControlling,
                localCredentials=mine,
                remoteCredentials=other,
                randomBytes=chance.randbytes,
            ),
            self,
        )
        self.path.makeConnection(self.transport)
        self.path.setReceiver(self.received.append)

    def end(self, reason: Exception) -> None:
        self.ended.append(reason)


class FramedPathTests(SynchronousTestCase):
    """
    Two ends of one connection.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        chance = random.Random(0)
        credentials = [Credentials.generate(chance.randbytes) for _ in range(2)]
        self.ends = [End(self.clock, credentials, isControlling) for isControlling in (True, False)]
        self.near, self.far = self.ends

    def pump(self, piece: int = 1 << 20) -> None:
        """
        Carry over what was written, in pieces.
        """
        for _ in range(4):
            for end, other in ((self.near, self.far), (self.far, self.near)):
                data = end.transport.value()
                end.transport.clear()
                for start in range(0, len(data), piece):
                    other.path.dataReceived(data[start : start + piece])

    @given(st.lists(st.binary(min_size=1, max_size=60)), st.integers(1, 50))
    def test_whole(self, datagrams: list[bytes], piece: int) -> None:
        """
        Datagrams arrive as they were sent, whatever pieces the connection makes of them.
        """
        self.setUp()
        self.assertTrue(verifyObject(IDatagramPath, self.near.path))
        for data in datagrams:
            self.near.path.send(b"\xff" + data)
        self.pump(piece)
        self.assertEqual(self.far.received, [b"\xff" + data for data in datagrams])

    def test_answersNotRead(self) -> None:
        """
        Who sends checks, and reads no answers, does not fill the memory with them.
        """
        self.far.path.pauseProducing()
        for _ in range(500):
            self.near.path.probe()
        self.far.path.dataReceived(self.near.transport.value())
        self.assertEqual(len(Rfc4571Framer().feed(self.far.transport.value())), 64)
        self.far.path.resumeProducing()
        self.near.path.probe()
        self.near.transport.clear()
        self.pump()
        self.far.path.probe()
        self.assertGreater(len(self.far.transport.value()), 0)

    def test_full(self) -> None:
        """
        For a connection that is full, datagrams wait; what is too much is dropped.
        """
        waiting = [b"\xff" * 60_000 + bytes([number]) for number in range(4)]
        self.near.path.pauseProducing()
        for datagram in (*waiting, b"\xff" * 60_000):
            self.near.path.send(datagram)
        self.assertEqual(self.near.transport.value(), b"")
        self.near.path.resumeProducing()
        self.near.path.send(b"\xffsent")
        self.pump()
        self.assertEqual(self.far.received, [*waiting, b"\xffsent"])

    def test_alive(self) -> None:
        """
        Checks go to and fro, and measure the round trip; without answers the path ends.
        """
        for _ in range(60):
            self.clock.advance(1)
            self.pump()
        ping = self.near.path.ping()
        self.pump()
        self.assertEqual(self.successResultOf(ping), 0.0)
        self.assertEqual(self.near.ended, [])
        for _ in range(40):
            self.clock.advance(1)
        self.assertIsInstance(self.near.ended[0], PathLost)

    def test_goodbye(self) -> None:
        """
        The other end hears that the path is closed.
        """
        self.near.path.close()
        self.pump()
        self.assertIsInstance(self.far.ended[0], PathLost)
        self.assertIn("closed", str(self.far.ended[0]))

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Whatever comes is a datagram, or is dropped.
        """
        self.setUp()
        self.near.path.dataReceived(data)
        self.near.path.dataReceived(frameRfc4571(STUN))
        self.assertEqual(self.near.ended, [])

    def test_looksLikeStun(self) -> None:
        """
        Bytes that the other end would take for a check are refused.
        """
        self.assertRaises(ValueError, self.near.path.send, STUN)
