"""
Tests for L{holepunch.stun.transaction}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun import ClientTransaction, Message, Method, decode
from tests.stun.strategies import REPEATABLE

ID = bytes(range(12))
REQUEST = Message.request(Method.BINDING, ID)
DATA = REQUEST.encode()


def schedule(transaction: ClientTransaction) -> tuple[list[float], float]:
    """
    Run a transaction that nobody answers: when it sends again, and when it expires.
    """
    sent = []
    at = 0.0
    while (wakeAt := transaction.nextTimeout()) is not None:
        at = wakeAt
        if transaction.handleTimeout(at) is not None:
            sent.append(at)
    return sent, at


class ClientTransactionTests(SynchronousTestCase):
    """
    L{ClientTransaction}.
    """

    def test_schedule(self) -> None:
        """
        The default schedule is the one that RFC 8489 section 6.2.1 works out.
        """
        transaction = ClientTransaction(DATA, 100)
        sent, expiredAt = schedule(transaction)
        self.assertEqual(sent, [100.5, 101.5, 103.5, 107.5, 115.5, 131.5])
        self.assertEqual(expiredAt, 139.5)
        self.assertTrue(transaction.isExpired)
        self.assertEqual((transaction.attempts, transaction.sentAt), (7, 131.5))

    def test_reliable(self) -> None:
        """
        Over TCP nothing is sent again, and the patience is the same (section 6.2.2).
        """
        self.assertEqual(schedule(ClientTransaction(DATA, 0, reliable=True)), ([], 39.5))

    def test_otherNumbers(self) -> None:
        """
        The numbers of the schedule can be chosen.
        """
        transaction = ClientTransaction(DATA, 0, rto=0.1, requestCount=2, finalFactor=4)
        sent, expiredAt = schedule(transaction)
        self.assertEqual(sent, [0.1])
        self.assertAlmostEqual(expiredAt, 0.5)

    def test_once(self) -> None:
        """
        A single request waits for the final time only.
        """
        self.assertEqual(schedule(ClientTransaction(DATA, 0, requestCount=1)), ([], 8))

    def test_retransmissionIsTheRequest(self) -> None:
        """
        What is sent again is the same bytes.
        """
        self.assertEqual(ClientTransaction(DATA, 0).handleTimeout(0.5), DATA)

    def test_early(self) -> None:
        """
        Nothing happens before its time.
        """
        transaction = ClientTransaction(DATA, 0)
        self.assertIsNone(transaction.handleTimeout(0.49))
        self.assertEqual((transaction.attempts, transaction.nextTimeout()), (1, 0.5))

    def test_late(self) -> None:
        """
        After a long sleep one request is sent, not all that were missed.
        """
        transaction = ClientTransaction(DATA, 0)
        self.assertEqual(transaction.handleTimeout(30), DATA)
        self.assertIsNone(transaction.handleTimeout(30))
        self.assertEqual(transaction.nextTimeout(), 31)

    def test_expired(self) -> None:
        """
        An expired transaction stays quiet.
        """
        transaction = ClientTransaction(DATA, 0)
        schedule(transaction)
        self.assertIsNone(transaction.nextTimeout())
        self.assertIsNone(transaction.handleTimeout(1000))
        self.assertEqual(transaction.attempts, 7)

    def test_rtt(self) -> None:
        """
        The round trip is known as long as only one request was sent (Karn's algorithm).
        """
        transaction = ClientTransaction(DATA, 10)
        self.assertAlmostEqual(transaction.rtt(10.07) or 0, 0.07)
        transaction.handleTimeout(10.5)
        self.assertIsNone(transaction.rtt(10.6))

    def test_matches(self) -> None:
        """
        Only the responses of the same transaction and method match.
        """
        transaction = ClientTransaction(DATA, 0)
        other = Message.request(Method.BINDING, bytes(12))
        for message, isMatch in (
            (Message.success(REQUEST), True),
            (Message.error(REQUEST, 400), True),
            (REQUEST, False),
            (Message.indication(Method.BINDING, ID), False),
            (Message.success(other), False),
            (Message.success(Message.request(Method.ALLOCATE, ID)), False),
        ):
            self.assertEqual(transaction.matches(decode(message.encode())), isMatch)

    def test_misuse(self) -> None:
        """
        A transaction begins with a request, and its numbers make sense.
        """
        with self.assertRaises(LocalProtocolError):
            ClientTransaction(Message.success(REQUEST).encode(), 0)
        with self.assertRaises(MalformedMessage):
            ClientTransaction(b"", 0)
        for rto, count, factor in ((0, 7, 16), (0.5, 0, 16), (0.5, 7, 0)):
            with self.assertRaises(LocalProtocolError):
                ClientTransaction(DATA, 0, rto, count, factor)

    @REPEATABLE
    @given(st.floats(0.01, 5), st.integers(1, 9), st.floats(0.5, 32), st.booleans())
    def test_bounded(self, rto: float, count: int, factor: float, reliable: bool) -> None:
        """
        Every schedule ends, sends no more than it may, and ends at the same time on both kinds of
        transport.
        """
        sent, expiredAt = schedule(ClientTransaction(DATA, 0, rto, count, factor, reliable))
        self.assertEqual(len(sent), 0 if reliable else count - 1)
        self.assertAlmostEqual(expiredAt, rto * (2 ** (count - 1) - 1 + factor))
