"""
Where a session's effects gather until the driver takes them.

Owns: the list of effects, in order, and the short form of writing a trace event.
Knows nothing of: what the effects mean.
Driven by: every part of a session.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress
from holepunch.punch.effects import Effect, EventKind, PunchEvent, Trace
from holepunch.punch.pair import CandidatePair


class Journal:
    """
    The effects of one session, oldest first.
    """

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def add(self, effect: Effect) -> None:
        """
        Append one effect.
        """
        self._effects.append(effect)

    def take(self) -> list[Effect]:
        """
        Hand over all effects since the last time.
        """
        effects, self._effects = self._effects, []
        return effects

    def trace(
        self,
        at: float,
        kind: EventKind,
        transport: Transport | None = None,
        local: TransportAddress | None = None,
        remote: TransportAddress | None = None,
        connection: int | None = None,
        detail: str = "",
    ) -> None:
        """
        Append a trace event.
        """
        self._effects.append(
            Trace(
                PunchEvent(
                    at=at,
                    kind=kind,
                    transport=transport,
                    local=local,
                    remote=remote,
                    connection=connection,
                    detail=detail,
                )
            )
        )

    def tracePair(
        self,
        at: float,
        kind: EventKind,
        pair: CandidatePair,
        detail: str = "",
        connection: int | None = None,
    ) -> None:
        """
        Append a trace event about a pair.
        """
        self.trace(at, kind, pair.transport, pair.base, pair.remote.address, connection, detail)
