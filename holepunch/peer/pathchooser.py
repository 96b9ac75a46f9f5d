"""
Which of several paths to one peer is used.

Owns: what there is to know about a path, and two ways to choose by it.
Knows nothing of: how paths come to be; datagrams.
Driven by: L{PathSwitch<holepunch.peer.pathswitch.PathSwitch>}, whenever something has changed.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs
from zope.interface import implementer

from holepunch.interfaces import IPathChooser


class PathKind(enum.IntEnum):
    """
    What a path is made of, the best last.
    """

    RELAYED = 0
    DIRECT_TCP = 1
    DIRECT_UDP = 2

    @property
    def word(self) -> str:
        """
        As L{Connected<holepunch.peer.events.Connected>} tells it.
        """
        return "relay" if self is PathKind.RELAYED else "direct"


@attrs.frozen(kw_only=True)
class PathState:
    """
    One path, as a chooser sees it.

    @ivar number: A later one is the better of two that are alike: an earlier one has been replaced.
    @ivar isSuspect: Have the last checks gone unanswered?
    @ivar rtt: The last round trip in seconds; C{None} before the first.
    @ivar isUsed: Is it the one in use?
    """

    number: int
    kind: PathKind
    isSuspect: bool = False
    rtt: float | None = None
    isUsed: bool = False


@implementer(IPathChooser)
class BestKindFirst:
    """
    Direct before relayed, UDP before TCP, the newer of two alike; but first what is not suspect.
    """

    def order(self, paths: Sequence[PathState]) -> Sequence[PathState]:
        """
        By kind.
        """
        return sorted(
            paths, key=lambda each: (not each.isSuspect, each.kind, each.number), reverse=True
        )


@implementer(IPathChooser)
@attrs.frozen
class LowestRoundTrip:
    """
    The shortest round trip first, by whatever way; paths not yet measured by their kind, last.

    @ivar advantage: By which part another path has to be shorter than the one in use. Round trips
        differ a little each time, and each move costs something.
    """

    advantage: float = attrs.field(
        default=0.2, validator=(attrs.validators.ge(0), attrs.validators.lt(1))
    )

    def order(self, paths: Sequence[PathState]) -> Sequence[PathState]:
        """
        By round trip.
        """
        return sorted(paths, key=self._cost)

    def _cost(self, path: PathState) -> tuple[bool, float, int, int]:
        rtt = float("inf") if path.rtt is None else path.rtt
        if path.isUsed:
            rtt *= 1 - self.advantage
        return (path.isSuspect, rtt, -path.kind, -path.number)
