"""
Mailboxes: two peers that share a code find each other by the number in it, and say some words.

The service passes on what is said, and keeps nothing of it. A mailbox is entered once in its life:
whoever enters it has the one guess that an invitation allows.

Owns: which mailboxes there are, their numbers, who is at their two ends, and the limits.
Knows nothing of: invitations (L{holepunch.rendezvous.invitation}); connections but their numbers;
clocks and randomness, which go in.
Driven by: L{holepunch.rendezvous.mailboxline}.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from holepunch.errors import InvitationFailed, RendezvousError, TooManyRequests
from holepunch.rendezvous.attempts import Attempts
from holepunch.rendezvous.limits import addressKey

_ENTRIES, _ENTRY_INTERVAL = 10, 30.0
_TRACKED = 65536
_DIGITS = 9


@attrs.frozen(kw_only=True)
class MailboxLimits:
    """
    @ivar lifetime: Seconds for which a mailbox is open.
    @ivar perConnection: Mailboxes that one peer may have open.
    @ivar total: All of them.
    @ivar posts: What one side may say in one mailbox.
    """

    lifetime: float = 600.0
    perConnection: int = 4
    total: int = 10_000
    posts: int = 4


@attrs.define
class _Mailbox:
    owner: int
    expiresAt: float
    guest: int | None = None
    posts: dict[int, int] = attrs.field(factory=dict)


class Mailboxes:
    """
    All mailboxes of a service.
    """

    def __init__(
        self, randomBytes: Callable[[int], bytes], limits: MailboxLimits | None = None
    ) -> None:
        """
        @param randomBytes: Such as C{os.urandom}.
        """
        self.limits = limits if limits is not None else MailboxLimits()
        self._randomBytes = randomBytes
        # Every mailbox lives equally long, so the first one is the first to expire.
        self._mailboxes: dict[int, _Mailbox] = {}
        self._entries = Attempts(_ENTRIES, _ENTRY_INTERVAL, _TRACKED)

    def __len__(self) -> int:
        return len(self._mailboxes)

    def open(self, connection: int, now: float) -> int:
        """
        Open a mailbox.

        @raise TooManyRequests: This peer has too many.
        @raise RendezvousError: The service has too many.
        @return: Its number.
        """
        self._expire(now)
        own = sum(each.owner == connection for each in self._mailboxes.values())
        if own >= self.limits.perConnection:
            raise TooManyRequests("this peer has too many open invitations")
        if len(self._mailboxes) >= self.limits.total:
            raise RendezvousError("the service has too many open invitations: try again later")
        nameplate = self._freeNumber()
        self._mailboxes[nameplate] = _Mailbox(connection, now + self.limits.lifetime)
        return nameplate

    def enter(self, nameplate: int, connection: int, host: str, now: float) -> None:
        """
        Enter the mailbox of another peer. Nobody else can, from then on.

        @param host: Whence; entries are counted, for whoever enters one spoils the invitation.
        @raise TooManyRequests: There were too many from there.
        @raise InvitationFailed: There is no such mailbox, or not any more.
        """
        address = addressKey(host)
        wait = self._entries.wait(address, now)
        if wait > 0:
            raise TooManyRequests(
                f"too many invitation codes were tried: try again in {max(1, round(wait))} seconds"
            )
        self._entries.begin(address, now)
        self._expire(now)
        mailbox = self._mailboxes.get(nameplate)
        if mailbox is None or mailbox.guest is not None or mailbox.owner == connection:
            raise InvitationFailed(
                "there is no such invitation: it was used, has expired, or the code is misspelt"
            )
        mailbox.guest = connection

    def post(self, nameplate: int, connection: int, now: float) -> int:
        """
        One side says something.

        @raise InvitationFailed: It has no such mailbox, nobody is at the other end, or it said too
            much.
        @return: The connection at the other end.
        """
        self._expire(now)
        mailbox = self._mailboxes.get(nameplate)
        other = None if mailbox is None else _otherEnd(mailbox, connection)
        if mailbox is None or other is None:
            raise InvitationFailed("the invitation is over")
        mailbox.posts[connection] = mailbox.posts.get(connection, 0) + 1
        if mailbox.posts[connection] > self.limits.posts:
            raise InvitationFailed("too much was said about one invitation")
        return other

    def close(self, nameplate: int, connection: int) -> int | None:
        """
        One side closes a mailbox, if there is such a one.

        @return: The connection at the other end, if anybody is there.
        """
        mailbox = self._mailboxes.get(nameplate)
        if mailbox is None or connection not in (mailbox.owner, mailbox.guest):
            return None
        del self._mailboxes[nameplate]
        return _otherEnd(mailbox, connection)

    def connectionLost(self, connection: int) -> list[tuple[int, int]]:
        """
        A main connection is gone, and its mailboxes with it.

        @return: The numbers of those where somebody is at the other end, and who.
        """
        lost = [
            nameplate
            for nameplate, each in self._mailboxes.items()
            if connection in (each.owner, each.guest)
        ]
        others = [(nameplate, self.close(nameplate, connection)) for nameplate in lost]
        return [(nameplate, other) for nameplate, other in others if other is not None]

    def _expire(self, now: float) -> None:
        for nameplate, mailbox in list(self._mailboxes.items()):
            if mailbox.expiresAt > now:
                break
            del self._mailboxes[nameplate]

    def _freeNumber(self) -> int:
        """
        A short number, with as many digits as leave most numbers free.
        """
        digits = len(str(2 * len(self._mailboxes) + 1))
        bound = int("1" + "0" * min(digits, _DIGITS))
        while True:
            number = int.from_bytes(self._randomBytes(8), "big") % bound
            if number and number not in self._mailboxes:
                return number


def _otherEnd(mailbox: _Mailbox, connection: int) -> int | None:
    if connection == mailbox.owner:
        return mailbox.guest
    return mailbox.owner if connection == mailbox.guest else None
