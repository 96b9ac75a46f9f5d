"""
Why a session found no path: one sentence that says what to do, and one for each pair.

Owns: reading the fates of all pairs together.
Knows nothing of: how the session went on in time (that is in the trace).
Driven by: L{PunchSession}, when it fails.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holepunch.address import Transport
from holepunch.errors import NoPathFound
from holepunch.punch.fate import Fate
from holepunch.punch.pair import CandidatePair

_ELSEWHERE = "try a network whose NAT keeps its ports, or forward a port to one side"

_NOTHING = (
    "Nothing came through: both NATs seem to choose ports for each destination, or a firewall"
    " blocks the traffic; " + _ELSEWHERE + "."
)

# The first line with a fate that some pair had: over UDP before TCP, the telling ones first.
_ADVICE: tuple[tuple[frozenset[Fate], str], ...] = (
    (
        frozenset({Fate.SELECTED, Fate.VALID}),
        "A pair worked, but the two sides could not agree on it in time: try again.",
    ),
    (frozenset({Fate.UNANSWERED}), _NOTHING),
    (
        frozenset({Fate.UNPROVEN, Fate.CLOSED_EARLY, Fate.STRANGER, Fate.REJECTED}),
        "Something accepted the connection but is not the peer, such as a firewall that answers for"
        " others: try UDP, or " + _ELSEWHERE + ".",
    ),
    (
        frozenset({Fate.REFUSED, Fate.RESET}),
        "Connections are refused on the way: a NAT or firewall answers with resets; try UDP, or"
        " another network.",
    ),
    (frozenset({Fate.CONNECT_TIMED_OUT, Fate.IN_PROGRESS}), _NOTHING),
    (
        frozenset({Fate.UNREACHABLE}),
        "There is no route to any address of the peer: check this machine's network.",
    ),
    (
        frozenset({Fate.ADDRESS_IN_USE, Fate.CONNECT_FAILED}),
        "The local ports could not be used: another program may hold them.",
    ),
)


def explainFailure(
    pairs: Sequence[CandidatePair],
    transports: Collection[Transport],
    hasLocal: bool,
    hasRemote: bool,
    hasCredentials: bool,
) -> NoPathFound:
    """
    Make the error that a failed session ends with.

    @param hasLocal: Did this side have any candidate?
    @param hasRemote: Did the other side announce any?
    @param hasCredentials: Did the other side's credentials come?
    """
    fates = tuple(pair.describeFate() for pair in pairs)
    return NoPathFound(_explain(pairs, transports, hasLocal, hasRemote, hasCredentials), fates)


def _explain(
    pairs: Sequence[CandidatePair],
    transports: Collection[Transport],
    hasLocal: bool,
    hasRemote: bool,
    hasCredentials: bool,
) -> str:
    if not hasLocal:
        return "This side has no address to be reached at: check this machine's network."
    if not hasCredentials:
        return "The peer did not answer the request for a session: it may have gone offline."
    names = " or ".join(sorted(transport.value.upper() for transport in transports))
    if not hasRemote:
        return (
            f"The peer announced no address for {names}: it may be offline, or allow others only."
        )
    if not pairs:
        return "The two sides have no address of the same kind (IPv4 or IPv6)."
    found = {pair.fate for pair in pairs}
    for fates, sentence in _ADVICE:
        if found & fates:
            return sentence
    return "No candidate pair worked: try again, or from another network."
