"""
Checks over UDP that wait for their answer (RFC 8445 section 14, RFC 8489 section 6.2.1).

Owns: when each is sent again and when it is given up.
Knows nothing of: what an answer means; which check is sent next.
Driven by: L{DatagramChecks}.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from holepunch.punch.checks import BuiltCheck
from holepunch.punch.pair import CandidatePair
from holepunch.stun import ClientTransaction, ReceivedMessage

# How often a check leaves before its pair counts as failed: 0, 1, 3, 7 RTOs, over at 11. The
# nominating check says more than any other, and is given longer.
_CHECK_COUNT = 4
_NOMINATING_COUNT = 7
_FINAL_FACTOR = 4


@attrs.define(eq=False, kw_only=True)
class SentCheck:
    """
    One check.

    @ivar isConsent: It asks for consent: it is sent once, and nothing follows from a missing answer
        but time.
    @ivar isProbe: The driver wants to hear of the answer.
    @ivar isSuperseded: It is not sent again, because a newer one of its pair is (RFC 8445 section
        7.3.1.4); its answer still counts.
    """

    pair: CandidatePair
    built: BuiltCheck
    transaction: ClientTransaction
    isConsent: bool = False
    isProbe: bool = False
    isSuperseded: bool = False


class SentChecks:
    """
    All checks of one session that wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, SentCheck] = {}

    def add(self, pair: CandidatePair, built: BuiltCheck, rto: float, now: float) -> SentCheck:
        """
        A check leaves now.

        @param rto: After how long it is sent again for the first time.
        """
        count = _NOMINATING_COUNT if built.isNominating else _CHECK_COUNT
        transaction = ClientTransaction(built.data, now, rto, count, _FINAL_FACTOR)
        return self._add(SentCheck(pair=pair, built=built, transaction=transaction))

    def addConsent(
        self, pair: CandidatePair, built: BuiltCheck, patience: float, now: float, isProbe: bool
    ) -> SentCheck:
        """
        A consent check leaves now.

        @param patience: How long its answer is waited for.
        """
        transaction = ClientTransaction(built.data, now, patience, 1, 1)
        return self._add(
            SentCheck(
                pair=pair, built=built, transaction=transaction, isConsent=True, isProbe=isProbe
            )
        )

    def _add(self, sent: SentCheck) -> SentCheck:
        self._waiting[sent.built.transactionId] = sent
        return sent

    def take(self, response: ReceivedMessage) -> SentCheck | None:
        """
        Take out the check that an authentic response answers.
        """
        sent = self._waiting.get(response.transactionId)
        if sent is None or not sent.transaction.matches(response):
            return None
        del self._waiting[response.transactionId]
        return sent

    def supersede(self, pair: CandidatePair) -> None:
        """
        A newer check of C{pair} follows.
        """
        for sent in self._waiting.values():
            if sent.pair is pair:
                sent.isSuperseded = True

    def forget(self, pair: CandidatePair) -> None:
        """
        One check of C{pair} was answered: only its nominating check still matters.
        """
        self._keep(lambda sent: sent.pair is not pair or sent.built.isNominating or sent.isConsent)

    def forgetOthers(self, pair: CandidatePair | None) -> None:
        """
        C{pair} was selected: only its nominating check still matters.
        """
        self._keep(lambda sent: sent.pair is pair and sent.built.isNominating)

    def _keep(self, isKept: Callable[[SentCheck], bool]) -> None:
        self._waiting = {key: sent for key, sent in self._waiting.items() if isKept(sent)}

    def due(self, now: float) -> list[tuple[SentCheck, bytes | None]]:
        """
        Which checks are due now: to be sent again, with their bytes, or given up, with C{None}.
        """
        found: list[tuple[SentCheck, bytes | None]] = []
        for sent in list(self._waiting.values()):
            at = sent.transaction.nextTimeout()
            if at is None or at > now:
                continue
            data = sent.transaction.handleTimeout(now)
            if sent.transaction.isExpired:
                del self._waiting[sent.built.transactionId]
            if not sent.isSuperseded:
                found.append((sent, data))
        return found

    def nextTimeout(self) -> float | None:
        """
        When L{due} has something.
        """
        times = (sent.transaction.nextTimeout() for sent in self._waiting.values())
        return min((at for at in times if at is not None), default=None)
