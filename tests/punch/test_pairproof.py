"""
Tests for L{holepunch.punch.pairproof} and L{holepunch.punch.goodbye}.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.punch import CandidateType, Credentials, gatheredCandidate
from holepunch.punch.goodbye import buildGoodbye, isGoodbye
from holepunch.punch.pairproof import (
    PairLost,
    PairProof,
    PairProofConfig,
    PairProven,
    ProbeReply,
    SendMessage,
)

ADDRESSES = [TransportAddress("198.51.100.3", 50000 + number) for number in range(2)]


class Couple:
    """
    Two sides of a pair, and a wire between them.

    @ivar isThrough: May a message pass? Asked for each.
    """

    def __init__(self, seed: int = 0, isProven: bool = False, latency: float = 0.05) -> None:
        self.random = random.Random(seed)
        self.credentials = [Credentials.generate(self.random.randbytes) for _ in range(2)]
        self.now = 0.0
        self.latency = latency
        self.isThrough: Callable[[], bool] = lambda: True
        self.wire: list[tuple[float, int, bytes]] = []
        self.told: list[list[tuple[float, object]]] = [[], []]
        self.sides = [
            PairProof(
                PairProofConfig(
                    isControlling=number == 0,
                    local=self.credentials[number],
                    remote=self.credentials[1 - number],
                    candidate=gatheredCandidate(
                        CandidateType.RELAYED, Transport.UDP, ADDRESSES[number]
                    ),
                    randomBytes=self.random.randbytes,
                    isProven=isProven,
                ),
                0.0,
            )
            for number in range(2)
        ]

    def pump(self) -> None:
        for number, side in enumerate(self.sides):
            for effect in side.takeEffects():
                if not isinstance(effect, SendMessage):
                    self.told[number].append((self.now, effect))
                elif self.isThrough():
                    self.wire.append((self.now + self.latency, 1 - number, effect.data))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.pump()
            times = [at for at, _, _ in self.wire]
            times += [at for side in self.sides if (at := side.nextTimeout()) is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            due = [each for each in self.wire if each[0] <= self.now]
            self.wire = [each for each in self.wire if each[0] > self.now]
            for _, number, data in due:
                self.sides[number].receive(data, ADDRESSES[1 - number], self.now)
            for side in self.sides:
                side.handleTimeout(self.now)
        self.now = end

    def first(self, number: int, kind: type) -> float | None:
        return next((at for at, told in self.told[number] if isinstance(told, kind)), None)


class PairProofTests(SynchronousTestCase):
    """
    A pair that needs no search.
    """

    def test_oneWay(self) -> None:
        """
        Whoever hears a check may use the pair at once: after one way, not after a round trip.
        """
        couple = Couple()
        couple.run(1)
        self.assertEqual([couple.first(number, PairProven) for number in (0, 1)], [0.05, 0.05])

    def test_oneSideFirst(self) -> None:
        """
        What one side sends before there is a way for it costs a quarter of a second.
        """
        couple = Couple()
        couple.isThrough = lambda: couple.now > 0.2
        couple.run(1)
        self.assertEqual([couple.first(number, PairProven) for number in (0, 1)], [0.3, 0.3])

    def test_consent(self) -> None:
        """
        Consent lasts while the other side answers, and 30 seconds longer.
        """
        couple = Couple(isProven=True)
        couple.run(300)
        self.assertEqual(couple.told, [[], []])
        couple.isThrough = lambda: False
        couple.run(31)
        for number in (0, 1):
            lostAt = couple.first(number, PairLost)
            assert lostAt is not None
            self.assertGreater(lostAt, 320)

    def test_neverProven(self) -> None:
        """
        A pair that leads nowhere is given up.
        """
        couple = Couple()
        couple.isThrough = lambda: False
        couple.run(40)
        self.assertEqual(couple.first(0, PairLost), 30.0)

    def test_probe(self) -> None:
        """
        A probe measures the round trip.
        """
        couple = Couple(isProven=True)
        couple.sides[1].probe(0.0)
        couple.run(1)
        [(_, reply)] = couple.told[1]
        assert isinstance(reply, ProbeReply)
        self.assertAlmostEqual(reply.seconds, 0.1)

    def test_goodbye(self) -> None:
        """
        The other side hears at once that a pair is closed, and both fall silent.
        """
        couple = Couple(isProven=True)
        couple.sides[0].close(0.0)
        couple.run(100)
        self.assertEqual(couple.first(1, PairLost), 0.05)
        self.assertEqual(couple.told[0], [])
        self.assertEqual([side.nextTimeout() for side in couple.sides], [None, None])

    def test_strangers(self) -> None:
        """
        Whoever does not know the credentials proves nothing and ends nothing.
        """
        couple, other = Couple(seed=1), Couple(seed=2)
        other.pump()
        near, far = other.credentials
        goodbye = buildGoodbye(near, far, random.Random(0).randbytes)
        for _, _, data in other.wire:
            couple.sides[0].receive(data, ADDRESSES[1], 0.0)
        couple.sides[0].receive(goodbye, ADDRESSES[1], 0.0)
        couple.isThrough = lambda: False
        couple.run(1)
        self.assertEqual(couple.told, [[], []])

    @given(st.integers(0, 1000), st.floats(0, 0.6))
    def test_loss(self, seed: int, loss: float) -> None:
        """
        However much is lost, within reason, the pair is proven, and on both sides.
        """
        couple = Couple(seed)
        couple.isThrough = lambda: couple.random.random() >= loss
        couple.run(25)
        for number in (0, 1):
            self.assertIsNotNone(couple.first(number, PairProven))


class GoodbyeTests(SynchronousTestCase):
    """
    The message alone.
    """

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Arbitrary bytes are no goodbye.
        """
        couple = Couple()
        self.assertFalse(isGoodbye(b"\x00\x11" + data, *couple.credentials))

    def test_direction(self) -> None:
        """
        It is good for the side that it was built for, and not as its own echo.
        """
        near, far = Couple().credentials
        goodbye = buildGoodbye(near, far, random.Random(0).randbytes)
        self.assertTrue(isGoodbye(goodbye, far, near))
        self.assertFalse(isGoodbye(goodbye, near, far))
