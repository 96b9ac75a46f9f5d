"""
The sending half of a TCP connection: what is to be sent, what is on its way, what must be repeated.

Owns: the send buffer, sequence numbers of our side, round-trip time, retransmission (RFC 6298, and
the fast retransmission and recovery of RFC 6582 without a congestion window: links have no queues).
Knows nothing of: packets, the state of the connection, clocks; each C{now} is passed in.
Driven by: L{holepunch.lab.simulatedtcp}.
"""

from __future__ import annotations

from collections import deque

import attrs

#: Bytes that may be on their way, and that the program may have handed over in advance.
WINDOW = SEND_BUFFER = 256 * 1024

_INITIAL_TIMEOUT = 1.0
_LEAST_TIMEOUT = 0.2
_LONGEST_TIMEOUT = 64.0
_DUPLICATES = 3


@attrs.define
class Segment:
    """
    A piece of what is sent; SYN and FIN count as one byte each.
    """

    sequence: int
    data: bytes
    isSYN: bool
    isFIN: bool
    sentAt: float
    isRepeated: bool = False

    @property
    def end(self) -> int:
        """
        The sequence number after the segment.
        """
        return self.sequence + len(self.data) + self.isSYN + self.isFIN

    def cut(self, maximum: int) -> list[Segment]:
        """
        The same in pieces with at most so many bytes of data.
        """
        if len(self.data) <= maximum:
            return [self]
        starts = range(0, len(self.data), maximum)
        pieces = [
            Segment(
                self.sequence + at, self.data[at : at + maximum], False, False, self.sentAt, True
            )
            for at in starts
        ]
        pieces[-1].isFIN = self.isFIN
        return pieces


