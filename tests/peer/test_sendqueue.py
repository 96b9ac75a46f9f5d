"""
Tests of L{holepunch.peer.sendqueue}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.sendqueue import SendQueue

LIMIT = 20


class Connection:
    """
    Takes C{room} bytes, then pauses its producer, as Twisted's do.
    """

    def __init__(self, room: int) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.queue = SendQueue(self.send, limit=LIMIT)
        self._capacity = room
        self._buffered = 0

    def send(self, to: int, data: bytes) -> None:
        self.sent.append((to, data))
        self._buffered += len(data)
        if self._buffered > self._capacity:
            self.queue.pause()

    def drain(self) -> None:
        self._buffered = 0
        self.queue.resume()


class SendQueueTests(SynchronousTestCase):
    """
    What waits, what is sent, and what is dropped.
    """

    def test_room(self) -> None:
        """
        While there is room, nothing waits.
        """
        connection = Connection(100)
        connection.queue.put(1, b"one")
        self.assertEqual(connection.sent, [(1, b"one")])

    def test_waits(self) -> None:
        """
        What comes while the connection is full is sent when it has room, but only as much as may
        wait; a later datagram that is short enough still may.
        """
        connection = Connection(0)
        for number, size in enumerate((1, 15, 10, 5)):
            connection.queue.put(number, b"x" * size)
        self.assertEqual([to for to, _ in connection.sent], [0])
        connection.drain()
        self.assertEqual([to for to, _ in connection.sent], [0, 1])
        connection.drain()
        self.assertEqual([to for to, _ in connection.sent], [0, 1, 3])

    def test_clear(self) -> None:
        """
        What waited for a connection that is gone is not sent on the next one.
        """
        connection = Connection(0)
        connection.queue.put(1, b"sent")
        connection.queue.put(2, b"waits")
        connection.queue.clear()
        connection.drain()
        self.assertEqual(connection.sent, [(1, b"sent")])

    @given(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=LIMIT)), max_size=50))
    def test_order(self, course: list[bytes | None]) -> None:
        """
        However sending and draining follow each other, datagrams keep their order and come once.
        """
        connection = Connection(7)
        for number, data in enumerate(course):
            if data is None:
                connection.drain()
            else:
                connection.queue.put(number, data)
        numbers = [to for to, _ in connection.sent]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertTrue(all(course[to] == data for to, data in connection.sent))
