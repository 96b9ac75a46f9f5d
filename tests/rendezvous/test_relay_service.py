"""
The relay as a part of the rendezvous service, in the simulated internet: from registration to data
that goes from one peer to the other.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from holepunch.address import Transport, TransportAddress
from holepunch.punch.candidate import CandidateType
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.relay import RelayService
from holepunch.rendezvous.relaygrant import RelayServer
from holepunch.turn import EphemeralCredential
from tests.rendezvous.network import ALICE, BOB, SERVICE, Network, NetworkTestCase
from tests.rendezvous.relayclient import Client

PORT = 3481


class RelayNetwork(Network):
    """
    A network whose service has a relay.
    """

    def startService(self) -> None:
        """
        Start the service, with a relay on its first address.
        """
        machine = self.internet.host("rendezvous")
        self.relay = RelayService(
            machine.reactor,
            [TransportAddress(machine.addresses[0], PORT)],
            ownHosts=lambda: machine.addresses,
        )
        self.options = {"relay": self.relay}
        super().startService()


class RelayInServiceTests(NetworkTestCase):
    """
    L{RendezvousService<holepunch.rendezvous.RendezvousService>} with a relay.
    """

    network: RelayNetwork

    def makeNetwork(self) -> Network:
        """
        With a relay.
        """
        return RelayNetwork(self.topology)

    def allocate(self, hostName: str, registered: Any) -> Client:
        """
        Use a grant.
        """
        grant = registered.relay
        server = RelayServer.parse(grant.servers[0])
        client: Client = self.network.waitFor(
            Deferred.fromCoroutine(
                Client.connect(
                    self.network.reactor(hostName),
                    TransportAddress(server.host, server.port),
                    EphemeralCredential(grant.username, grant.password),
                    realm=grant.realm,
                    nonce=grant.nonce.encode(),
                    interface="",
                )
            )
        )
        self.addCleanup(client.close)
        return client

    def test_fromRegistrationToData(self) -> None:
        """
        A registered peer allocates by what its registration gave it; the other
        side of its session is told the relayed address by the service, and data goes to and fro.
        """
        alice = self.network.connect("alice", ALICE)
        bob = self.network.connect("bob", BOB)
        registered = self.network.waitFor(alice.register())
        other = self.network.waitFor(bob.register(name="bob"))
        one = self.allocate("alice", registered)
        two = self.allocate("bob", other)
        here, there = one.core.relayed, two.core.relayed
        assert here is not None and there is not None
        introduction = self.network.waitFor(
            alice.requestSession("bob", transports=(Transport.UDP,), relay=RelayPolicy.AUTO)
        )
        self.network.advance()
        (offer,) = self.network.events[bob].offers
        for told, relayed in ((introduction, there), (offer, here)):
            addresses = [
                each.address for each in told.remoteCandidates if each.type is CandidateType.RELAYED
            ]
            self.assertEqual(addresses, [relayed])
        for client, peer in ((one, there), (two, here)):
            self.network.waitFor(Deferred.fromCoroutine(client.permit(peer.host)))
        received = Deferred.fromCoroutine(two.received())
        one.send(there, b"hello")
        self.assertEqual(self.network.waitFor(received).data, b"hello")

    def test_strangers(self) -> None:
        """
        Who is not registered has no grant, and a grant of another service is no good.
        """
        elsewhere = RelayService(
            self.network.clock, [TransportAddress("192.0.2.1", PORT)], ownHosts=list
        )
        grant = elsewhere.grantFor("alice", "192.0.2.9")
        server = RelayServer.parse(self.network.relay.grantFor(SERVICE.peerID.text).servers[0])
        client = self.network.waitFor(
            Deferred.fromCoroutine(
                Client.connect(
                    self.network.reactor("alice"),
                    TransportAddress(server.host, server.port),
                    EphemeralCredential(grant.username, grant.password),
                    interface="",
                    mayFail=True,
                )
            )
        )
        self.addCleanup(client.close)
        self.assertEqual(self.network.relay.exchange.server.allocationCount, 0)
