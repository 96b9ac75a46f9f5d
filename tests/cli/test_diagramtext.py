"""
Tests for L{holepunch.cli.diagramtext}.
"""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.diagramtext import renderText
from holepunch.cli.sequencediagram import SequenceDiagram
from tests.cli.diagramstrategies import diagrams
from tests.cli.test_diagramsvg import DIAGRAM


class RenderTextTests(SynchronousTestCase):
    """
    The picture in a terminal.
    """

    @given(diagrams(), st.integers(40, 200))
    def test_anything(self, diagram: SequenceDiagram, width: int) -> None:
        """
        Every diagram can be drawn at every width, and equal ones are drawn equally.
        """
        self.assertEqual(renderText(diagram, width), renderText(diagram, width))

    @given(st.integers(78, 200))
    def test_width(self, width: int) -> None:
        """
        No line is wider than the terminal.
        """
        for line in renderText(DIAGRAM, width).plain.split("\n"):
            self.assertLessEqual(len(line.rstrip()), width)

    def test_arrows(self) -> None:
        """
        An arrow has its label, its two times, and shows which NATs it passes.
        """
        lines = renderText(DIAGRAM, 120).plain.split("\n")
        (line,) = (line for line in lines if "request" in line)
        self.assertRegex(line, r"^ +0 ms +│─ request ─+╂─+▶┊ +┃ +│ +50 ms$")

    def test_hole(self) -> None:
        """
        A NAT looks otherwise once there is a hole in it.
        """
        lines = renderText(DIAGRAM, 120).plain.split("\n")
        (line,) = (line for line in lines if " SYN ─│" in line)
        self.assertRegex(line, r"^ +150 ms +│◀─+┼─+╂─+ SYN ─│ +200 ms$")

    def test_dropped(self) -> None:
        """
        A stopped arrow ends before the NAT that stopped it.
        """
        lines = renderText(DIAGRAM, 120).plain.split("\n")
        (line,) = (line for line in lines if "dropped" in line)
        self.assertRegex(line, r"│─ SYN ─+┼─+✗┃ +│ +dropped$")

    def test_longLabel(self) -> None:
        """
        A label that is too long for its arrow stands above it.
        """
        words = "offer: alice at 31.1.0.1, if you please"
        first = attrs.evolve(DIAGRAM.messages[0], label=words)
        diagram = attrs.evolve(DIAGRAM, messages=(first, *DIAGRAM.messages[1:]))
        lines = renderText(diagram, 80).plain.split("\n")
        (index,) = (index for index, line in enumerate(lines) if words in line)
        self.assertNotIn("▶", lines[index])
        self.assertIn("▶", lines[index + 1])

    def test_narrow(self) -> None:
        """
        Where there is no room for a picture, there is a list.
        """
        text = renderText(DIAGRAM, 60).plain
        self.assertIn("0 ms  alice → rendezvous: request", text)
        self.assertIn("100 ms  alice → bob: SYN (dropped by bob's NAT)", text)
