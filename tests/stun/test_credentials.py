"""
Tests for L{holepunch.stun.credentials}: a client and a server, and an attacker between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import BadCredentials
from holepunch.stun import (
    Attribute,
    AttributeType,
    Authenticated,
    LongTermClient,
    LongTermVerifier,
    Message,
    Method,
    PasswordAlgorithm,
    PasswordAlgorithmNumber,
    ReceivedMessage,
    ResponseFate,
    decode,
    longTermKey,
    securityFeatures,
    userHash,
)

T = AttributeType
MD5, SHA256 = PasswordAlgorithmNumber
SOURCE = TransportAddress("192.0.2.1", 4000)
REALM = "example.org"
PASSWORDS = {"alice": "rabbit hole", "bob": "builder"}
USERS = {userHash(name, REALM): name for name in PASSWORDS}


def keyFor(username: str, algorithm: PasswordAlgorithmNumber) -> bytes | None:
    """
    What the server's database has.
    """
    password = PASSWORDS.get(username)
    return None if password is None else longTermKey(username, REALM, password, algorithm)


def verifier(
    algorithms: Sequence[PasswordAlgorithmNumber] = (SHA256, MD5), isAnonymous: bool = False
) -> LongTermVerifier:
    """
    A server's side.
    """
    return LongTermVerifier(
        REALM,
        keyFor,
        b"server secret",
        algorithms=algorithms,
        usernameFor=USERS.get if isAnonymous else None,
        nonceLifetime=60,
    )


def without(message: ReceivedMessage | Message, *types: int) -> Message:
    """
    A copy of a message as an attacker would make it, lacking some attributes.
    """
    return Message(
        method=message.method,
        messageClass=message.messageClass,
        transactionId=message.transactionId,
        attributes=[found for found in message.attributes if found.type not in types],
    )


def replaced(message: Message, type: int, value: object) -> Message:
    """
    A copy of a message in which one attribute has another value.
    """
    return attrs.evolve(
        message,
        attributes=[
            Attribute(type, value) if found.type == type else found for found in message.attributes
        ],
    )


class Exchange:
    """
    A client and a server that talk, remembering what was said.
    """

    def __init__(self, client: LongTermClient, server: LongTermVerifier) -> None:
        self.client = client
        self.server = server
        self.request = decode(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12))
        self.verdict: Authenticated | Message | None = None
        self._count = 0

    def ask(self, now: float = 0, source: TransportAddress = SOURCE) -> Authenticated | Message:
        """
        One request as far as the server's verdict.
        """
        self._count += 1
        message = Message.request(Method.ALLOCATE, self._count.to_bytes(12, "big"))
        self.request = decode(self.client.encode(message))
        self.verdict = self.server.verify(self.request, source, now)
        return self.verdict

    def reply(self) -> bytes:
        """
        The response that fits the verdict.
        """
        if isinstance(self.verdict, Authenticated):
            return self.verdict.encode(Message.success(self.request))
        assert self.verdict is not None
        return self.verdict.encode()

    def turn(self, now: float = 0, source: TransportAddress = SOURCE) -> ResponseFate:
        """
        One request and its response.
        """
        self.ask(now, source)
        return self.client.receiveResponse(decode(self.reply()))


class LoginTests(SynchronousTestCase):
    """
    What happens with nobody in between.
    """

    def login(self, server: LongTermVerifier, name: str = "alice") -> Exchange:
        """
        A user who comes through.
        """
        exchange = Exchange(LongTermClient(name, PASSWORDS[name]), server)
        self.assertIs(exchange.turn(), ResponseFate.RETRY)
        self.assertIs(exchange.turn(), ResponseFate.ACCEPTED)
        assert isinstance(exchange.verdict, Authenticated)
        self.assertEqual(exchange.verdict.username, name)
        return exchange

    def test_sha256(self) -> None:
        """
        The first algorithm of the server's list is used, and both sides sign with SHA-256.
        """
        exchange = self.login(verifier())
        self.assertEqual(exchange.request.get(T.PASSWORD_ALGORITHM), PasswordAlgorithm(SHA256))
        self.assertEqual(exchange.request.get(T.USERNAME), "alice")
        self.assertTrue(exchange.request.hasIntegritySHA256)
        self.assertTrue(decode(exchange.reply()).hasIntegritySHA256)

    def test_firstRequestSaysNothing(self) -> None:
        """
        Before the server asks, no name and no hash leaves the client (section 9.2.3.1).
        """
        exchange = Exchange(LongTermClient("alice", "rabbit hole"), verifier())
        exchange.ask()
        self.assertEqual([found.type for found in exchange.request.attributes], [T.FINGERPRINT])

    def test_passwordStaysHome(self) -> None:
        """
        The password is in no message.
        """
        exchange = self.login(verifier())
        self.assertNotIn(b"rabbit", exchange.request.data)

    def test_md5Server(self) -> None:
        """
        A server whose list has MD5 only is served with MD5 keys.
        """
        exchange = self.login(verifier([MD5]))
        self.assertEqual(exchange.request.get(T.PASSWORD_ALGORITHM), PasswordAlgorithm(MD5))

    def test_usernameAnonymity(self) -> None:
        """
        A server that can look up hashes never sees the name in the clear.
        """
        exchange = self.login(verifier(isAnonymous=True), "bob")
        self.assertIsNone(exchange.request.get(T.USERNAME))
        self.assertEqual(exchange.request.get(T.USERHASH), userHash("bob", REALM))

    def test_manyRequests(self) -> None:
        """
        Once logged in, each further request is accepted at once.
        """
        exchange = self.login(verifier())
        for _ in range(10):
            self.assertIs(exchange.turn(now=30), ResponseFate.ACCEPTED)

    def test_staleNonce(self) -> None:
        """
        An old nonce is exchanged for a new one, and the user stays logged in.
        """
        exchange = self.login(verifier())
        for now in range(100, 1000, 100):
            self.assertIs(exchange.turn(now), ResponseFate.RETRY)
            assert isinstance(exchange.verdict, Message)
            self.assertEqual(decode(exchange.reply()).error.code, 438)  # type: ignore[union-attr]
            self.assertIs(exchange.turn(now), ResponseFate.ACCEPTED)

    def test_staleNonceWithoutRealm(self) -> None:
        """
        A server that repeats only the nonce when it is stale keeps its realm.
        """
        exchange = self.login(verifier())
        stale = exchange.ask(now=100)
        assert isinstance(stale, Message)
        response = decode(without(stale, T.REALM).encode())
        self.assertIs(exchange.client.receiveResponse(response), ResponseFate.RETRY)
        self.assertIs(exchange.turn(now=100), ResponseFate.ACCEPTED)

    def test_rebinding(self) -> None:
        """
        A client whose NAT gave it another port has to take a new nonce.
        """
        exchange = self.login(verifier())
        elsewhere = TransportAddress("192.0.2.1", 4001)
        self.assertIs(exchange.turn(source=elsewhere), ResponseFate.RETRY)
        self.assertIs(exchange.turn(source=elsewhere), ResponseFate.ACCEPTED)

    def test_wrongCredential(self) -> None:
        """
        A wrong password and an unknown user look the same, and are not tried twice.
        """
        for name, password in (("alice", "wrong"), ("mallory", "x")):
            exchange = Exchange(LongTermClient(name, password), verifier())
            self.assertIs(exchange.turn(), ResponseFate.RETRY)
            self.assertIs(exchange.turn(), ResponseFate.REFUSED)
            self.assertEqual(decode(exchange.reply()).error.code, 401)  # type: ignore[union-attr]

    def test_unusableName(self) -> None:
        """
        A name or password that cannot be used is refused at once.
        """
        with self.assertRaises(BadCredentials):
            LongTermClient("", "x")
        with self.assertRaises(BadCredentials):
            LongTermClient("alice", "a\0b")

    def test_serverWithoutAuthentication(self) -> None:
        """
        Where the server asks for nothing, nothing is demanded of it.
        """
        client = LongTermClient("alice", "rabbit hole")
        request = Message.request(Method.BINDING, bytes(12))
        response = decode(Message.success(request).encode())
        self.assertIs(client.receiveResponse(response), ResponseFate.ACCEPTED)


class OldSideTests(SynchronousTestCase):
    """
    Clients and servers of RFC 5389.
    """

    def request(self, nonce: bytes, key: bytes, *extra: Attribute) -> ReceivedMessage:
        """
        What a client of RFC 5389 sends.
        """
        return decode(
            Message.request(
                Method.ALLOCATE,
                bytes(12),
                [
                    Attribute(T.USERNAME, "alice"),
                    Attribute(T.REALM, REALM),
                    Attribute(T.NONCE, nonce),
                    *extra,
                ],
            ).encode(key)
        )

    def nonce(self, server: LongTermVerifier) -> bytes:
        """
        A fresh nonce.
        """
        bare = decode(Message.request(Method.ALLOCATE, bytes(12)).encode())
        challenge = server.verify(bare, SOURCE, 0)
        assert isinstance(challenge, Message)
        found: bytes = challenge.get(T.NONCE)
        return found

    def test_oldClient(self) -> None:
        """
        A client that knows no password algorithms logs in with MD5 and is answered with SHA-1.
        """
        server = verifier()
        key = longTermKey("alice", REALM, "rabbit hole")
        verdict = server.verify(self.request(self.nonce(server), key), SOURCE, 0)
        assert isinstance(verdict, Authenticated)
        self.assertFalse(verdict.isSHA256)

    def test_oldClientLockedOut(self) -> None:
        """
        A server without MD5 does not let it in.
        """
        server = verifier([SHA256])
        key = longTermKey("alice", REALM, "rabbit hole")
        verdict = server.verify(self.request(self.nonce(server), key), SOURCE, 0)
        assert isinstance(verdict, Message)
        self.assertEqual(decode(verdict.encode()).error.code, 401)  # type: ignore[union-attr]

    def test_oldServer(self) -> None:
        """
        A server without the nonce cookie gets MD5, SHA-1 and the name.
        """
        client = LongTermClient("alice", "rabbit hole")
        message = Message.request(Method.ALLOCATE, bytes(12))
        challenge = Message.error(
            message, 401, "", [Attribute(T.REALM, REALM), Attribute(T.NONCE, b"f//499k954d6OL34")]
        )
        fate = client.receiveResponse(decode(challenge.encode()))
        self.assertIs(fate, ResponseFate.RETRY)
        request = decode(client.encode(message))
        self.assertEqual(request.get(T.USERNAME), "alice")
        self.assertIsNone(request.get(T.PASSWORD_ALGORITHMS))
        self.assertFalse(request.hasIntegritySHA256)
        self.assertTrue(request.isIntegrityValid(longTermKey("alice", REALM, "rabbit hole")))

    def test_incompleteRequests(self) -> None:
        """
        Integrity without the other attributes, or half a negotiation, gets 400.
        """
        server = verifier()
        nonce = self.nonce(server)
        key = longTermKey("alice", REALM, "rabbit hole")
        both = (PasswordAlgorithm(SHA256), PasswordAlgorithm(MD5))
        good = self.request(
            nonce,
            key,
            Attribute(T.PASSWORD_ALGORITHMS, both),
            Attribute(T.PASSWORD_ALGORITHM, both[1]),
        )
        self.assertIsInstance(server.verify(good, SOURCE, 0), Authenticated)
        added = (T.MESSAGE_INTEGRITY, T.FINGERPRINT)
        clean = without(good, *added)
        for bad in (
            without(good, T.USERNAME, *added),
            without(good, T.REALM, *added),
            without(good, T.NONCE, *added),
            without(good, T.PASSWORD_ALGORITHM, *added),
            without(good, T.PASSWORD_ALGORITHMS, *added),
            replaced(clean, T.PASSWORD_ALGORITHMS, both[1:]),
            replaced(clean, T.PASSWORD_ALGORITHM, PasswordAlgorithm(3)),
        ):
            verdict = server.verify(decode(bad.encode(key)), SOURCE, 0)
            assert isinstance(verdict, Message)
            response = decode(verdict.encode())
            self.assertEqual(response.error.code, 400)  # type: ignore[union-attr]
            self.assertIsNone(response.get(T.NONCE))


class AttackerTests(SynchronousTestCase):
    """
    Somebody on the way who changes messages (RFC 8489 section 9.2.1).
    """

    def setUp(self) -> None:
        """
        A client that has been challenged, and the challenge.
        """
        self.exchange = Exchange(LongTermClient("alice", "rabbit hole"), verifier())
        challenge = self.exchange.ask()
        assert isinstance(challenge, Message)
        self.challenge = challenge

    def receive(self, message: Message) -> ResponseFate:
        """
        What the client does with a forged response.
        """
        return self.exchange.client.receiveResponse(decode(message.encode()))

    def test_algorithmsRemoved(self) -> None:
        """
        Without the list that the nonce announces the client does not go on.
        """
        forged = without(self.challenge, T.PASSWORD_ALGORITHMS)
        self.assertIs(self.receive(forged), ResponseFate.REFUSED)

    def test_algorithmsAndCookieRemoved(self) -> None:
        """
        Where the nonce is forged as well the server does not know it; the client notices that the
        server's features come and go.
        """
        forged = without(self.challenge, T.PASSWORD_ALGORITHMS)
        nonce = b"obMatJos2AAAA" + self.challenge.get(T.NONCE)[13:]
        forged = replaced(forged, T.NONCE, nonce)
        self.assertIs(self.receive(forged), ResponseFate.RETRY)
        self.assertIs(self.exchange.turn(), ResponseFate.RETRY)
        self.assertEqual(
            decode(self.exchange.reply()).error.code,  # type: ignore[union-attr]
            438,
        )
        self.exchange.ask()
        self.assertIsInstance(self.exchange.verdict, Authenticated)
        self.assertTrue(self.exchange.request.hasIntegritySHA256)
        stale = Message.error(self.exchange.request, 438, "", forged.attributes[1:])
        self.assertIs(self.receive(stale), ResponseFate.REFUSED)

    def test_listReduced(self) -> None:
        """
        A list from which the better algorithm was taken is not the server's: it refuses.
        """
        forged = replaced(self.challenge, T.PASSWORD_ALGORITHMS, (PasswordAlgorithm(MD5),))
        self.assertIs(self.receive(forged), ResponseFate.RETRY)
        verdict = self.exchange.ask()
        assert isinstance(verdict, Message)
        self.assertEqual(decode(verdict.encode()).error.code, 400)  # type: ignore[union-attr]
        # Unauthenticated, so it could be forged too: as if it had never come.
        self.assertIs(self.receive(verdict), ResponseFate.IGNORED)

    def test_unknownAlgorithms(self) -> None:
        """
        A list of nothing that the client knows ends the attempt.
        """
        forged = replaced(self.challenge, T.PASSWORD_ALGORITHMS, (PasswordAlgorithm(9),))
        self.assertIs(self.receive(forged), ResponseFate.REFUSED)

    def test_incompleteChallenge(self) -> None:
        """
        A challenge without realm or nonce cannot be answered.
        """
        for type in (T.REALM, T.NONCE):
            self.assertIs(self.receive(without(self.challenge, type)), ResponseFate.REFUSED)

    def test_strangeChallenge(self) -> None:
        """
        A realm that is no text, or a list without end, is refused, not an error of ours.
        """
        endless = (PasswordAlgorithm(SHA256), PasswordAlgorithm(9, bytes(600)))
        for type, value in (
            (T.REALM, ""),
            (T.REALM, "bell\a"),
            (T.PASSWORD_ALGORITHMS, endless),
            (T.PASSWORD_ALGORITHMS, (PasswordAlgorithm(SHA256),) * 1000),
        ):
            forged = replaced(self.challenge, type, value)
            self.assertIs(self.receive(forged), ResponseFate.REFUSED)

    def test_forgedResponses(self) -> None:
        """
        Once logged in, responses without integrity, with a wrong one, or with the weaker one are
        as if they had never come.
        """
        client = self.exchange.client
        self.receive(self.challenge)
        self.assertIsInstance(self.exchange.ask(), Authenticated)
        request = self.exchange.request
        key = longTermKey("alice", REALM, "rabbit hole", SHA256)
        success = Message.success(request)
        for data in (
            success.encode(),
            success.encode(b"wrong", sha256=True),
            success.encode(key),
            Message.error(request, 400).encode(),
            Message.error(request, 500).encode(),
        ):
            self.assertIs(client.receiveResponse(decode(data)), ResponseFate.IGNORED)
        self.assertIs(client.receiveResponse(decode(self.exchange.reply())), ResponseFate.ACCEPTED)

    def test_strippedSuccess(self) -> None:
        """
        A response whose nonce announces a list that is not there is ignored.
        """
        success = Message.success(
            self.exchange.request, [Attribute(T.NONCE, self.challenge.get(T.NONCE))]
        )
        self.assertIs(self.receive(success), ResponseFate.IGNORED)

    def test_endlessChallenges(self) -> None:
        """
        Whoever keeps asking, with ever new nonces or realms, is not answered for ever.
        """
        for code in (401, 438):
            client = LongTermClient("alice", "rabbit hole")
            fates = []
            for number in range(10):
                forged = replaced(self.challenge, T.REALM, f"realm {number}")
                challenge = Message.error(self.exchange.request, code, "", forged.attributes[1:])
                fates.append(client.receiveResponse(decode(challenge.encode())))
            self.assertIs(fates[0], ResponseFate.RETRY)
            self.assertIs(fates[-1], ResponseFate.REFUSED)

    def test_nonceCookie(self) -> None:
        """
        The challenge announces what the server can do.
        """
        self.assertEqual(securityFeatures(self.challenge.get(T.NONCE)), 1 << 23)
