"""
Draws a matrix as a heat map: one self-contained SVG file, or a page with it that says more of each
cell.

Owns: what is where in the picture, its colours and symbols; the page around it.
Knows nothing of: how the results came about.
Driven by: C{holepunch lab matrix --svg} and C{--html}.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from holepunch.cli.labmatrixreport import (
    MEANINGS,
    SYMBOLS,
    describe,
    explanation,
    lastLine,
    reasons,
    summary,
)
from holepunch.lab.matrixresult import CellResult, MatrixResult, Verdict, count

_MARGIN = 24
_LINE = 18
_CHARACTER = 6.4
_LARGE, _SMALL = 54, 20
_WIDE = 12
_GAP = 3

# Light, dark. The light colours are also those of a viewer that knows no dark mode.
_COLOURS = {
    "page": ("#ffffff", "#161b22"),
    "frame": ("#d0d7de", "#30363d"),
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#656d76", "#8d96a0"),
    "impossible": ("#eaeef2", "#21262d"),
    "unavailable": ("#ddf4ff", "#0c2d6b"),
    "failed": ("#cf222e", "#da3633"),
    "relayed": ("#bf8ff0", "#8957e5"),
    "partly": ("#f2cc60", "#9e6a03"),
    "fast": ("#2da44e", "#2ea043"),
    "medium": ("#6fdd8b", "#196c2e"),
    "slow": ("#c6f6cf", "#0f5323"),
    "onfast": ("#ffffff", "#ffffff"),
}
_SPEEDS = ((0.25, "fast"), (0.75, "medium"))
_PAGE_STYLE = (
    "body{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;margin:2rem auto;"
    "max-width:75rem;padding:0 1rem;color:#1f2328;background:#fff} svg{max-width:100%;height:auto} "
    "table{border-collapse:collapse;font-size:.85rem} td,th{border-bottom:1px solid #d0d7de;"
    "padding:.2rem .6rem;text-align:left;vertical-align:top} "
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}"
    "td,th{border-color:#30363d}}"
)


def renderSVG(result: MatrixResult) -> str:
    """
    Draw all flows of a run, one below the other.

    @return: The text of an SVG file.
    """
    return _Drawing(result).draw()


def renderHTML(result: MatrixResult) -> str:
    """
    A page that needs nothing else: the picture, and a table of the cells that are not green.
    """
    title = escape(summary(result))
    rows = []
    for flow in result.flows:
        for why, cells in reasons(result.cells(flow)):
            pairs = "; ".join(f"{each.cell.alice.name} / {each.cell.bob.name}" for each in cells)
            rows.append(
                f"<tr><td>{escape(flow)}</td><td>{len(cells)}</td><td>{escape(why)}</td><td>"
                f"<details><summary>pairs</summary>{escape(pairs)}</details></td></tr>"
            )
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{title}</title><style>{_PAGE_STYLE}</style></head><body>",
            "<h1>Hole punching matrix</h1>",
            f"<p>{title}. Rest the pointer on a cell to read more.</p>",
            renderSVG(result),
            "<h2>Cells that are not green</h2>",
            "<table><tr><th>flow</th><th>cells</th><th>why</th><th></th></tr>",
            *rows,
            "</table></body></html>",
            "",
        ]
    )


def _style() -> str:
    def rules(index: int) -> str:
        return " ".join(f".{name}{{fill:{each[index]}}}" for name, each in _COLOURS.items())

    def frame(index: int) -> str:
        return f".frame{{fill:{_COLOURS['page'][index]};stroke:{_COLOURS['frame'][index]}}}"

    return (
        "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;"
        "font-size:12px} .title{font-size:20px;font-weight:600} .name{font-size:14px;"
        "font-weight:600} .small{font-size:10px} .big{font-size:15px;font-weight:600} "
        f"{rules(0)} {frame(0)} @media(prefers-color-scheme:dark){{{rules(1)} {frame(1)}}}"
    )


def _colour(result: CellResult) -> str:
    if result.verdict is not Verdict.CONNECTED:
        return str(result.verdict.value)
    median = result.median or 0.0
    for limit, name in _SPEEDS:
        if median <= limit:
            return name
    return "slow"


def _ink(colour: str) -> str:
    return "onfast" if colour in ("fast", "failed") else "ink"


class _Drawing:
    """
    One picture in the making.
    """

    def __init__(self, result: MatrixResult) -> None:
        self._result = result
        self._labels = result.grid.labels
        self._isWide = len(self._labels) <= _WIDE
        self._size = _LARGE if self._isWide else _SMALL
        longest = max(len(label) for label in self._labels) + (0 if self._isWide else 3)
        self._left = _MARGIN + longest * _CHARACTER + 10
        # Column labels of wide grids stand at a slant.
        self._head = 0.72 * longest * _CHARACTER + 14 if self._isWide else 22.0
        self._parts: list[str] = []
        side = self._left + len(self._labels) * self._size + _MARGIN
        slant = self._head if self._isWide else 0
        self._width = max(side + slant, 640.0, _MARGIN * 2 + len(summary(result)) * _CHARACTER)

    def draw(self) -> str:
        """
        The whole file.
        """
        y = 38.0
        self._text(_MARGIN, y, "Hole punching matrix", "title ink")
        y += 24
        self._text(_MARGIN, y, summary(self._result), "faint")
        y += _LINE
        self._text(_MARGIN, y, "Rows: alice's NAT, who asks; columns: bob's.", "faint")
        for flow in self._result.flows:
            y = self._flow(flow, y + 34)
        y = self._legend(y + 26)
        width, height = f"{self._width:.0f}", f"{y + 14:.0f}"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" role="img">',
                f"<title>{escape(summary(self._result))}</title>",
                f"<style>{_style()}</style>",
                f'<rect x="0.5" y="0.5" width="{self._width - 1:.0f}" height="{y + 13:.0f}" '
                'rx="10" class="frame"/>',
                *self._parts,
                "</svg>",
                "",
            ]
        )

    def _text(self, x: float, y: float, text: str, style: str, more: str = "") -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{more}>{escape(text)}</text>'
        )

    def _box(self, x: float, y: float, size: float, style: str) -> None:
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{size:.1f}" height="{size:.1f}" rx="3" '
            f'class="{style}"/>'
        )

    def _flow(self, flow: str, y: float) -> float:
        results = self._result.cells(flow)
        counts = count(results)
        found = ", ".join(f"{number} {each.value}" for each, number in counts.items() if number)
        self._text(_MARGIN, y, flow, "name ink")
        self._text(_MARGIN + len(flow) * 9 + 12, y, found, "faint")
        top = y + self._head + 8
        for number, label in enumerate(self._labels):
            self._heading(number, label, top)
        for each in results:
            self._cell(each, top)
        return top + len(self._labels) * self._size

    def _heading(self, number: int, label: str, top: float) -> None:
        middle = (number + 0.5) * self._size
        name = label if self._isWide else f"{label} {number + 1:>2}"
        end = ' text-anchor="end"'
        self._text(self._left - 8, top + middle + 4, name, "ink", end)
        x = self._left + middle
        if self._isWide:
            turn = f' transform="rotate(-45 {x:.1f} {top - 6:.1f})"'
            self._text(x, top - 6, label, "ink", turn)
        else:
            self._text(x, top - 6, str(number + 1), "faint small", ' text-anchor="middle"')

    def _cell(self, result: CellResult, top: float) -> None:
        x = self._left + result.cell.column * self._size
        y = top + result.cell.row * self._size
        colour = _colour(result)
        ink = _ink(colour)
        pair = f"{result.cell.alice.name} / {result.cell.bob.name}, {result.flow}"
        self._parts.append(f"<g><title>{escape(f'{pair}: {describe(result)}')}</title>")
        self._box(x + 1, y + 1, self._size - (_GAP if self._isWide else 2), colour)
        middle, anchor = x + self._size / 2 - 0.5, ' text-anchor="middle"'
        symbol = SYMBOLS[result.verdict]
        if self._isWide and result.median is not None:
            winner = lastLine(result)
            self._text(middle, y + 17, symbol, f"small {ink}", anchor)
            self._text(middle, y + 32, f"{result.median * 1000:.0f}", f"big {ink}", anchor)
            self._text(middle, y + 45, winner, f"small {ink}", anchor)
        else:
            size = "big" if self._isWide else "small"
            self._text(middle, y + self._size / 2 + 4, symbol, f"{size} {ink}", anchor)
        self._parts.append("</g>")

    def _legend(self, y: float) -> float:
        shown = [verdict for verdict in Verdict if count(self._result.allCells)[verdict]]
        for verdict in shown:
            x = float(_MARGIN)
            if verdict is Verdict.CONNECTED:
                for name, text in (("fast", "≤ 250"), ("medium", "≤ 750"), ("slow", "> 750 ms")):
                    self._box(x, y - 12, 16, name)
                    mark = ' text-anchor="middle"'
                    self._text(x + 8, y, SYMBOLS[verdict], f"small {_ink(name)}", mark)
                    self._text(x + 22, y, text, "faint")
                    x += 34 + len(text) * _CHARACTER
            else:
                self._box(x, y - 12, 16, verdict.value)
                ink = _ink(verdict.value)
                self._text(x + 8, y, SYMBOLS[verdict], f"small {ink}", ' text-anchor="middle"')
                x += 22
            self._text(x + 4, y, MEANINGS[verdict], "faint")
            y += 22
        if self._isWide:
            self._text(_MARGIN, y, explanation(self._result), "faint")
            y += _LINE
        return y
