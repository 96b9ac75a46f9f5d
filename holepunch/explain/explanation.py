"""
Explains a session: what happened, and the one cause that it comes from.

Owns: the order of the rules; what cannot be known from what is there.
Knows nothing of: files, terminals and pictures.
Driven by: C{holepunch explain}, and programs.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from holepunch.explain.case import Case, Evidence, openCase
from holepunch.explain.cause import Cause
from holepunch.explain.finding import Finding, Rule
from holepunch.explain.natreport import natReports
from holepunch.explain.paths import PUNCHING
from holepunch.explain.record import Trace
from holepunch.explain.relay import RELAYING, withAdvice
from holepunch.explain.requests import BEFORE_PUNCHING
from holepunch.explain.success import connected
from holepunch.explain.wording import plain

_RULES: tuple[Rule, ...] = (connected, *BEFORE_PUNCHING, *RELAYING, *PUNCHING)


@attrs.frozen(kw_only=True)
class Explanation:
    """
    What happened in a session, and why.

    @ivar title: Who wanted to reach whom.
    @ivar sentences: What happened, for a person.
    @ivar remedy: What to do about it; empty where there is nothing to be done.
    @ivar nats: What the NAT of each side does, as far as it shows.
    @ivar evidence: What shows it, in the order of time.
    @ivar limits: What cannot be known from the traces that were given.
    @ivar case: The session as both traces tell it.
    @ivar isComplete: Did the traces come to their ends?
    """

    title: str
    cause: Cause
    sentences: tuple[str, ...]
    remedy: str
    nats: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    limits: tuple[str, ...]
    case: Case
    isComplete: bool

    @property
    def isExplained(self) -> bool:
        """
        Was a cause found?
        """
        return self.cause is not Cause.UNKNOWN


def explain(traces: Sequence[Trace]) -> Explanation:
    """
    Explain the last session that the traces tell of.

    @param traces: That of one peer, or those of both, in any order.
    @raise BadTrace: The traces have nothing to do with each other, or are not one or two.
    """
    case = openCase(traces)
    found = next((found for rule in _RULES if (found := rule(case))), None)
    finding = _unknown(case) if found is None else withAdvice(case, found)
    return Explanation(
        title=_title(case),
        cause=finding.cause,
        sentences=finding.sentences,
        remedy=" ".join(filter(None, (finding.remedy, finding.cause.remedy))),
        nats=natReports(case),
        evidence=tuple(sorted(finding.evidence, key=lambda each: each.at)),
        limits=_limits(case, traces),
        case=case,
        isComplete=all(trace.ended is not None for trace in traces),
    )


def _unknown(case: Case) -> Finding:
    side = case.focus
    words = f"{side.name} found no path: {side.reason}" if side.reason else "There is no outcome"
    return Finding(cause=Cause.UNKNOWN, sentences=(words.rstrip(".") + ".",))


def _title(case: Case) -> str:
    side = case.focus
    if side.session is None and side.requested is None and side.refused is None:
        return f"The trace of {side.name}"
    if side is case.asking:
        return f"{side.name} asks for {case.nameOfOther(side)}"
    return f"{case.nameOfOther(side)} asks for {side.name}"


def _limits(case: Case, traces: Sequence[Trace]) -> tuple[str, ...]:
    """
    What must be left open.
    """
    side = case.focus
    limits = [
        f"The trace of {plain(trace.label)} has no end: the program still ran, or the trace was cut"
        " short. What came later is not in this report."
        for trace in traces
        if trace.ended is None
    ]
    if len(traces) == 1 and side.session is not None:
        other = case.nameOfOther(side)
        limits.append(
            f"Only {side.name}'s trace was given: what arrived at {other}, and what its NAT does"
            " beyond that, is not known."
        )
    return tuple(limits)
