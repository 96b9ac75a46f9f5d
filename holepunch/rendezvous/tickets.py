"""
Tickets: short-term credentials (RFC 8489 section 9.1) by which assist requests are told apart.

Owns: making tickets, whose they are, and until when they are good.
Knows nothing of: STUN messages; what is done with what a ticket's request showed.
Driven by: the L{Switchboard}.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import attrs

from holepunch.rendezvous.introduction import Ticket


@attrs.frozen
class TicketHolder:
    """
    Whom a ticket was given to, and what for.

    @ivar connection: The number of the peer's main connection.
    @ivar sessionID: C{None} for the ticket of the registration.
    """

    connection: int
    sessionID: str | None = None


@attrs.frozen
class _Issued:
    ticket: Ticket
    holder: TicketHolder
    expiresAt: float | None


class TicketBook:
    """
    The tickets that are good.

    @param randomBytes: Such as C{os.urandom}.
    """

    def __init__(self, randomBytes: Callable[[int], bytes]) -> None:
        self._randomBytes = randomBytes
        self._issued: dict[str, _Issued] = {}

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, holder: TicketHolder, now: float, lifetime: float = 0.0) -> Ticket:
        """
        Make a ticket.

        @param lifetime: Seconds; 0 is for as long as it is not revoked.
        """
        ticket = Ticket(
            name=base64.b32encode(self._randomBytes(15)).decode("ascii").lower(),
            key=base64.urlsafe_b64encode(self._randomBytes(24)),
            lifetime=lifetime,
        )
        expiresAt = now + lifetime if lifetime else None
        self._issued[ticket.name] = _Issued(ticket, holder, expiresAt)
        return ticket

    def revoke(self, ticket: Ticket) -> None:
        """
        A ticket is good no longer.
        """
        self._issued.pop(ticket.name, None)

    def keyFor(self, username: str, now: float) -> bytes | None:
        """
        The key of the ticket that a USERNAME names, if it is good.
        """
        issued = self._find(username, now)
        return issued.ticket.key if issued is not None else None

    def holderOf(self, username: str, now: float) -> TicketHolder | None:
        """
        Whom the ticket that a USERNAME names was given to, if it is good.
        """
        issued = self._find(username, now)
        return issued.holder if issued is not None else None

    def _find(self, username: str, now: float) -> _Issued | None:
        issued = self._issued.get(username.partition(".")[0])
        if issued is None or (issued.expiresAt is not None and now >= issued.expiresAt):
            return None
        return issued
