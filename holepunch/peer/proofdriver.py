"""
Drives the core of a pair that needs no search: carries out its effects, and keeps its timer.

Owns: the timer.
Knows nothing of: how a message gets to the other side.
Driven by: L{holepunch.peer.framedpath} and L{holepunch.peer.relayedpath}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from holepunch.address import TransportAddress
from holepunch.punch.pairproof import (
    PairLost,
    PairProof,
    PairProofConfig,
    PairProven,
    ProbeReply,
    SendMessage,
)


class ProofDriver:
    """
    One L{PairProof}, and its clock.
    """

    def __init__(
        self,
        clock: IReactorTime,
        config: PairProofConfig,
        *,
        send: Callable[[bytes], None],
        proven: Callable[[], None],
        answered: Callable[[float], None],
        lost: Callable[[str], None],
    ) -> None:
        """
        @param send: Called with each message for the other side.
        @param proven: Called once, when the pair may be used, unless it could from the start.
        @param answered: Called with the seconds that a probe took.
        @param lost: Called with the reason when the pair works no longer.
        """
        self._clock = clock
        self._proof = PairProof(config, clock.seconds())
        self._send = send
        self._proven = proven
        self._answered = answered
        self._lost = lost
        self._timer: IDelayedCall | None = None
        self._isStopped = False
        self._rearm()

    @property
    def isProven(self) -> bool:
        """
        May the pair be used?
        """
        return self._proof.isProven

    def receive(self, data: bytes, source: TransportAddress) -> None:
        """
        A datagram came that looks like STUN.
        """
        self._proof.receive(data, source, self._clock.seconds())
        self._pump()

    def begin(self) -> None:
        """
        Do now what the timer would do in a moment.
        """
        self._timedOut()

    def probe(self) -> None:
        """
        Measure the round trip.
        """
        self._proof.probe(self._clock.seconds())
        self._pump()

    def close(self) -> None:
        """
        Say goodbye, and stop.
        """
        self._proof.close(self._clock.seconds())
        self._pump()
        self.stop()

    def stop(self) -> None:
        """
        Do nothing any more.
        """
        self._isStopped = True
        self._rearm()

    def _pump(self) -> None:
        for effect in self._proof.takeEffects():
            if self._isStopped:
                return
            if isinstance(effect, SendMessage):
                self._send(effect.data)
            elif isinstance(effect, PairProven):
                self._proven()
            elif isinstance(effect, ProbeReply):
                self._answered(effect.seconds)
            elif isinstance(effect, PairLost):
                self._lost(effect.reason)
        self._rearm()

    def _rearm(self) -> None:
        at = None if self._isStopped else self._proof.nextTimeout()
        if self._timer is not None and self._timer.active():
            if at is not None and abs(self._timer.getTime() - at) < 1e-6:
                return
            self._timer.cancel()
        self._timer = None
        if at is not None:
            delay = max(0.0, at - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._timedOut)

    def _timedOut(self) -> None:
        self._proof.handleTimeout(self._clock.seconds())
        self._pump()
