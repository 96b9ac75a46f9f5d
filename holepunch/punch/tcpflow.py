"""
In which order the two sides connect over TCP: the simultaneous and the sequential flow.

Owns: when a pair may be connected, for how long, and when it is tried again.
Knows nothing of: connections' states; checks; nomination.
Driven by: L{StreamChecks}.
"""

from __future__ import annotations

from typing import Protocol

from holepunch.punch.config import SessionConfig, TCPFlow
from holepunch.punch.fate import Fate
from holepunch.punch.pair import CandidatePair


class ConnectFlow(Protocol):
    """
    One side's part in connecting.

    @ivar mayConnect: May pairs be connected now?
    @ivar attemptTime: How long one attempt is kept.
    @ivar saysReady: Does a round of attempts end with the word to the other side?
    @ivar isPatient: Can the other side's connect still come, when all of ours have failed?
    """

    mayConnect: bool
    attemptTime: float
    saysReady: bool
    isPatient: bool

    def remoteReady(self) -> None:
        """
        The other side said that it is ready.
        """

    def retryAt(self, pair: CandidatePair, fate: Fate, now: float) -> float | None:
        """
        When to try a pair again that has just failed; L{None} for never.
        """


class Simultaneous:
    """
    Both sides connect as soon as they know each other's endpoint.

    The first failures by RST are answered at once. Such a SYN came to a NAT or host whose own side
    had not sent yet, and was refused one way later; as long as one side always has a SYN under way,
    the other's first one meets it, however far apart the two began. After that, the delays are
    varied by a quarter, so two sides that miss each other do not do so for ever.
    """

    mayConnect = True
    saysReady = False
    isPatient = False

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self.attemptTime = config.connectTimeout

    def remoteReady(self) -> None:
        """
        Of no interest in this flow.
        """

    def retryAt(self, pair: CandidatePair, fate: Fate, now: float) -> float | None:
        """
        At once at first, then after the delay, until the tries are used up.
        """
        config = self._config
        if fate is Fate.STRANGER or pair.attempts >= config.connectTries:
            return None
        if fate in (Fate.REFUSED, Fate.RESET) and pair.attempts <= config.quickRetries:
            return now + config.checkPacing
        return now + config.retryDelay * (0.75 + config.randomBytes(1)[0] / 510)


class SequentialRequester(Simultaneous):
    """
    The side that connects last: not before the other side's hole is open.
    """

    mayConnect = False
    isPatient = True

    def remoteReady(self) -> None:
        """
        From now on, connect; and again at once whenever the other side opened its hole again.
        """
        self.mayConnect = True


class SequentialResponder:
    """
    The side that punches: its connects only open the hole, and then it says ready and listens.

    Should one succeed, the other side is reachable, and the connection is used like any other.
    """

    mayConnect = True
    saysReady = True
    isPatient = True

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self.attemptTime = config.punchTime

    def remoteReady(self) -> None:
        """
        Of no interest to this side.
        """

    def retryAt(self, pair: CandidatePair, fate: Fate, now: float) -> float | None:
        """
        Punch again after the delay, for as long as the session lasts.
        """
        return None if fate is Fate.STRANGER else now + self._config.retryDelay


def flowOf(config: SessionConfig) -> ConnectFlow:
    """
    This side's part, as configured.
    """
    if config.tcpFlow is TCPFlow.SIMULTANEOUS:
        return Simultaneous(config)
    return SequentialRequester(config) if config.isRequester else SequentialResponder(config)
