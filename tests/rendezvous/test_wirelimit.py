"""
Tests for L{holepunch.rendezvous.wirelimit}: peers that keep the service busy below AMP.
"""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from zope.interface import implementer

from holepunch.rendezvous.limits import Limits
from tests.rendezvous.keyupdates import KeyUpdater
from tests.rendezvous.network import ALICE, BOB, CAROL, Network, NetworkTestCase

BURST = 64 * 1024


@implementer(IPushProducer)
class Producer:
    """
    Knows whether it is paused.
    """

    isPaused = False

    def pauseProducing(self) -> None:
        self.isPaused = True

    def resumeProducing(self) -> None:
        self.isPaused = False

    def stopProducing(self) -> None:
        pass


class WireLimitTestCase(NetworkTestCase):
    """
    A service with limits, and a hostile client.
    """

    limits = Limits(byteBurst=BURST, bytesPerSecond=1024.0)

    def makeNetwork(self) -> Network:
        return Network(self.topology, limits=self.limits)

    def hostile(self) -> KeyUpdater:
        network = self.network
        client = KeyUpdater(ALICE)
        factory = Factory.forProtocol(lambda: client)
        location = network.location
        endpoint = TCP4ClientEndpoint(network.reactor("alice"), location.host, location.port)
        self.waitFor(endpoint.connect(factory))
        network.advance(0.5)
        self.assertTrue(client.isReady)
        return client


class WireLimitTests(WireLimitTestCase):
    """
    KeyUpdates without end.
    """

    def test_few(self) -> None:
        """
        Some KeyUpdates are anybody's right, and are answered.
        """
        client = self.hostile()
        before = client.received
        client.transport.write(client.records(100))
        self.network.advance(1.0)
        self.assertEqual(client.lost, [])
        self.assertGreater(client.received, before)
        client.transport.abortConnection()

    def test_flood(self) -> None:
        """
        Who sends nothing else is thrown out when his burst is used up, and did little work; others
        notice nothing of it.
        """
        network = self.network
        other, _ = network.register("bob", BOB)
        client = self.hostile()
        before = client.received
        client.transport.write(client.records(20_000))
        self.assertLess(self.waitFor(other.ping()), 0.2)
        network.advance(2.0)
        self.assertEqual(len(client.lost), 1)
        self.assertLessEqual(client.received - before, BURST)
        network.register("bob", CAROL)

    def test_slowly(self) -> None:
        """
        Within the limit, a main connection may last as long as it likes.
        """
        client = self.hostile()
        for _ in range(5):
            client.transport.write(client.records(30))
            self.network.advance(1.0)
        self.assertEqual(client.lost, [])
        client.transport.abortConnection()


class BackPressureTests(WireLimitTestCase):
    """
    Without the limit.
    """

    limits = Limits(byteBurst=1 << 30)

    def test_deaf(self) -> None:
        """
        Who does not read the answers that he causes is not read from either: they do not pile up
        in the service.
        """
        client = self.hostile()
        client.transport.pauseProducing()
        producer = Producer()
        client.transport.registerProducer(producer, True)
        client.transport.write(client.records(60_000))
        self.network.advance(4.0)
        self.assertTrue(producer.isPaused)
        client.transport.resumeProducing()
        self.network.advance(4.0)
        self.assertFalse(producer.isPaused)
        client.transport.abortConnection()
