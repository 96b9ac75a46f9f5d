"""
Several subjects, measured in turn in one run, beside the one that is known.

Owns: the order of the measurements, medians and spreads, the table and its JSON form.
Knows nothing of: what is measured.
Driven by: the scripts beside it.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from OpenSSL import SSL

from twisted import __version__ as twistedVersion

_T = TypeVar("_T")


def measureInTurn(
    subjects: Mapping[str, Callable[[], _T]], repetitions: int
) -> dict[str, list[_T]]:
    """
    Measure every subject once in each round, in an order that turns with the rounds.

    What else the machine does meanwhile then strikes all of them alike.
    """
    names = list(subjects)
    results: dict[str, list[_T]] = {name: [] for name in names}
    for number in range(repetitions):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            results[name].append(subjects[name]())
    return results


@attrs.frozen
class Spread:
    """
    What several repetitions came to.
    """

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """
        Sum up the values of all rounds.
        """
        return cls(statistics.median(values), min(values), max(values))

    def format(self, digits: int) -> str:
        """
        The median, and in brackets the least and the most.
        """
        median, least, most = (f"{value:,.{digits}f}" for value in attrs.astuple(self))
        return f"{median} ({least}-{most})"


@attrs.frozen(kw_only=True)
class Comparison:
    """
    One figure of each subject.

    @ivar title: What was measured, with the unit.
    @ivar reference: The subject that the others are divided by, round by round; C{None} where
        that says nothing.
    @ivar samples: A value for each round, by subject.
    @ivar digits: How many decimals a person wants to see.
    """

    title: str
    reference: str | None = None
    samples: Mapping[str, Sequence[float]]
    digits: int = 0

    def ratio(self, name: str) -> Spread | None:
        """
        A subject's share of the reference; only values of the same round are divided.
        """
        if self.reference is None:
            return None
        pairs = zip(self.samples[name], self.samples[self.reference], strict=True)
        return Spread.of([value / reference for value, reference in pairs])

    def rows(self) -> dict[str, Any]:
        """
        The JSON form.
        """
        rows: dict[str, Any] = {}
        for name, values in self.samples.items():
            rows[name] = {**attrs.asdict(Spread.of(values)), "values": list(values)}
            ratio = self.ratio(name)
            if ratio is not None:
                rows[name]["ratio"] = attrs.asdict(ratio)
        return rows

    def lines(self) -> Iterable[str]:
        """
        The table.
        """
        share = "" if self.reference is None else "share (least-most)"
        yield f"{self.title:62}{'median (least-most)':>28}{share:>24}"
        for name, values in self.samples.items():
            value, ratio = Spread.of(values).format(self.digits), self.ratio(name)
            share = "" if ratio is None else ratio.format(2)
            yield f"  {name:60}{value:>28}{share:>24}"


def machine() -> dict[str, Any]:
    """
    Where the figures are from.
    """
    model = platform.processor()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "twisted": twistedVersion,
        "openssl": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"),
    }


def publish(comparisons: Sequence[Comparison], repetitions: int, isJSON: bool) -> None:
    """
    Print what was measured.
    """
    place = machine()
    if isJSON:
        figures = {each.title: each.rows() for each in comparisons}
        print(json.dumps({"machine": place, "repetitions": repetitions, "figures": figures}))
        return
    print(", ".join(f"{name} {value}" for name, value in place.items()))
    print(f"{repetitions} rounds, every subject once in each; shares of the first subject.")
    for each in comparisons:
        print()
        print("\n".join(each.lines()))
