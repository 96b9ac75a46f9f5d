"""
Draws a sequence diagram as an image: one self-contained SVG file, for light and dark pages.

Owns: what is where in the picture, its colours and fonts.
Knows nothing of: what the messages mean.
Driven by: C{holepunch demo --svg}. The pictures in C{docs/pictures} are made so, too: each is one
run of the demonstration, with the C{--transport} and C{--tcp-flow} that its name says.
"""

from __future__ import annotations

import math
import textwrap
from xml.sax.saxutils import escape

import attrs

from holepunch.cli.diagramtime import TimeScale
from holepunch.cli.sequencediagram import (
    Message,
    MessageKind,
    ParticipantKind,
    SequenceDiagram,
)

_LEFT = 134.0
_RIGHT = 96.0
_SPAN = 205.0
_HEAD = 88.0
_BOX = 44.0
_LINE = 18.0
_BAR = 34.0
_LEGEND = 78.0
_WALL = 7.0
_HEIGHT = 560.0
_GAP = 17.0
_CHARACTER = 6.1
_WIDE_CHARACTER = 8.2
_HOLE = "hole in a NAT"
_TICKS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Light, dark. The light colours are also those of a viewer that knows no dark mode.
_LONG = 10.0
_COLOURS = {
    "page": ("#ffffff", "#161b22"),
    "frame": ("#d0d7de", "#30363d"),
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#656d76", "#8d96a0"),
    "grid": ("#eaeef2", "#21262d"),
    "line": ("#afb8c1", "#484f58"),
    "peer": ("#ddf4ff", "#0c2d6b"),
    "service": ("#f6f8fa", "#21262d"),
    "wall": ("#8c959f", "#6e7681"),
    "hole": ("#dafbe1", "#0f5323"),
    "stop": ("#cf222e", "#ff7b72"),
}
_KIND_COLOURS = {
    MessageKind.SIGNAL: ("#57606a", "#8b949e"),
    MessageKind.ASSIST: ("#9a8c98", "#a39fab"),
    MessageKind.RELAY: ("#8250df", "#d2a8ff"),
    MessageKind.PUNCH: ("#bc4c00", "#ffa657"),
    MessageKind.PROOF: ("#0969da", "#79c0ff"),
    MessageKind.STREAM: ("#1a7f37", "#56d364"),
}


def renderSVG(diagram: SequenceDiagram) -> str:
    """
    Draw C{diagram}.

    @return: The text of an SVG file. Equal diagrams give equal text.
    """
    return _Drawing(diagram).draw()


def _style() -> str:
    def rules(index: int) -> str:
        named = {f".{name}": colours[index] for name, colours in _COLOURS.items()}
        named |= {
            f".{kind.name.lower()}": colours[index] for kind, colours in _KIND_COLOURS.items()
        }
        fills = " ".join(f"{name}{{fill:{colour}}}" for name, colour in named.items())
        strokes = " ".join(f"{name}-s{{stroke:{colour}}}" for name, colour in named.items())
        halo = f"text{{stroke:{_COLOURS['page'][index]}}}"
        return f"{fills} {strokes} {halo}"

    return (
        "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;"
        "font-size:12px;paint-order:stroke;stroke-width:4px;stroke-linejoin:round} "
        ".title{font-size:20px;font-weight:600} .name{font-size:14px;font-weight:600;"
        "stroke:none} .small{font-size:11px} .plain{stroke:none} .bold{font-weight:600} "
        f"{rules(0)} @media(prefers-color-scheme:dark){{{rules(1)}}}"
        " .plain,.name{stroke:none}"
    )


@attrs.frozen
class _Point:
    x: float
    y: float


def _tick(seconds: float) -> str:
    return f"{seconds * 1000:.10g} ms" if seconds < _LONG else f"{seconds:.10g} s"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


