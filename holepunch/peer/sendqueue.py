"""
Datagrams that wait while the TCP connection that carries them is full.

A connection hears that there is room again only when it is empty. To drop everything until then
would look like a network that fails in bursts; to keep everything would make all of it late. So a
bounded number of bytes waits, and what comes on top is dropped, as a router does.

Owns: what waits, and whether there is room.
Knows nothing of: how a datagram is framed; the connection, which pauses it as a producer.
Driven by: L{FramedPath<holepunch.peer.framedpath.FramedPath>} and the relay's streams.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_LIMIT = 256 * 1024

_To = TypeVar("_To")


class SendQueue(Generic[_To]):
    """
    What is to be sent, in its order.

    @ivar isFull: Does the connection take nothing at the moment?
    """

    def __init__(self, send: Callable[[_To, bytes], None], *, limit: int = _LIMIT) -> None:
        """
        @param send: Sends one datagram on the connection, which may pause us within the call.
        @param limit: Bytes that may wait.
        """
        self._send = send
        self._limit = limit
        self._waiting: deque[tuple[_To, bytes]] = deque()
        self._size = 0
        self.isFull = False

    def put(self, to: _To, data: bytes) -> None:
        """
        Send a datagram now, or when there is room, or never.
        """
        if not self.isFull:
            self._send(to, data)
        elif self._size + len(data) <= self._limit:
            self._waiting.append((to, data))
            self._size += len(data)

    def pause(self) -> None:
        """
        The connection is full.
        """
        self.isFull = True

    def resume(self) -> None:
        """
        There is room again.
        """
        self.isFull = False
        while self._waiting and not self.isFull:
            to, data = self._waiting.popleft()
            self._size -= len(data)
            self._send(to, data)

    def clear(self) -> None:
        """
        The connection is gone: nothing waits for it.
        """
        self._waiting.clear()
        self._size = 0
