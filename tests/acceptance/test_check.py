"""
Finding out the NAT in real networks: every kind of the lab, with our service and with coturn.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
)
from tests.acceptance.stage import StageTestCase

LINK = LinkSpec(latency=0.005)
COTURN_PORTS = (5478, 5479)


def lookOf(behaviour: NATBehaviour) -> tuple[Mapping, PortAllocation]:
    """
    The mapping and the ports, as they look from inside one host.
    """
    if behaviour.isOneToOne:
        return Mapping.ENDPOINT_INDEPENDENT, PortAllocation.PRESERVED
    if behaviour.ports is PortAllocation.PRESERVED and behaviour.overloadsPorts:
        return Mapping.ENDPOINT_INDEPENDENT, behaviour.ports
    return behaviour.mapping, behaviour.ports


class CheckTestCase(StageTestCase):
    """
    Alice checks.
    """

    async def check(self, *arguments: str) -> dict[str, Any]:
        program = self.holepunch("alice", "check", *arguments)
        self.assertEqual(await program.end(), 0, program.errors)
        report: dict[str, Any] = json.loads(program.output)
        return report

    async def startCoturn(self) -> str:
        """
        Run coturn beside the service.

        @return: One of its addresses.
        """
        path = shutil.which("turnserver")
        assert path is not None, "turnserver is missing: install coturn to run this test"
        first, second = self.serviceHosts
        program = self.spawn(
            "rendezvous",
            path,
            "-n",
            "--log-file=stdout",
            "--stun-only",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            f"--listening-ip={first}",
            f"--listening-ip={second}",
            f"--listening-port={COTURN_PORTS[0]}",
            f"--alt-listening-port={COTURN_PORTS[1]}",
            f"--userdb={(self.folder / 'turndb').resolve()}",
            f"--pidfile={(self.folder / 'coturn.pid').resolve()}",
        )
        await program.untilOutput(b"SQLite DB connection success")
        return f"{first}:{COTURN_PORTS[0]}"


class NATKindTests(CheckTestCase):
    """
    Every kind of NAT of the lab.
    """

    async def checkKind(self, name: str) -> None:
        await self.build(Topology.parse(f"{name}/none", LINK))
        behaviour = NAMED_BEHAVIOURS["linux-masquerade" if name == "kernel" else name]
        coturn = await self.startCoturn()
        for server in (f"{self.serviceHosts[0]}:3478", coturn):
            report = await self.check("--stun", server)
            self.checkProtocol(name, behaviour, report["udp"])
            self.assertEqual(report["udp"]["filtering"], behaviour.filtering.value, name)
            self.checkProtocol(name, behaviour, report["tcp"])
            self.checkStrangers(behaviour, report["tcp"], server != coturn)
            self.assertEqual(len(report["forecast"]), 10)

    def checkProtocol(self, name: str, behaviour: NATBehaviour, report: dict[str, Any]) -> None:
        mapping, ports = lookOf(behaviour)
        self.assertEqual((report["blocked"], report["nat"]), (False, True), name)
        self.assertEqual((report["mapping"], report["ports"]), (mapping.value, ports.value), name)
        if ports is PortAllocation.SEQUENTIAL:
            self.assertEqual(report["portStep"], behaviour.portStep)
        if mapping is Mapping.ENDPOINT_INDEPENDENT:
            self.assertEqual(report["hairpin"], behaviour.hairpin, (name, report))

    def checkStrangers(
        self, behaviour: NATBehaviour, report: dict[str, Any], isServiceAsked: bool
    ) -> None:
        """
        Our service connects back, which shows what the filter does; otherwise a hairpin does.
        """
        if isServiceAsked or report["hairpin"]:
            self.assertEqual(report["filtering"], behaviour.filtering.value)
            if behaviour.filtering is not Filtering.ENDPOINT_INDEPENDENT:
                self.assertEqual(report["unsolicited"], behaviour.unsolicited.value)


def _makeKindTest(name: str) -> Any:
    async def test(self: NATKindTests) -> None:
        await self.checkKind(name)

    test.__doc__ = f"""
    What NAT {name} is, both servers help to find out.
    """
    return test


for _name in [*NAMED_BEHAVIOURS, "kernel"]:
    setattr(NATKindTests, f"test_{_name}".replace("-", ""), _makeKindTest(_name))
