"""
The reports of C{holepunch check}.
"""

from __future__ import annotations

import io
import json

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.cli.checkreport import (
    interfacesAsJSON,
    interfacesAsText,
    reportAsJSON,
    reportAsText,
)
from holepunch.cli.output import jsonLine
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation
from holepunch.nat.discovery import NATReport, ProtocolReport, explain
from holepunch.nat.discoveryfindings import Undetermined
from holepunch.peer.discovery import InterfaceReport

REPORT = NATReport(
    udp=ProtocolReport(
        isBlocked=False,
        isTranslated=True,
        local=TransportAddress("10.0.0.2", 5000),
        mapped=TransportAddress("192.0.2.1", 6000),
        mapping=Mapping.ENDPOINT_INDEPENDENT,
        isDestinationDependent=False,
        filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
        isHairpinning=True,
        ports=PortAllocation.SEQUENTIAL,
        portStep=2,
        portConfidence=0.75,
        lifetime=29.5,
    ),
    tcp=ProtocolReport(
        isBlocked=True,
        undetermined=(Undetermined(what="mapping", why="nobody was there"),),
        problem="no server answered",
    ),
)


class ReportTests(SynchronousTestCase):
    """
    One report.
    """

    def test_json(self) -> None:
        """
        For programs, every key is there, and null is what could not be determined.
        """
        report = json.loads(jsonLine(reportAsJSON(REPORT)))
        self.assertEqual(
            report["udp"],
            {
                "blocked": False,
                "nat": True,
                "local": "10.0.0.2:5000",
                "mapped": "192.0.2.1:6000",
                "mapping": "endpoint-independent",
                "filtering": "address-and-port-dependent",
                "hairpin": True,
                "ports": "sequential",
                "portStep": 2,
                "portConfidence": 0.75,
                "unsolicited": None,
                "carrierGrade": None,
                "lifetime": 29.5,
                "undetermined": {},
                "problem": None,
            },
        )
        self.assertEqual(report["tcp"].keys(), report["udp"].keys())
        self.assertEqual((report["tcp"]["blocked"], report["tcp"]["nat"]), (True, None))
        self.assertEqual(report["classic"], "port-restricted cone")
        self.assertEqual(report["meaning"], explain(REPORT))
        self.assertEqual(report["tcp"]["undetermined"], {"mapping": "nobody was there"})
        first = report["forecast"][0]
        self.assertEqual(
            (first["peer"], first["udp"]["outlook"], first["tcpSequential"]["outlook"]),
            ("none", "direct", "no"),
        )

    def test_text(self) -> None:
        """
        For people: what is known, what is not and why, a sentence, and who can be reached.
        """
        text = reportAsText(REPORT, Console(file=io.StringIO(), width=100))
        rows = [" ".join(line.split()) for line in text.splitlines()]
        for row in (
            "UDP TCP",
            "blocked no yes",
            "NAT yes -",
            "mapped endpoint 192.0.2.1:6000 -",
            "filtering address-and-port-dependent -",
            "ports sequential, by 2 (75% sure) -",
            "lifetime about 29.5 s -",
            "classic name (port-restricted cone)",
            "TCP: no server answered.",
            "TCP: mapping could not be determined: nobody was there.",
            "direct path to a peer behind UDP TCP TCP, sequential",
            "a public address yes no: relay no: relay",
            explain(REPORT),
        ):
            self.assertIn(row, rows)
        self.assertNotIn("hairpin -", text)

    def test_interfaces(self) -> None:
        """
        Each local address has a row and an object of its own, or the reason why there is no report.
        """
        interfaces = (
            InterfaceReport(host="10.0.0.2", report=REPORT),
            InterfaceReport(host="10.0.0.3", problem="nobody was there"),
        )
        first, second = json.loads(jsonLine({"all": interfacesAsJSON(interfaces)}))["all"]
        self.assertEqual((first["host"], first["udp"]["nat"]), ("10.0.0.2", True))
        self.assertEqual(
            second,
            {
                "host": "10.0.0.3",
                "udp": None,
                "tcp": None,
                "classic": None,
                "problem": "nobody was there",
            },
        )
        text = interfacesAsText(interfaces, Console(file=io.StringIO(), width=120))
        self.assertIn("port-restricted cone", text)
        self.assertIn("nobody was there", text)
