"""
Finding STUN and ChannelData messages in a byte stream (RFC 8656 section 12.5).

Owns: cutting, and the limit on what it buffers.
Knows nothing of: connections; what is in a message.
Driven by: both ends of a connection to a relay over TCP or TLS.
"""

from __future__ import annotations

import struct

from holepunch.errors import MalformedMessage
from holepunch.stun.framing import Framer
from holepunch.stun.integrity import HEADER_LENGTH
from holepunch.stun.values import MAGIC_COOKIE_BYTES
from holepunch.turn import channeldata

#: The longest message there can be: STUN counts 65,535 bytes without its header.
LONGEST = 0xFFFF + HEADER_LENGTH

_length = struct.Struct("!H")


class TurnFramer(Framer):
    """
    Cuts a stream of STUN and ChannelData messages, which carry their own length. ChannelData comes
    with its padding.

    @ivar limit: The longest message to accept, in bytes; may be changed between messages.
    """

    def __init__(self, limit: int = LONGEST) -> None:
        """
        @param limit: The longest message to accept, in bytes.
        """
        super().__init__(limit)

    def _frame(self) -> tuple[int, int] | None:
        buffer = self._buffer
        size = len(buffer)
        if not size:
            return None
        first = buffer[0]
        if first & 0xC0 == 0x40:
            if size < channeldata.HEADER_LENGTH:
                return None
            length = buffer[2] << 8 | buffer[3]
            return 0, channeldata.HEADER_LENGTH + length + (-length & 3)
        # As early as the bytes allow: a client of another protocol must not be waited for.
        if first > 3 or not MAGIC_COOKIE_BYTES.startswith(buffer[4:8]):
            raise MalformedMessage("the stream carries something else than STUN and ChannelData")
        if size < 4:
            return None
        length = _length.unpack_from(buffer, 2)[0]
        if length & 3:
            raise MalformedMessage("the length of a STUN message is a multiple of four")
        return 0, HEADER_LENGTH + length
