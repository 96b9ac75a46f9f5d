"""
L{holepunch.nat.NATDevice} against a naive model of its own, and against any packets at all.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.nat import (
    Drop,
    Forward,
    MappingView,
    NATBehaviour,
    NATDevice,
    PortAllocation,
    Side,
)
from tests.nat.oracle import Arrived, Oracle
from tests.nat.strategies import HOSTS, Arrival, arrivals, behaviours, datagramArrivals


def feed(device: NATDevice, arrival: Arrival, now: float) -> list[Forward | Drop]:
    """
    Let a device have one packet.
    """
    if arrival.side is Side.INSIDE:
        device.receiveInside(arrival.packet, now)
    else:
        device.receiveOutside(arrival.packet, now)
    return device.takeEffects()


class OracleTests(SynchronousTestCase):
    """
    The device and the naive model side by side.
    """

    @settings(deadline=None, max_examples=300)
    @given(behaviours, st.integers(1, 2), st.lists(datagramArrivals, max_size=40))
    def test_datagrams(
        self, behaviour: NATBehaviour, hostCount: int, sequence: list[Arrival]
    ) -> None:
        """
        Whatever datagrams come at whatever times, both do the same and remember the same.
        """
        device = NATDevice(behaviour, HOSTS[:hostCount], Random(1))
        oracle = Oracle(behaviour, HOSTS[:hostCount])
        now = 0.0
        for arrival in sequence:
            now += arrival.pause
            effect = feed(device, arrival, now)[0]
            packet = arrival.packet
            oracle.advance(now)
            if arrival.side is Side.INSIDE:
                expected = oracle.sendOut(packet.source, packet.destination, effect.packet.source)
            else:
                expected = oracle.sendIn(packet.source, packet.destination)
            if isinstance(effect, Drop):
                self.assertIs(effect.reason, expected)
            else:
                translated = effect.packet
                self.assertEqual(
                    Arrived(effect.side, translated.source, translated.destination), expected
                )
                self.assertEqual(translated.ttl, packet.ttl - 1)
            self.assertEqual(self.remembered(device.mappings(now)), self.known(oracle))

    def remembered(self, views: tuple[MappingView, ...]) -> list[tuple[object, ...]]:
        """
        What the device remembers.
        """
        return [(view.internal, view.external, view.remotes, view.expiresAt) for view in views]

    def known(self, oracle: Oracle) -> list[tuple[object, ...]]:
        """
        What the model remembers.
        """
        return [
            (
                mapping.internal,
                mapping.external,
                tuple(flow.remote for flow in mapping.flows),
                max(flow.expiresAt for flow in mapping.flows),
            )
            for mapping in oracle.mapped
        ]


class AnyPacketTests(SynchronousTestCase):
    """
    Packets of every kind, in every order.
    """

    @settings(deadline=None, max_examples=300)
    @given(behaviours, st.lists(arrivals, max_size=40), st.integers(0, 3))
    def test_everyPacketHasAFate(
        self, behaviour: NATBehaviour, sequence: list[Arrival], seed: int
    ) -> None:
        """
        No packet makes the device raise; each is forwarded or dropped, and answered at most once.
        """
        device = NATDevice(behaviour, HOSTS, Random(seed))
        now = 0.0
        for arrival in sequence:
            now += arrival.pause
            effects = feed(device, arrival, now)
            self.assertIn(len(effects), (1, 2))
            for effect in effects:
                if isinstance(effect, Forward) and effect.side is Side.OUTSIDE:
                    self.assertNotIn(effect.packet.destination.host, HOSTS)
                    self.assertIn(effect.packet.source.host, HOSTS)

    @settings(deadline=None, max_examples=150)
    @given(behaviours, st.lists(arrivals, max_size=60), st.integers(0, 3))
    def test_bounds(self, behaviour: NATBehaviour, sequence: list[Arrival], seed: int) -> None:
        """
        The tables stay within their limits, and no remote endpoint can reach two by one address.
        """
        device = NATDevice(behaviour, HOSTS, Random(seed))
        now = 0.0
        for arrival in sequence:
            now += arrival.pause
            feed(device, arrival, now)
            views = device.mappings(now)
            self.assertLessEqual(len(views), behaviour.maxMappings)
            perHost = Counter(view.internal.host for view in views)
            self.assertLessEqual(max(perHost.values(), default=0), behaviour.maxMappingsPerHost)
            sessions = [
                (view.protocol, view.external, remote) for view in views for remote in view.remotes
            ]
            self.assertLessEqual(len(sessions), behaviour.maxSessions)
            self.assertEqual(len(sessions), len(set(sessions)))
            self.assertTrue(all(view.expiresAt > now for view in views))

    @settings(deadline=None, max_examples=100)
    @given(behaviours, st.lists(arrivals, max_size=40), st.integers())
    def test_deterministic(
        self, behaviour: NATBehaviour, sequence: list[Arrival], seed: int
    ) -> None:
        """
        The same packets, moments and seed give the same effects and the same memory.
        """
        devices = [NATDevice(behaviour, HOSTS, Random(seed)) for _ in range(2)]
        now = 0.0
        for arrival in sequence:
            now += arrival.pause
            self.assertEqual(*(feed(device, arrival, now) for device in devices))
        self.assertEqual(*(device.mappings(now) for device in devices))

    @settings(deadline=None, max_examples=100)
    @given(behaviours, st.lists(arrivals, max_size=30), st.integers(0, 3))
    def test_flushIsLikeNew(
        self, behaviour: NATBehaviour, sequence: list[Arrival], seed: int
    ) -> None:
        """
        A flushed device forgets everything: nothing that came before lets a packet in.
        """
        if behaviour.isOneToOne or behaviour.ports is not PortAllocation.PRESERVED:
            return
        used = NATDevice(behaviour, HOSTS[:1], Random(seed))
        fresh = NATDevice(behaviour, HOSTS[:1], Random(seed))
        for arrival in sequence:
            feed(used, arrival, 0.0)
        used.flush()
        self.assertEqual(used.mappings(0.0), ())
        for arrival in sequence:
            self.assertEqual(feed(used, arrival, 0.0), feed(fresh, arrival, 0.0))
