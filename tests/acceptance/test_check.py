"""
Finding out the NAT in real networks: every kind of the lab, with our service and with coturn.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import DeferredList, DeferredSemaphore

from holepunch.lab.topology import HostSpec, LinkSpec, NATSpec, Topology
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
)
from holepunch.nat.presets import PRESETS
from tests.acceptance.stage import StageTestCase

LINK = LinkSpec(latency=0.005)
COTURN_PORTS = (5478, 5479)
# So many checks go on at the same time.
AT_ONCE = 3
# Those that block a protocol have tests of their own.
KINDS = {
    name: behaviour
    for name, behaviour in {**NAMED_BEHAVIOURS, **PRESETS}.items()
    if not behaviour.outbound and not behaviour.blocked
}


def _behaviour(kind: str) -> NATBehaviour:
    return KINDS["linux-masquerade" if kind == "kernel" else kind]


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
    Somebody checks, mostly alice.
    """

    async def check(self, *arguments: str, host: str = "alice") -> dict[str, Any]:
        program = self.holepunch(host, "check", *arguments)
        self.assertEqual(await program.end(), 0, (host, program.errors))
        report: dict[str, Any] = json.loads(program.output)
        return report

    async def startCoturn(self, ports: tuple[int, int] = COTURN_PORTS) -> str:
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
            f"--listening-port={ports[0]}",
            f"--alt-listening-port={ports[1]}",
            f"--userdb={(self.folder / 'turndb').resolve()}",
            f"--pidfile={(self.folder / 'coturn.pid').resolve()}",
        )
        await program.untilOutput(b"SQLite DB connection success")
        return f"{first}:{ports[0]}"


class WayTests(CheckTestCase):
    """
    What there is on the way.
    """

    async def checkNested(self, topology: str) -> None:
        await self.build(Topology.parse(topology, LINK))
        report = await self.check("--stun", f"{self.serviceHosts[0]}:3478")
        path = report["path"]
        found = (path["nested"], path["natDistance"], path["nestedSureness"])
        self.assertEqual(found, (True, 2, "certain"))
        self.assertTrue(report["udp"]["carrierGrade"])

    async def test_nested(self) -> None:
        """
        Two NATs in a row are found.
        """
        await self.checkNested("port-restricted/none/carrier-grade")

    async def test_nestedKernels(self) -> None:
        """
        So are two routers of the kernel's own.
        """
        await self.checkNested("kernel/none/kernel")

    async def test_sizes(self) -> None:
        """
        A telephone line's MTU, a black hole and lost fragments are found.
        """
        await self.build(Topology.parse("port-restricted/none", LINK))
        for link, mtuOut, isBlackHole, fragmentsOut in (
            (attrs.evolve(LINK, mtu=1454), 1454, False, True),
            (attrs.evolve(LINK, mtu=1404, isBlackHole=True), 1404, True, True),
            (attrs.evolve(LINK, losesFragments=True), 1500, False, False),
        ):
            await self.lab.setLink("nat-alice", link)
            for server in (f"{self.serviceHosts[0]}:3478", f"{self.serviceHosts[1]}:3479"):
                path = (await self.check("--stun", server, "--transport", "udp"))["path"]
                found = (path["mtuOut"], path["blackHole"], path["fragmentsOut"])
                self.assertEqual(found, (mtuOut, isBlackHole, fragmentsOut))

    async def test_families(self) -> None:
        """
        Each version of IP has its report, and each interface.
        """
        await self.build(Topology.parse("dual-stack:port-restricted/none", LINK))
        report = await self.check(
            *("--stun", self.serviceHosts[0], "--stun", f"[{self.serviceHosts[2]}]:3478"),
            "--every-interface",
        )
        classics = ["port-restricted cone", "symmetric UDP firewall"]
        for key in ("families", "interfaces"):
            self.assertEqual([each["classic"] for each in report[key]], classics)
            for each in report[key]:
                self.assertEqual((each["path"]["mtuOut"], each["path"]["mtuIn"]), (1500, 1500))

    async def test_interfaces(self) -> None:
        """
        Each interface has its own NAT.
        """
        await self.build(Topology.parse("two-interfaces:port-restricted/none/symmetric", LINK))
        report = await self.check("--stun", self.serviceHosts[0], "--every-interface")
        found = [each["classic"] for each in report["interfaces"]]
        self.assertEqual(found, ["port-restricted cone", "symmetric"])

    async def test_blocked(self) -> None:
        """
        Where UDP is blocked, or all but one port, this is said, and TCP looked at all the same.
        """
        await self.build(Topology.parse("udp-blocked/corporate-firewall", LINK))
        server = await self.startCoturn(ports=(443, 444))
        for host in ("alice", "bob"):
            report = await self.check("--stun", server, host=host)
            self.assertEqual((report["udp"]["blocked"], report["classic"]), (True, "blocked"))
            tcp = report["tcp"]
            found = (tcp["blocked"], tcp["nat"], tcp["mapping"], tcp["ports"])
            self.assertEqual(found, (False, True, "endpoint-independent", "preserved"))

    async def test_otherPort(self) -> None:
        """
        Where the service's host does not answer at the usual port, the failure says what to do.
        """
        await self.build(Topology.parse("none/none", LINK))
        program = self.spawn(
            "alice",
            *(sys.executable, "-m", "holepunch", "check", "--timeout", "1"),
            *("--rendezvous", "31.2.0.10"),
        )
        self.assertEqual(await program.end(), 1)
        self.assertIn(b"3478 is only the usual assist port", program.errors)


