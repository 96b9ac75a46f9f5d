"""
What the tests of the answering core share: listeners, tickets, and looking at an answer.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.stun import (
    Answer,
    Attribute,
    AttributeType,
    BindingAnswerer,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    decode,
    shortTermKey,
)

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
