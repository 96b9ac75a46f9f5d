"""
Finding messages in a byte stream: STUN as it is (RFC 8489 section 6.2.2), and in the frames of
RFC 4571, which carry checks over TCP (RFC 6544 section 3).

Owns: cutting, and the limit on what it buffers.
Knows nothing of: connections; what is in a message.
Driven by: the assist listener over TCP, and the checks over TCP.
"""

from __future__ import annotations

import abc
import struct

from holepunch.errors import LocalProtocolError, MalformedMessage
from holepunch.stun.integrity import HEADER_LENGTH
from holepunch.stun.values import MAGIC_COOKIE_BYTES

_length = struct.Struct("!H")
_FRAME_LIMIT = 0xFFFF

#: What a STUN message may take on a stream, unless the user of a framer says otherwise. No Binding
#: message comes near it.
DEFAULT_LIMIT = 2048


class Framer(abc.ABC):
    """
    The buffer that all framings share.

    Take all messages at once with L{feed}; or L{append}, then call L{next} until there is one after
    which the stream is something else, and L{takeBuffered} the rest.
    """

    def __init__(self, limit: int) -> None:
        """
        @param limit: The longest message to accept, in bytes.
        """
        self.limit = limit
        self._buffer = bytearray()

    @abc.abstractmethod
    def _frame(self) -> tuple[int, int] | None:
        """
        Where the first message begins and ends in the buffer; C{None} while its length is unknown.
        """

    def append(self, data: bytes) -> None:
        """
        Take bytes from the stream, without looking at them yet.
        """
        self._buffer += data

    def next(self) -> bytes | None:
        """
        Take one message out; C{None} where none is complete.

        @raise MalformedMessage: The stream is not what it should be, or a message is above the
            limit. There is no way to find the next one: close the connection.
        """
        while True:
            frame = self._frame()
            if frame is None:
                return None
            begin, end = frame
            if end - begin > self.limit:
                raise MalformedMessage(
                    f"a message of {end - begin} bytes on a stream; {self.limit} are allowed"
                )
            if len(self._buffer) < end:
                return None
            message = bytes(self._buffer[begin:end])
            del self._buffer[:end]
            # An empty frame of RFC 4571 carries nothing, and some agents send it to keep alive.
            if message:
                return message

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take bytes from the stream and return the messages that are complete now.

        @raise MalformedMessage: As for L{next}; messages before the trouble are lost with it.
        """
        self.append(data)
        messages = []
        while (message := self.next()) is not None:
            messages.append(message)
        return messages

    def takeBuffered(self) -> bytes:
        """
        Take out all bytes that no message has consumed: what follows the last message.
        """
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


class StunFramer(Framer):
    """
    Cuts a stream of STUN messages, which carry their own length.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """
        @param limit: The longest message to accept, in bytes.
        """
        super().__init__(limit)

    def _frame(self) -> tuple[int, int] | None:
        head = self._buffer[:8]
        # As early as the bytes allow: a client of another protocol must not be waited for.
        if head and head[0] > 3:
            raise MalformedMessage("the stream carries something else than STUN")
        if not MAGIC_COOKIE_BYTES.startswith(head[4:]):
            raise MalformedMessage("the stream carries something else than STUN")
        if len(head) < 4:
            return None
        length = _length.unpack_from(head, 2)[0]
        if length & 3:
            raise MalformedMessage("the length of a STUN message is a multiple of four")
        return 0, HEADER_LENGTH + length


class Rfc4571Framer(Framer):
    """
    Cuts a stream of frames, each a length of two bytes and as many bytes; returns the contents.
    """

    def __init__(self, limit: int = _FRAME_LIMIT) -> None:
        """
        @param limit: The longest content to accept, in bytes.
        """
        super().__init__(limit)

    def _frame(self) -> tuple[int, int] | None:
        if len(self._buffer) < 2:
            return None
        return 2, 2 + _length.unpack_from(self._buffer)[0]


def frameRfc4571(data: bytes) -> bytes:
    """
    Put C{data} into one frame (RFC 4571 section 2).

    @raise LocalProtocolError: It is longer than 65,535 bytes.
    """
    if len(data) > _FRAME_LIMIT:
        raise LocalProtocolError(f"{len(data)} bytes do not fit one frame")
    return _length.pack(len(data)) + data
