"""
How much each user may have relayed: a token bucket a user, and a total that is divided fairly.

What the total gives in one tick goes to the users whose buckets are not full, in equal shares; what
one of them cannot take is divided among the others (max-min fairness). So whoever uses less than an
equal share is never held up, and those who want more get the same, however much they send.

Owns: the buckets, and the bytes that each user has used up.
Knows nothing of: packets; allocations, but their number.
Driven by: L{RelayServer<holepunch.turn.relayserver.RelayServer>}, for each packet.
"""

from __future__ import annotations

from collections import OrderedDict

from holepunch.turn.relaylimits import RelayLimits

_TICK = 0.02
_LONGEST_TICK = 1.0
_BURST_SECONDS = 0.1
_LEAST_BURST = 65536.0
_INFINITE = float("inf")


class Account:
    """
    What one user may still do.

    @ivar user: Who.
    @ivar allocations: How many there are at this moment.
    @ivar relayed: Bytes, since the account was opened.
    @ivar refused: Bytes that were not relayed.
    """

    __slots__ = (
        "_left",
        "_level",
        "_periodEndsAt",
        "_share",
        "allocations",
        "refused",
        "relayed",
        "user",
    )

    def __init__(self, user: str, share: FairShare, now: float) -> None:
        self.user = user
        self.allocations = 0
        self.relayed = 0
        self.refused = 0
        self._share = share
        self._level = min(share.burst, _LEAST_BURST)
        self._left = share.bytesPerUser
        self._periodEndsAt = now + share.bytesPeriod

    def spend(self, size: int, now: float) -> bool:
        """
        May C{size} bytes be relayed? If so, they count.
        """
        share = self._share
        if share.isUnlimited:
            self.relayed += size
            return True
        share.tick(now)
        if now >= self._periodEndsAt:
            self._left = share.bytesPerUser
            self._periodEndsAt = now + share.bytesPeriod
        if size > self._level or size > self._left:
            share.thirsty[self] = None
            self.refused += size
            return False
        self._take(size)
        return True

    def charge(self, size: int, now: float) -> None:
        """
        Count what has been relayed already, and may be more than was there.
        """
        if self._share.isUnlimited:
            self.relayed += size
        else:
            self._share.tick(now)
            self._take(size)

    def isInDebt(self, now: float) -> bool:
        """
        Must a stream wait before it goes on?
        """
        if self._share.isUnlimited:
            return False
        self._share.tick(now)
        return self._level < 0 or self.isUsedUp(now)

    def isUsedUp(self, now: float) -> bool:
        """
        Has the user had all bytes of this period?
        """
        return self._left <= 0 and now < self._periodEndsAt

    def _take(self, size: int) -> None:
        self.relayed += size
        self._left -= size
        if self._share.isRated:
            self._level -= size
            self._share.thirsty[self] = None


class FairShare:
    """
    The accounts of all users.

    @ivar thirsty: Those whose bucket is not full.
    """

    def __init__(self, limits: RelayLimits, now: float) -> None:
        self.isRated = bool(limits.bandwidth or limits.totalBandwidth)
        self.isUnlimited = not (self.isRated or limits.bytesPerUser)
        self.bytesPerUser: float = limits.bytesPerUser or _INFINITE
        self.bytesPeriod = limits.bytesPeriod
        self._bandwidth: float = limits.bandwidth or _INFINITE
        self._total: float = limits.totalBandwidth or _INFINITE
        rate = min(self._bandwidth, self._total)
        self.burst = max(_LEAST_BURST, rate * _BURST_SECONDS)
        self.thirsty: dict[Account, None] = {}
        self._tickedAt = now
        self._tracked = limits.trackedUsers
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def account(self, user: str, now: float) -> Account:
        """
        The account of a user.
        """
        account = self._accounts.get(user)
        if account is None:
            account = self._accounts[user] = Account(user, self, now)
            if len(self._accounts) > self._tracked:
                self._forget()
        self._accounts.move_to_end(user)
        return account

    def __len__(self) -> int:
        return len(self._accounts)

    def tick(self, now: float) -> None:
        """
        Fill the buckets, if it is time.
        """
        elapsed = now - self._tickedAt
        if 0 <= elapsed < _TICK:
            return
        self._tickedAt = now
        # The system's clock may be set back.
        elapsed = min(max(elapsed, 0.0), _LONGEST_TICK)
        if not self.isRated:
            return
        most = self._bandwidth * elapsed
        left = self._total * elapsed
        wanted = {account: min(most, self.burst - account._level) for account in self.thirsty}
        self.thirsty = {}
        # Those who want least first: what they leave is there for the others.
        count = len(wanted)
        for account, amount in sorted(wanted.items(), key=lambda item: item[1]):
            given = min(amount, left / count)
            account._level += given
            if account._level < self.burst:
                self.thirsty[account] = None
            left -= given
            count -= 1

    def _forget(self) -> None:
        for user, account in self._accounts.items():
            if not account.allocations:
                self.thirsty.pop(account, None)
                del self._accounts[user]
                return
