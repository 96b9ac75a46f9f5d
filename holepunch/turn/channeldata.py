"""
ChannelData messages: data behind four bytes instead of an indication (RFC 8656 section 12.4).

Owns: their form, and which numbers channels have.
Knows nothing of: which channel is bound to which peer.
Driven by: both ends of an allocation.
"""

from __future__ import annotations

import struct

from holepunch.errors import LocalProtocolError

HEADER_LENGTH = 4

#: The numbers that RFC 8656 section 12 gives out.
FIRST_CHANNEL, LAST_CHANNEL = 0x4000, 0x4FFF
#: RFC 5766 gave out more, and clients made for it (coturn's) use them.
LAST_OLD_CHANNEL = 0x7FFF

#: In front of each message: the channel's number and the length of the data.
header = struct.Struct("!HH")

_LIMIT = 0xFFFF
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def looksLikeChannelData(data: bytes) -> bool:
    """
    Is a message ChannelData rather than STUN (RFC 8656 section 12.5)? Looks at the first byte.
    """
    return len(data) >= HEADER_LENGTH and data[0] & 0xC0 == 0x40


def encodeChannelData(number: int, data: bytes, isReliable: bool = False) -> bytes:
    """
    Put C{data} into one ChannelData message.

    @param isReliable: Over TCP messages are padded to a multiple of four bytes (section 12.5).
    @raise LocalProtocolError: It is longer than 65,535 bytes.
    """
    size = len(data)
    if size > _LIMIT:
        raise LocalProtocolError(f"{size} bytes do not fit one ChannelData message")
    if isReliable and size & 3:
        return header.pack(number, size) + data + _PADDING[size & 3]
    return header.pack(number, size) + data


def dataLength(message: bytes) -> int | None:
    """
    How many bytes of data follow the header of a ChannelData message.

    @return: C{None} where there are fewer than it says (section 12.6: drop it). There may be more,
        which are padding.
    """
    length = message[2] << 8 | message[3]
    return length if len(message) >= HEADER_LENGTH + length else None
