"""
Tests for L{holepunch.stun.answering}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.stun import (
    Answer,
    Attribute,
    AttributeType,
    BindingAnswerer,
    ChangeRequest,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    decode,
    shortTermKey,
)
from tests.stun import vectors
from tests.stun.strategies import REPEATABLE, addresses, attributes, transactionIds

T = AttributeType
ID = bytes(range(12))
SOURCE = TransportAddress("192.0.2.33", 40000)
SOURCE6 = TransportAddress("2001:db8::33", 40000)
TICKETS = {"ticket": shortTermKey("secret")}


def grid(*hosts: str) -> list[TransportAddress]:
    """
    Listeners on two ports of each host.
    """
    return [TransportAddress(host, port) for host in hosts for port in (3478, 3479)]


LISTENERS = [*grid("198.51.100.1", "198.51.100.2"), *grid("2001:db8::1", "2001:db8::2")]
LOCAL = LISTENERS[0]
LOCAL6 = LISTENERS[4]


def request(*attributes: Attribute) -> Message:
    """
    A Binding request.
    """
    return Message.request(Method.BINDING, ID, attributes)


def plain(*attributes: Attribute) -> bytes:
    """
    The bytes of a Binding request without integrity and fingerprint.
    """
    return request(*attributes).encode(fingerprint=False)


class AnswerTestCase(SynchronousTestCase):
    """
    A test case with an answerer and tickets.
    """

    def setUp(self) -> None:
        """
        Listeners on two hosts by two ports, in both families.
        """
        self.answerer = BindingAnswerer(LISTENERS, keyFor=TICKETS.get)

    def answer(
        self,
        data: bytes,
        source: TransportAddress = SOURCE,
        local: TransportAddress = LOCAL,
        transport: Transport = Transport.UDP,
    ) -> tuple[Answer, ReceivedMessage]:
        """
        The answer to C{data} and what is in it.
        """
        answer = self.answerer.answer(data, source, local, transport)
        assert answer is not None
        return answer, decode(answer.data)

    def checkError(
        self,
        code: int,
        data: bytes,
        transport: Transport = Transport.UDP,
        unknown: tuple[int, ...] | None = None,
    ) -> Answer:
        """
        C{data} is refused, and the refusal goes back where it came from.
        """
        answer, response = self.answer(data, transport=transport)
        self.assertIs(response.messageClass, MessageClass.ERROR)
        assert response.error is not None
        self.assertEqual(response.error.code, code)
        self.assertEqual(answer.errorCode, code)
        self.assertEqual((answer.origin, answer.destination), (LOCAL, SOURCE))
        self.assertEqual(response.get(T.UNKNOWN_ATTRIBUTES), unknown)
        self.assertIsNone(response.get(T.XOR_MAPPED_ADDRESS))
        return answer


class BindingTests(AnswerTestCase):
    """
    Plain Binding requests.
    """

    def test_mappedAddress(self) -> None:
        """
        A bare request learns its mapped address, where the answer came from, and the other
        listener, and nothing more.
        """
        answer, response = self.answer(plain())
        self.assertEqual(
            response.attributes,
            (
                Attribute(T.XOR_MAPPED_ADDRESS, SOURCE),
                Attribute(T.RESPONSE_ORIGIN, LOCAL),
                Attribute(T.OTHER_ADDRESS, LISTENERS[3]),
            ),
        )
        self.assertIs(response.messageClass, MessageClass.SUCCESS)
        self.assertEqual(response.transactionId, ID)
        self.assertEqual((answer.origin, answer.destination), (LOCAL, SOURCE))
        self.assertEqual(answer.mapped, SOURCE)
        self.assertIsNone(answer.username)
        self.assertIsNone(answer.errorCode)

    def test_sizes(self) -> None:
        """
        The answers to bare requests are as long as the documentation says.
        """
        single = BindingAnswerer([LOCAL, LOCAL6])
        for answerer, source, local, size in (
            (single, SOURCE, LOCAL, 32),
            (single, SOURCE6, LOCAL6, 44),
            (self.answerer, SOURCE, LOCAL, 56),
            (self.answerer, SOURCE6, LOCAL6, 92),
        ):
            answer = answerer.answer(plain(), source, local)
            assert answer is not None
            self.assertEqual(len(answer.data), size)

    def test_fingerprintIsMirrored(self) -> None:
        """
        An answer has FINGERPRINT where the request had it.
        """
        self.assertFalse(self.answer(plain())[1].hasFingerprint)
        self.assertTrue(self.answer(request().encode())[1].hasFingerprint)
        bad = request(Attribute(0x7FFF, b"")).encode()
        self.assertTrue(self.answer(bad)[1].hasFingerprint)

    @REPEATABLE
    @given(transactionIds, addresses(), st.sampled_from(LISTENERS))
    def test_shortCut(
        self, transactionId: bytes, source: TransportAddress, local: TransportAddress
    ) -> None:
        """
        The short cut for bare requests answers what the long way answers to a request that differs
        only by an attribute which nobody minds.
        """
        bare = Message.request(Method.BINDING, transactionId).encode(fingerprint=False)
        long = Message.request(Method.BINDING, transactionId, [Attribute(T.SOFTWARE, "x")]).encode(
            fingerprint=False
        )
        answerer = BindingAnswerer(LISTENERS)
        self.assertEqual(answerer.answer(bare, source, local), answerer.answer(long, source, local))

    def test_silence(self) -> None:
        """
        Responses, indications, other methods, broken and foreign packets get no answer at all.
        """
        for data in (
            b"",
            b"\xff" * 20,
            plain()[:-1],
            vectors.RESPONSE_IPV4,
            Message.error(request(), 400).encode(),
            Message.indication(Method.BINDING, ID).encode(),
            Message.request(Method.ALLOCATE, ID).encode(),
            request().encode()[:-1] + b"\0",
            Message.success(request(), [Attribute(0x7FFF, b"")]).encode(),
        ):
            self.assertIsNone(self.answerer.answer(data, SOURCE, LOCAL), data)

    def test_unknownAttributes(self) -> None:
        """
        Attributes that must be comprehended and are not are listed in an error 420.
        """
        self.checkError(
            420,
            plain(Attribute(0x7FFF, b""), Attribute(0x0002, b"abc"), Attribute(0xFFFE, b"")),
            unknown=(0x7FFF, 0x0002),
        )

    def test_unexpectedAttributes(self) -> None:
        """
        Attributes that we know and that mean nothing here are ignored.
        """
        _, response = self.answer(plain(Attribute(T.PRIORITY, 1), Attribute(T.CHANNEL_NUMBER, 2)))
        self.assertIs(response.messageClass, MessageClass.SUCCESS)

    def test_strangeListener(self) -> None:
        """
        A request that arrived elsewhere than on a listener gets its mapped address at least.
        """
        local = TransportAddress("0.0.0.0", 3478)
        answer, response = self.answer(plain(), local=local)
        self.assertEqual(response.attributes, (Attribute(T.XOR_MAPPED_ADDRESS, SOURCE),))
        self.assertEqual(answer.origin, local)

    def test_advertised(self) -> None:
        """
        Listeners behind an address translation are called by their public addresses.
        """
        local = grid("10.0.0.1", "10.0.0.2")
        public = grid("198.51.100.1", "198.51.100.2")
        self.answerer = BindingAnswerer(local, advertised=dict(zip(local, public, strict=True)))
        for data in (plain(), request().encode()):
            answer, response = self.answer(data, local=local[0])
            self.assertEqual(answer.origin, local[0])
            self.assertEqual(response.get(T.RESPONSE_ORIGIN), public[0])
            self.assertEqual(response.get(T.OTHER_ADDRESS), public[3])


class TicketTests(AnswerTestCase):
    """
    Requests with a short-term credential.
    """

    def test_valid(self) -> None:
        """
        A right credential makes the user known, and the answer authentic.
        """
        for isSHA256 in (False, True):
            data = request(Attribute(T.USERNAME, "ticket")).encode(
                TICKETS["ticket"], sha256=isSHA256
            )
            answer, response = self.answer(data)
            self.assertEqual(answer.username, "ticket")
            self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), SOURCE)
            self.assertEqual(response.hasIntegritySHA256, isSHA256)
            self.assertTrue(response.isIntegrityValid(TICKETS["ticket"]))

    def test_bothIntegrities(self) -> None:
        """
        A request with both integrity attributes gets the stronger one back.
        """
        data = request(Attribute(T.USERNAME, "ticket")).encode(TICKETS["ticket"], both=True)
        self.assertTrue(self.answer(data)[1].hasIntegritySHA256)

    def test_wrongKey(self) -> None:
        """
        A wrong key and an unknown ticket get 401, without anything that a key protects.
        """
        for name, key in (("ticket", b"wrong"), ("stranger", TICKETS["ticket"])):
            answer = self.checkError(401, request(Attribute(T.USERNAME, name)).encode(key))
            self.assertIsNone(answer.username)
            self.assertFalse(decode(answer.data).hasIntegrity)

    def test_noUsername(self) -> None:
        """
        Integrity without a user name gets 400.
        """
        self.checkError(400, request().encode(TICKETS["ticket"]))

    def test_usernameBehindIntegrity(self) -> None:
        """
        A user name that the integrity does not cover is none.
        """
        signed = request().encode(TICKETS["ticket"], fingerprint=False)
        name = plain(Attribute(T.USERNAME, "ticket"))[20:]
        data = signed[:2] + (len(signed) - 20 + len(name)).to_bytes(2, "big") + signed[4:] + name
        self.checkError(400, data)

    def test_anonymousRefused(self) -> None:
        """
        Where anonymous requests are turned off they get 400, bare ones too.
        """
        self.answerer = BindingAnswerer(LISTENERS, keyFor=TICKETS.get, allowAnonymous=False)
        self.checkError(400, plain())
        self.checkError(400, plain(Attribute(T.USERNAME, "ticket")))
        data = request(Attribute(T.USERNAME, "ticket")).encode(TICKETS["ticket"])
        self.assertEqual(self.answer(data)[0].username, "ticket")

    def test_noTickets(self) -> None:
        """
        Without tickets a credential is ignored: nobody could check it.
        """
        self.answerer = BindingAnswerer(LISTENERS)
        answer, response = self.answer(vectors.REQUEST)
        self.assertIsNone(answer.username)
        self.assertFalse(response.hasIntegrity)

    def test_errorsAreAuthentic(self) -> None:
        """
        A proven requester gets authentic errors, with the reason in words.
        """
        data = request(Attribute(T.USERNAME, "ticket"), Attribute(0x7FFF, b"")).encode(
            TICKETS["ticket"]
        )
        answer = self.checkError(420, data, unknown=(0x7FFF,))
        response = decode(answer.data)
        self.assertEqual(answer.username, "ticket")
        self.assertTrue(response.isIntegrityValid(TICKETS["ticket"]))
        assert response.error is not None
        self.assertEqual(response.error.reason, "Unknown Attribute")

    def test_secretsStayOut(self) -> None:
        """
        The repr of an answer does not repeat its bytes.
        """
        self.assertNotIn("data=", repr(self.answer(plain())[0]))


class DiscoveryTests(AnswerTestCase):
    """
    NAT behaviour discovery (RFC 5780).
    """

    def test_changeRequest(self) -> None:
        """
        From each listener, each change moves the answer to the listener that the RFC's table names.
        """
        for local in LISTENERS[:4]:
            for change in (0, 2, 4, 6):
                data = plain(Attribute(T.CHANGE_REQUEST, ChangeRequest(change)))
                answer, response = self.answer(data, local=local)
                self.assertIn(answer.origin, LISTENERS)
                isPortSame = answer.origin.port == local.port
                isHostSame = answer.origin.host == local.host
                self.assertEqual(isPortSame, not change & ChangeRequest.PORT)
                self.assertEqual(isHostSame, not change & ChangeRequest.HOST)
                self.assertEqual(response.get(T.RESPONSE_ORIGIN), answer.origin)
                other = response.get(T.OTHER_ADDRESS)
                self.assertNotEqual(other.host, local.host)
                self.assertNotEqual(other.port, local.port)

    def test_oneHost(self) -> None:
        """
        With two ports of one host the port can be changed; nothing else is promised or done.
        """
        self.answerer = BindingAnswerer(grid("198.51.100.1"))
        _, response = self.answer(plain())
        self.assertIsNone(response.get(T.OTHER_ADDRESS))
        answer, _ = self.answer(plain(Attribute(T.CHANGE_REQUEST, ChangeRequest.PORT)))
        self.assertEqual(answer.origin, LISTENERS[1])
        for change in (4, 6):
            self.checkError(
                420,
                plain(Attribute(T.CHANGE_REQUEST, ChangeRequest(change))),
                unknown=(T.CHANGE_REQUEST,),
            )

    def test_incompleteGrid(self) -> None:
        """
        Two listeners that differ in both do not make the four that the discovery needs.
        """
        self.answerer = BindingAnswerer([LISTENERS[0], LISTENERS[3]])
        self.assertIsNone(self.answer(plain())[1].get(T.OTHER_ADDRESS))

    def test_families(self) -> None:
        """
        The other listener is one of the same family.
        """
        for local in LISTENERS:
            other = self.answer(plain(), local=local)[1].get(T.OTHER_ADDRESS)
            self.assertIs(other.family, local.family)

    def test_responsePort(self) -> None:
        """
        RESPONSE-PORT moves the answer to another port of the same host, never to another host.
        """
        answer, response = self.answer(plain(Attribute(T.RESPONSE_PORT, 50000)))
        self.assertEqual(answer.destination, TransportAddress(SOURCE.host, 50000))
        self.assertEqual(answer.mapped, SOURCE)
        self.assertEqual(response.get(T.XOR_MAPPED_ADDRESS), SOURCE)

    def test_responsePortOfServices(self) -> None:
        """
        RESPONSE-PORT cannot be aimed at the ports where services listen.
        """
        for port in (0, 53, 1023):
            self.checkError(400, plain(Attribute(T.RESPONSE_PORT, port)))

    def test_responsePortRestricted(self) -> None:
        """
        Restricted, RESPONSE-PORT is unknown to anonymous requesters and works for proven ones.
        """
        self.answerer = BindingAnswerer(LISTENERS, keyFor=TICKETS.get, allowResponsePort=False)
        port = Attribute(T.RESPONSE_PORT, 50000)
        self.checkError(420, plain(port), unknown=(T.RESPONSE_PORT,))
        data = request(port, Attribute(T.USERNAME, "ticket")).encode(TICKETS["ticket"])
        self.assertEqual(self.answer(data)[0].destination.port, 50000)

    def test_errorsIgnoreTheRoute(self) -> None:
        """
        An error goes back the way the request came, whatever it asked for.
        """
        self.checkError(
            420,
            plain(
                Attribute(T.RESPONSE_PORT, 50000),
                Attribute(T.CHANGE_REQUEST, ChangeRequest.PORT),
                Attribute(0x7FFF, b""),
            ),
            unknown=(0x7FFF,),
        )

    def test_padding(self) -> None:
        """
        PADDING is answered by PADDING, up to the length of the request and no further.
        """
        for size in (0, 4, 40, 1500):
            data = plain(Attribute(T.PADDING, bytes(size)))
            answer, response = self.answer(data)
            self.assertLessEqual(len(answer.data), max(len(data), 56))
            self.assertEqual(response.get(T.PADDING) is not None, size >= 40)
        self.assertEqual(len(answer.data), len(data))

    def test_paddingWithResponsePort(self) -> None:
        """
        PADDING and RESPONSE-PORT exclude each other.
        """
        self.checkError(
            400, plain(Attribute(T.PADDING, bytes(8)), Attribute(T.RESPONSE_PORT, 50000))
        )

    def test_tcp(self) -> None:
        """
        Over TCP the answer cannot take another way: asking for that is an error, with its reason.
        """
        _, response = self.answer(plain(), transport=Transport.TCP)
        self.assertEqual(response.get(T.OTHER_ADDRESS), LISTENERS[3])
        for attribute in (
            Attribute(T.CHANGE_REQUEST, ChangeRequest.PORT),
            Attribute(T.RESPONSE_PORT, 50000),
        ):
            answer = self.checkError(
                420, plain(attribute), transport=Transport.TCP, unknown=(attribute.type,)
            )
            self.assertIn(b"Unknown Attribute", answer.data)


class AmplificationTests(AnswerTestCase):
    """
    Nobody gains by sending us requests with a forged source.
    """

    @REPEATABLE
    @given(
        st.lists(attributes(), max_size=6),
        st.booleans(),
        st.none() | st.just(b"wrong"),
        st.sampled_from([(SOURCE, LOCAL, 56), (SOURCE6, LOCAL6, 92)]),
    )
    def test_bound(
        self,
        items: list[Attribute],
        fingerprint: bool,
        key: bytes | None,
        way: tuple[TransportAddress, TransportAddress, int],
    ) -> None:
        """
        No request gets an answer longer than itself, or than the answer to a bare request.
        """
        source, local, bare = way
        answerer = BindingAnswerer(LISTENERS, keyFor=TICKETS.get)
        data = request(*items).encode(key, fingerprint=fingerprint)
        answer = answerer.answer(data, source, local)
        assert answer is not None
        self.assertLessEqual(len(answer.data), max(len(data), bare + 8 * fingerprint))
        self.assertLessEqual(len(answer.data), len(data) * bare / 20)
        if len(data) >= 100:
            self.assertLessEqual(len(answer.data), len(data))
        self.assertEqual(answer.destination.host, source.host)

    @REPEATABLE
    @given(st.binary(max_size=100), st.booleans())
    def test_answersAreNotAnswered(self, noise: bytes, isError: bool) -> None:
        """
        Two answerers never talk to each other, whatever one of them was asked.
        """
        answerer = BindingAnswerer(LISTENERS)
        extra = [Attribute(0x7FFF, noise)] if isError else []
        answer = answerer.answer(request(*extra).encode(), SOURCE, LOCAL)
        assert answer is not None
        self.assertIsNone(answerer.answer(answer.data, SOURCE, LOCAL))

    @REPEATABLE
    @given(st.binary(max_size=60))
    def test_noise(self, noise: bytes) -> None:
        """
        Bytes that are no STUN message are dropped.
        """
        answer = BindingAnswerer(LISTENERS).answer(noise, SOURCE, LOCAL)
        if answer is not None:
            try:
                decode(noise)
            except MalformedMessage:
                self.fail("a malformed message was answered")
