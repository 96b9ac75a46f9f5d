"""
Links and sessions that a service takes for one another: nothing reaches whom it is not meant for.
"""

from __future__ import annotations

from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError
from holepunch.identity import Identity
from holepunch.peer.events import Introduced
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.introduction import Introduction
from tests.peer.network import EchoFactory, Recorder, RecorderFactory
from tests.peer.test_links import UDP
from tests.peer.test_staying import StayingTestCase

MEANT = Identity.generate().peerID


class ConfusedLinkTests(StayingTestCase):
    """
    Alice has a link with bob, and asks for somebody else.
    """

    def test_otherPeersLink(self) -> None:
        """
        Who asks for one peer by its ID gets no stream to another one, with which there is a link.
        """
        heart = self.settle(relay=None, options=UDP)
        fabric = self.network.internet.fabric
        for name in ("nat-alice", "nat-bob"):
            fabric.rebindNAT(name, fabric.freeHosts(name)[:1])
        # Until the first path is lost, and its session forgotten.
        heart.beat(60)
        first = self.told(Introduced)[0].session
        ask = RendezvousClient.requestSession

        def lie(client: RendezvousClient, target: str, **fields: Any) -> Deferred[Introduction]:
            def introduce(introduction: Introduction) -> Introduction:
                return attrs.evolve(introduction, sessionID=first, remote=MEANT)

            return ask(client, "bob", **fields).addCallback(introduce)

        self.patch(RendezvousClient, "requestSession", lie)
        connecting = self.alice.connectEndpoint(MEANT.text, UDP).connect(RecorderFactory())
        settled: list[Any] = []
        connecting.addBoth(settled.append)
        heart.beat(40)
        assert isinstance(settled[0], Failure), settled
        self.assertIsInstance(settled[0].value, HolepunchError)
        heart.check(self)

    def test_nameOfBefore(self) -> None:
        """
        Who has connected to us under a name is not who we reach by it, once that is another's.
        """
        network = self.build("port-restricted/port-restricted")
        network.listen(self.alice, EchoFactory())
        endpoint = self.bob.connectEndpoint("alice", UDP)
        network.waitFor(endpoint.connect(RecorderFactory()))
        carol = network.peer("bob", "carol")
        network.listen(carol, EchoFactory())
        network.waitFor(carol.whenRegistered())
        registry: Any = network.service.exchange.registry
        registry.find = lambda target, find=registry.find: find("carol")
        endpoint = self.alice.connectEndpoint("bob", UDP)
        protocol = cast(Recorder, network.waitFor(endpoint.connect(RecorderFactory())))
        transport: Any = protocol.transport
        self.assertEqual(transport.getPeer().peerID, carol.peerID)
