"""
Tests for L{holepunch.cli.diagramtime}.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.diagramtime import TimeScale
from holepunch.cli.sequencediagram import SequenceDiagram
from tests.cli.diagramstrategies import diagrams
from tests.cli.test_sequencediagram import PARTICIPANTS, message

TOP, HEIGHT, GAP = 100.0, 500.0, 16.0


class TimeScaleTests(SynchronousTestCase):
    """
    Time on the page.
    """

    @given(diagrams())
    def test_order(self, diagram: SequenceDiagram) -> None:
        """
        What is later is never further up.
        """
        scale = TimeScale(diagram, TOP, HEIGHT, GAP)
        moments = [(0.0, TOP)]
        for index, each in enumerate(diagram.messages):
            moments += [(each.sentAt, scale.sent[index]), (each.arrivedAt, scale.arrived[index])]
        moments += [(note.at, scale.noted[index]) for index, note in enumerate(diagram.notes)]
        moments.append((scale.duration, scale.end))
        for at, place in moments:
            for otherAt, otherPlace in moments:
                if at < otherAt:
                    self.assertLessEqual(place, otherPlace)

    @given(diagrams())
    def test_gap(self, diagram: SequenceDiagram) -> None:
        """
        No two things on one side of a lifeline come closer than the gap.
        """
        scale = TimeScale(diagram, TOP, HEIGHT, GAP)
        order = {name: index for index, name in enumerate(diagram.names)}
        places = defaultdict(list)
        for index, each in enumerate(diagram.messages):
            side = 1 if order[each.end] > order[each.sender] else -1
            places[each.sender, side].append(scale.sent[index])
            places[each.end, -side].append(scale.arrived[index])
        for column in places.values():
            column.sort()
            for above, below in itertools.pairwise(column):
                self.assertGreaterEqual(below - above, GAP - 1e-6)

    def test_proportions(self) -> None:
        """
        Where there is room, equal times have equal lengths.
        """
        diagram = SequenceDiagram(
            title="",
            subtitle="",
            participants=PARTICIPANTS,
            messages=tuple(
                message("alice", "bob", sentAt=start, arrivedAt=start + 0.1)
                for start in (0.0, 0.2, 0.4, 0.6)
            ),
        )
        scale = TimeScale(diagram, TOP, HEIGHT, GAP)
        self.assertAlmostEqual(scale.at(0.3) - scale.at(0.1), scale.at(0.6) - scale.at(0.4))
        self.assertAlmostEqual(TOP, scale.at(0.0))

    def test_silence(self) -> None:
        """
        A long silence takes up no more than a part of the page.
        """
        messages = (
            message("alice", "bob", sentAt=0.0, arrivedAt=0.1),
            message("alice", "bob", sentAt=10.0, arrivedAt=10.1),
        )
        diagram = SequenceDiagram(
            title="", subtitle="", participants=PARTICIPANTS, messages=messages
        )
        scale = TimeScale(diagram, TOP, HEIGHT, GAP)
        self.assertLess(scale.at(10.0) - scale.at(0.1), HEIGHT * 0.6)
        self.assertEqual(((0.1, 10.0),), scale.silences)

    def test_empty(self) -> None:
        """
        A diagram in which nothing happens has a scale, too.
        """
        diagram = SequenceDiagram(title="", subtitle="", participants=PARTICIPANTS, messages=())
        scale = TimeScale(diagram, TOP, HEIGHT, GAP)
        self.assertEqual((TOP, TOP, 0.0), (scale.at(1.0), scale.end, scale.duration))
