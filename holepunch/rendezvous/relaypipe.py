"""
Bytes from one TCP connection to another, through a relay (RFC 6062 section 5.4).

Each direction is held up by two things: the side that does not read, and the user's bandwidth.

Owns: joining two connections, back-pressure, and the end of both.
Knows nothing of: TURN.
Driven by: the protocols of the two connections.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IPushProducer,
    IReactorTime,
)
from zope.interface import implementer

from holepunch.turn.fairshare import Account

_PAUSE = 0.05


@implementer(IPushProducer)
class RelayPipe:
    """
    One direction: reads from C{source} and writes to C{sink}, which are transports.
    """

    def __init__(self, clock: IReactorTime, source: Any, sink: Any, account: Account) -> None:
        self._clock = clock
        self._source = source
        self._sink = sink
        self._account = account
        self._isFull = False
        self._isEnded = False
        # While the user has had too much.
        self._slowed: IDelayedCall | None = None
        IConsumer(sink).registerProducer(self, True)
        source.resumeProducing()

    def write(self, data: bytes) -> None:
        """
        Pass on what came.
        """
        if self._isEnded:
            return
        now = self._clock.seconds()
        self._account.charge(len(data), now)
        self._sink.write(data)
        if self._slowed is None and self._account.isInDebt(now):
            self._source.pauseProducing()
            self._slowed = self._clock.callLater(_PAUSE, self._look)

    def _look(self) -> None:
        if self._account.isInDebt(self._clock.seconds()):
            self._slowed = self._clock.callLater(_PAUSE, self._look)
            return
        self._slowed = None
        self._go()

    def _go(self) -> None:
        if not (self._isFull or self._slowed or self._isEnded):
            self._source.resumeProducing()

    def _stop(self) -> None:
        self._isEnded = True
        slowed, self._slowed = self._slowed, None
        if slowed is not None:
            slowed.cancel()

    def pauseProducing(self) -> None:
        """
        The other side does not read.
        """
        self._isFull = True
        if not self._isEnded:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The other side reads again.
        """
        self._isFull = False
        self._go()

    def stopProducing(self) -> None:
        """
        The other side is gone; its protocol says so, too.
        """
        self._stop()

    def end(self, isHalf: bool) -> None:
        """
        The source has said all it had to say.

        @param isHalf: It listens still.
        """
        if self._isEnded:
            return
        self._stop()
        self._sink.unregisterProducer()
        if isHalf and IHalfCloseableDescriptor.providedBy(self._sink):
            cast(Any, self._sink).loseWriteConnection()
        else:
            self._sink.loseConnection()
