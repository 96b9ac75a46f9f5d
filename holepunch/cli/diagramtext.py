"""
Draws a sequence diagram with the characters of a terminal.

Owns: what is in which column and row, and the colours.
Knows nothing of: what the messages mean.
Driven by: C{holepunch demo}, which prints the lines with rich.
"""

from __future__ import annotations

import attrs
from rich.text import Text

from holepunch.cli.sequencediagram import (
    Message,
    MessageKind,
    Note,
    ParticipantKind,
    SequenceDiagram,
    moment,
)

#: Below so many columns there is no picture, but a list.
_NARROWEST = 78
_WIDEST = 132
_GUTTER = 9
_STYLES = {
    MessageKind.SIGNAL: "bright_black",
    MessageKind.ASSIST: "bright_black",
    MessageKind.RELAY: "magenta",
    MessageKind.PUNCH: "yellow",
    MessageKind.PROOF: "blue",
    MessageKind.STREAM: "green",
}
_STOPPED = "red"
_LIFELINES = {ParticipantKind.PEER: "│", ParticipantKind.SERVICE: "┊"}
_WALL, _HOLE = "┃", "╎"


def renderText(diagram: SequenceDiagram, width: int) -> Text:
    """
    Draw C{diagram}.

    @param width: How many columns there are.
    """
    if width < _NARROWEST:
        return _list(diagram)
    return _Picture(diagram, min(width, _WIDEST)).draw()


def _list(diagram: SequenceDiagram) -> Text:
    text = Text(f"{diagram.title}\n{diagram.subtitle}\n")
    for message in diagram.messages:
        line = f"{moment(message.sentAt):>8}  {message.sender} → {message.receiver}: "
        line += message.label
        if message.stoppedBy is not None:
            line += f" (dropped by {message.stoppedBy})"
        text.append(line + "\n", _STYLES[message.kind])
    return text.append(diagram.conclusion)


class _Row:
    """
    One line of characters, each with its style.
    """

    def __init__(self, width: int) -> None:
        self._characters = [" "] * width
        self._styles = [""] * width

    def put(self, column: int, text: str, style: str = "") -> None:
        for offset, character in enumerate(text):
            if 0 <= column + offset < len(self._characters):
                self._characters[column + offset] = character
                self._styles[column + offset] = style

    def centre(self, column: int, text: str, style: str = "") -> None:
        left = column - len(text) // 2
        self.put(max(0, min(left, len(self._characters) - len(text))), text, style)

    def text(self) -> Text:
        text = Text()
        end = len("".join(self._characters).rstrip())
        for character, style in zip(self._characters[:end], self._styles, strict=False):
            text.append(character, style)
        return text


@attrs.frozen
class _Moment:
    """
    What gets a row, in the order of time.
    """

    at: float
    what: Message | Note


