"""
Tests for L{holepunch.stun.answering}: NAT behaviour discovery.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress
from holepunch.stun import (
    Attribute,
    AttributeType,
    BindingAnswerer,
    ChangeRequest,
    decode,
)
from tests.stun.answering import (
    LISTENERS,
    SOURCE,
    TICKETS,
    AnswerTestCase,
    grid,
    plain,
    request,
)

T = AttributeType


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

    def test_call(self) -> None:
        """
        Over TCP, a change of the port means a call from there, where clients are called.
        """
        self.answerer = BindingAnswerer(LISTENERS, keyFor=TICKETS.get, callsBack=True)
        for change, origin in ((2, LISTENERS[1]), (6, LISTENERS[3])):
            data = plain(Attribute(T.CHANGE_REQUEST, ChangeRequest(change)))
            answer, _ = self.answer(data, transport=Transport.TCP)
            self.assertEqual((answer.origin, answer.destination), (origin, SOURCE))
            failed = decode(self.answerer.failed(data, 447, "Timeout"))
            assert failed.error is not None
            self.assertEqual((failed.error.code, failed.error.reason), (447, "Timeout"))
        otherPort = Attribute(T.CHANGE_REQUEST, ChangeRequest.PORT)
        ticketed = request(otherPort, Attribute(T.USERNAME, "ticket")).encode(TICKETS["ticket"])
        for data in (plain(Attribute(T.CHANGE_REQUEST, ChangeRequest.HOST)), ticketed):
            self.checkError(420, data, transport=Transport.TCP, unknown=(T.CHANGE_REQUEST,))

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
