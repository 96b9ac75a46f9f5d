"""
Tests for L{holepunch.stun.answering}: Binding, tickets, and no gain for forged sources.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holepunch.address import TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.stun import (
    Attribute,
    AttributeType,
    BindingAnswerer,
    Message,
    MessageClass,
    Method,
    decode,
)
from tests.stun import vectors
from tests.stun.answering import (
    ID,
    LISTENERS,
    LOCAL,
    LOCAL6,
    SOURCE,
    SOURCE6,
    TICKETS,
    AnswerTestCase,
    grid,
    plain,
    request,
)
from tests.stun.strategies import REPEATABLE, addresses, attributes, transactionIds

T = AttributeType


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

    def test_portZero(self) -> None:
        """
        A forged source that no socket can send to gets no answer.
        """
        source = TransportAddress(SOURCE.host, 0)
        for data in (plain(), request().encode()):
            self.assertIsNone(self.answerer.answer(data, source, LOCAL))

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
