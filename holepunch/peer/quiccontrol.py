"""
The control stream: by it a reader that pauses stops the writer of that one stream.

Owns: the two messages, their bytes, and taking them apart.
Knows nothing of: when a stream is paused.
Driven by: L{holepunch.peer.quic}.

QUIC's own flow control would do (RFC 9000 section 4.1), but qh3 extends a stream's window as soon
as it hands the data over, and it hands over all streams' data in one queue. So a paused stream says
I{hold} when its buffer here has some data, and I{go on} later. That is advice: a writer that does
not follow it fills the buffer until nothing is taken out of the queue any more, and then QUIC's
windows hold up the whole connection, which is its own.
"""

from __future__ import annotations

import enum
import struct

_MESSAGE = struct.Struct("!BQ")

CONTROL = b""
"""
The application name of a control stream: a unidirectional stream begins with one byte of zero.
"""


class Control(enum.IntEnum):
    """
    What the reader of a stream asks of its writer.
    """

    HOLD = 0
    GO_ON = 1


def encodeControl(control: Control, stream: int) -> bytes:
    """
    One message: the kind, then the number of the stream in eight bytes.
    """
    return _MESSAGE.pack(control, stream)


class ControlReader:
    """
    Takes messages out of the bytes of a control stream.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[Control, int]]:
        """
        The messages that are complete now; unknown kinds are left out.
        """
        self._buffer += data
        whole = len(self._buffer) - len(self._buffer) % _MESSAGE.size
        messages = [
            (Control(kind), stream)
            for kind, stream in _MESSAGE.iter_unpack(self._buffer[:whole])
            if kind in (Control.HOLD, Control.GO_ON)
        ]
        self._buffer = self._buffer[whole:]
        return messages
