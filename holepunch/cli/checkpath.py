"""
The part of the report of C{holepunch check} that is about the way: NATs in a row, the path MTU.

Owns: its keys in the JSON object, and its sentences.
Knows nothing of: how anything is found out.
Driven by: L{holepunch.cli.checkreport}.
"""

from __future__ import annotations

from typing import Any

from holepunch.nat.discoveryfindings import NO_NAT
from holepunch.nat.discoverypath import PathReport
from holepunch.nat.discoverysizes import FIRST_SIZES, SizesReport

_LABELS = {
    "nested": "whether there are several NATs in a row",
    "mtuOut": "the path MTU",
    "mtuIn": "the path MTU towards here",
    "blackHole": "whether longer packets vanish without a word",
    "fragmentsOut": "whether fragments get out",
    "fragmentsIn": "whether fragments come in",
}


def pathAsJSON(report: PathReport | None) -> dict[str, Any] | None:
    """
    For programs; L{None} is "could not be determined".
    """
    if report is None:
        return None
    nesting, sizes = report.nesting, report.sizes
    isKnown = nesting is not None and nesting.isNested is not None
    return {
        "nested": nesting.isNested if nesting else None,
        "nestedSureness": nesting.sureness if nesting else None,
        "nestedEvidence": nesting.why if nesting and isKnown else None,
        "natDistance": nesting.distance if nesting else None,
        "hops": list(nesting.hops) if nesting else [],
        "mtuOut": sizes.mtuOut,
        "mtuIn": sizes.mtuIn,
        "blackHole": sizes.isBlackHole,
        "fragmentsOut": sizes.fragmentsOut,
        "fragmentsIn": sizes.fragmentsIn,
        "undetermined": {each.what: each.why for each in report.undetermined},
        "problem": report.problem,
    }


def pathAsText(report: PathReport | None) -> list[str]:
    """
    The same for people, one sentence a line.
    """
    if report is None:
        return []
    if report.problem is not None:
        return [f"Way: {report.problem}."]
    lines = [*_nesting(report), *_sizes(report.sizes)]
    lines += [
        f"{_LABELS[each.what]} could not be determined: {each.why}." for each in report.undetermined
    ]
    return [f"Way: {line}" for line in lines]


def _nesting(report: PathReport) -> list[str]:
    nesting = report.nesting
    isKnown = nesting is not None and nesting.isNested is not None and nesting.why != NO_NAT
    if nesting is None or nesting.sureness is None or not isKnown:
        return []
    what = "there are several NATs in a row" if nesting.isNested else "there is one NAT"
    return [f"{what} ({nesting.sureness.value}): {nesting.why}."]


def _sizes(sizes: SizesReport) -> list[str]:
    lines = []
    if sizes.mtuOut is not None:
        lines.append(f"packets of {_mtu(sizes.mtuOut)} bytes get out{_here(sizes)}.")
    if sizes.isBlackHole:
        lines.append("longer ones vanish without a word (a black hole).")
    known = {"out": sizes.fragmentsOut, "in": sizes.fragmentsIn}
    passing = [f"{'get' if way == 'out' else 'come'} {way}" for way, does in known.items() if does]
    if passing:
        lines.append(f"fragments {' and '.join(passing)}.")
    lost = [
        f"{'get' if way == 'out' else 'come'} {way}" for way, does in known.items() if does is False
    ]
    if lost:
        lines.append(f"fragments do not {' or '.join(lost)}.")
    return lines


def _here(sizes: SizesReport) -> str:
    return "" if sizes.mtuIn is None else f", packets of {_mtu(sizes.mtuIn)} bytes come in whole"


def _mtu(size: int) -> str:
    return f"{size} or more" if size == FIRST_SIZES[-1] else f"{size}"
