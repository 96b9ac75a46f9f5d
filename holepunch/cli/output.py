"""
Telling a person, or a program, what happens: everything that goes to stderr.

Owns: the two ways of telling, as text and as one JSON object a line, and how much is told.
Knows nothing of: stdout, which belongs to the user's data and to reports; the words
(L{holepunch.cli.notice}).
Driven by: the commands, and the peer's events.
"""

from __future__ import annotations

import abc
import enum
import json
from collections.abc import Callable
from typing import Any, TextIO

from holepunch.cli.notice import Importance, Notice, describe, describeFailure
from holepunch.errors import HolepunchError, NoPathFound
from holepunch.peer.events import Failed, Introduced, PeerEvent


class Output(abc.ABC):
    """
    Tells what happens.
    """

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        """
        @param stream: Standard error.
        @param verbosity: How often C{-v} was given.
        """
        self._stream = stream
        self._verbosity = verbosity
        self._asked: set[str] = set()
        self._last: Notice | None = None

    def observe(self, event: PeerEvent) -> None:
        """
        Tell an event of the peer.
        """
        if isinstance(event, Introduced) and event.isRequester:
            self._asked.add(event.session)
        # What became of our own request is told once, when the command ends.
        if not isinstance(event, Failed) or event.session not in {None, *self._asked}:
            self.tell(describe(event))

    def tell(self, notice: Notice) -> None:
        """
        Tell something, unless it was just told, or is not asked for.
        """
        if notice.importance <= self._threshold and notice != self._last:
            self._last = notice
            self._write(notice)

    def note(self, event: str, text: str, **fields: Any) -> None:
        """
        Tell programs something, and people who want to know more.
        """
        self.tell(Notice(event=event, text=text, fields=fields, importance=Importance.MILESTONE))

    @property
    @abc.abstractmethod
    def _threshold(self) -> int:
        """
        What is less important is not told.
        """

    @abc.abstractmethod
    def _write(self, notice: Notice) -> None:
        """
        Tell it for sure.
        """

    @abc.abstractmethod
    def step(self, text: str) -> None:
        """
        This goes on from now, and may take a while.
        """

    @abc.abstractmethod
    def fail(self, error: HolepunchError) -> None:
        """
        The command ends like this.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """
        Nothing goes on any more.
        """


class JSONOutput(Output):
    """
    One JSON object a line.
    """

    @property
    def _threshold(self) -> int:
        return Importance.MILESTONE + self._verbosity

    def _write(self, notice: Notice) -> None:
        self._stream.write(jsonLine({"event": notice.event, **notice.fields}))
        self._stream.flush()

    def step(self, text: str) -> None:
        """
        Programs wait for the events.
        """

    def fail(self, error: HolepunchError) -> None:
        """
        An event as any other.
        """
        self._write(describeFailure(error))

    def close(self) -> None:
        """
        Nothing to do.
        """


class TextOutput(Output):
    """
    Lines of text.
    """

    @property
    def _threshold(self) -> int:
        return self._verbosity

    def _write(self, notice: Notice) -> None:
        self._stream.write(f"{notice.text}\n")
        self._stream.flush()

    def step(self, text: str) -> None:
        """
        In a file or a pipe, only what has happened is of interest.
        """

    def fail(self, error: HolepunchError) -> None:
        """
        One line; with C{-v}, also what became of each candidate pair.
        """
        if self._verbosity and isinstance(error, NoPathFound):
            for fate in error.fates:
                self._write(Notice(event="fate", text=fate))
        self._write(Notice(event="failed", text=f"Error: {error}"))

    def close(self) -> None:
        """
        Nothing to do.
        """


class TerminalOutput(TextOutput):
    """
    Lines of text, and below them what goes on at the moment.
    """

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        super().__init__(stream, verbosity)
        from holepunch.cli.progress import StepDisplay

        self._display = StepDisplay(stream)

    def tell(self, notice: Notice) -> None:
        """
        Tell it, and show what goes on from now.
        """
        super().tell(notice)
        if notice.step is not None:
            self.step(notice.step)

    def _write(self, notice: Notice) -> None:
        self._display.print(notice.text)

    def step(self, text: str) -> None:
        """
        Show it, with the time it takes.
        """
        self._display.show(text)

    def fail(self, error: HolepunchError) -> None:
        """
        The same as in a file, and nothing goes on any more.
        """
        self.close()
        super().fail(error)

    def close(self) -> None:
        """
        Take the display away.
        """
        self._display.close()


def makeOutput(stream: TextIO, isJSON: bool, verbosity: int = 0) -> Output:
    """
    The way of telling that fits where C{stream} leads.
    """
    kind: Callable[[TextIO, int], Output]
    if isJSON:
        kind = JSONOutput
    elif stream.isatty():
        kind = TerminalOutput
    else:
        kind = TextOutput
    return kind(stream, verbosity)


def jsonLine(value: object) -> str:
    """
    One JSON object on one line; addresses and peer IDs become their text.
    """
    return json.dumps(value, default=_jsonValue) + "\n"


def _jsonValue(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else str(value)
