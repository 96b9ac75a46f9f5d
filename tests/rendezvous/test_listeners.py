"""
Tests for L{holepunch.rendezvous.listeners}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import CannotListen
from holepunch.lab import SimulatedInternet, Topology
from holepunch.rendezvous.assist import Assist
from holepunch.rendezvous.exchange import Exchange
from holepunch.rendezvous.listeners import AssistListeners, combinations

ONE, OTHER = "5.1.0.1", "5.2.0.1"


def addresses(*texts: str) -> list[TransportAddress]:
    return [TransportAddress.parse(text) for text in texts]


class AssistListenersTests(SynchronousTestCase):
    """
    L{AssistListeners}.
    """

    def setUp(self) -> None:
        self.internet = SimulatedInternet(Topology.parse("none/none"), seed=1)
        self.reactor: Any = self.internet.host("rendezvous").reactor
        self.assist = Assist(Exchange(self.reactor))

    def start(self, *texts: str, **options: Any) -> AssistListeners:
        listeners = AssistListeners(self.reactor, self.assist, addresses(*texts), **options)
        listeners.start()
        self.addCleanup(listeners.stop)
        return listeners

    def test_combinations(self) -> None:
        """
        Hosts and ports of one IP version are combined, and the given pairs come first.
        """
        given = addresses(f"{ONE}:1", f"{OTHER}:2", "[::1]:3")
        expected = addresses(f"{ONE}:1", f"{OTHER}:2", "[::1]:3", f"{ONE}:2", f"{OTHER}:1")
        self.assertEqual(combinations(given), tuple(expected))
        self.assertEqual(combinations(given[:1]), tuple(given[:1]))

    def test_portsTaken(self) -> None:
        """
        When one socket cannot be bound, none is, and the error says which.
        """
        self.reactor.listenTCP(3479, Factory(), interface=OTHER)
        listeners = AssistListeners(
            self.reactor, self.assist, addresses(f"{ONE}:3478", f"{OTHER}:3479")
        )
        error = self.assertRaises(CannotListen, listeners.start)
        self.assertIn(f"{OTHER}:3479", str(error))
        self.internet.advance(0.1)
        self.reactor.listenUDP(3478, DatagramProtocol(), interface=ONE)
        self.reactor.listenTCP(3478, Factory(), interface=ONE)

    def test_chosenPort(self) -> None:
        """
        A port that may be chosen is one that is free for UDP and TCP on every host.
        """
        listeners = self.start(f"{ONE}:0", f"{OTHER}:0")
        first, second = listeners.addresses
        self.assertEqual((first.host, second.host), (ONE, OTHER))
        self.assertEqual(first.port, second.port)
        self.assertNotEqual(first.port, 0)

    def test_advertised(self) -> None:
        """
        Peers are told the public addresses of listeners that are behind a NAT themselves.
        """
        listeners = self.start(f"{ONE}:3478", advertised={ONE: "203.0.113.5"})
        self.assertEqual(listeners.publicAddresses, tuple(addresses("203.0.113.5:3478")))

    def test_again(self) -> None:
        """
        What was stopped can be started again.
        """
        listeners = self.start(f"{ONE}:3478")
        self.internet.waitFor(listeners.stop())
        listeners.start()
        self.assertEqual(listeners.addresses, tuple(addresses(f"{ONE}:3478")))
