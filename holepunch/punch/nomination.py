"""
Which valid pair the controlling side nominates, and when (RFC 8445 section 8.1.1).

Owns: the choice, as a strategy object; L{HeadStart} is ours.
Knows nothing of: how the nomination is sent, or what a pair's transport is.
Driven by: L{PunchSession} of the controlling side, after every input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Contender:
    """
    Something that can be nominated now: a valid pair, or an established connection.

    @ivar key: The caller's name for it.
    @ivar priority: Of its pair.
    @ivar since: Since when it can be nominated.
    @ivar rtt: Seconds, as far as known.
    """

    key: object
    priority: int
    remoteHost: str
    since: float
    rtt: float = 0.0


@attrs.frozen(kw_only=True)
class Pending:
    """
    A pair that is still in progress.

    @ivar startedAt: When its first check or connect left.
    """

    priority: int
    remoteHost: str
    startedAt: float


@attrs.frozen
class Choice:
    """
    What a strategy decided.

    @ivar contender: What to nominate now, if anything.
    @ivar wakeAt: Otherwise, when to ask again at the latest.
    """

    contender: Contender | None = None
    wakeAt: float | None = None


class NominationStrategy(Protocol):
    """
    Decides which contender is nominated, and whether to wait for a better one.
    """

    def choose(
        self, contenders: Sequence[Contender], pending: Sequence[Pending], now: float
    ) -> Choice:
        """
        Choose among what can be nominated now, knowing what may still come.
        """


@attrs.frozen
class HeadStart:
    """
    The best contender wins, unless a better pair is still in its head start.

    A pair's head start lasts C{seconds} from its first check, or the contender's round trip where
    that is longer; and no longer than that from the moment at which the contender became valid,
    however many better pairs are still begun. All first checks leave at about the same time, so
    normally nothing is waited for. But a better pair to the same host, which differs in its
    transport, is to be expected in this moment, for its packets took the same way: it gets another
    quarter of the round trip.
    """

    seconds: float = attrs.field(default=0.05, validator=attrs.validators.ge(0))

    def choose(
        self, contenders: Sequence[Contender], pending: Sequence[Pending], now: float
    ) -> Choice:
        """
        Choose the best contender, or say when the last better pair's head start ends.
        """
        if not contenders:
            return Choice()
        best = max(contenders, key=lambda contender: contender.priority)
        head = max(self.seconds, best.rtt)
        grace = min(max(best.rtt / 4, 0.01), self.seconds)
        ends = []
        for pair in pending:
            if pair.priority > best.priority:
                ends.append(min(pair.startedAt, best.since) + head)
                if pair.remoteHost == best.remoteHost:
                    ends.append(best.since + grace)
        latest = max(ends, default=now)
        return Choice(wakeAt=latest) if latest > now else Choice(contender=best)


@attrs.frozen
class FirstValid:
    """
    The best of what can be nominated now wins: nothing is waited for.
    """

    def choose(
        self, contenders: Sequence[Contender], pending: Sequence[Pending], now: float
    ) -> Choice:
        """
        Choose the best contender at once.
        """
        return Choice(max(contenders, key=lambda contender: contender.priority, default=None))
