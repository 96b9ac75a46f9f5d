"""
IP fragments, and putting them together again (RFC 791 section 3.2, RFC 8200 section 4.5).

Owns: which fragments belong together, when they are complete, and for how long one waits for the
rest.
Knows nothing of: bytes on a wire: a fragment joins the others itself.
Driven by: L{holepunch.nat.device}, and the stack of a simulated host.

Fragments after the first have no ports, so a NAT can only translate the whole (RFC 4787 REQ-14).
Bounded in time and memory: whoever sends fragments that never become whole displaces only others of
that kind.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import attrs

from holepunch.nat.packet import Packet

_WAITS = 30.0
_MOST_WAITING = 64
_LONGEST = 65535


class Fragment(abc.ABC):
    """
    The payload of a packet with L{Protocol.FRAGMENT}.

    @ivar carried: The protocol of the whole packet, as the number in its IP header.
    @ivar identification: Tells the fragments of one packet from those of others.
    @ivar offset: Where in the payload of the whole packet it begins, in bytes.
    @ivar isLast: Does the whole packet end with it?
    """

    carried: int
    identification: int
    offset: int
    isLast: bool

    @abc.abstractmethod
    def __len__(self) -> int:
        """
        How many bytes of the payload it has.
        """

    @abc.abstractmethod
    def join(self, others: Sequence[Fragment]) -> Packet | None:
        """
        Put a packet together out of this, its first fragment, and the others in their order.

        @return: C{None}: the whole makes no sense.
        """


def carriedProtocol(packet: Packet) -> int:
    """
    The protocol of a packet; of a fragment, that of the whole.
    """
    payload = packet.payload
    return payload.carried if isinstance(payload, Fragment) else packet.protocol


@attrs.define
class _Waiting:
    """
    The fragments of one packet, by their offsets.

    @ivar length: How much of it is there.
    @ivar end: How long it is; C{None} until its last fragment has come.
    """

    until: float
    length: int = 0
    end: int | None = None
    pieces: dict[int, Fragment] = attrs.Factory(dict)

    def add(self, piece: Fragment) -> None:
        """
        Take one of them; the first of two that begin at one place counts.
        """
        if piece.offset in self.pieces or piece.offset + len(piece) > _LONGEST:
            return
        self.pieces[piece.offset] = piece
        self.length += len(piece)
        if piece.isLast:
            self.end = piece.offset + len(piece)

    def complete(self) -> list[Fragment] | None:
        """
        All of them in order; C{None}: one is missing, or they overlap (RFC 5722).
        """
        if self.length != self.end:
            return None
        ordered = [self.pieces[offset] for offset in sorted(self.pieces)]
        end = 0
        for piece in ordered:
            if piece.offset != end:
                return None
            end += len(piece)
        return ordered if ordered[-1].isLast else None


_Key = tuple[str, str, int, int]


class Reassembly:
    """
    Fragments that wait for others.
    """

    def __init__(self) -> None:
        self._waiting: dict[_Key, _Waiting] = {}

    def add(self, packet: Packet, now: float) -> Packet | None:
        """
        Take a fragment.

        @return: The whole packet, with its last fragment.
        """
        fragment = packet.payload
        assert isinstance(fragment, Fragment)
        self._forget(now)
        key = (
            packet.source.host,
            packet.destination.host,
            fragment.carried,
            fragment.identification,
        )
        waiting = self._waiting.setdefault(key, _Waiting(now + _WAITS))
        waiting.add(fragment)
        pieces = waiting.complete()
        if pieces is None:
            return None
        del self._waiting[key]
        return pieces[0].join(pieces[1:])

    def _forget(self, now: float) -> None:
        """
        Give up what waits for too long, and the oldest of too many.
        """
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            if oldest.until > now and len(self._waiting) <= _MOST_WAITING:
                return
            del self._waiting[key]