class _Drawing:
    """
    One picture in the making.
    """

    def __init__(self, diagram: SequenceDiagram) -> None:
        self._diagram = diagram
        self._parts: list[str] = []
        self._xs = {name: _LEFT + _SPAN * index for index, name in enumerate(diagram.names)}
        self._width = _LEFT + _SPAN * (len(diagram.names) - 1) + _RIGHT
        self._subtitle = textwrap.wrap(diagram.subtitle, int((self._width - 48) / _CHARACTER))
        self._head = _HEAD + _LINE * max(0, len(self._subtitle) - 1)
        self._time = TimeScale(diagram, self._head + _BOX + 26, _HEIGHT, _GAP)
        self._foot = self._time.end + 16
        self._bottom = self._foot + (_BAR if diagram.conclusion else 0)
        self._legendRows = self._arrangeLegend()
        self._height = self._bottom + _LEGEND + _LINE * (len(self._legendRows) - 1)

    def draw(self) -> str:
        """
        The whole file.
        """
        self._heading()
        self._axis()
        self._lifelines()
        for index, message in enumerate(self._diagram.messages):
            self._message(index, message)
        self._notes()
        self._conclusion()
        self._legend()
        self._text(_Point(24, self._height - 18), self._diagram.footnote, "faint small")
        width, height = _number(self._width), _number(self._height)
        title = escape(f"{self._diagram.title}. {self._diagram.subtitle}")
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" role="img">',
                f"<title>{title}</title>",
                f"<style>{_style()}</style>",
                *self._parts,
                "</svg>",
                "",
            ]
        )

    # --- shapes ---------------------------------------------------------------------------------

    def _rectangle(
        self, x: float, y: float, width: float, height: float, style: str, radius: float = 0.0
    ) -> None:
        self._parts.append(
            f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}" rx="{_number(radius)}" class="{style}"/>'
        )

    def _line(self, start: _Point, end: _Point, style: str, width: float, dash: str = "") -> None:
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<line x1="{_number(start.x)}" y1="{_number(start.y)}" x2="{_number(end.x)}" '
            f'y2="{_number(end.y)}" class="{style}" stroke-width="{_number(width)}"{dashes}/>'
        )

    def _text(
        self, at: _Point, text: str, style: str, anchor: str = "start", angle: float = 0.0
    ) -> None:
        turn = ""
        if abs(angle) > 0.05:
            turn = f' transform="rotate({_number(angle)} {_number(at.x)} {_number(at.y)})"'
        self._parts.append(
            f'<text x="{_number(at.x)}" y="{_number(at.y)}" text-anchor="{anchor}" '
            f'class="{style}"{turn}>{escape(text)}</text>'
        )

    # --- the frame ------------------------------------------------------------------------------

    def _heading(self) -> None:
        self._rectangle(0.5, 0.5, self._width - 1, self._height - 1, "page frame-s", 10)
        self._text(_Point(24, 38), self._diagram.title, "title ink")
        for number, line in enumerate(self._subtitle):
            self._text(_Point(24, 62 + _LINE * number), line, "faint")

    def _axis(self) -> None:
        right = self._width - 24
        time = self._time
        shown = time.duration - sum(end - start for start, end in time.silences)
        interval = next((each for each in _TICKS if shown / each <= 12), _TICKS[-1])
        lastY = -math.inf
        for seconds in time.ticks(interval):
            y = time.at(seconds)
            if y - lastY < 13:
                continue
            lastY = y
            self._line(_Point(64, y), _Point(right, y), "grid-s", 1)
            self._text(_Point(58, y + 4), _tick(seconds), "faint small", "end")
        for start, end in time.silences:
            top, bottom = _Point(50, time.at(start) + 12), _Point(50, time.at(end) - 12)
            self._line(top, bottom, "line-s", 2, "2 6")

    def _lifelines(self) -> None:
        top = self._head + _BOX
        holes = {hole.nat: self._time.at(hole.at) for hole in reversed(self._diagram.holes)}
        for participant in self._diagram.participants:
            x = self._xs[participant.name]
            if participant.kind is ParticipantKind.NAT:
                self._wall(x, top, holes.get(participant.name), x < self._width / 2)
            else:
                dash = "" if participant.kind is ParticipantKind.PEER else "4 4"
                self._line(_Point(x, top), _Point(x, self._foot), "line-s", 2, dash)
            style = "peer" if participant.kind is ParticipantKind.PEER else "service"
            self._rectangle(x - 66, self._head, 132, _BOX, f"{style} line-s", 8)
            middle = self._head + (19 if participant.detail else 27)
            self._text(_Point(x, middle), participant.name, "name ink", "middle")
            if participant.detail:
                self._text(
                    _Point(x, self._head + 35), participant.detail, "faint small plain", "middle"
                )

    def _wall(self, x: float, top: float, hole: float | None, isLeft: bool) -> None:
        end = self._foot if hole is None else hole
        self._rectangle(x - _WALL, top, 2 * _WALL, end - top, "wall")
        if hole is not None:
            self._rectangle(x - _WALL, hole, 2 * _WALL, self._foot - hole, "hole")
            for side in (-_WALL, _WALL):
                self._line(
                    _Point(x + side, hole), _Point(x + side, self._foot), "stream-s", 1.5, "3 3"
                )
            anchor, side = ("start", 1) if isLeft else ("end", -1)
            self._text(_Point(x + side * (_WALL + 5), hole + 3), "hole", "stream small", anchor)

    # --- what happens ---------------------------------------------------------------------------

    def _message(self, index: int, message: Message) -> None:
        start = _Point(self._xs[message.sender], self._time.sent[index])
        end = _Point(self._xs[message.end], self._time.arrived[index])
        direction = 1.0 if end.x > start.x else -1.0
        if message.stoppedBy is not None:
            end = _Point(end.x - direction * (_WALL + 6), end.y)
        angle = math.degrees(math.atan2(end.y - start.y, (end.x - start.x)))
        style = message.kind.name.lower()
        isMinor = message.kind in (MessageKind.SIGNAL, MessageKind.ASSIST)
        dash = "5 4" if message.kind is MessageKind.ASSIST else ""
        self._line(start, end, f"{style}-s", 1.4 if isMinor else 2.2, dash)
        if message.stoppedBy is None:
            self._tip(end, angle, style)
        else:
            self._cross(end, direction)
        textAngle = angle if direction > 0 else angle - 180 * math.copysign(1, angle)
        slope = (end.y - start.y) / (end.x - start.x)
        # What goes to and from the relay has its words where it arrives: it leaves together with
        # what goes to and from the service.
        isAtEnd = message.kind is MessageKind.RELAY
        x = end.x - direction * 18 if isAtEnd else start.x + direction * 14
        y = start.y + slope * (x - start.x) - 5
        self._text(
            _Point(x, y),
            message.label,
            f"{style}{' small' if isMinor else ' bold'}",
            "start" if (direction > 0) is not isAtEnd else "end",
            textAngle,
        )

    def _tip(self, tip: _Point, angle: float, style: str) -> None:
        self._parts.append(
            f'<path d="M0 0L-10 -4.5L-10 4.5Z" class="{style}" transform="translate('
            f'{_number(tip.x)} {_number(tip.y)}) rotate({_number(angle)})"/>'
        )

    def _cross(self, at: _Point, direction: float) -> None:
        for sign in (1, -1):
            self._line(
                _Point(at.x - 5, at.y - 5 * sign), _Point(at.x + 5, at.y + 5 * sign), "stop-s", 2.4
            )
        anchor = "end" if direction > 0 else "start"
        self._text(_Point(at.x - direction * 2, at.y + 20), "dropped", "stop bold small", anchor)

    def _notes(self) -> None:
        for index, note in enumerate(self._diagram.notes):
            x, y = self._xs[note.participant], self._time.noted[index]
            width = len(note.text) * _CHARACTER + 18
            self._rectangle(x - width / 2, y - 10, width, 20, "page line-s", 10)
            self._text(_Point(x, y + 4), note.text, "ink small plain", "middle")

    def _conclusion(self) -> None:
        if not self._diagram.conclusion:
            return
        peers = [
            self._xs[each.name]
            for each in self._diagram.participants
            if each.kind is ParticipantKind.PEER
        ]
        left, right, top = min(peers) - 10, max(peers) + 10, self._foot
        width = max(right - left, len(self._diagram.conclusion) * _WIDE_CHARACTER + 24)
        self._rectangle(left, top, width, _BAR, "hole stream-s", 8)
        middle = _Point(left + width / 2, top + 21)
        self._text(middle, self._diagram.conclusion, "name ink", "middle")

    def _arrangeLegend(self) -> list[list[MessageKind | None]]:
        """
        The entries of each row; C{None} is the one for holes.
        """
        entries: list[MessageKind | None] = list(self._diagram.kinds)
        entries += [None] if self._diagram.holes else []
        rows: list[list[MessageKind | None]] = [[]]
        x = 24.0
        for entry in entries:
            width = self._legendWidth(entry)
            if rows[-1] and x + width > self._width:
                rows.append([])
                x = 24.0
            rows[-1].append(entry)
            x += width
        return rows

    def _legendWidth(self, entry: MessageKind | None) -> float:
        words = _HOLE if entry is None else entry.value
        return len(words) * _CHARACTER + 52

    def _legend(self) -> None:
        y = self._bottom + 36
        for row in self._legendRows:
            x = 24.0
            for entry in row:
                self._legendEntry(_Point(x, y), entry)
                x += self._legendWidth(entry)
            y += _LINE

    def _legendEntry(self, at: _Point, entry: MessageKind | None) -> None:
        x, y = at.x, at.y
        if entry is None:
            self._rectangle(x, y - 11, 2 * _WALL, 14, "hole stream-s")
            self._text(_Point(x + 20, y), _HOLE, "faint small")
            return
        style = entry.name.lower()
        self._line(_Point(x, y - 4), _Point(x + 22, y - 4), f"{style}-s", 2.2)
        self._tip(_Point(x + 26, y - 4), 0, style)
        self._text(_Point(x + 32, y), entry.value, "faint small")
