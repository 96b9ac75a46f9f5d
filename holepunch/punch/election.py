"""
Nomination in a session: asking the strategy, sending what it chose, and seeing what was accepted
(RFC 8445 section 8).

The controlled side accepts exactly one nomination. So the controlling side may have several under
way over TCP, where an answer may never come from whoever accepted the connection, and the answer
decides. Over UDP a pair is proven before it is nominated, and counts as selected at once, unless a
connection was nominated before.

Owns: when the next nomination may be sent.
Knows nothing of: how a path is handed over.
Driven by: L{PunchSession}, after every input until a path is selected.
"""

from __future__ import annotations

from holepunch.punch.checklist import CheckList
from holepunch.punch.datagramchecks import DatagramChecks
from holepunch.punch.nomination import NominationStrategy, Pending
from holepunch.punch.pair import CandidatePair
from holepunch.punch.role import Role
from holepunch.punch.streamchecks import StreamChecks
from holepunch.punch.streamconnection import StreamConnection


class Election:
    """
    The nominations of one session.

    @ivar wakeAt: When to ask again, though nothing happened.
    """

    def __init__(
        self,
        strategy: NominationStrategy,
        role: Role,
        checkList: CheckList,
        datagrams: DatagramChecks,
        streams: StreamChecks,
    ) -> None:
        self.wakeAt: float | None = None
        self._strategy = strategy
        self._role = role
        self._checkList = checkList
        self._datagrams = datagrams
        self._streams = streams

    def accepted(self) -> CandidatePair | StreamConnection | None:
        """
        What both sides agreed on, if they have.
        """
        self.wakeAt = None
        if self._streams.selected is not None:
            return self._streams.selected
        if self._role.isControlling:
            return self._datagrams.confirmed
        chosen = self._datagrams.chosen
        # Only one nomination is accepted, and this one is, even if its pair is not valid yet.
        self._streams.mayAccept = chosen is None
        return chosen if chosen is not None and chosen.hasSucceeded else None

    def nominate(self, now: float) -> CandidatePair | None:
        """
        Controlling: nominate what the strategy chooses, unless an answer is worth waiting for.

        @return: A pair that was nominated, and is selected with that.
        """
        streams, datagrams = self._streams, self._datagrams
        self.wakeAt = streams.patienceEndsAt(now)
        if self.wakeAt is not None or datagrams.unconfirmed is not None:
            return None
        pending = [
            Pending(
                priority=pair.priority,
                startedAt=pair.startedAt,
                remoteHost=pair.remote.address.host,
            )
            for pair in self._checkList.pairs
            if pair.isExpected and pair.startedAt is not None
        ]
        contenders = datagrams.contenders() + streams.contenders()
        choice = self._strategy.choose(contenders, pending, now)
        self.wakeAt = choice.wakeAt
        chosen = None if choice.contender is None else choice.contender.key
        if isinstance(chosen, StreamConnection):
            streams.nominate(chosen, now)
            self.wakeAt = streams.patienceEndsAt(now)
        elif isinstance(chosen, CandidatePair):
            datagrams.nominate(chosen, now)
            if not streams.hasNominated:
                return chosen
        return None
