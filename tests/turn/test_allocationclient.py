"""
Tests for L{holepunch.turn.allocationclient}, against answers made by hand.
"""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import LocalProtocolError
from holepunch.stun import (
    Attribute,
    AttributeType,
    Message,
    Method,
    ReceivedMessage,
    decode,
    longTermKey,
)
from holepunch.turn import (
    Allocated,
    AllocationClosed,
    AllocationFailed,
    AllocationLost,
    AllocationState,
    PermissionRefused,
    Permitted,
    RelayedData,
    SendToServer,
    encodeChannelData,
    looksLikeChannelData,
)
from holepunch.turn.effects import Effect
from tests.turn.relay import CLIENT, CREDENTIAL, PEER, REALM, makeClient, sent

T = AttributeType
RELAYED = TransportAddress("198.51.100.1", 49200)
KEY = longTermKey(CREDENTIAL.username, REALM, CREDENTIAL.password)
NONCE = b"nonce"


def success(request: ReceivedMessage) -> bytes:
    """
    The relay does what it was asked for.
    """
    attributes = []
    if request.method == Method.ALLOCATE:
        attributes = [
            Attribute(T.XOR_RELAYED_ADDRESS, RELAYED),
            Attribute(T.XOR_MAPPED_ADDRESS, CLIENT),
        ]
    if request.method in (Method.ALLOCATE, Method.REFRESH):
        attributes.append(Attribute(T.LIFETIME, request.get(T.LIFETIME)))
    return Message.success(request, attributes).encode(KEY)


def error(request: ReceivedMessage, code: int) -> bytes:
    """
    The relay refuses.
    """
    return Message.error(request, code, "No").encode(KEY)


def challenge(request: ReceivedMessage, code: int, nonce: bytes) -> bytes:
    """
    The relay asks for a credential.
    """
    added = (Attribute(T.REALM, REALM), Attribute(T.NONCE, nonce))
    return Message.error(request, code, "", added).encode()


