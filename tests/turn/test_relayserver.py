"""
Tests for L{holepunch.turn.relayserver}: who gets what, and where data goes.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.rendezvous.limits import AddressBuckets
from holepunch.stun import (
    Attribute,
    AttributeType,
    LongTermClient,
    Message,
    MessageClass,
    Method,
    decode,
)
from holepunch.turn import EphemeralCredential, encodeChannelData, mintCredential
from holepunch.turn.servereffects import SendToPeer
from tests.turn.asker import UDP, Asker, relayedOf
from tests.turn.network import Network
from tests.turn.relay import PEER, REALM, SECRET, SERVER

T = AttributeType
STRANGER = TransportAddress("203.0.113.99", 7)
BARE = Message.request(Method.ALLOCATE, bytes(12), [Attribute(T.REQUESTED_TRANSPORT, UDP)])


class AuthenticationTests(SynchronousTestCase):
    """
    Who may ask.
    """

    def setUp(self) -> None:
        self.network = Network()

    def test_challenge(self) -> None:
        """
        A request without a credential is told realm and nonce, and leaves nothing behind.
        """
        asker = Asker(self.network)
        (answer,) = asker.send(BARE.encode(fingerprint=False))
        response = decode(answer)
        assert response.error is not None
        self.assertEqual((response.error.code, response.get(T.REALM)), (401, REALM))
        self.assertFalse(response.hasFingerprint)
        self.assertEqual(self.network.server.allocationCount, 0)

    def test_size(self) -> None:
        """
        The challenge, the answer that is longest beside its request, is at most 2.6 times as long
        as that, headers of IP and UDP counted.
        """
        request = BARE.encode(fingerprint=False)
        (answer,) = Asker(self.network).send(request)
        self.assertLessEqual((len(answer) + 28) / (len(request) + 28), 2.6)

    def test_wrongPassword(self) -> None:
        """
        Wrong passwords, expired credentials and made-up users are all refused alike.
        """
        expired = mintCredential(SECRET, "alice", int(self.network.now) - 1)
        for credential in (
            EphemeralCredential(self.network.credential().username, "wrong"),
            expired,
            EphemeralCredential("nobody", "x"),
        ):
            asker = Asker(self.network, credential=credential)
            self.assertEqual(
                asker.code(Method.ALLOCATE, Attribute(T.REQUESTED_TRANSPORT, UDP)), 401
            )
        self.assertEqual(self.network.server.allocationCount, 0)

    def test_users(self) -> None:
        """
        Users without a time limit have the passwords that the operator gave them.
        """
        network = Network(users={"bob": "password"})
        asker = Asker(network, credential=EphemeralCredential("bob", "password"))
        self.assertIsNone(asker.allocate().error)

    def test_nonceForUser(self) -> None:
        """
        With a nonce that was handed out beforehand the first request succeeds, from that host.
        """
        credential = self.network.credential()
        asker = Asker(self.network)
        nonce = self.network.server.nonceFor(
            credential.username, asker.client.client.host, self.network.now
        )
        asker.login = LongTermClient(credential.username, credential.password, REALM, nonce)
        (answer,) = asker.send(asker.login.encode(BARE))
        self.assertIs(decode(answer).messageClass, MessageClass.SUCCESS)
        elsewhere = Asker(self.network, host="203.0.113.6")
        (answer,) = elsewhere.send(asker.login.encode(BARE))
        error = decode(answer).error
        assert error is not None
        self.assertEqual(error.code, 438)

    def test_otherUser(self) -> None:
        """
        Another user cannot touch an allocation, even from the same 5-tuple.
        """
        asker = Asker(self.network)
        asker.allocate()
        other = Asker(self.network, "mallory")
        other.client = asker.client
        self.assertEqual(other.code(Method.REFRESH, Attribute(T.LIFETIME, 0)), 441)
        self.assertEqual(other.permit(PEER.host), 441)

    def test_renewedCredential(self) -> None:
        """
        The same user may go on with a newer credential.
        """
        asker = Asker(self.network)
        asker.allocate()
        newer = mintCredential(SECRET, "alice", 2_100_000_000)
        again = Asker(self.network, credential=newer)
        again.client = asker.client
        self.assertEqual(again.code(Method.REFRESH), 0)

    def test_rate(self) -> None:
        """
        Who asks too often is not answered at all; who has an allocation is.
        """
        allowance = [3]

        def mayAsk(host: str, now: float) -> bool:
            allowance[0] -= 1
            return allowance[0] >= 0

        network = Network(mayAsk=mayAsk)
        asker = Asker(network)
        asker.allocate()
        stranger = Asker(network)
        self.assertEqual(len(stranger.send(BARE.encode())), 1)
        self.assertEqual(stranger.send(BARE.encode()), [])
        self.assertEqual(asker.permit(PEER.host), 0)

    def test_flood(self) -> None:
        """
        Requests from a great many forged sources, and wrong passwords at speed, leave no state; who
        is above the rate is not even looked at.
        """
        buckets = AddressBuckets(50, 200, 1000)
        network = Network(mayAsk=buckets.take)
        for number in range(5000):
            host = f"11.{number >> 8}.{number & 255}.1"
            network.ask(BARE.encode(), network.fiveTuple(host))
        self.assertEqual(network.server.allocationCount, 0)
        self.assertIsNone(network.server.nextTimeout())
        wrong = EphemeralCredential(network.credential().username, "wrong")
        asker = Asker(network, credential=wrong)
        (challenge,) = asker.send(asker.login.encode(BARE))
        asker.login.receiveResponse(decode(challenge))
        request = asker.login.encode(BARE)
        answered = sum(len(asker.send(request)) for _ in range(1000))
        self.assertEqual(answered, 199)

    def test_forgedSource(self) -> None:
        """
        Data from another 5-tuple than the allocation's goes nowhere.
        """
        asker = Asker(self.network)
        asker.allocate()
        asker.bind(0x4000, PEER)
        asker.client = Asker(self.network).client
        asker.indicate(PEER, b"forged")
        asker.send(encodeChannelData(0x4000, b"forged"))
        self.assertEqual(self.network.toPeers, [])

    def test_unknownAttribute(self) -> None:
        """
        An attribute that must be understood, and is not, is named in the refusal.
        """
        response = Asker(self.network).allocate(Attribute(0x7777, b""))
        assert response.error is not None
        self.assertEqual(response.error.code, 420)
        self.assertEqual(response.get(T.UNKNOWN_ATTRIBUTES), (0x7777,))

    def test_binding(self) -> None:
        """
        A Binding request is answered with the mapped address.
        """
        asker = Asker(self.network)
        (answer,) = asker.send(Message.request(Method.BINDING, bytes(12)).encode())
        self.assertEqual(decode(answer).get(T.XOR_MAPPED_ADDRESS), asker.client.client)

    def test_nonsense(self) -> None:
        """
        What is no request is dropped, and counted.
        """
        asker = Asker(self.network)
        for data in (
            b"",
            b"\x40",
            b"\x40\0\0\0",
            b"hello",
            Message.indication(Method.BINDING, bytes(12)).encode(),
            Message.indication(Method.SEND, bytes(12)).encode(),
            Message.request(0x55, bytes(12)).encode(),
            Message.request(Method.SEND, bytes(12)).encode(),
        ):
            self.assertEqual(asker.send(data), [])
        self.assertEqual(self.network.server.dropped, 8)


class RelayingTests(SynchronousTestCase):
    """
    Where data goes.
    """

    def setUp(self) -> None:
        self.network = Network()
        self.asker = Asker(self.network)
        self.relayed = relayedOf(self.asker.allocate())

    def received(self, peer: TransportAddress, data: bytes) -> list[bytes]:
        """
        What the client gets when a peer sends.
        """
        self.network.server.receiveFromPeer(self.relayed, peer, data, self.network.now)
        return self.network.perform(self.asker.client)

    def test_indications(self) -> None:
        """
        Data goes to a permitted peer and comes back, in indications.
        """
        self.assertEqual(self.asker.permit(PEER.host), 0)
        self.asker.indicate(PEER, b"there")
        self.assertEqual(self.network.toPeers, [SendToPeer(self.relayed, PEER, b"there")])
        (data,) = self.received(PEER, b"back")
        message = decode(data)
        self.assertEqual((message.get(T.XOR_PEER_ADDRESS), message.get(T.DATA)), (PEER, b"back"))

    def test_wholePackets(self) -> None:
        """
        DONT-FRAGMENT goes along with the packet.
        """
        self.asker.permit(PEER.host)
        self.asker.indicate(PEER, b"there", Attribute(T.DONT_FRAGMENT))
        self.assertTrue(self.network.toPeers[0].isWhole)

    def test_notPermitted(self) -> None:
        """
        Without a permission nothing goes, and nothing comes.
        """
        self.asker.permit(PEER.host)
        self.asker.indicate(STRANGER, b"there")
        self.assertEqual(self.network.toPeers, [])
        self.assertEqual(self.received(STRANGER, b"back"), [])

    def test_permissionExpires(self) -> None:
        """
        A permission lasts five minutes, from its last refresh.
        """
        self.asker.permit(PEER.host)
        self.network.now += 299
        self.assertEqual(len(self.received(PEER, b"back")), 1)
        self.asker.permit(PEER.host)
        self.network.now += 299
        self.assertEqual(len(self.received(PEER, b"back")), 1)
        self.network.now += 2
        self.assertEqual(self.received(PEER, b"back"), [])
        self.asker.indicate(PEER, b"there")
        self.assertEqual(self.network.toPeers, [])

    def test_channel(self) -> None:
        """
        A channel carries data both ways, padded or not.
        """
        self.assertEqual(self.asker.bind(0x4000, PEER), 0)
        self.asker.send(encodeChannelData(0x4000, b"there", isReliable=True))
        self.assertEqual(self.network.toPeers, [SendToPeer(self.relayed, PEER, b"there")])
        self.assertEqual(self.received(PEER, b"back"), [encodeChannelData(0x4000, b"back")])
        self.asker.send(encodeChannelData(0x4001, b"there"))
        self.asker.send(encodeChannelData(0x4000, b"there")[:-1])
        self.assertEqual(len(self.network.toPeers), 1)

    def test_channelWithoutPermission(self) -> None:
        """
        A channel outlives its permission, and carries nothing then, until that is back.
        """
        self.asker.bind(0x4000, PEER)
        self.network.now += 301
        self.asker.send(encodeChannelData(0x4000, b"there"))
        self.assertEqual(self.network.toPeers, [])
        self.asker.permit(PEER.host)
        self.asker.send(encodeChannelData(0x4000, b"there"))
        self.assertEqual(len(self.network.toPeers), 1)

    def test_channelRules(self) -> None:
        """
        A number stands for one peer and a peer has one number, until ten minutes have passed.
        """
        other = TransportAddress(PEER.host, 1)
        self.assertEqual(self.asker.bind(0x4000, PEER), 0)
        self.assertEqual(self.asker.bind(0x4000, PEER), 0)
        self.assertEqual(self.asker.bind(0x4000, other), 400)
        self.assertEqual(self.asker.bind(0x4001, PEER), 400)
        self.assertEqual(self.asker.bind(0x3FFF, other), 400)
        self.assertEqual(self.asker.bind(0x8000, other), 400)
        self.network.now += 500
        self.assertEqual(self.asker.code(Method.REFRESH), 0)
        self.network.now += 101
        self.assertEqual(self.asker.bind(0x4000, other), 0)
        self.assertEqual(self.asker.bind(0x4001, PEER), 0)

    def test_forbiddenPeers(self) -> None:
        """
        No permission and no channel is given for what is not public.
        """
        for host in ("10.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"):
            self.assertEqual(self.asker.permit(host), 403)
            self.assertEqual(self.asker.bind(0x4000, TransportAddress(host, 9)), 403)
        self.assertEqual(self.asker.permit(PEER.host, "192.168.0.1"), 403)
        self.asker.indicate(PEER, b"all or none")
        self.assertEqual(self.network.toPeers, [])

    def test_otherFamily(self) -> None:
        """
        A peer of another IP version than the relayed address is refused.
        """
        self.assertEqual(self.asker.permit("2001:db8::9"), 443)
        self.assertEqual(self.asker.bind(0x4000, TransportAddress("2001:db8::9", 1)), 443)

    def test_ownHost(self) -> None:
        """
        A packet for the relay's own host reaches the relayed addresses on it, and nothing else.
        """
        self.assertEqual(self.asker.permit(SERVER.host), 0)
        self.asker.indicate(TransportAddress(SERVER.host, 22), b"there")
        self.asker.indicate(SERVER, b"there")
        self.assertEqual(self.network.toPeers, [])

    def test_inside(self) -> None:
        """
        From one relayed address to another data stays in the process, if both permit it.
        """
        bob = Asker(self.network, "bob", host="203.0.113.6")
        relayed = relayedOf(bob.allocate())
        self.asker.permit(relayed.host)
        self.asker.indicate(relayed, b"too early")
        bob.permit(relayed.host)
        bob.bind(0x4005, self.relayed)
        self.network.server.receive(
            Message.indication(
                Method.SEND,
                bytes(12),
                [Attribute(T.XOR_PEER_ADDRESS, relayed), Attribute(T.DATA, b"hello")],
            ).encode(),
            self.asker.client,
            self.network.now,
        )
        self.assertEqual(self.network.perform(bob.client), [encodeChannelData(0x4005, b"hello")])
        self.assertEqual(self.network.toPeers, [])

    def test_tooLarge(self) -> None:
        """
        A datagram that fits no indication is dropped.
        """
        self.asker.permit(PEER.host)
        self.assertEqual(self.received(PEER, bytes(65507)), [])

    def test_manyPermissions(self) -> None:
        """
        A client that asks for a million permissions gets no more than its allocation may have, and
        goes on with those.
        """
        limit = 128
        refused = 0
        for number in range(300):
            hosts = [f"198.18.{number % 3}.{number % 250 + 1}".replace("198.18", "11.1")]
            refused += self.asker.permit(*hosts) == 508
        self.assertEqual(300 - refused, limit)
        self.asker.indicate(TransportAddress("11.1.0.1", 1), b"there")
        self.assertEqual(len(self.network.toPeers), 1)
        self.network.now += 301
        self.assertEqual(self.asker.permit("11.2.0.1"), 0)

    def test_manyChannels(self) -> None:
        """
        A client gets no more channels than its allocation may have.
        """
        codes = [
            self.asker.bind(0x4000 + number, TransportAddress(PEER.host, 1 + number))
            for number in range(200)
        ]
        self.assertEqual((codes.count(0), codes.count(508)), (128, 72))

    def test_requestsAboutNothing(self) -> None:
        """
        Requests without what they are about are refused, those without an allocation too.
        """
        self.assertEqual(self.asker.code(Method.CREATE_PERMISSION), 400)
        self.assertEqual(self.asker.code(Method.CHANNEL_BIND), 400)
        nobody = Asker(self.network)
        self.assertEqual(nobody.permit(PEER.host), 437)
        self.assertEqual(nobody.bind(0x4000, PEER), 437)
        self.assertEqual(nobody.code(Method.REFRESH), 437)
        self.assertEqual(nobody.code(Method.CONNECT), 437)
