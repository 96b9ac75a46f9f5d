"""
Why a connection goes through the relay, told while it does.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from holepunch.address import Transport
from holepunch.peer import Peer, SessionOptions
from holepunch.rendezvous.introduction import RelayPolicy
from tests.cli.network import CommandTestCase, Told
from tests.explain.middlebox import Middlebox, isOfService
from tests.peer.network import EchoFactory, Network

AUTO = frozenset(Transport)


class RelayReasonTests(CommandTestCase):
    """
    Alice reaches bob with a relay at hand.
    """

    def told(
        self,
        topology: str,
        *,
        isFirewalled: bool = False,
        relay: RelayPolicy = RelayPolicy.AUTO,
        seconds: float = 5.0,
    ) -> list[dict[str, Any]]:
        network = self.network = Network(topology, relay=(3480,))
        self.addCleanup(network.stop)
        if isFirewalled:
            fabric = network.internet.fabric
            Middlebox.install(fabric, ("nat-alice", "nat-bob"), lambda each: not isOfService(each))
        network.listen(network.peer("bob", "bob"), EchoFactory())

        async def use(peer: Peer) -> None:
            path = await peer.openPingPath("bob", SessionOptions(transports=AUTO, relay=relay))
            path.whenLost().addErrback(lambda failure: None)
            await Deferred()

        output = Told()
        running = self.start("alice", use, output)
        network.internet.advance(seconds)
        running.addErrback(lambda failure: None)
        running.cancel()
        network.internet.advance(5.0)
        return [each for each in output.events if each["event"] == "relayed"]

    def test_symmetric(self) -> None:
        """
        Two symmetric NATs are told after a second, once.
        """
        [told] = self.told("symmetric-random/symmetric-random", seconds=60.0)
        self.assertEqual(told["cause"], "both-map-by-destination")
        [soon] = self.told("symmetric-random/symmetric-random", seconds=2.5)
        self.assertEqual(soon["cause"], "both-map-by-destination")

    def test_later(self) -> None:
        """
        Where nothing shows the reason at once, it is told when all has been tried.
        """
        cones = "port-restricted/port-restricted"
        self.assertEqual(self.told(cones, isFirewalled=True, seconds=2.5), [])
        [told] = self.told(cones, isFirewalled=True, seconds=60.0)
        self.assertEqual(told["cause"], "nothing-came-through")

    def test_nothingToTell(self) -> None:
        """
        Nothing is told of a connection that moves to a direct path, nor where only the relay was
        wanted.
        """
        self.assertEqual(self.told("port-restricted/port-restricted", seconds=60.0), [])
        self.assertEqual(
            self.told("port-restricted/port-restricted", relay=RelayPolicy.ONLY, seconds=60.0), []
        )
