"""
Where each moment of a sequence diagram is on the page: time runs downwards.

Owns: the scale, which keeps the order of all moments, and mostly their proportions: nothing on one
side of a lifeline comes too close to the next thing, and long silences are shortened.
Knows nothing of: what is drawn there.
Driven by: L{holepunch.cli.diagramsvg}.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator

import attrs

from holepunch.cli.sequencediagram import SequenceDiagram

# A longer silence, in seconds, is shortened to this.
_LONGEST_SILENCE = 0.25


@attrs.frozen
class _Moment:
    """
    The beginning or the end of an arrow, or a note.

    @ivar sides: Which sides (-1 left, 1 right) of whose lifelines it is on.
    @ivar places: The list that gets its place, at C{index}.
    @ivar lines: How much room it takes below, beyond the gap, in gaps.
    """

    at: float
    sides: tuple[tuple[str, int], ...]
    places: list[float]
    index: int
    lines: int = 0


class TimeScale:
    """
    The scale of one picture.

    @ivar sent: For each message, where its arrow begins.
    @ivar arrived: For each message, where its arrow ends.
    @ivar noted: For each note, where it is.
    @ivar end: Where the last moment is.
    @ivar duration: The time of the last moment, in seconds.
    @ivar silences: The beginnings and ends of the silences that are shortened.
    """

    def __init__(self, diagram: SequenceDiagram, top: float, height: float, gap: float) -> None:
        """
        @param top: Where time begins.
        @param height: About how long the whole is to be.
        @param gap: How close things may come to each other on one side of a lifeline.
        """
        order = {name: index for index, name in enumerate(diagram.names)}
        messages, notes = diagram.messages, diagram.notes
        self.sent = [0.0] * len(messages)
        self.arrived = [0.0] * len(messages)
        self.noted = [0.0] * len(notes)
        moments: list[_Moment] = []
        for index, message in enumerate(messages):
            side = 1 if order[message.end] > order[message.sender] else -1
            # Below the end of a stopped arrow there is a word.
            lines = 0 if message.stoppedBy is None else 1
            moments += [
                _Moment(message.sentAt, ((message.sender, side),), self.sent, index),
                _Moment(message.arrivedAt, ((message.end, -side),), self.arrived, index, lines),
            ]
        for index, note in enumerate(notes):
            both = ((note.participant, 1), (note.participant, -1))
            moments.append(_Moment(note.at, both, self.noted, index))
        moments.sort(key=lambda moment: moment.at)
        self.duration = moments[-1].at if moments else 0.0
        times = [0.0, *(moment.at for moment in moments)]
        self.silences = tuple(
            (before, after)
            for before, after in itertools.pairwise(times)
            if after - before > _LONGEST_SILENCE
        )
        shown = sum(min(b - a, _LONGEST_SILENCE) for a, b in itertools.pairwise(times))
        perSecond = height / shown if shown else 0.0
        lowest: dict[tuple[str, int], float] = {}
        self._times: list[float] = [0.0]
        self._places: list[float] = [top]
        for moment in moments:
            seconds = min(moment.at - self._times[-1], _LONGEST_SILENCE)
            place = self._places[-1] + seconds * perSecond
            place = max([place, *(lowest[side] + gap for side in moment.sides if side in lowest)])
            lowest.update(dict.fromkeys(moment.sides, place + moment.lines * gap))
            moment.places[moment.index] = place
            self._times.append(moment.at)
            self._places.append(place)
        self.end = self._places[-1]

    def ticks(self, interval: float) -> Iterator[float]:
        """
        The multiples of C{interval}, but for those within a silence: it may be as long as days.
        """
        starts = [0.0, *(end for _, end in self.silences)]
        ends = [*(start for start, _ in self.silences), self.duration]
        last = -1
        for start, end in zip(starts, ends, strict=True):
            first = max(last + 1, math.ceil(start / interval - 0.001))
            for index in range(first, int(end / interval + 0.001) + 1):
                last = index
                yield index * interval

    def at(self, seconds: float) -> float:
        """
        Where a moment is.
        """
        index = bisect.bisect_right(self._times, seconds)
        if index == len(self._times):
            return self.end
        if index == 0:
            return self._places[0]
        before, after = self._times[index - 1 : index + 1]
        above, below = self._places[index - 1 : index + 1]
        return above + (below - above) * (seconds - before) / (after - before)
