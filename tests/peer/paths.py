"""
Paths for tests that need no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import PathLost, PeerClosed
from holepunch.identity import Identity
from holepunch.peer.address import PunchedAddress
from holepunch.peer.openpath import OpenPath

IDENTITY = Identity.generate()


def punched(port: int) -> PunchedAddress:
    return PunchedAddress.of(Transport.UDP, TransportAddress("192.0.2.1", port), IDENTITY.peerID)


class WirePath(OpenPath):
    """
    One end of a path; what it sends arrives at the other end after a while.

    @ivar isCut: Does nothing get through from this end?
    @ivar sent: All that was sent.
    """

    def __init__(self, clock: Clock, latency: float = 0.05, port: int = 1) -> None:
        super().__init__(clock)
        self.clock = clock
        self.latency = latency
        self.port = port
        self.isCut = False
        self.sent: list[bytes] = []
        self.other: WirePath
        self.probes = 0

    @classmethod
    def pair(cls, clock: Clock, latency: float = 0.05, port: int = 1) -> tuple[WirePath, WirePath]:
        """
        Both ends.
        """
        near, far = cls(clock, latency, port), cls(clock, latency, port)
        near.other, far.other = far, near
        return near, far

    def getHost(self) -> PunchedAddress:
        return punched(self.port)

    def getPeer(self) -> PunchedAddress:
        return punched(self.port + 1000)

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        self._later(self.latency, self.other.deliver, data)

    def probe(self) -> None:
        self.probes += 1
        if not self.other.isCut:
            self._later(2 * self.latency, self.answered, 2 * self.latency)

    def _later(self, seconds: float, call: Any, *arguments: Any) -> None:
        if not (self.isCut or self.isLost or self.other.isLost):
            self.clock.callLater(seconds, call, *arguments)

    def close(self) -> None:
        self.lost(Failure(PeerClosed("closed")))

    def die(self) -> None:
        """
        Both ends find out that it works no longer.
        """
        for end in (self, self.other):
            end.lost(Failure(PathLost()))


class BatchPath(WirePath):
    """
    A path that can send several datagrams at once.

    @ivar batches: What was sent so.
    """

    def __init__(self, clock: Clock, latency: float = 0.05, port: int = 1) -> None:
        super().__init__(clock, latency, port)
        self.batches: list[list[bytes]] = []

    def sendMany(self, datagrams: Sequence[bytes]) -> None:
        self.batches.append(list(datagrams))
