"""
The ports of relayed addresses: which one comes next, and which are kept for later
(RFC 8656 sections 7.2 and 18.7).

Ports are drawn by lot, so that nobody can tell the next one from the last (section 21.1.1).

Owns: the range, and the reservations.
Knows nothing of: sockets: a port that is free here may be taken by another program.
Driven by: L{Allocator<holepunch.turn.allocator.Allocator>}.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import attrs

from holepunch.address import TransportAddress

#: RFC 8656 section 7.2 recommends the range of ports that nobody has registered.
LOWEST, HIGHEST = 49152, 65535

# Section 7.2: at least 30 seconds.
_RESERVATION_LIFETIME = 30.0
_RESERVATIONS = 1024
_TOKEN_LENGTH = 8
_ATTEMPTS = 16


@attrs.frozen
class _Reservation:
    address: TransportAddress
    user: str
    expiresAt: float


class Ports:
    """
    The range of ports of one relay.
    """

    def __init__(self, lowest: int, highest: int, randomBytes: Callable[[int], bytes]) -> None:
        self._lowest = lowest
        self._count = highest - lowest + 1
        self._randomBytes = randomBytes
        self._reservations: dict[bytes, _Reservation] = {}

    def choose(
        self, host: str, taken: Container[TransportAddress], isEven: bool = False
    ) -> TransportAddress | None:
        """
        A port of a host that is not taken.

        @param isEven: It is an even one, and the next one is free, too.
        @return: C{None} where none was found in a few draws: nearly all are taken.
        """
        kept = {each.address for each in self._reservations.values()}
        for _ in range(_ATTEMPTS):
            number = int.from_bytes(self._randomBytes(4), "big") % self._count
            port = self._lowest + number
            if isEven:
                port -= port & 1
                if not self._lowest <= port < self._lowest + self._count - 1:
                    continue
            chosen = TransportAddress(host, port)
            wanted = [chosen, TransportAddress(host, port + 1)] if isEven else [chosen]
            if not any(each in taken or each in kept for each in wanted):
                return chosen
        return None

    def reserve(self, address: TransportAddress, user: str, now: float) -> bytes | None:
        """
        Keep an address for a user.

        @return: The token to ask for it; C{None} where too many are kept.
        """
        self.handleTimeout(now)
        if len(self._reservations) >= _RESERVATIONS:
            return None
        token = self._randomBytes(_TOKEN_LENGTH)
        self._reservations[token] = _Reservation(address, user, now + _RESERVATION_LIFETIME)
        return token

    def redeem(self, token: bytes, user: str, now: float) -> TransportAddress | None:
        """
        Take the address that a token stands for; C{None} for none.
        """
        found = self._reservations.get(token)
        if found is None or found.user != user or found.expiresAt <= now:
            return None
        del self._reservations[token]
        return found.address

    def handleTimeout(self, now: float) -> None:
        """
        Forget reservations that nobody came for.
        """
        for token, each in list(self._reservations.items()):
            if each.expiresAt <= now:
                del self._reservations[token]
