"""
The error codes of streams and connections over QUIC, as applications define them (RFC 9000 20.2).

Owns: the numbers, and the sentence that a person reads for each.
Knows nothing of: who sends them when.
Driven by: L{holepunch.peer.quic} and L{holepunch.peer.quicstream}.
"""

from __future__ import annotations

import enum

_CRYPTO_ERROR = 0x100


class StreamCode(enum.IntEnum):
    """
    Why a stream was reset, or is no longer read.
    """

    CLOSED = 0
    ABORTED = 1
    UNKNOWN_APPLICATION = 2
    MALFORMED = 3


class ConnectionCode(enum.IntEnum):
    """
    Why a connection was closed by one of the two programs.
    """

    CLOSED = 0
    INTERNAL = 1


_STREAM_SENTENCES = {
    StreamCode.CLOSED: "the other side closed the stream",
    StreamCode.ABORTED: "the other side aborted the stream",
    StreamCode.UNKNOWN_APPLICATION: "the other side has no application of that name",
    StreamCode.MALFORMED: "the other side could not understand how the stream begins",
}


def streamSentence(code: int) -> str:
    """
    What a stream's error code means.
    """
    try:
        return _STREAM_SENTENCES[StreamCode(code)]
    except ValueError:
        return f"the other side reset the stream with code {code}"


def isIdentityAlert(code: int) -> bool:
    """
    Does a connection's error code say that the TLS handshake failed (RFC 9001 section 4.8)?
    """
    return _CRYPTO_ERROR <= code < _CRYPTO_ERROR + 0x100
