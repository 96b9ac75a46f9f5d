"""
In which order the two sides connect over TCP: the simultaneous and the sequential flow.

Owns: when a pair may be connected, for how long, and when it is tried again.
Knows nothing of: connections' states; checks; nomination.
Driven by: L{StreamConnections}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from holepunch.punch.config import SessionConfig, TCPFlow
from holepunch.punch.fate import Fate
from holepunch.punch.pair import CandidatePair
from holepunch.punch.synchronisation import Synchronisation

_REFUSALS = (Fate.REFUSED, Fate.RESET, Fate.UNREACHABLE)


class ConnectFlow(Protocol):
    """
    One side's part in connecting.

    @ivar mayConnect: May pairs be connected now?
    @ivar attemptTime: How long a connect that is no punch is kept under way.
    @ivar isPatient: Can the other side's connect still come, when all of ours have failed?
    """

    mayConnect: bool
    attemptTime: float
    isPatient: bool

    def remoteReady(self, pairs: Sequence[CandidatePair], now: float) -> None:
        """
        The other side said that it is ready.

        @param pairs: All pairs over TCP; when they are tried again may change.
        """

    def saysReady(self, pair: CandidatePair) -> bool:
        """
        Is the other side told when the next connect of a pair is on its way?
        """

    def isReadyDue(self, pairs: Sequence[CandidatePair], now: float) -> bool:
        """
        Is the other side to be told now, besides what L{saysReady} demands?

        @param pairs: As for L{remoteReady}.
        """

    def isPunch(self, pair: CandidatePair) -> bool:
        """
        Does the next connect of a pair only open the hole? "Ready" waits for the end of those.
        """

    def ttl(self, pair: CandidatePair) -> int | None:
        """
        That of the next connect's first SYN; C{None} for the system's own.
        """

    def retryAt(
        self, pair: CandidatePair, fate: Fate, startedAt: float, now: float
    ) -> float | None:
        """
        When to try a pair again that has just failed; C{None} for never.
        """


class Simultaneous:
    """
    Both sides connect as soon as they know each other's endpoint.

    The first failures by RST are answered at once. Such a SYN came to a NAT or host whose own side
    had not sent yet, and was refused one way later; as long as one side always has a SYN under way,
    the other's first one meets it, unless the way is short and the two began far apart. Then the
    two are synchronised by way of the service. Where that fails, too, the delays are varied by a
    quarter, so two sides that miss each other do not do so for ever; and the requester's last SYNs
    are not to arrive.
    """

    mayConnect = True
    isPatient = False

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self.attemptTime = config.connectTimeout
        self._synchronisation = Synchronisation(config.isRequester)

    def remoteReady(self, pairs: Sequence[CandidatePair], now: float) -> None:
        """
        Connect now, or learn how long "ready" takes.
        """
        self._synchronisation.remoteReady(_refused(pairs), now)

    def saysReady(self, pair: CandidatePair) -> bool:
        """
        Only to synchronise.
        """
        return False

    def isReadyDue(self, pairs: Sequence[CandidatePair], now: float) -> bool:
        """
        When connects were refused.
        """
        return self._synchronisation.isReadyDue(_refused(pairs), now)

    def isPunch(self, pair: CandidatePair) -> bool:
        """
        Every connect is meant to succeed.
        """
        return False

    def ttl(self, pair: CandidatePair) -> int | None:
        """
        The requester's last SYNs open the hole, and leave it to the other side's to get through.
        """
        config = self._config
        number = pair.attempts - config.connectTries + len(config.lastTTLs)
        return config.lastTTLs[number] if config.isRequester and number >= 0 else None

    def retryAt(
        self, pair: CandidatePair, fate: Fate, startedAt: float, now: float
    ) -> float | None:
        """
        At once at first, then after the delay, until the tries are used up.
        """
        config = self._config
        if fate is Fate.STRANGER or pair.attempts >= config.connectTries:
            return None
        if fate in _REFUSALS and pair.attempts <= config.quickRetries:
            return self._quickly(startedAt, now)
        return now + config.retryDelay * (0.75 + config.randomBytes(1)[0] / 510)

    def _quickly(self, startedAt: float, now: float) -> float:
        """
        At once, but no two connects closer than checks may be.
        """
        return max(now, startedAt + self._config.checkPacing)


class SequentialRequester(Simultaneous):
    """
    The side that connects last: not before the other side's hole is open.
    """

    mayConnect = False
    isPatient = True

    def remoteReady(self, pairs: Sequence[CandidatePair], now: float) -> None:
        """
        From now on, connect; and again at once whenever the other side opened its hole again.
        """
        self.mayConnect = True
        for pair in pairs:
            if pair.retryAt is not None:
                pair.retryAt = now

    def isReadyDue(self, pairs: Sequence[CandidatePair], now: float) -> bool:
        """
        Only the other side says it.
        """
        return False

    def ttl(self, pair: CandidatePair) -> int | None:
        """
        Our SYN has to arrive: the other side only opens its hole.
        """
        return None


@attrs.frozen
class _Turn:
    """
    One turn of a pair.

    @ivar isPunch: Are its connects given up before the other side is told?
    @ivar attemptsBefore: How many connects there were before it.
    """

    isPunch: bool = False
    attemptsBefore: int = 0


class SequentialResponder(Simultaneous):
    """
    The side that punches: its connects open the hole, then it says ready and listens.

    Should one succeed, the other side is reachable, and the connection is used like any other.

    It goes by turns. First the connect that opened the hole is kept under way, and the other side's
    SYN meets it: NATs that watch sequence numbers, such as the kernel's, let no SYN-ACK out whose
    number differs from that of the SYN which made the mapping. Then, for systems without
    simultaneous open, the connect is given up before the other side is told.
    """

    isPatient = True

    def __init__(self, config: SessionConfig) -> None:
        super().__init__(config)
        self.attemptTime = 4 * config.retryDelay
        self._turns: dict[CandidatePair, _Turn] = {}

    def remoteReady(self, pairs: Sequence[CandidatePair], now: float) -> None:
        """
        Of no interest: the other side waits for us.
        """

    def saysReady(self, pair: CandidatePair) -> bool:
        """
        Once a turn.
        """
        turn = self._turns.setdefault(pair, _Turn())
        return pair.attempts == turn.attemptsBefore

    def isReadyDue(self, pairs: Sequence[CandidatePair], now: float) -> bool:
        """
        It is said with the connects.
        """
        return False

    def isPunch(self, pair: CandidatePair) -> bool:
        """
        In every second turn.
        """
        return self._turns.setdefault(pair, _Turn()).isPunch

    def retryAt(
        self, pair: CandidatePair, fate: Fate, startedAt: float, now: float
    ) -> float | None:
        """
        For as long as the session lasts: the second turn follows the first one at once.

        An answer of RST may have closed the hole again: as in the simultaneous flow, the next SYN
        is to be on its way when the other side's comes, and the turn goes on.
        """
        if fate is Fate.STRANGER:
            return None
        turn = self._turns.setdefault(pair, _Turn())
        attempts = pair.attempts - turn.attemptsBefore
        if fate in _REFUSALS and not turn.isPunch and attempts <= self._config.quickRetries:
            return self._quickly(startedAt, now)
        following = self._turns[pair] = _Turn(not turn.isPunch, pair.attempts)
        if fate is Fate.CONNECT_TIMED_OUT and following.isPunch:
            return now
        return now + self._config.retryDelay


def _refused(pairs: Sequence[CandidatePair]) -> list[CandidatePair]:
    """
    Those that are to be tried again because they were refused.
    """
    return [pair for pair in pairs if pair.retryAt is not None and pair.fate in _REFUSALS]


def flowOf(config: SessionConfig) -> ConnectFlow:
    """
    This side's part, as configured.
    """
    if config.tcpFlow is TCPFlow.SIMULTANEOUS:
        return Simultaneous(config)
    return SequentialRequester(config) if config.isRequester else SequentialResponder(config)
