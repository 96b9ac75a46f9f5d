"""
Tests for L{holepunch.lab.jsonform}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import BadTopology
from holepunch.lab.enginelink import EngineOptions
from holepunch.lab.jsonform import fromPlain, toPlain
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, MappingView, Protocol

kinds = st.sampled_from(["none", "kernel", *NAMED_BEHAVIOURS])


class JSONFormTests(SynchronousTestCase):
    """
    There and back.
    """

    @given(st.lists(kinds, min_size=1, max_size=3), st.floats(0, 10), st.sampled_from([None, True]))
    def test_options(self, names: list[str], latency: float, isRootless: bool | None) -> None:
        """
        What an engine is told is what it understands.
        """
        if names[2:] == ["none"]:
            names.pop()
        topology = Topology.parse("/".join(names), LinkSpec(latency=latency))
        options = EngineOptions(topology=topology, isRootless=isRootless)
        self.assertEqual(fromPlain(EngineOptions, json.loads(options.line)), options)

    def test_mapping(self) -> None:
        """
        A mapping survives the way.
        """
        view = MappingView(
            protocol=Protocol.TCP,
            internal=TransportAddress("10.0.0.1", 1),
            external=TransportAddress("5.0.0.1", 2),
            remotes=(TransportAddress("5.0.0.2", 3),),
            expiresAt=7.0,
        )
        self.assertEqual(fromPlain(MappingView, json.loads(json.dumps(toPlain(view)))), view)

    def test_wrong(self) -> None:
        """
        What is no such value is refused with a sentence.
        """
        wrong: list[object] = [{"latency": "soon"}, {"latency": -1}, {"delay": 1}, [], None, 3]
        for plain in wrong:
            error = self.assertRaises(BadTopology, fromPlain, LinkSpec, plain)
            self.assertTrue(str(error))
