"""
Tests for L{holepunch.cli.diagramsvg}.
"""

from __future__ import annotations

from xml.etree import ElementTree

import attrs
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.diagramsvg import renderSVG
from holepunch.cli.sequencediagram import Hole, MessageKind, Note, SequenceDiagram
from tests.cli.diagramstrategies import diagrams
from tests.cli.test_sequencediagram import PARTICIPANTS, message

_SVG = "{http://www.w3.org/2000/svg}"

DIAGRAM = SequenceDiagram(
    title="alice reaches bob",
    subtitle="A direct path.",
    participants=PARTICIPANTS,
    messages=(
        message("alice", "rendezvous", 0.0, 0.05, "request", MessageKind.SIGNAL),
        message("alice", "bob", 0.1, 0.145, "SYN", stoppedBy="bob's NAT"),
        message("bob", "alice", 0.15, 0.2, "SYN"),
    ),
    holes=(Hole(at=0.1, nat="alice's NAT"),),
    notes=(Note(at=0.3, participant="alice", text="connected"),),
    conclusion="a path",
    footnote="small print",
)


def textsOf(svg: str) -> list[str]:
    """
    Everything that can be read in a picture.
    """
    return [each.text or "" for each in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


class RenderSVGTests(SynchronousTestCase):
    """
    The picture.
    """

    @given(diagrams())
    def test_wellFormed(self, diagram: SequenceDiagram) -> None:
        """
        Whatever the texts contain, the file is XML of one namespace, and equal for equal diagrams.
        """
        svg = renderSVG(diagram)
        for element in ElementTree.fromstring(svg).iter():
            self.assertTrue(element.tag.startswith(_SVG))
        self.assertEqual(svg, renderSVG(diagram))

    def test_texts(self) -> None:
        """
        The picture says all that the diagram does.
        """
        texts = textsOf(renderSVG(DIAGRAM))
        for expected in (
            *("alice reaches bob", "A direct path.", "a path", "small print", "connected"),
            *("alice", "bob's NAT", "31.2.0.1", "request", "SYN", "dropped", "0 ms", "hole"),
        ):
            self.assertIn(expected, texts)

    def test_dropped(self) -> None:
        """
        Nothing is called dropped where everything arrives.
        """
        arrived = tuple(attrs.evolve(each, stoppedBy=None) for each in DIAGRAM.messages)
        svg = renderSVG(attrs.evolve(DIAGRAM, messages=arrived))
        self.assertNotIn("dropped", textsOf(svg))

    def test_escaped(self) -> None:
        """
        Marks of the file format in a text are text.
        """
        svg = renderSVG(attrs.evolve(DIAGRAM, title="<script>&"))
        self.assertIn("<script>&", textsOf(svg))
        self.assertNotIn("<script>", svg)

    def test_selfContained(self) -> None:
        """
        The file refers to no other one.
        """
        svg = renderSVG(DIAGRAM)
        for reference in ("href", "url(", "@import"):
            self.assertNotIn(reference, svg)
