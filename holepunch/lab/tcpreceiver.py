"""
The receiving half of a TCP connection.

Owns: putting segments into order, and the receive buffer.
Knows nothing of: packets, timers, the state of the connection.
Driven by: L{holepunch.lab.simulatedtcp}.

There is no window field in the lab's packets. Flow control comes from acknowledging only what the
program has read: the sender's window stays shut as long as the program reads nothing.
"""

from __future__ import annotations

from holepunch.lab.tcpsender import WINDOW


class TCPReceiver:
    """
    The receiving half.

    @ivar isFinished: The other side has nothing more to send: its FIN is here, and all before it.
    """

    def __init__(self, initialSequence: int) -> None:
        self.isFinished = False
        self._next = initialSequence
        self._buffer = bytearray()
        self._early: dict[int, tuple[bytes, bool]] = {}

    @property
    def acknowledgment(self) -> int:
        """
        The sequence number to acknowledge.
        """
        if self._buffer:
            return self._next - len(self._buffer) - self.isFinished
        return self._next

    @property
    def unread(self) -> int:
        """
        So many bytes can be read.
        """
        return len(self._buffer)

    def isNear(self, sequence: int) -> bool:
        """
        Is that sequence number one that the other side may be using by now?
        """
        return self._next - WINDOW <= sequence <= self._next + WINDOW

    def accept(self, sequence: int, data: bytes, isFIN: bool) -> bool:
        """
        Take a segment.

        @return: Did it continue what was there?
        """
        if sequence > self._next:
            self._early[sequence] = (data, isFIN)
        if sequence != self._next or self.isFinished:
            return False
        self._append(data, isFIN)
        while self._early:
            early = self._early.pop(self._next, None)
            if early is None:
                break
            self._append(*early)
        return True

    def read(self, size: int) -> bytes:
        """
        Hand over what is there, up to C{size} bytes.
        """
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _append(self, data: bytes, isFIN: bool) -> None:
        self._buffer += data
        self._next += len(data) + isFIN
        self.isFinished = isFIN