class NATKindTests(CheckTestCase):
    """
    Every kind of NAT of the lab: all of them in one network, each with a host behind it. A check is
    mostly waiting, so several go on at once.
    """

    timeout = 400

    def network(self, kinds: Sequence[str]) -> Topology:
        """
        A host behind a NAT of each of the kinds, with the name of the kind.
        """
        topology = Topology.parse("none/none", LINK)
        hosts, nats = [topology.host("rendezvous")], []
        for number, kind in enumerate(kinds, 1):
            nat = NATSpec(
                name=f"nat-{kind}",
                behaviour=_behaviour(kind),
                addresses=(f"31.1.{number}.1",),
                inside=(f"10.{number}.0.0/24",),
                link=LINK,
                isKernel=kind == "kernel",
            )
            nats.append(nat)
            address = f"10.{number}.0.10"
            hosts.append(HostSpec(name=kind, addresses=(address,), behind=nat.name, link=LINK))
        return Topology((*hosts,), (*nats,))

    async def checkKinds(self, kinds: Sequence[str], hasCoturn: bool) -> None:
        """
        Check all of these, with our service or with coturn.
        """
        await self.build(self.network(kinds))
        server = await self.startCoturn() if hasCoturn else f"{self.serviceHosts[0]}:3478"
        turns = DeferredSemaphore(AT_ONCE)
        checks = [turns.run(self.checkKind, kind, server, hasCoturn) for kind in kinds]
        results = await DeferredList(checks, consumeErrors=True)
        wrong = [result for isRight, result in results if not isRight]
        self.assertEqual(wrong, [])

    async def checkKind(self, kind: str, server: str, isCoturn: bool) -> None:
        behaviour = _behaviour(kind)
        report = await self.check("--stun", server, host=kind)
        self.checkProtocol(kind, behaviour, report["udp"])
        self.assertEqual(report["udp"]["filtering"], behaviour.filtering.value, kind)
        self.checkProtocol(kind, behaviour, report["tcp"])
        self.checkStrangers(kind, behaviour, report["tcp"], not isCoturn)
        self.assertEqual(len(report["forecast"]), 10)
        self.checkWay(kind, report["path"])

    def checkWay(self, kind: str, path: dict[str, Any]) -> None:
        """
        One NAT is no two, and the lab's links carry what Ethernet does.
        """
        self.assertEqual((path["nested"], path["nestedSureness"]), (False, "certain"), kind)
        sizes = ("mtuOut", "mtuIn", "blackHole", "fragmentsOut", "fragmentsIn", "undetermined")
        found = [path[key] for key in sizes]
        self.assertEqual(found, [1500, 1500, False, True, True, {}], kind)

    def checkProtocol(self, name: str, behaviour: NATBehaviour, report: dict[str, Any]) -> None:
        mapping, ports = lookOf(behaviour)
        self.assertEqual((report["blocked"], report["nat"]), (False, True), name)
        self.assertEqual((report["mapping"], report["ports"]), (mapping.value, ports.value), name)
        if ports is PortAllocation.SEQUENTIAL:
            self.assertEqual(report["portStep"], behaviour.portStep)
        if mapping is Mapping.ENDPOINT_INDEPENDENT:
            self.assertEqual(report["hairpin"], behaviour.hairpin, (name, report))

    def checkStrangers(
        self, kind: str, behaviour: NATBehaviour, report: dict[str, Any], isServiceAsked: bool
    ) -> None:
        """
        Our service connects back, which shows what the filter does; otherwise a hairpin does.
        """
        if isServiceAsked or report["hairpin"]:
            self.assertEqual(report["filtering"], behaviour.filtering.value, kind)
            if behaviour.filtering is not Filtering.ENDPOINT_INDEPENDENT:
                self.assertEqual(report["unsolicited"], behaviour.unsolicited.value, kind)

    async def test_service(self) -> None:
        """
        With our service, each is found to be what it is.
        """
        await self.checkKinds([*KINDS, "kernel"], hasCoturn=False)

    async def test_coturn(self) -> None:
        """
        With coturn, so are the plain kinds.
        """
        plain = [kind for kind in KINDS if kind not in PRESETS]
        await self.checkKinds([*plain, "kernel"], hasCoturn=True)