class _Picture:
    """
    One picture in the making.
    """

    def __init__(self, diagram: SequenceDiagram, width: int) -> None:
        self._diagram = diagram
        self._width = width
        names = diagram.names
        left = _GUTTER + max(3, len(names[0]) // 2 + 1)
        right = width - _GUTTER - max(3, len(names[-1]) // 2 + 1)
        span = (right - left) / (len(names) - 1)
        self._columns = {name: round(left + span * index) for index, name in enumerate(names)}
        self._holes = {hole.nat: hole.at for hole in reversed(diagram.holes)}
        self._rows: list[Text] = []

    def draw(self) -> Text:
        """
        All lines.
        """
        diagram = self._diagram
        self._rows += [Text(diagram.title, "bold"), Text(diagram.subtitle, "dim"), Text()]
        self._head()
        moments = [_Moment(each.sentAt, each) for each in diagram.messages]
        moments += [_Moment(each.at, each) for each in diagram.notes]
        for each in sorted(moments, key=lambda each: each.at):
            if isinstance(each.what, Message):
                self._message(each.what)
            else:
                self._note(each.what)
        self._conclusion()
        self._legend()
        return Text("\n").join(self._rows)

    def _head(self) -> None:
        names, details = _Row(self._width), _Row(self._width)
        names.put(0, f"{'sent':>{_GUTTER - 2}}", "dim")
        names.put(self._width - _GUTTER + 2, "arrives", "dim")
        for participant in self._diagram.participants:
            column = self._columns[participant.name]
            names.centre(column, participant.name, "bold")
            details.centre(column, participant.detail, "dim")
        self._rows += [names.text(), details.text()]

    def _lifelines(self, at: float) -> _Row:
        row = _Row(self._width)
        for participant in self._diagram.participants:
            column = self._columns[participant.name]
            if participant.kind is ParticipantKind.NAT:
                isOpen = at >= self._holes.get(participant.name, at + 1)
                row.put(column, _HOLE if isOpen else _WALL, "green" if isOpen else "")
            else:
                row.put(column, _LIFELINES[participant.kind], "dim")
        return row

    def _message(self, message: Message) -> None:
        start, end = self._columns[message.sender], self._columns[message.end]
        style = _STYLES[message.kind]
        row = self._lifelines(message.sentAt)
        row.put(0, f"{moment(message.sentAt):>{_GUTTER - 2}}", "dim")
        isRight = end > start
        left, right = (start + 1, end) if isRight else (end + 1, start)
        row.put(left, "─" * (right - left), style)
        if message.stoppedBy is None:
            row.put(right - 1 if isRight else left, "▶" if isRight else "◀", style)
            arrives = f"{moment(message.arrivedAt):>7}"
            row.put(self._width - _GUTTER + 2, arrives, "dim")
        else:
            row.put(right - 1 if isRight else left, "✗", _STOPPED)
            row.put(self._width - _GUTTER + 2, "dropped", _STOPPED)
        self._cross(row, message, left, right)
        label = f" {message.label} "
        if len(label) <= right - left - 4:
            row.put(left + 1 if isRight else right - 1 - len(label), label, style)
        else:
            above = self._lifelines(message.sentAt)
            above.put(left if isRight else right - len(label), label, style)
            self._rows.append(above.text())
        self._rows.append(row.text())

    def _cross(self, row: _Row, message: Message, left: int, right: int) -> None:
        """
        Show the walls that the message passes.
        """
        start, end = self._columns[message.sender], self._columns[message.end]
        for participant in self._diagram.participants:
            column = self._columns[participant.name]
            if participant.kind is ParticipantKind.NAT and left <= column < right:
                share = (column - start) / (end - start)
                at = message.sentAt + share * (message.arrivedAt - message.sentAt)
                isOpen = at >= self._holes.get(participant.name, at + 1)
                row.put(column, "┼" if isOpen else "╂", "green" if isOpen else "")

    def _note(self, note: Note) -> None:
        row = self._lifelines(note.at)
        row.put(0, f"{moment(note.at):>{_GUTTER - 2}}", "dim")
        column = self._columns[note.participant]
        row.put(column, "●", "green")
        isLast = note.participant == self._diagram.names[-1]
        row.put(column - len(note.text) - 2 if isLast else column + 2, note.text, "green")
        self._rows.append(row.text())

    def _conclusion(self) -> None:
        if not self._diagram.conclusion:
            return
        peers = [
            self._columns[each.name]
            for each in self._diagram.participants
            if each.kind is ParticipantKind.PEER
        ]
        left, right = min(peers), max(peers)
        row = self._lifelines(self._diagram.messages[-1].arrivedAt)
        row.put(left, "╞" + "═" * (right - left - 1) + "╡", "green")
        row.centre((left + right) // 2, f" {self._diagram.conclusion} ", "bold green")
        self._rows.append(row.text())

    def _legend(self) -> None:
        entries = [("──▶ ", _STYLES[kind], kind.value) for kind in self._diagram.kinds]
        if self._holes:
            entries += [(f"{_WALL} ", "", "NAT"), (f"{_HOLE} ", "green", "hole in it")]
        indent = " " * (_GUTTER + 1)
        line = Text(indent)
        self._rows.append(Text())
        for sign, style, words in entries:
            if len(line) + len(sign) + len(words) > self._width:
                self._rows.append(line)
                line = Text(indent)
            line.append(sign, style).append(f"{words}   ", "dim")
        self._rows.append(line)
        if self._diagram.footnote:
            self._rows.append(Text(indent + self._diagram.footnote, "dim"))
