"""
The arrows to, from and through a relay, out of what peers heard from it.

Owns: which request an answer of the relay belongs to; the words of these arrows.
Knows nothing of: punching; pictures.
Driven by: L{holepunch.cli.sessiondiagram} and L{holepunch.cli.explaindiagram}.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from holepunch.errors import BadAddress
from holepunch.peer.events import Moved, PairNews, RelayNews, RelayPair, RelayTold, Suspected
from holepunch.rendezvous.relaygrant import RelayServer

RELAY = "relay"
"""
What the relay is called.
"""

_REFUSALS = {"RelayRefused": "credential refused", "RelayFull": "no room left"}
_MOST = 6


@attrs.frozen(kw_only=True)
class RelayArrow:
    """
    One arrow; the times are those of the trace.

    @ivar isOutgoing: From the peer to the relay?
    """

    sentAt: float
    arrivedAt: float
    isOutgoing: bool
    label: str


def allocationArrows(
    told: Sequence[RelayTold], since: float, until: float, flight: float
) -> tuple[RelayArrow, ...]:
    """
    The requests for an address, and what came of them.

    @param since: What was asked before is left out; and what was after C{until}.
    @param flight: How long a packet takes, where nothing shows it.
    """
    found: list[RelayArrow] = []
    asked = [each for each in told if each.news is RelayNews.ASKED and since <= each.at <= until]
    for request in asked[:_MOST]:
        answer = next(
            (
                each
                for each in told
                if each.at >= request.at
                and each.server == request.server
                and each.news is not RelayNews.ASKED
            ),
            None,
        )
        words = f"allocate by {_way(request.server)}"
        reply = _reply(answer)
        if answer is None or not reply:
            words += ", unanswered" if answer is not None else ""
            found.append(_arrow(request.at, request.at + flight, True, words))
            continue
        half = min(flight, (answer.at - request.at) / 2)
        found.append(_arrow(request.at, request.at + half, True, words))
        found.append(_arrow(answer.at - half, answer.at, False, reply))
    return tuple(found)


def _arrow(sentAt: float, arrivedAt: float, isOutgoing: bool, label: str) -> RelayArrow:
    return RelayArrow(sentAt=sentAt, arrivedAt=arrivedAt, isOutgoing=isOutgoing, label=label)


def _reply(answer: RelayTold | None) -> str:
    """
    What the relay said; empty where it said nothing.
    """
    if answer is None:
        return ""
    if answer.news is RelayNews.ALLOCATED:
        return f"yours: {answer.relayed}"
    return _REFUSALS.get(answer.error, "")


def _way(uri: str) -> str:
    try:
        server = RelayServer.parse(uri)
    except BadAddress:
        return "an unknown way"
    return "TLS" if server.isSecure else server.transport.value.upper()


def relayedCheck(
    sender: Sequence[RelayPair], receiver: Sequence[RelayPair]
) -> tuple[float, float] | None:
    """
    When one side's first check left for the relay, and when the other side was convinced.
    """
    sent = [each.at for each in sender if each.news is PairNews.CHECKED]
    proven = [each.at for each in receiver if each.news is PairNews.PROVEN]
    if not sent or not proven or proven[0] <= sent[0]:
        return None
    return sent[0], proven[0]


def moveNotes(told: Sequence[Moved | Suspected]) -> tuple[tuple[float, str], ...]:
    """
    What to remark on a lifeline about the ways that a connection went.
    """
    notes = []
    for each in sorted(told, key=lambda event: event.at):
        if isinstance(each, Suspected):
            text = "path silent"
        else:
            text = "no path" if each.path is None else f"moved: {each.path} path"
        notes.append((each.at, text))
    return tuple(notes[:_MOST])
