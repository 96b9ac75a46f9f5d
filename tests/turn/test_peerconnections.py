"""
Tests for L{holepunch.turn.peerconnections}: RFC 6062, by way of the relay.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.stun import Attribute, AttributeType, Message, Method, decode
from holepunch.turn.servereffects import ClosePeer, ConnectPeer, JoinStreams, OpenRelay
from tests.turn.asker import TCP, Asker, relayedOf
from tests.turn.network import Network
from tests.turn.relay import PEER

T = AttributeType
TO_PEER = Attribute(T.XOR_PEER_ADDRESS, PEER)


class PeerConnectionsTests(SynchronousTestCase):
    """
    Connections to peers and from them.
    """

    def setUp(self) -> None:
        self.network = Network(limits={"connections": 2})
        self.asker = Asker(self.network, transport=Transport.TCP)
        self.relayed = relayedOf(self.asker.allocate(transport=TCP))

    def connect(self, peer: TransportAddress = PEER) -> int:
        """
        Ask for a connection.

        @return: Its number.
        """
        asked = self.asker.login.encode(
            Message.request(Method.CONNECT, bytes(12), [Attribute(T.XOR_PEER_ADDRESS, peer)])
        )
        self.assertEqual(self.asker.send(asked), [])
        effect = self.network.effects[-1]
        assert isinstance(effect, ConnectPeer), effect
        self.assertEqual((effect.relayed, effect.peer), (self.relayed, peer))
        return effect.connection

    def connected(self, number: int) -> int:
        """
        The peer takes the connection.

        @return: The error code that the client gets, or 0.
        """
        self.network.server.peerConnected(number, self.network.now)
        (answer,) = self.network.perform(self.asker.client)
        response = decode(answer)
        if response.error is None:
            self.assertEqual(response.get(T.CONNECTION_ID), number)
        return 0 if response.error is None else response.error.code

    def data(self, user: str = "alice") -> Asker:
        """
        Another connection of a client.
        """
        return Asker(self.network, user, transport=Transport.TCP)

    def bind(self, number: int, asker: Asker) -> int:
        """
        Bind a connection.

        @return: The error code, or 0.
        """
        return asker.code(Method.CONNECTION_BIND, Attribute(T.CONNECTION_ID, number))

    def test_connect(self) -> None:
        """
        The relay connects to a peer, and joins that to another connection of the client.
        """
        number = self.connect()
        self.assertEqual(self.connected(number), 0)
        data = self.data()
        self.assertEqual(self.bind(number, data), 0)
        self.assertEqual(self.network.effects[-1], JoinStreams(number, data.client))
        self.assertEqual(self.bind(number, self.data()), 400)

    def test_accept(self) -> None:
        """
        A permitted peer connects; the client is told, and may bind the connection.
        """
        self.asker.permit(PEER.host)
        number = self.network.server.peerAccepted(self.relayed, PEER, self.network.now)
        assert number is not None
        (indication,) = self.network.perform(self.asker.client)
        message = decode(indication)
        self.assertEqual(message.method, Method.CONNECTION_ATTEMPT)
        self.assertEqual(message.get(T.CONNECTION_ID), number)
        self.assertEqual(message.get(T.XOR_PEER_ADDRESS), PEER)
        self.assertEqual(self.bind(number, self.data()), 0)

    def test_acceptStranger(self) -> None:
        """
        A peer without a permission gets no connection, and the client hears nothing.
        """
        self.assertIsNone(self.network.server.peerAccepted(self.relayed, PEER, self.network.now))
        self.assertEqual(self.network.perform(self.asker.client), [])

    def test_otherUser(self) -> None:
        """
        Another user cannot take the connection.
        """
        number = self.connect()
        self.connected(number)
        self.assertEqual(self.bind(number, self.data("mallory")), 400)
        self.assertEqual(self.bind(number, self.data()), 0)

    def test_nonceOfFirstConnection(self) -> None:
        """
        What the client learnt on its first connection is good for the second one.
        """
        number = self.connect()
        self.connected(number)
        data = self.data()
        data.login = self.asker.login
        self.assertEqual(self.bind(number, data), 0)

    def test_refused(self) -> None:
        """
        Connects that cannot be made, or may not, have their error codes.
        """
        refusals = {
            PEER: None,
            TransportAddress("10.0.0.1", 80): 403,
            TransportAddress("127.0.0.1", 80): 403,
            TransportAddress(self.relayed.host, 22): 403,
            TransportAddress(PEER.host, 0): 400,
            TransportAddress("2001:db8::9", 80): 443,
        }
        for peer, code in refusals.items():
            if code is not None:
                asked = Attribute(T.XOR_PEER_ADDRESS, peer)
                self.assertEqual(self.asker.code(Method.CONNECT, asked), code)
        self.assertEqual(self.asker.code(Method.CONNECT), 400)
        number = self.connect()
        self.assertEqual(self.asker.code(Method.CONNECT, TO_PEER), 446)
        self.connected(number)
        self.assertEqual(self.asker.code(Method.CONNECT, TO_PEER), 446)

    def test_udpAllocation(self) -> None:
        """
        An allocation for UDP has no connections, one for TCP no channels.
        """
        udp = Asker(self.network)
        udp.allocate()
        self.assertEqual(udp.code(Method.CONNECT, TO_PEER), 400)
        self.assertEqual(self.asker.bind(0x4000, PEER), 400)

    def test_failed(self) -> None:
        """
        A peer that does not take the connection is told of, and may be tried again.
        """
        number = self.connect()
        self.network.server.peerConnectFailed(number)
        (answer,) = self.network.perform(self.asker.client)
        error = decode(answer).error
        assert error is not None
        self.assertEqual(error.code, 447)
        self.connect()

    def test_timeouts(self) -> None:
        """
        A connect, and a connection that nobody binds, end after half a minute.
        """
        first = self.connect()
        self.network.advance(29)
        self.assertNotIn(ClosePeer(first), self.network.effects)
        self.network.advance(2)
        self.assertIn(ClosePeer(first), self.network.effects)
        second = self.connect()
        self.network.advance(29)
        self.connected(second)
        self.network.advance(29)
        self.assertNotIn(ClosePeer(second), self.network.effects)
        self.network.advance(2)
        self.assertIn(ClosePeer(second), self.network.effects)
        self.assertEqual(self.bind(second, self.data()), 400)

    def test_lateConnect(self) -> None:
        """
        A connection that comes when nobody waits for it is closed.
        """
        number = self.connect()
        self.network.advance(31)
        self.network.server.peerConnected(number, self.network.now)
        self.network.perform()
        self.assertEqual(self.network.effects[-1], ClosePeer(number))

    def test_tooMany(self) -> None:
        """
        An allocation has so many connections; a closed one makes room.
        """
        peers = [TransportAddress(PEER.host, 1000 + number) for number in range(3)]
        numbers = [self.connect(peer) for peer in peers[:2]]
        third = Attribute(T.XOR_PEER_ADDRESS, peers[2])
        self.assertEqual(self.asker.code(Method.CONNECT, third), 508)
        self.network.server.peerClosed(numbers[0])
        self.connect(peers[2])

    def test_end(self) -> None:
        """
        With the allocation all its connections end.
        """
        number = self.connect()
        self.connected(number)
        self.bind(number, self.data())
        self.network.server.clientLost(self.asker.client)
        self.network.perform()
        self.assertIn(ClosePeer(number), self.network.effects)
        self.assertIsNone(self.network.server.accountOf(number))

    def test_inside(self) -> None:
        """
        A relayed address of the same relay may be connected to, though its host is closed.
        """
        bob = Asker(self.network, "bob", transport=Transport.TCP)
        self.connect(relayedOf(bob.allocate(transport=TCP)))

    def test_socket(self) -> None:
        """
        The relayed address is one for TCP.
        """
        self.assertEqual(self.network.opened, {(Transport.TCP, self.relayed)})
        self.assertNotIn(OpenRelay, map(type, self.network.effects))
