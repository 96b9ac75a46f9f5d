"""
The plan by which it is found out how long packets may be, and whether fragments pass
(RFC 4787 section 8; RFC 4821 section 7; RFC 5780 section 7.6).

Owns: which sizes are tried, and what follows.
Knows nothing of: sockets and time; how a request is made so long.
Driven by: L{holepunch.nat.discoverypath}.

Away from us, a request that no router may cut is filled up by an attribute that servers ignore; its
short answer shows that it got there, whatever the server knows of all this. Towards us, the server
is asked to answer as long (PADDING), which it never has to with more than it was sent. Sizes are
found to within four bytes, as STUN messages have it, or as exactly as a router says; from the
fragments of a server that sends more than it is asked for, to within eight. All in all that is at
most 60 requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from holepunch.address import Family, TransportAddress
from holepunch.nat.discoveryfindings import Finding, Undetermined, undetermined
from holepunch.nat.discoveryprobe import Fate, Outcome, Plan, Probe, paced

#: The sizes that are tried first: what every host has to take, QUIC's and IPv6's least, those of
#: tunnels and telephone lines, and Ethernet's.
FIRST_SIZES = (576, 1200, 1280, 1400, 1492, 1500)
#: Longer than that, and it has to be cut.
CUT_SIZE = 1600
_STEP = 4
_SIZES_PER_ROUND = 4


@attrs.frozen(kw_only=True)
class SizesReport:
    """
    What was found out. Sizes are those of IP packets, in bytes; C{None} is "could not be
    determined".

    @ivar mtuOut: The longest that gets to the server; L{FIRST_SIZES} end with what is tried.
    @ivar mtuIn: The longest that gets here in one piece.
    @ivar isBlackHole: Do longer ones vanish without a word?
    @ivar fragmentsOut: Do fragments get to the server?
    @ivar fragmentsIn: Do fragments get here?
    """

    mtuOut: int | None = None
    mtuIn: int | None = None
    isBlackHole: bool | None = None
    fragmentsOut: bool | None = None
    fragmentsIn: bool | None = None
    undetermined: tuple[Undetermined, ...] = ()


class SizeSearch:
    """
    A search for the longest size that passes.

    @param longest: No more than that.
    @ivar passed: The longest that did so far.
    @ivar failed: The shortest that did not, and is longer.
    """

    def __init__(self, first: Iterable[int], longest: int) -> None:
        self.passed: int | None = None
        self.failed = longest + _STEP
        self._first = tuple(first)
        self._hints: set[int] = set()
        self._isBegun = False

    def next(self) -> Sequence[int]:
        """
        The sizes of the next round; none: it is over.
        """
        if not self._isBegun:
            self._isBegun = True
            return self._first
        if self.passed is None or self.failed - self.passed <= _STEP:
            return ()
        hints = {size for hint in self._hints for size in (_whole(hint), _whole(hint) + _STEP)}
        sizes = sorted(size for size in hints if self.passed < size < self.failed)
        if not sizes:
            part = (self.failed - self.passed) / (_SIZES_PER_ROUND + 1)
            spread = {_whole(self.passed + part * (1 + n)) for n in range(_SIZES_PER_ROUND)}
            sizes = sorted(size for size in spread if self.passed < size < self.failed)
        return sizes or [self.passed + _STEP]

    def take(self, size: int, isPassed: bool, hint: int | None = None) -> None:
        """
        Take what became of one size.

        @param hint: The longest that may pass, as somebody says.
        """
        if hint is not None:
            self._hints.add(hint)
        if isPassed:
            self.passed = max(size, self.passed or 0)
            # Where a longer one passes, the shorter was lost by chance.
            if self.failed <= self.passed:
                self.failed = self.passed + _STEP
        elif size > (self.passed or 0):
            self.failed = min(size, self.failed)

    @property
    def found(self) -> int | None:
        """
        The longest size that passes.
        """
        if self.passed is None:
            return None
        said = [hint for hint in self._hints if self.passed <= hint < self.passed + _STEP]
        return max(said, default=self.passed)


def planSizes(server: TransportAddress, socket: int) -> Plan[SizesReport]:
    """
    Find out all about sizes, in a dozen rounds at most.

    @param server: One that answers.
    """
    least = 1280 if server.family is Family.IPV6 else 0
    first = [size for size in FIRST_SIZES if size >= least]
    away = SizeSearch(first, first[-1])
    complaints: list[int] = []
    while sizes := away.next():
        probes = paced(_probe(server, socket, size) for size in sizes)
        for size, outcome in zip(sizes, (yield probes), strict=True):
            away.take(size, outcome.fate is Fate.ANSWERED, outcome.mtu)
            if outcome.fate is Fate.TOO_LONG:
                complaints.append(size)
    if away.found is None:
        why = f"{server} answers no longer request"
        return SizesReport(
            undetermined=undetermined(
                mtuOut=Finding(None, why),
                mtuIn=Finding(None, why),
                blackHole=Finding(None, why),
                fragmentsOut=Finding(None, why),
                fragmentsIn=Finding(None, why),
            )
        )
    mtuOut = away.found
    longest = _whole(mtuOut)
    here = SizeSearch([*(size for size in first if size < longest), longest], longest)
    knowsPadding = False
    pieces: list[int] = []
    while sizes := here.next():
        probes = paced(_probe(server, socket, size, isFilled=True) for size in sizes)
        for size, outcome in zip(sizes, (yield probes), strict=True):
            isWhole = outcome.fate is Fate.ANSWERED and outcome.size == size
            knowsPadding = knowsPadding or isWhole
            here.take(size, isWhole and outcome.fragmentSize is None, outcome.fragmentSize)
            if outcome.fate is Fate.ANSWERED and outcome.fragmentSize is not None:
                pieces.append(outcome.fragmentSize)

    cut = _probe(server, socket, CUT_SIZE, mayFragment=True)
    outcomes = yield paced(
        [_probe(server, socket, CUT_SIZE), cut, attrs.evolve(cut, isFilled=True)]
    )
    fragmentsOut: Finding[bool] = Finding(outcomes[1].fate is Fate.ANSWERED)
    if outcomes[0].fate is Fate.ANSWERED:
        fragmentsOut = Finding(None, f"packets of {CUT_SIZE} bytes need no cutting here")
    fragmentsIn = _fragmentsIn(server, outcomes[1:], knowsPadding)
    noPadding = f"{server} does not answer as long as it is asked (PADDING)"
    blackHole: Finding[bool] = Finding(False)
    if mtuOut < first[-1] and away.failed not in complaints:
        # Somebody who answers what came in pieces has nothing against long requests.
        silent = f"nothing above {mtuOut} bytes is answered; that may be the way, or {server}"
        blackHole = Finding(True) if fragmentsOut.value else Finding(None, silent)
    # Some servers answer longer than they are asked: then the longest piece is as long as may be.
    mtuIn = Finding(here.found if knowsPadding else max(pieces, default=None), noPadding)
    return SizesReport(
        mtuOut=mtuOut,
        mtuIn=mtuIn.value,
        isBlackHole=blackHole.value,
        fragmentsOut=fragmentsOut.value,
        fragmentsIn=fragmentsIn.value,
        undetermined=undetermined(
            mtuIn=mtuIn, blackHole=blackHole, fragmentsOut=fragmentsOut, fragmentsIn=fragmentsIn
        ),
    )


def _probe(
    server: TransportAddress,
    socket: int,
    size: int,
    isFilled: bool = False,
    mayFragment: bool = False,
) -> Probe:
    return Probe(
        socket=socket,
        destination=server,
        size=size,
        isFilled=isFilled,
        mayFragment=mayFragment,
        isBrief=True,
    )


def _fragmentsIn(
    server: TransportAddress, outcomes: Sequence[Outcome], knowsPadding: bool
) -> Finding[bool]:
    plain, filled = outcomes
    if filled.fate is Fate.ANSWERED and filled.fragmentSize is not None:
        return Finding(True)
    if filled.fate is Fate.ANSWERED and filled.size == CUT_SIZE:
        return Finding(None, f"an answer of {CUT_SIZE} bytes came whole")
    if not knowsPadding:
        return Finding(None, f"{server} does not answer as long as it is asked (PADDING)")
    if plain.fate is not Fate.ANSWERED:
        return Finding(None, f"{server} gets no request that is long enough to be answered so")
    return Finding(False)


def _whole(size: float) -> int:
    return int(size) // _STEP * _STEP