class TCPSender:
    """
    The sending half.

    @param maximumSegment: Bytes of data in a segment, at most.
    @ivar next: The sequence number after everything that was sent.
    @ivar unacknowledged: The first one that the other side has not acknowledged.
    @ivar retransmitAt: When the oldest segment must be sent again; infinity: nothing is on its way.
    @ivar repeats: How often it was sent again with no sign of life in between.
    """

    def __init__(self, initialSequence: int, maximumSegment: int) -> None:
        self._maximumSegment = maximumSegment
        self.next = self.unacknowledged = initialSequence
        self.retransmitAt = float("inf")
        self.repeats = 0
        self._initial = initialSequence
        self._end: int | None = None
        self._unsent = bytearray()
        self._inFlight: deque[Segment] = deque()
        self._isFinished = False
        self._roundTrip: float | None = None
        self._variation = 0.0
        self._timeout = _INITIAL_TIMEOUT
        self._duplicates = 0
        # While segments up to here may be missing, each acknowledgment that stops short of it
        # shows the next one that is.
        self._recoverUntil = initialSequence

    @property
    def space(self) -> int:
        """
        So many bytes more can be handed over.
        """
        return SEND_BUFFER - len(self._unsent) - (self.next - self.unacknowledged)

    @property
    def isSynAcknowledged(self) -> bool:
        """
        Has the other side seen our SYN?
        """
        return self.unacknowledged > self._initial

    @property
    def isFinAcknowledged(self) -> bool:
        """
        Has it seen our FIN?
        """
        return self._end is not None and self.unacknowledged >= self._end

    def isPlausible(self, acknowledgment: int) -> bool:
        """
        Can it be an acknowledgment of what was sent here?
        """
        return self._initial + (not self.isSynAcknowledged) <= acknowledgment <= self.next

    def synchronize(self, now: float) -> Segment:
        """
        The SYN, to be sent now.
        """
        return self._send(b"", True, False, now)

    def write(self, data: bytes) -> int:
        """
        Take as much data as there is space for.

        @return: How many bytes.
        """
        count = min(len(data), max(0, self.space))
        self._unsent += data[:count]
        return count

    def finish(self) -> None:
        """
        Send a FIN after all data.
        """
        self._isFinished = True

    def take(self, now: float) -> Segment | None:
        """
        The next new segment, to be sent now; C{None} when the window is full or all is sent.
        """
        if self._end is not None:
            return None
        if self._unsent:
            if self.next - self.unacknowledged >= WINDOW:
                return None
            data = bytes(self._unsent[: self._maximumSegment])
            del self._unsent[: self._maximumSegment]
            return self._send(data, False, self._isFinished and not self._unsent, now)
        if self._isFinished:
            return self._send(b"", False, True, now)
        return None

    def acknowledge(self, acknowledgment: int, isBare: bool, now: float) -> Segment | None:
        """
        Take an acknowledgment of something that was sent.

        @param isBare: Nothing else was in the packet, so it may be a sign that one was missed.
        @return: A segment that must be sent again now.
        """
        inFlight = self._inFlight
        if acknowledgment >= self.unacknowledged:
            self.repeats = 0
        if acknowledgment <= self.unacknowledged:
            if isBare and inFlight:
                self._duplicates += 1
                if self._duplicates == _DUPLICATES and acknowledgment >= self._recoverUntil:
                    self._recoverUntil = self.next
                    return self.repeatOldest()
            return None
        self.unacknowledged = acknowledgment
        self._duplicates = 0
        sentAt: float | None = None
        isCertain = True
        while inFlight and inFlight[0].end <= acknowledgment:
            segment = inFlight.popleft()
            sentAt = segment.sentAt
            isCertain = isCertain and not segment.isRepeated
        if isCertain and sentAt is not None:
            self._measure(now - sentAt)
        elif self._roundTrip is None:
            self._timeout = _INITIAL_TIMEOUT
        else:
            self._timeout = self._roundTrip + max(_LEAST_TIMEOUT, 4 * self._variation)
        if not inFlight:
            self.retransmitAt = float("inf")
            return None
        self.retransmitAt = now + self._timeout
        return self.repeatOldest() if acknowledgment < self._recoverUntil else None

    def shrink(self, maximumSegment: int) -> Segment | None:
        """
        Have shorter segments, and those on their way cut.

        @return: A segment that must be sent again now.
        """
        if maximumSegment >= self._maximumSegment:
            return None
        self._maximumSegment = maximumSegment
        pieces = [piece for each in self._inFlight for piece in each.cut(maximumSegment)]
        self._inFlight = deque(pieces)
        self._recoverUntil = self.next
        return self.repeatOldest() if pieces else None

    def handleTimeout(self, now: float) -> Segment:
        """
        The oldest segment on its way, to be sent again now, because C{retransmitAt} has come.
        """
        self.repeats += 1
        self._timeout = min(_LONGEST_TIMEOUT, 2 * self._timeout)
        self._recoverUntil = self.next
        self.retransmitAt = now + self._timeout
        return self.repeatOldest()

    def repeatOldest(self) -> Segment:
        """
        The oldest segment on its way, to be sent again now whatever the timer says.
        """
        segment = self._inFlight[0]
        segment.isRepeated = True
        return segment

    def abandon(self) -> None:
        """
        Send nothing any more.
        """
        self._inFlight.clear()
        self._unsent.clear()
        self.retransmitAt = float("inf")

    def _send(self, data: bytes, isSYN: bool, isFIN: bool, now: float) -> Segment:
        segment = Segment(self.next, data, isSYN, isFIN, now)
        if not self._inFlight:
            self.retransmitAt = now + self._timeout
        self._inFlight.append(segment)
        self.next = segment.end
        if isFIN:
            self._end = self.next
        return segment

    def _measure(self, roundTrip: float) -> None:
        if self._roundTrip is None:
            self._roundTrip = roundTrip
            self._variation = roundTrip / 2
        else:
            self._variation += (abs(self._roundTrip - roundTrip) - self._variation) / 4
            self._roundTrip += (roundTrip - self._roundTrip) / 8
        self._timeout = self._roundTrip + max(_LEAST_TIMEOUT, 4 * self._variation)
