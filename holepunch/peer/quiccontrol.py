"""
The control stream: what one side tells the other about its streams beside QUIC's own frames.

Owns: the three messages, their bytes, and taking them apart.
Knows nothing of: when a stream is paused or ends.
Driven by: L{holepunch.peer.quicstreams}.

QUIC's own flow control would do (RFC 9000 section 4.1), but qh3 extends a stream's window as soon
as it hands the data over, and it hands over all streams' data in one queue. So a paused stream says
I{hold} when its buffer here has some data, and I{go on} later. That is advice: a writer that does
not follow it fills the buffer until nothing is taken out of the queue any more, and then QUIC's
windows hold up the whole connection, which is its own.

I{End} repeats what the FIN bit says (RFC 9000 section 3.1): when a FIN that travels alone is lost
while data before it is not yet acknowledged, qh3 2.1 never sends it again.
"""

from __future__ import annotations

import enum
import struct

import attrs

_MESSAGE = struct.Struct("!BQQ")

CONTROL = b""
"""
The application name of a control stream: a unidirectional stream begins with one byte of zero.
"""


class Control(enum.IntEnum):
    """
    What is said of a stream: its reader asks to hold, or to go on; its writer has ended it.
    """

    HOLD = 0
    GO_ON = 1
    END = 2


@attrs.frozen
class ControlMessage:
    """
    One message.

    @ivar stream: The number of the stream.
    @ivar size: With C{END}, how many bytes the writer wrote, without the application's name.
    """

    control: Control
    stream: int
    size: int = 0

    def encode(self) -> bytes:
        """
        The kind in one byte, the number and the size in eight bytes each.
        """
        return _MESSAGE.pack(self.control, self.stream, self.size)


_KINDS = frozenset(Control)


class ControlReader:
    """
    Takes messages out of the bytes of a control stream.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[ControlMessage]:
        """
        The messages that are complete now; unknown kinds are left out.
        """
        self._buffer += data
        whole = len(self._buffer) - len(self._buffer) % _MESSAGE.size
        messages = [
            ControlMessage(Control(kind), stream, size)
            for kind, stream, size in _MESSAGE.iter_unpack(self._buffer[:whole])
            if kind in _KINDS
        ]
        self._buffer = self._buffer[whole:]
        return messages
