"""
The reports of C{holepunch check}.
"""

from __future__ import annotations

import io
import json

import attrs
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Family, TransportAddress
from holepunch.cli.checkpath import pathAsJSON, pathAsText
from holepunch.cli.checkreport import (
    familiesAsJSON,
    familiesAsText,
    interfacesAsJSON,
    interfacesAsText,
    reportAsJSON,
    reportAsText,
)
from holepunch.cli.output import jsonLine
from holepunch.errors import NoLocalPort
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation
from holepunch.nat.discovery import NATReport, ProtocolReport, explain
from holepunch.nat.discoveryfindings import Undetermined
from holepunch.nat.discoveryhops import NestingFinding, Sureness
from holepunch.nat.discoverypath import PathReport
from holepunch.nat.discoverysizes import SizesReport
from holepunch.peer.discovery import FamilyReport, InterfaceReport

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
                "undetermined": {
                    "unsolicited": "this is asked over TCP only",
                    "carrierGrade": "no address of the carriers' range (100.64.0.0/10) shows",
                },
                "problem": None,
            },
        )
        self.assertEqual(report["tcp"].keys(), report["udp"].keys())
        self.assertEqual((report["tcp"]["blocked"], report["tcp"]["nat"]), (True, None))
        self.assertEqual(report["classic"], "port-restricted cone")
        self.assertEqual(report["meaning"], explain(REPORT))
        missing = {key for key, value in report["tcp"].items() if value is None}
        self.assertEqual(missing - {"portStep"}, report["tcp"]["undetermined"].keys())
        self.assertEqual(report["tcp"]["undetermined"]["mapping"], "nobody was there")
        self.assertEqual(report["tcp"]["undetermined"]["filtering"], "no server answered")
        self.assertIsNone(report["path"])
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

    def test_families(self) -> None:
        """
        The first version of IP that works has the usual keys; each has an object, or a problem.
        """
        families = (
            FamilyReport(family=Family.IPV6, error=NoLocalPort("is there a network?")),
            FamilyReport(family=Family.IPV4, report=REPORT),
        )
        report = json.loads(jsonLine(familiesAsJSON(families)))
        self.assertEqual(report["udp"]["mapped"], "192.0.2.1:6000")
        first, second = report["families"]
        self.assertEqual(
            (first["family"], first["udp"], first["problem"]),
            ("IPv6", None, "is there a network?"),
        )
        self.assertEqual((second["family"], second["udp"]), ("IPv4", report["udp"]))
        console = Console(file=io.StringIO(), width=100)
        text = familiesAsText(families, console)
        self.assertEqual(
            text, f"IPv6:\nis there a network?\n\nIPv4:\n{reportAsText(REPORT, console)}"
        )
        self.assertEqual(familiesAsText(families[1:], console), reportAsText(REPORT, console))

    def test_legend(self) -> None:
        """
        Where the forecast has a question mark, it is explained; nowhere else.
        """
        console = Console(file=io.StringIO(), width=100)
        self.assertNotIn("too little is known", reportAsText(REPORT, console))
        unknown = attrs.evolve(REPORT, udp=ProtocolReport(isBlocked=False))
        self.assertIn("?: too little is known of your NAT.", reportAsText(unknown, console))

    def test_path(self) -> None:
        """
        What is known of the way has a sentence for each thing, and a key.
        """
        path = PathReport(
            nesting=NestingFinding(
                isNested=True,
                sureness=Sureness.LIKELY,
                why="so it seems",
                hops=("192.168.1.1", None, "10.0.0.1"),
                distance=3,
            ),
            sizes=SizesReport(
                mtuOut=1400,
                isBlackHole=True,
                fragmentsOut=True,
                fragmentsIn=False,
                undetermined=(Undetermined(what="mtuIn", why="nobody said so"),),
            ),
        )
        self.assertEqual(
            json.loads(jsonLine(reportAsJSON(attrs.evolve(REPORT, path=path))))["path"],
            {
                "nested": True,
                "nestedSureness": "likely",
                "nestedEvidence": "so it seems",
                "natDistance": 3,
                "hops": ["192.168.1.1", None, "10.0.0.1"],
                "mtuOut": 1400,
                "mtuIn": None,
                "blackHole": True,
                "fragmentsOut": True,
                "fragmentsIn": False,
                "undetermined": {"mtuIn": "nobody said so"},
                "problem": None,
            },
        )
        self.assertEqual(
            pathAsText(path),
            [
                "Way: there are several NATs in a row (likely): so it seems.",
                "Way: packets of 1400 bytes get out.",
                "Way: longer ones vanish without a word (a black hole).",
                "Way: fragments get out.",
                "Way: fragments do not come in.",
                "Way: the path MTU towards here could not be determined: nobody said so.",
            ],
        )
        silent = PathReport(problem="no server answered")
        self.assertEqual(pathAsText(silent), ["Way: no server answered."])
        self.assertEqual(pathAsJSON(silent)["problem"], "no server answered")  # type: ignore[index]

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
                "path": None,
                "classic": None,
                "problem": "nobody was there",
            },
        )
        text = interfacesAsText(interfaces, Console(file=io.StringIO(), width=120))
        self.assertIn("port-restricted cone", text)
        self.assertIn("nobody was there", text)

    def test_narrow(self) -> None:
        """
        In a narrow terminal, no word of the table of interfaces is cut anywhere but at its dashes.
        """
        interfaces = (InterfaceReport(host="192.168.101.102", report=REPORT),)
        text = interfacesAsText(interfaces, Console(file=io.StringIO(), width=80))
        for word in ("endpoint-", "independent", "address-and-", "port-dependent"):
            self.assertIn(word, text.split())
