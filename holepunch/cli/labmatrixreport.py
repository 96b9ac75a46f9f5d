"""
The results of a matrix as JSON, and as a heat map in a terminal.

Owns: the JSON object, the table of symbols, the list of what is not green and why.
Knows nothing of: how the results came about.
Driven by: L{holepunch.cli.labmatrix}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from holepunch.cli.notice import milliseconds
from holepunch.lab.matrixresult import CellResult, Disagreement, MatrixResult, Verdict, count
from holepunch.rendezvous.introduction import RelayPolicy

SYMBOLS = {
    Verdict.CONNECTED: "●",
    Verdict.RELAYED: "○",
    Verdict.PARTLY: "◐",
    Verdict.FAILED: "✗",
    Verdict.IMPOSSIBLE: "·",
    Verdict.UNAVAILABLE: "?",
}
MEANINGS = {
    Verdict.CONNECTED: "every session connected",
    Verdict.RELAYED: "every session connected, by the relay alone in the end",
    Verdict.PARTLY: "some sessions connected",
    Verdict.FAILED: "possible, but none connected",
    Verdict.IMPOSSIBLE: "impossible without guessing ports",
    Verdict.UNAVAILABLE: "not available yet",
}
_STYLES = {
    Verdict.CONNECTED: "green",
    Verdict.RELAYED: "magenta",
    Verdict.PARTLY: "bold yellow",
    Verdict.FAILED: "bold white on red",
    Verdict.IMPOSSIBLE: "bright_black",
    Verdict.UNAVAILABLE: "blue",
}
_WIDE = 12
_EXAMPLES = 5
_UNBOUNDED = 10_000


@attrs.frozen(kw_only=True)
class Layout:
    """
    How a heat map looks.

    @ivar isNumbered: The columns are headed by the numbers of the rows, and not by their names.
    @ivar isWide: Its cells have the median and the winner, and not only a symbol.
    """

    isNumbered: bool
    isWide: bool


_LAYOUTS = (
    Layout(isNumbered=False, isWide=True),
    Layout(isNumbered=True, isWide=True),
    Layout(isNumbered=True, isWide=False),
)


def asObject(result: MatrixResult) -> dict[str, Any]:
    """
    A run for C{--json}: keys and their order stay the same, cells come by flows, rows and columns.
    """
    return {
        "grid": result.grid.name,
        "lab": result.lab,
        "seed": result.seed,
        "runs": result.runs,
        "flows": list(result.flows),
        "labels": list(result.grid.labels),
        "cells": len(result.grid.cells),
        "sessions": len(result.trials),
        "seconds": round(result.seconds, 3),
        "verdicts": {
            flow: {verdict.value: number for verdict, number in count(result.cells(flow)).items()}
            for flow in result.flows
        },
        "results": [_cellObject(each) for each in result.allCells],
        "relay": result.relay.value,
    }


def _cellObject(result: CellResult) -> dict[str, Any]:
    return {
        "flow": result.flow,
        "row": result.cell.row,
        "column": result.cell.column,
        "alice": result.cell.alice.name,
        "bob": result.cell.bob.name,
        "verdict": result.verdict.value,
        "possible": result.expectation.isPossible,
        "runs": len(result.trials),
        "successes": result.successes,
        "median": _rounded(result.median),
        "candidates": result.candidates,
        "why": result.why or None,
        "ways": result.ways,
        "medianMove": _rounded(result.medianMove),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def lastLine(result: CellResult) -> str:
    """
    What stands below the median: the way of the sessions where there was a relay, and otherwise the
    candidate that won.
    """
    if result.relay is not RelayPolicy.NEVER and result.ways:
        return next(iter(result.ways))
    # A program that is not ours need not tell its candidate.
    return next(iter(result.candidates), "")


def explanation(result: MatrixResult) -> str:
    """
    What the numbers and words in the cells are.
    """
    if result.relay is RelayPolicy.NEVER:
        return "Numbers are median milliseconds; below, the remote candidate that won."
    return (
        "Numbers are median milliseconds; below, the way: direct, moved (over the relay first), or"
        " relay."
    )


def describe(result: CellResult) -> str:
    """
    What became of a cell, in one line.
    """
    if result.verdict is Verdict.UNAVAILABLE:
        return result.why
    text = f"{result.successes} of {len(result.trials)} connected"
    if result.median is not None:
        won = ", ".join(f"{name} {number}×" for name, number in result.candidates.items())  # noqa: RUF001
        text += f", median {milliseconds(result.median)}"
        if won:
            text += f", candidate {won}"
    if result.relay is not RelayPolicy.NEVER and result.ways:
        text += ", " + ", ".join(f"{word} {number}×" for word, number in result.ways.items())  # noqa: RUF001
    if result.medianMove is not None:
        text += f", moved after {milliseconds(result.medianMove)}"
    return f"{text}; {result.why}" if result.why else text


def layoutFor(console: Console, result: MatrixResult) -> Layout:
    """
    The layout that tells most and cuts nothing off.
    """
    isLarge = len(result.grid.labels) > _WIDE
    # Measured within a terminal, everything fits.
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for layout in _LAYOUTS[:-1]:
        tables = (heatMap(result, flow, layout) for flow in result.flows)
        if not isLarge and all(
            console.measure(table, options=unbounded).maximum <= console.width for table in tables
        ):
            return layout
    return _LAYOUTS[-1]


def heatMap(result: MatrixResult, flow: str, layout: Layout) -> Table:
    """
    Rows are alice's NATs, columns bob's.
    """
    labels = result.grid.labels
    isWide = layout.isWide
    table = Table(
        box=box.SIMPLE_HEAD if isWide else None,
        pad_edge=False,
        padding=(0, 1 if isWide else 0),
        title=flow.upper(),
    )
    table.add_column("alice \\ bob", no_wrap=True)
    # In a large grid, there is no room between the numbers.
    digits = 2 if len(labels) > _WIDE else 3
    for number, label in enumerate(labels, 1):
        heading = f"{number:>{digits}}" if layout.isNumbered else label
        justify: JustifyMethod = "center" if isWide else "right"
        table.add_column(heading, justify=justify, min_width=2, no_wrap=True)
    rows: list[list[Text]] = [[Text("")] * len(labels) for _ in labels]
    for each in result.cells(flow):
        rows[each.cell.row][each.cell.column] = _cellText(each, isWide)
    for number, label in enumerate(labels, 1):
        heading = f"{number:>2} {label} " if layout.isNumbered else label
        table.add_row(heading, *rows[number - 1])
    return table


def _cellText(result: CellResult, isWide: bool) -> Text:
    symbol = SYMBOLS[result.verdict]
    style = _STYLES[result.verdict]
    if not isWide:
        return Text(f" {symbol}", style=style)
    text = Text(symbol, style=style)
    if result.median is not None:
        text.append(f" {result.median * 1000:.0f}")
        text.append(f"\n{lastLine(result)}", style="dim")
    return text


def legend(result: MatrixResult, flow: str) -> Text:
    """
    What the symbols mean, with how many cells have each.
    """
    text = Text()
    for verdict, number in count(result.cells(flow)).items():
        if number:
            text.append(SYMBOLS[verdict], style=_STYLES[verdict])
            text.append(f" {MEANINGS[verdict]}: {number}   ")
    return text


def reasons(results: Sequence[CellResult]) -> list[tuple[str, list[CellResult]]]:
    """
    The cells that are not green, by why that is so; the most frequent reason first.
    """
    groups: dict[str, list[CellResult]] = {}
    for each in results:
        if each.verdict is not Verdict.CONNECTED:
            # What differs from cell to cell (seeds, counts) is no reason of its own.
            why = each.why.partition(", but ")[0] if each.isWanting else each.why
            groups.setdefault(f"{each.verdict.value}: {why}", []).append(each)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def summary(result: MatrixResult) -> str:
    """
    The run in one line.
    """
    return (
        f"{result.grid.title}: {len(result.grid.cells)} cells, {len(result.trials)} sessions,"
        f" {result.lab}, seed {result.seed}, {result.seconds:.0f} s"
    )


def show(console: Console, result: MatrixResult) -> None:
    """
    Print it all.
    """
    console.print(summary(result), style="bold", soft_wrap=True)
    layout = layoutFor(console, result)
    for flow in result.flows:
        console.print()
        console.print(heatMap(result, flow, layout))
        console.print(legend(result, flow), soft_wrap=True)
        for why, cells in reasons(result.cells(flow)):
            console.print(f"  {len(cells)} {why}", soft_wrap=True, markup=False)
            if cells[0].isWanting:
                for each in cells[:_EXAMPLES]:
                    name = f"{each.cell.alice.name} / {each.cell.bob.name}"
                    console.print(f"      {name}: {describe(each)}", soft_wrap=True, markup=False)
    if layout.isWide:
        console.print(f"\n{explanation(result)}", soft_wrap=True)


def showDisagreements(console: Console, found: Sequence[Disagreement]) -> None:
    """
    Print where two runs differ.
    """
    for each in found:
        console.print(f"disagreement: {each}", markup=False, soft_wrap=True)
