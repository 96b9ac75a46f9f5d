"""
Tests for L{holepunch.turn.allocator} and L{holepunch.turn.ports}, by way of the relay.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Family, Transport
from holepunch.stun import Attribute, AttributeType, Message, Method, decode
from holepunch.turn.servereffects import AllocationEnded, AllocationMade, CloseRelay
from tests.turn.asker import TCP, UDP, Asker, relayedOf
from tests.turn.network import OTHER_SERVER, Network
from tests.turn.relay import SERVER

T = AttributeType
LIFETIME_0 = Attribute(T.LIFETIME, 0)


class AllocatorTests(SynchronousTestCase):
    """
    How allocations come and go.
    """

    def setUp(self) -> None:
        self.network = Network()
        self.asker = Asker(self.network)

    def code(self, *attributes: Attribute, transport: int = UDP, asker: Asker | None = None) -> int:
        """
        The error code of an Allocate request by a new client, or 0.
        """
        error = (asker or Asker(self.network)).allocate(*attributes, transport=transport).error
        return 0 if error is None else error.code

    def test_made(self) -> None:
        """
        The answer names the relayed address, the mapped one and the lifetime; whoever watches is
        told.
        """
        response = self.asker.allocate()
        relayed = relayedOf(response)
        self.assertEqual(relayed.host, SERVER.host)
        self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), self.asker.client.client)
        self.assertEqual(response.get(T.LIFETIME), 600)
        made = AllocationMade(self.asker.client, self.network.credential().username, relayed)
        self.assertEqual(self.network.effects, [made])

    def test_retransmitted(self) -> None:
        """
        A request that comes twice gets the same answer, and makes one allocation.
        """
        self.asker.ask(Method.REFRESH)
        request = self.asker.login.encode(
            Message.request(
                Method.ALLOCATE, b"twelve bytes", [Attribute(T.REQUESTED_TRANSPORT, UDP)]
            )
        )
        first, second = self.asker.send(request), self.asker.send(request)
        self.assertEqual(first, second)
        self.assertEqual(self.network.server.allocationCount, 1)
        self.assertEqual(self.code(asker=self.asker), 437)

    def test_lifetimes(self) -> None:
        """
        A client gets the lifetime that it asks for, between the relay's least and longest.
        """
        for wanted, granted in ((1, 600), (700, 700), (100000, 3600)):
            response = Asker(self.network).allocate(Attribute(T.LIFETIME, wanted))
            self.assertEqual(response.get(T.LIFETIME), granted)

    def test_expires(self) -> None:
        """
        Who never refreshes loses the allocation, its socket, and the right to it.
        """
        relayed = relayedOf(self.asker.allocate())
        self.network.advance(599)
        self.assertEqual(self.network.server.allocationCount, 1)
        self.network.advance(2)
        self.assertEqual(self.network.server.allocationCount, 0)
        self.assertEqual(self.network.opened, set())
        self.assertIn(CloseRelay(Transport.UDP, relayed), self.network.effects)
        self.assertIsInstance(self.network.effects[-1], AllocationEnded)
        self.assertEqual(self.asker.code(Method.REFRESH), 437)

    def test_refreshed(self) -> None:
        """
        Refreshing moves the end, to later and to earlier.
        """
        self.asker.allocate(Attribute(T.LIFETIME, 3600))
        self.network.advance(1000)
        self.assertEqual(self.asker.ask(Method.REFRESH).get(T.LIFETIME), 600)
        self.network.advance(599)
        self.assertEqual(self.network.server.allocationCount, 1)
        self.network.advance(2)
        self.assertEqual(self.network.server.allocationCount, 0)

    def test_givenUp(self) -> None:
        """
        Refreshing to zero ends the allocation; after that there is none to refresh.
        """
        self.asker.allocate()
        self.assertEqual(self.asker.ask(Method.REFRESH, LIFETIME_0).get(T.LIFETIME), 0)
        self.assertEqual(self.network.server.allocationCount, 0)
        self.assertEqual(self.asker.code(Method.REFRESH, LIFETIME_0), 437)
        self.assertEqual(self.code(asker=self.asker), 0)

    def test_mistakes(self) -> None:
        """
        Each mistake in a request has its error code.
        """
        family = T.REQUESTED_ADDRESS_FAMILY
        both = T.ADDITIONAL_ADDRESS_FAMILY
        even = Attribute(T.EVEN_PORT, True)
        token = Attribute(T.RESERVATION_TOKEN, bytes(8))
        self.assertEqual(Asker(self.network).code(Method.ALLOCATE), 400)
        self.assertEqual(self.code(transport=1), 442)
        self.assertEqual(self.code(transport=TCP), 400)
        self.assertEqual(self.code(Attribute(family, 3)), 440)
        self.assertEqual(self.code(even, token), 400)
        self.assertEqual(self.code(token, Attribute(family, 1)), 400)
        self.assertEqual(self.code(token), 508)
        self.assertEqual(self.code(Attribute(both, 1)), 400)
        self.assertEqual(self.code(Attribute(both, 2), Attribute(family, 1)), 400)
        self.assertEqual(self.code(Attribute(both, 2), even), 400)
        network = Network(canForbidFragments=False)
        response = Asker(network).allocate(Attribute(T.DONT_FRAGMENT))
        self.assertEqual(response.get(T.UNKNOWN_ATTRIBUTES), (T.DONT_FRAGMENT,))

    def test_families(self) -> None:
        """
        A relay with addresses of both IP versions gives the one that is asked for, or both.
        """
        response = self.asker.allocate(Attribute(T.REQUESTED_ADDRESS_FAMILY, 2))
        self.assertEqual(relayedOf(response).host, OTHER_SERVER.host)
        other = Asker(self.network)
        response = other.allocate(Attribute(T.ADDITIONAL_ADDRESS_FAMILY, 2))
        addresses = response.getAll(T.XOR_RELAYED_ADDRESS)
        self.assertEqual([each.family for each in addresses], [Family.IPV4, Family.IPV6])
        self.assertEqual(other.permit("203.0.113.1", "2001:db8::9"), 0)
        ipv6 = Attribute(T.REQUESTED_ADDRESS_FAMILY, 2)
        self.assertEqual(other.code(Method.REFRESH, LIFETIME_0, ipv6), 0)
        self.assertEqual(other.permit("2001:db8::9"), 443)
        self.assertEqual(other.permit("203.0.113.1"), 0)
        self.assertEqual(other.code(Method.REFRESH, ipv6), 443)

    def test_oneFamily(self) -> None:
        """
        A relay without IPv6 refuses it; where both were asked for, it says so and gives IPv4.
        """
        network = Network(hosts=[SERVER.host])
        response = Asker(network).allocate(Attribute(T.REQUESTED_ADDRESS_FAMILY, 2))
        assert response.error is not None
        self.assertEqual(response.error.code, 440)
        response = Asker(network).allocate(Attribute(T.ADDITIONAL_ADDRESS_FAMILY, 2))
        self.assertEqual(relayedOf(response).host, SERVER.host)
        refused = response.get(T.ADDRESS_ERROR_CODE)
        self.assertEqual((refused.family, refused.error.code), (2, 440))

    def test_quota(self) -> None:
        """
        A user has so many allocations, and so have all together; others are not held up by one.
        """
        self.network = Network(limits={"allocationsPerUser": 2, "allocations": 3})
        codes = [self.code() for _ in range(3)]
        self.assertEqual(codes, [0, 0, 486])
        self.assertEqual(self.code(asker=Asker(self.network, "bob")), 0)
        self.assertEqual(self.code(asker=Asker(self.network, "carol")), 508)

    def test_quotaIsFreed(self) -> None:
        """
        What is given up counts no more, and neither does what could not be made.
        """
        self.network = Network(limits={"allocationsPerUser": 1}, ports=(50000, 50001))
        self.network.busyPorts = {50000, 50001}
        self.assertEqual(self.code(), 508)
        self.network.busyPorts = set()
        asker = Asker(self.network)
        self.assertEqual(self.code(asker=asker), 0)
        asker.ask(Method.REFRESH, LIFETIME_0)
        self.assertEqual(self.code(), 0)

    def test_busyPorts(self) -> None:
        """
        A port that another program has is passed over.
        """
        self.network = Network(ports=(50000, 50009))
        self.network.busyPorts = {50000, 50001, 50002, 50003}
        relayed = relayedOf(Asker(self.network).allocate())
        self.assertIn(relayed.port, range(50004, 50010))

    def test_evenPort(self) -> None:
        """
        EVEN-PORT gives an even port, and on request a token for the next one, which its user may
        redeem once.
        """
        response = self.asker.allocate(Attribute(T.EVEN_PORT, True))
        relayed, token = relayedOf(response), response.get(T.RESERVATION_TOKEN)
        self.assertEqual(relayed.port % 2, 0)
        redeemed = Attribute(T.RESERVATION_TOKEN, token)
        self.assertEqual(self.code(redeemed, asker=Asker(self.network, "mallory")), 508)
        following = relayedOf(Asker(self.network).allocate(redeemed))
        self.assertEqual(following.port, relayed.port + 1)
        self.assertEqual(self.code(redeemed), 508)

    def test_reservationExpires(self) -> None:
        """
        Nobody else gets a port that is kept, and it is kept for half a minute.
        """
        self.network = Network(ports=(50000, 50001))
        asker = Asker(self.network)
        token = asker.allocate(Attribute(T.EVEN_PORT, True)).get(T.RESERVATION_TOKEN)
        self.assertEqual(self.code(), 508)
        self.network.now += 31
        self.assertEqual(self.code(Attribute(T.RESERVATION_TOKEN, token)), 508)
        self.network.server.handleTimeout(self.network.now)
        self.assertEqual(self.code(), 0)

    def test_clientLost(self) -> None:
        """
        What a client asked for over TCP ends with its connection.
        """
        asker = Asker(self.network, transport=Transport.TCP)
        asker.allocate()
        self.network.server.clientLost(asker.client)
        self.network.perform()
        self.assertEqual(self.network.server.allocationCount, 0)

    def test_refusedAnswersAreAuthentic(self) -> None:
        """
        Refusals of a known user carry the integrity of its credential.
        """
        self.asker.allocate()
        response = self.asker.allocate()
        self.assertTrue(response.hasIntegrity)
        self.assertIsNotNone(decode(response.data).error)
