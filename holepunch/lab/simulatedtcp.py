"""
One end of a TCP connection, as a kernel has it (RFC 9293, and Linux where that leaves a choice).

Owns: the handshake, simultaneous open included; data, closing, resets and errors.
Knows nothing of: ports and listeners, sockets, Twisted's transports.
Driven by: L{holepunch.lab.simulatedkernel} with packets and time, L{holepunch.lab.simulatedsocket}
with what the program wants.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from holepunch.address import Family, TransportAddress
from holepunch.lab.refusal import resetFor
from holepunch.lab.tcpreceiver import TCPReceiver
from holepunch.lab.tcpsender import SEND_BUFFER, Segment, TCPSender
from holepunch.lab.tcpstate import TCPEvent, TCPState, nextState
from holepunch.nat.packet import Packet, Protocol, TCPFlag

# Operations on plain numbers are many times faster than on enum flags.
_FIN, _SYN, _RST = int(TCPFlag.FIN), int(TCPFlag.SYN), int(TCPFlag.RST)
_PSH, _ACK = int(TCPFlag.PSH), int(TCPFlag.ACK)
_FLAGS = [TCPFlag(number) for number in range(32)]

_SYN_REPEATS = 6
_SYN_ACK_REPEATS = 5
_DATA_REPEATS = 15
_ORPHAN_REPEATS = 8

# An acknowledgment waits so long for data that it can travel with.
_ACKNOWLEDGMENT_DELAY = 0.001
# The lab's TIME-WAIT and orphaned FIN-WAIT-2 are short: no packet here is older.
_TIME_WAIT = 2.0
_FIN_WAIT = 60.0

# The headers of a segment with the usual options.
_HEADERS = {Family.IPV4: 52, Family.IPV6: 72}

_NEVER = float("inf")
_ROUNDING = 1e-9

_SENDING = frozenset({TCPState.ESTABLISHED, TCPState.CLOSE_WAIT})


class TCPConnection:
    """
    One end of a connection.

    @ivar state: Where it is in its life.
    @ivar error: An C{errno} that the program has not been told; 0: none.
    @ivar onChange: Called when the program may be able to read or write, or to accept it.
    @ivar onEnd: Called once the connection needs no packets any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        transmit: Callable[[Packet], None],
        local: TransportAddress,
        remote: TransportAddress,
        initialSequence: int,
        mtu: int,
    ) -> None:
        self.local = local
        self.remote = remote
        self.state = TCPState.CLOSED
        self.error = 0
        self.onChange: Callable[[TCPConnection], object] = _ignore
        self.onEnd: Callable[[TCPConnection], object] = _ignore
        self._clock = clock
        self._transmit = transmit
        self._sender = TCPSender(initialSequence, self._segment(mtu))
        self._receiver = TCPReceiver(0)
        self._isOrphan = False
        self._isWriteShut = False
        self._acknowledgeAt = _NEVER
        self._endAt = _NEVER
        self._timer: IDelayedCall | None = None
        self._timerAt = _NEVER

    # --- what the program does --------------------------------------------------------------------

    @property
    def isReadable(self) -> bool:
        """
        Would a read return at once: with data, with the end, or with an error?
        """
        receiver = self._receiver
        return bool(
            receiver.unread or receiver.isFinished or self.error or self.state is TCPState.CLOSED
        )

    @property
    def isWritable(self) -> bool:
        """
        Would a write take data, or fail, at once?
        """
        if self.state in _SENDING:
            return self._isWriteShut or self._sender.space >= SEND_BUFFER // 3
        return not self.isOpening

    @property
    def isOpening(self) -> bool:
        """
        Is the handshake still to be done?
        """
        return self.state is TCPState.SYN_SENT or self.state is TCPState.SYN_RECEIVED

    def connect(self) -> None:
        """
        Send a SYN.
        """
        self._move(TCPEvent.CONNECT)
        self._emit(self._sender.synchronize(self._clock.seconds()))
        self._setTimer()

    def accept(self, packet: Packet) -> None:
        """
        Answer the SYN that reached a listener.
        """
        self._move(TCPEvent.ACCEPT)
        self._receiver = TCPReceiver(packet.sequence + 1)
        self._emit(self._sender.synchronize(self._clock.seconds()))
        self._setTimer()

    def write(self, data: bytes) -> int:
        """
        Send data.

        @return: How many bytes of it were taken.
        @raise OSError: The connection is not one to write to.
        """
        self._raiseError()
        if self._isWriteShut or self.state not in _SENDING:
            raise OSError(errno.EPIPE, "the connection is closed for writing")
        count = self._sender.write(data)
        if data and not count:
            raise BlockingIOError(errno.EWOULDBLOCK, "the send buffer is full")
        self._sendMore()
        return count

    def read(self, size: int) -> bytes:
        """
        Receive data.

        @return: Nothing at the end of the stream.
        @raise OSError: There is nothing yet, or the connection failed.
        """
        receiver = self._receiver
        if receiver.unread:
            data = receiver.read(size)
            self._acknowledgeSoon()
            return data
        self._raiseError()
        if receiver.isFinished or self.state is TCPState.CLOSED:
            return b""
        raise BlockingIOError(errno.EWOULDBLOCK, "nothing to read")

    def shutDownWriting(self) -> None:
        """
        Send a FIN after all data.
        """
        if self._isWriteShut or self.state in (TCPState.CLOSED, TCPState.SYN_SENT):
            return
        self._isWriteShut = True
        self._sender.finish()
        self._move(TCPEvent.SHUT_DOWN)
        self._sendMore()

    def close(self, isAbrupt: bool = False) -> None:
        """
        The program is done with the connection.

        @param isAbrupt: Send a RST rather than a FIN. So does a close with data unread.
        """
        self._isOrphan = True
        if self.state is TCPState.CLOSED:
            return
        if self.state is TCPState.SYN_SENT:
            self._end()
        elif isAbrupt or self._receiver.unread:
            if self.state is not TCPState.TIME_WAIT:
                self._send(_RST | _ACK, self._sender.next)
            self._end()
        else:
            self.shutDownWriting()
            if self.state is TCPState.FIN_WAIT_2:
                self._endAt = self._clock.seconds() + _FIN_WAIT
            self._setTimer()

    def drop(self) -> None:
        """
        Forget the connection without a word, as a crash does.
        """
        self._end()

    def _raiseError(self) -> None:
        if self.error:
            number, self.error = self.error, 0
            raise OSError(number, "the connection failed")

    # --- what the network does --------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """
        Take a segment for this connection.
        """
        flags = int(packet.flags)
        if self.state is TCPState.SYN_SENT:
            self._receiveAnswer(packet, flags)
        elif flags & _RST:
            if self._receiver.isNear(packet.sequence):
                isEnded = self.state is TCPState.CLOSE_WAIT
                self._fail(errno.EPIPE if isEnded else errno.ECONNRESET)
        elif flags & _SYN and self._sender.isSynAcknowledged:
            self._acknowledge()
        elif not flags & _ACK:
            # A SYN again: our SYN-ACK was lost, or is late.
            if flags & _SYN:
                self._emit(self._sender.repeatOldest())
        elif not self._sender.isPlausible(packet.acknowledgment):
            # It is about another connection between the same two addresses.
            if self.isOpening:
                self._answerReset(packet)
            else:
                self._acknowledge()
        else:
            self._receiveAcknowledgment(packet, flags)
            if not self.isOpening and self.state is not TCPState.CLOSED:
                self._receiveData(packet, flags)
        if self.state is not TCPState.CLOSED:
            self._sendMore()

    def receiveError(self, number: int) -> None:
        """
        Take an ICMP error about a packet of this connection; only in the handshake it is believed.
        """
        if self.isOpening:
            self._fail(number)

    def receiveTooBig(self, mtu: int) -> None:
        """
        Send shorter segments from now on, and what was too long once more (RFC 1191 section 6.4).
        """
        again = self._sender.shrink(self._segment(mtu))
        if again is not None:
            self._emit(again)

    def _segment(self, mtu: int) -> int:
        """
        How much data a segment has at most.
        """
        return max(1, mtu - _HEADERS[self.local.family])

    def _receiveAnswer(self, packet: Packet, flags: int) -> None:
        isAcknowledged = bool(flags & _ACK)
        if isAcknowledged and packet.acknowledgment != self._sender.next:
            self._answerReset(packet)
        elif flags & _RST:
            if isAcknowledged:
                self._fail(errno.ECONNREFUSED)
        elif flags & _SYN:
            self._receiver = TCPReceiver(packet.sequence + 1)
            if isAcknowledged:
                self._receiveAcknowledgment(packet, flags)
                self._acknowledge()
            else:
                # Simultaneous open: the SYN is sent again, as SYN-ACK.
                self._move(TCPEvent.SYN)
                self._emit(self._sender.repeatOldest())

    def _receiveAcknowledgment(self, packet: Packet, flags: int) -> None:
        sender = self._sender
        wasFinAcknowledged = sender.isFinAcknowledged
        isBare = not packet.payload and not flags & (_SYN | _FIN)
        again = sender.acknowledge(packet.acknowledgment, isBare, self._clock.seconds())
        if again is not None:
            self._emit(again)
        if self.isOpening and sender.isSynAcknowledged:
            self._move(TCPEvent.SYN_ACKNOWLEDGED)
            self.onChange(self)
        if not wasFinAcknowledged and sender.isFinAcknowledged:
            self._move(TCPEvent.FIN_ACKNOWLEDGED)
        if sender.space >= SEND_BUFFER // 3:
            self.onChange(self)

    def _receiveData(self, packet: Packet, flags: int) -> None:
        data, isFIN, receiver = packet.payload, bool(flags & _FIN), self._receiver
        if not data and not isFIN:
            return
        if not receiver.isNear(packet.sequence):
            self._acknowledge()
            return
        wasFinished, unread = receiver.isFinished, receiver.unread
        if not receiver.accept(packet.sequence, data, isFIN):
            # A hole or a repetition: tell the sender at once what is still missing.
            self._acknowledge()
            return
        if self._isOrphan and receiver.unread > unread:
            # Nobody will ever read it.
            self._answerReset(packet)
            self._end()
            return
        if receiver.isFinished and not wasFinished:
            self._move(TCPEvent.FIN)
            self._acknowledgeSoon()
        self.onChange(self)

    # --- sending ----------------------------------------------------------------------------------

    def _sendMore(self) -> None:
        now = self._clock.seconds()
        segment = self._sender.take(now) if not self.isOpening else None
        while segment is not None:
            self._emit(segment)
            segment = self._sender.take(now)
        self._setTimer()

    def _emit(self, segment: Segment) -> None:
        flags = 0 if self.state is TCPState.SYN_SENT else _ACK
        if segment.isSYN:
            flags |= _SYN
        if segment.isFIN:
            flags |= _FIN
        if segment.data:
            flags |= _PSH
        self._send(flags, segment.sequence, segment.data)

    def _acknowledge(self) -> None:
        self._send(_ACK, self._sender.next)

    def _acknowledgeSoon(self) -> None:
        if self.state is not TCPState.CLOSED and self._acknowledgeAt == _NEVER:
            self._acknowledgeAt = self._clock.seconds() + _ACKNOWLEDGMENT_DELAY
            self._setTimer()

    def _send(self, flags: int, sequence: int, data: bytes = b"") -> None:
        acknowledgment = 0
        if flags & _ACK:
            acknowledgment = self._receiver.acknowledgment
            self._acknowledgeAt = _NEVER
        self._transmit(
            Packet(
                Protocol.TCP,
                self.local,
                self.remote,
                flags=_FLAGS[flags],
                sequence=sequence,
                acknowledgment=acknowledgment,
                payload=data,
            )
        )

    def _answerReset(self, packet: Packet) -> None:
        reset = resetFor(packet)
        if reset is not None:
            self._transmit(reset)

    # --- states and timers ------------------------------------------------------------------------

    def _move(self, event: TCPEvent) -> None:
        self.state = nextState(self.state, event)
        if self.state is TCPState.TIME_WAIT:
            self._endAt = self._clock.seconds() + _TIME_WAIT
        elif self.state is TCPState.FIN_WAIT_2 and self._isOrphan:
            self._endAt = self._clock.seconds() + _FIN_WAIT
        elif self.state is TCPState.CLOSED:
            self._end()

    def _fail(self, number: int) -> None:
        self.error = number
        self._end()
        self.onChange(self)

    def _end(self) -> None:
        self.state = nextState(self.state, TCPEvent.END)
        self._sender.abandon()
        self._acknowledgeAt = self._endAt = _NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.onEnd(self)

    def _setTimer(self) -> None:
        at = min(self._sender.retransmitAt, self._acknowledgeAt, self._endAt)
        if at == _NEVER:
            return
        if self._timer is not None:
            if self._timerAt <= at:
                return
            self._timer.cancel()
        self._timerAt = at
        delay = max(0.0, at - self._clock.seconds())
        self._timer = self._clock.callLater(delay, self._handleTimeout)

    def _handleTimeout(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        due = now + _ROUNDING
        if self._endAt <= due:
            self._end()
            return
        if self._acknowledgeAt <= due:
            self._acknowledge()
        if self._sender.retransmitAt <= due:
            if self._sender.repeats >= self._mostRepeats():
                self._fail(errno.ETIMEDOUT)
                return
            self._emit(self._sender.handleTimeout(now))
        self._setTimer()

    def _mostRepeats(self) -> int:
        if self.state is TCPState.SYN_SENT:
            return _SYN_REPEATS
        if self.state is TCPState.SYN_RECEIVED:
            return _SYN_ACK_REPEATS
        return _ORPHAN_REPEATS if self._isOrphan else _DATA_REPEATS


def _ignore(connection: TCPConnection) -> None:
    """
    Nobody is interested.
    """
