"""
The forecast against real sessions on the simulated internet.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import NoPathFound
from holepunch.nat.forecast import KINDS, Outlook, forecast
from holepunch.peer import SessionOptions
from holepunch.peer.discovery import discover
from holepunch.punch import TCPFlow
from tests.peer.network import EchoFactory, Network, RecorderFactory

OWN = ("full-cone", "port-restricted", "symmetric-by-address", "symmetric-random")
TIMEOUT = 8.0
FLOWS = {
    "tcpSimultaneous": SessionOptions(timeout=TIMEOUT),
    "tcpSequential": SessionOptions(timeout=TIMEOUT, tcpFlow=TCPFlow.SEQUENTIAL),
    "udp": SessionOptions(timeout=TIMEOUT, transports=frozenset({Transport.UDP})),
}


class ForecastTests(SynchronousTestCase):
    """
    Alice asks for a forecast, and then tries.
    """

    def check(self, own: str) -> None:
        """
        Try every kind of peer, in every way.
        """
        network = Network(f"{own}/none")
        alice = network.internet.host("alice")
        server = TransportAddress(network.internet.host("rendezvous").addresses[0], 3478)
        report = network.waitFor(
            Deferred.fromCoroutine(
                discover(alice.reactor, [server], sourceHost=lambda _: alice.addresses[0])
            )
        )
        network.stop()
        found = forecast(report)
        self.assertEqual([each.kind for each in found], list(KINDS))
        for each in found:
            for flow, options in FLOWS.items():
                prospect = getattr(each, flow)
                with self.subTest(f"{own}/{each.kind} {flow}"):
                    isConnected = self.isConnected(f"{own}/{each.kind}", options)
                    if prospect.outlook is Outlook.DIRECT:
                        self.assertTrue(isConnected)
                    elif prospect.outlook is Outlook.NO:
                        self.assertFalse(isConnected)
                    else:
                        # Whether it is guessed depends on how well sessions guess.
                        self.assertIs(prospect.outlook, Outlook.GUESS)

    def isConnected(self, topology: str, options: SessionOptions) -> bool:
        """
        Let alice connect to bob.
        """
        network = Network(topology)
        self.addCleanup(network.stop)
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        accepting: Deferred[Any]
        if options.transports == {Transport.UDP}:
            accepting = Deferred.fromCoroutine(bob.acceptDatagrams(lambda path: None))
        else:
            accepting = bob.listenEndpoint().listen(EchoFactory())
        network.waitFor(accepting)
        network.waitFor(alice.whenRegistered())
        network.internet.advance(0.5)
        try:
            if options.transports == {Transport.UDP}:
                network.waitFor(alice.openDatagrams("bob", options))
            else:
                endpoint = alice.connectEndpoint("bob", options)
                network.waitFor(endpoint.connect(RecorderFactory()))
        except NoPathFound:
            return False
        return True


for _own in OWN:

    def _test(self: ForecastTests, own: str = _own) -> None:
        self.check(own)

    _test.__doc__ = f"""
    From behind {_own}, what is forecast comes true, with UDP and with both flows of TCP.
    """
    setattr(ForecastTests, f"test_{_own.replace('-', '')}", _test)