class AllocationClientTests(SynchronousTestCase):
    """
    L{AllocationClient<holepunch.turn.AllocationClient>}.
    """

    def setUp(self) -> None:
        self.client = makeClient(realm=REALM, nonce=NONCE)
        self.now = 1000.0

    def requests(self) -> list[ReceivedMessage]:
        """
        What the client asks.
        """
        return [decode(data) for data in sent(self.client)]

    def receive(self, *messages: bytes) -> None:
        for message in messages:
            self.client.receive(message, self.now)

    def allocate(self) -> None:
        """
        Get the allocation, and a permission for C{PEER}.
        """
        self.client.start(self.now)
        self.client.permit(PEER.host, self.now)
        self.receive(*map(success, self.requests()))
        self.client.takeEffects()

    def later(self, seconds: float) -> None:
        """
        Let time pass, with a wake-up whenever the client wants one.
        """
        until = self.now + seconds
        while (at := self.client.nextTimeout()) is not None and at <= until:
            self.now = max(self.now, at)
            self.client.handleTimeout(self.now)
            return
        self.now = until

    def test_pipelined(self) -> None:
        """
        With realm and nonce known, Allocate, the permission and the first datagram leave before any
        answer, with the credential.
        """
        self.client.start(self.now)
        self.client.permit(PEER.host, self.now)
        self.client.send(PEER, b"check", self.now)
        allocate, permission, indication = self.requests()
        self.assertEqual(
            [allocate.method, permission.method, indication.method],
            [Method.ALLOCATE, Method.CREATE_PERMISSION, Method.SEND],
        )
        self.assertTrue(allocate.isIntegrityValid(KEY))
        self.assertTrue(permission.isIntegrityValid(KEY))
        self.assertEqual(indication.get(T.DATA), b"check")
        self.receive(success(allocate), success(permission))
        self.assertEqual(
            self.client.takeEffects(), [Allocated(RELAYED, CLIENT, 600.0), Permitted(PEER.host)]
        )

    def test_staleNonce(self) -> None:
        """
        A stale nonce costs one round trip: all requests leave again with the new one, in order.
        """
        self.client.start(self.now)
        self.client.permit(PEER.host, self.now)
        first = self.requests()
        self.receive(*(challenge(each, 438, b"fresh") for each in first))
        again = self.requests()
        self.assertEqual(
            [each.method for each in again], [Method.ALLOCATE, Method.CREATE_PERMISSION]
        )
        self.assertEqual({each.get(T.NONCE) for each in again}, {b"fresh"})
        self.receive(*map(success, again))
        self.assertIn(Permitted(PEER.host), self.client.takeEffects())

    def test_unknownRealm(self) -> None:
        """
        Without realm and nonce only Allocate leaves, again after the challenge, too; the rest
        follows its answer.
        """
        self.client = makeClient()
        self.client.start(self.now)
        self.client.permit(PEER.host, self.now)
        self.client.send(PEER, b"lost", self.now)
        (bare,) = self.requests()
        self.assertFalse(bare.hasIntegrity)
        self.receive(challenge(bare, 401, NONCE))
        (allocate,) = self.requests()
        self.assertTrue(allocate.hasIntegrity)
        self.client.permit("192.0.2.9", self.now)
        self.assertEqual(self.requests(), [])
        self.receive(success(allocate))
        self.assertEqual([each.method for each in self.requests()], [Method.CREATE_PERMISSION] * 2)

    def test_overtaken(self) -> None:
        """
        A permission that reached the relay before its allocation is asked for once more.
        """
        self.client.start(self.now)
        self.client.permit(PEER.host, self.now)
        allocate, permission = self.requests()
        self.receive(error(permission, 437))
        self.assertEqual(self.requests(), [])
        self.receive(success(allocate))
        (again,) = self.requests()
        self.receive(error(again, 437))
        (third,) = self.requests()
        self.receive(error(third, 437))
        (lost,) = self.client.takeEffects()
        self.assertIsInstance(lost, AllocationLost)

    def test_wrongPassword(self) -> None:
        """
        A credential that the relay refuses ends in one sentence.
        """
        self.client.start(self.now)
        (allocate,) = self.requests()
        self.receive(challenge(allocate, 401, b"other"))
        (failed,) = self.client.takeEffects()
        assert isinstance(failed, AllocationFailed)
        self.assertEqual(str(failed.reason), "the relay refuses the credential")
        self.assertIs(self.client.state, AllocationState.ENDED)
        self.assertIsNone(self.client.nextTimeout())

    def test_quota(self) -> None:
        """
        An Allocate request that is refused tells the code.
        """
        self.client.start(self.now)
        (allocate,) = self.requests()
        self.receive(error(allocate, 486))
        (failed,) = self.client.takeEffects()
        assert isinstance(failed, AllocationFailed)
        self.assertIn("486", str(failed.reason))

    def test_forged(self) -> None:
        """
        An answer without the key changes nothing.
        """
        self.client.start(self.now)
        (allocate,) = self.requests()
        self.receive(Message.success(allocate, [Attribute(T.XOR_RELAYED_ADDRESS, PEER)]).encode())
        self.receive(Message.error(allocate, 486).encode(b"wrong"))
        self.assertEqual(self.client.takeEffects(), [])
        self.receive(success(allocate))
        self.assertEqual(self.client.relayed, RELAYED)

    def test_silence(self) -> None:
        """
        A relay that does not answer is asked seven times and given up.
        """
        self.client.start(self.now)
        count = len(self.requests())
        while self.client.state is AllocationState.ALLOCATING:
            self.later(100)
            effects = self.client.takeEffects()
            count += sum(not isinstance(each, AllocationFailed) for each in effects)
        self.assertEqual(count, 7)
        self.assertEqual(effects[-1].__class__, AllocationFailed)

    def test_channel(self) -> None:
        """
        Once a channel is bound data goes and comes in ChannelData; before that in indications.
        """
        self.allocate()
        self.client.bindChannel(PEER, self.now)
        (bind,) = self.requests()
        self.client.send(PEER, b"one", self.now)
        self.assertEqual(self.requests()[0].method, Method.SEND)
        self.receive(success(bind))
        self.client.send(PEER, b"two", self.now)
        self.assertEqual(sent(self.client), [encodeChannelData(0x4000, b"two")])
        self.receive(encodeChannelData(0x4000, b"back"), encodeChannelData(0x4001, b"no"))
        self.receive(b"\x40\x00\x00\x09cut")
        self.assertEqual(self.client.takeEffects(), [RelayedData(PEER, b"back")])

    def test_indication(self) -> None:
        """
        Data indications are taken from hosts with a permission only.
        """
        self.allocate()
        for host in (PEER.host, "203.0.113.77"):
            peer = TransportAddress(host, 5)
            attributes = (Attribute(T.XOR_PEER_ADDRESS, peer), Attribute(T.DATA, b"data"))
            self.receive(Message.indication(Method.DATA, bytes(12), attributes).encode())
        self.assertEqual(
            self.client.takeEffects(), [RelayedData(TransportAddress(PEER.host, 5), b"data")]
        )

    def test_refreshed(self) -> None:
        """
        For an hour the allocation, the permission and the channel are refreshed in time.
        """
        self.allocate()
        self.client.bindChannel(PEER, self.now)
        self.receive(*map(success, self.requests()))
        last = dict.fromkeys((Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND), 1000)
        lifetimes = {
            Method.REFRESH: 600,
            Method.CREATE_PERMISSION: 300,
            Method.CHANNEL_BIND: 600,
        }
        while self.now < 4600:
            self.later(50)
            for request in self.requests():
                method = Method(request.method)
                self.assertLess(self.now - last[method], lifetimes[method])
                last[method] = int(self.now)
                self.receive(success(request))
        self.assertGreater(min(last.values()), 4000)
        self.assertIs(self.client.state, AllocationState.ALLOCATED)

    def test_refreshRefused(self) -> None:
        """
        A refresh that the relay refuses is the end of the allocation.
        """
        self.allocate()
        while not (requests := [r for r in self.requests() if r.method == Method.REFRESH]):
            self.later(50)
        self.receive(error(requests[0], 437))
        (lost,) = self.client.takeEffects()
        self.assertIsInstance(lost, AllocationLost)

    def test_diesDuringRequests(self) -> None:
        """
        A relay that falls silent while several requests are under way ends the allocation, once.
        """
        self.allocate()
        self.client.verify(self.now)
        self.client.verify(self.now)
        told: list[Effect] = []
        while (at := self.client.nextTimeout()) is not None:
            self.now = at
            self.client.handleTimeout(self.now)
            told += [
                each for each in self.client.takeEffects() if not isinstance(each, SendToServer)
            ]
        (lost,) = told
        self.assertIsInstance(lost, AllocationLost)

    def test_noLifetime(self) -> None:
        """
        A relay that gives no lifetime is not asked for more without a pause.
        """
        self.allocate()
        asked, end = 0, self.now + 600
        self.client.verify(self.now)
        while (at := self.client.nextTimeout()) is not None and at < end:
            self.now = max(at, self.now)
            self.client.handleTimeout(self.now)
            for request in self.requests():
                asked += 1
                answer = Message.success(request, [Attribute(T.LIFETIME, 0)])
                self.receive(answer.encode(KEY))
        self.assertIn(asked, range(60, 130))

    @given(st.integers(0, 2**32))
    def test_hostileRelay(self, seed: int) -> None:
        """
        Whatever the relay answers, and whenever: it raises nothing, and an allocation that has
        ended waits for nothing.
        """
        chance = random.Random(seed)
        self.setUp()
        self.client.start(self.now)
        for _ in range(30):
            messages = [each for each in sent(self.client) if not looksLikeChannelData(each)]
            for request in map(decode, messages):
                for _ in range(chance.randrange(3)):
                    self.receive(self.anyAnswer(request, chance))
            chance.choice(
                [
                    lambda: self.client.permit(PEER.host, self.now),
                    lambda: self.client.bindChannel(PEER, self.now),
                    lambda: self.client.send(PEER, b"data", self.now),
                    lambda: self.client.verify(self.now),
                    lambda: self.receive(chance.randbytes(chance.randrange(30))),
                ]
            )()
            at = self.client.nextTimeout()
            if at is not None and chance.randrange(2):
                self.now = max(at, self.now)
                self.client.handleTimeout(self.now)
        if self.client.state is AllocationState.ENDED:
            self.assertIsNone(self.client.nextTimeout())

    def anyAnswer(self, request: ReceivedMessage, chance: random.Random) -> bytes:
        """
        An answer of any kind, mostly with the right key.
        """
        if chance.randrange(3) == 0:
            return success(request)
        possible = [
            Attribute(T.XOR_RELAYED_ADDRESS, RELAYED),
            Attribute(T.XOR_RELAYED_ADDRESS, TransportAddress("2001:db8::1", 0)),
            Attribute(T.XOR_MAPPED_ADDRESS, CLIENT),
            Attribute(T.LIFETIME, chance.choice([0, 1, 600, 2**32 - 1])),
            Attribute(T.CHANNEL_NUMBER, 0x4000),
            Attribute(T.NONCE, chance.randbytes(9)),
            Attribute(T.DATA, b"data"),
        ]
        attributes = chance.sample(possible, chance.randrange(len(possible)))
        code = chance.choice([300, 400, 401, 403, 437, 438, 441, 486, 508, 699])
        answer = (
            Message.success(request, attributes)
            if chance.randrange(2)
            else Message.error(request, code, "", attributes)
        )
        return answer.encode(KEY if chance.randrange(5) else None)

    def test_permissionRefused(self) -> None:
        """
        A host that the relay refuses is told once; what is sent to it is dropped.
        """
        self.allocate()
        self.client.permit("10.0.0.1", self.now)
        self.receive(*(error(each, 403) for each in self.requests()))
        (refused,) = self.client.takeEffects()
        assert isinstance(refused, PermissionRefused)
        self.assertEqual(refused.host, "10.0.0.1")
        self.client.send(TransportAddress("10.0.0.1", 1), b"data", self.now)
        self.assertEqual(self.client.takeEffects(), [])

    def test_renewed(self) -> None:
        """
        After L{renew<holepunch.turn.AllocationClient.renew>} requests carry the other credential.
        """
        self.allocate()
        self.client.renew(CREDENTIAL.__class__("9:alice", "other"), self.now)
        self.client.permit("203.0.113.10", self.now)
        (request,) = self.requests()
        self.assertEqual(request.get(T.USERNAME), "9:alice")
        self.assertTrue(request.isIntegrityValid(longTermKey("9:alice", REALM, "other")))

    def test_closed(self) -> None:
        """
        Closing gives the allocation up at the relay, and nothing else happens after that.
        """
        self.allocate()
        self.client.close(self.now)
        self.client.close(self.now)
        (request,) = self.requests()
        self.assertEqual((request.method, request.get(T.LIFETIME)), (Method.REFRESH, 0))
        self.client.send(PEER, b"late", self.now)
        self.client.permit("203.0.113.10", self.now)
        self.receive(success(request))
        self.assertEqual(self.client.takeEffects(), [AllocationClosed()])
        self.assertIsNone(self.client.nextTimeout())

    def test_startedTwice(self) -> None:
        """
        Starting twice is the caller's mistake.
        """
        self.client.start(self.now)
        self.assertRaises(LocalProtocolError, self.client.start, self.now)
