"""
A candidate pair: a local address, a remote address, and how far the checks between them have come.

Owns: the states of a pair and their transition table (RFC 8445 section 6.1.2.6), and what the
checks found out about the pair.
Knows nothing of: other pairs; what a check looks like; when it is sent.
Driven by: L{CheckList}, which forms pairs, L{DatagramChecks} and L{StreamChecks}, which check them.
"""

from __future__ import annotations

import enum

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import LocalProtocolError
from holepunch.punch.candidate import Candidate
from holepunch.punch.fate import Fate


class PairState(enum.Enum):
    """
    How far the checks of a pair have come.

    There is no Frozen: with one component there is nothing to wait for (RFC 8445 section 6.1.2.6).
    """

    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PairEvent(enum.Enum):
    """
    What changes the state of a pair.
    """

    START = "a check or a connect starts"
    SUCCEED = "the other side proved the credential"
    FAIL = "the check or the connect failed"
    REPEAT = "a check is due again: triggered by the other side, or after a delay"


PAIR_TRANSITIONS = {
    (PairState.WAITING, PairEvent.START): PairState.IN_PROGRESS,
    (PairState.WAITING, PairEvent.SUCCEED): PairState.SUCCEEDED,  # a late answer
    (PairState.WAITING, PairEvent.FAIL): PairState.FAILED,
    (PairState.WAITING, PairEvent.REPEAT): PairState.WAITING,
    (PairState.IN_PROGRESS, PairEvent.START): PairState.IN_PROGRESS,
    (PairState.IN_PROGRESS, PairEvent.SUCCEED): PairState.SUCCEEDED,
    (PairState.IN_PROGRESS, PairEvent.FAIL): PairState.FAILED,
    (PairState.IN_PROGRESS, PairEvent.REPEAT): PairState.WAITING,
    (PairState.SUCCEEDED, PairEvent.START): PairState.SUCCEEDED,  # the nominating check
    (PairState.SUCCEEDED, PairEvent.SUCCEED): PairState.SUCCEEDED,
    (PairState.SUCCEEDED, PairEvent.FAIL): PairState.FAILED,
    (PairState.FAILED, PairEvent.START): PairState.IN_PROGRESS,
    (PairState.FAILED, PairEvent.SUCCEED): PairState.SUCCEEDED,  # a late answer
    (PairState.FAILED, PairEvent.FAIL): PairState.FAILED,
    (PairState.FAILED, PairEvent.REPEAT): PairState.WAITING,
}


@attrs.define(eq=False, kw_only=True)
class CandidatePair:
    """
    One local and one remote candidate, checked together.

    @ivar priority: Of the pair; higher is better.
    @ivar attempts: How many checks (UDP) or connects (TCP) were begun.
    @ivar startedAt: When the first of them was begun.
    @ivar retryAt: When a failed pair is tried again; C{None} for never.
    @ivar rtt: The round trip in seconds, once measured.
    @ivar isNominated: The controlling side chose this pair.
    @ivar isRemoteProven: The other side has shown the credential on this pair.
    @ivar answeredAt: When the last authentic response came (UDP): the consent to send on.
    @ivar mapped: Our own candidate as the other side sees it (RFC 8445 section 7.2.5.3.1).
    """

    local: Candidate
    remote: Candidate
    priority: int
    state: PairState = PairState.WAITING
    fate: Fate = Fate.NOT_TRIED
    attempts: int = 0
    startedAt: float | None = None
    retryAt: float | None = None
    succeededAt: float = 0.0
    rtt: float | None = None
    isNominated: bool = False
    isRemoteProven: bool = False
    answeredAt: float | None = None
    mapped: Candidate | None = None

    @property
    def transport(self) -> Transport:
        """
        What carries the pair's checks and, later, its data.
        """
        return self.local.transport

    @property
    def base(self) -> TransportAddress:
        """
        The local address that the pair sends from.
        """
        return self.local.sendingAddress

    @property
    def mayConnect(self) -> bool:
        """
        May this side open a TCP connection for the pair (RFC 6544 section 4.1)?
        """
        local, remote = self.local.tcpType, self.remote.tcpType
        return local is not None and remote is not None and local.mayConnect and remote.mayAccept

    @property
    def hasSucceeded(self) -> bool:
        """
        Is the pair valid: proven in both directions?
        """
        return self.state is PairState.SUCCEEDED

    @property
    def isExpected(self) -> bool:
        """
        May the pair become valid at any moment?

        A connect finds its address in use when the listening port has already accepted the other
        side's connection; that one's first check has yet to come.
        """
        return self.state is PairState.IN_PROGRESS or self.fate is Fate.ADDRESS_IN_USE

    def start(self, now: float) -> None:
        """
        A check or a connect leaves now.
        """
        self._move(PairEvent.START)
        self.attempts += 1
        self.retryAt = None
        if self.startedAt is None:
            self.startedAt = now
        if self.fate is Fate.NOT_TRIED:
            self.fate = Fate.IN_PROGRESS

    def succeed(self, rtt: float | None, now: float) -> None:
        """
        The other side proved the credential.
        """
        if not self.hasSucceeded:
            self.succeededAt = now
        self._move(PairEvent.SUCCEED)
        self.fate = Fate.VALID
        self.isRemoteProven = True
        self.retryAt = None
        if rtt is not None:
            self.rtt = rtt if self.rtt is None else min(rtt, self.rtt)

    def fail(self, fate: Fate, retryAt: float | None) -> None:
        """
        What was under way failed.

        @param retryAt: When to try again; C{None} for never.
        """
        self._move(PairEvent.FAIL)
        self.fate = fate
        self.retryAt = retryAt

    def repeat(self) -> None:
        """
        A check of the pair is due again.
        """
        self._move(PairEvent.REPEAT)
        self.retryAt = None

    def describeFate(self) -> str:
        """
        One sentence: what was tried, and how it ended.
        """
        tries = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"{self} {self.fate.value}" + (f" (tried {tries})." if self.attempts else ".")

    def _move(self, event: PairEvent) -> None:
        state = PAIR_TRANSITIONS.get((self.state, event))
        if state is None:
            raise LocalProtocolError(f"a pair that is {self.state.value}: {event.value}")
        self.state = state

    def __str__(self) -> str:
        return (
            f"{self.transport.value} {self.base} -> {self.remote.address}"
            f" ({self.local.type.value}, {self.remote.type.value})"
        )
