"""
Tests for C{holepunch demo}: L{holepunch.cli.demo} and its parts.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from click.testing import CliRunner
from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.cli import demoreport
from holepunch.cli.demo import Play, demo
from holepunch.cli.demosimulation import FILE_SIZE, SimulatedStage
from holepunch.cli.demostage import PINGS, Act, Stage, homeNetworks, transportsOf
from holepunch.cli.output import TextOutput, jsonLine
from holepunch.errors import BadTopology, NamespacesUnavailable
from holepunch.lab.enginelink import engineEnvironment
from holepunch.punch import TCPFlow

TCP, UDP = Transport.TCP, Transport.UDP
NETWORK = "port-restricted/port-restricted"
_PATIENCE = 120.0


class EmptyStage(Stage):
    """
    A stage on which nothing happens, and which knows that.

    @ivar called: The names of the methods that were called.
    """

    def __init__(self, buildError: Exception | None = None, pingError: Exception | None = None):
        self.called: list[str] = []
        self._buildError = buildError
        self._pingError = pingError

    async def build(self) -> None:
        self.called.append("build")
        if self._buildError is not None:
            raise self._buildError

    async def serve(self) -> None:
        self.called.append("serve")

    async def listen(self) -> None:
        self.called.append("listen")

    async def move(self, flow: TCPFlow) -> Act:
        self.called.append(f"move {flow.value}")
        return Act(transport=TCP, asking=(), asked=(), failure="no path")

    async def ping(self) -> Act:
        self.called.append("ping")
        if self._pingError is not None:
            raise self._pingError
        return Act(transport=UDP, asking=(), asked=())

    async def close(self) -> None:
        self.called.append("close")


ALL = ["build", "serve", "listen", "move simultaneous", "ping", "close"]


class PlayTests(SynchronousTestCase):
    """
    The order of the acts.
    """

    def setUp(self) -> None:
        self.said = io.StringIO()
        self.play = Play(Clock(), TextOutput(self.said), NETWORK)

    def perform(
        self, real: Stage | None, simulated: Stage, transports: Sequence[Transport] = (TCP, UDP)
    ) -> Deferred[list[Act]]:
        return Deferred.fromCoroutine(
            self.play.perform(real, simulated, transports, TCPFlow.SIMULTANEOUS)
        )

    def test_real(self) -> None:
        """
        Where the real stage can be built, the simulated one is not touched.
        """
        real, simulated = EmptyStage(), EmptyStage()
        acts = self.successResultOf(self.perform(real, simulated))
        self.assertEqual([TCP, UDP], [act.transport for act in acts])
        self.assertEqual(ALL, real.called)
        self.assertEqual([], simulated.called)
        self.assertIsNone(self.play.whySimulated)
        first, *_ = self.said.getvalue().splitlines()
        self.assertTrue(first.startswith("network namespaces of this machine"), first)

    def test_unavailable(self) -> None:
        """
        Where it cannot be built, all of it is simulated, and the first line says why.
        """
        real = EmptyStage(NamespacesUnavailable("They are forbidden here."))
        simulated = EmptyStage()
        self.successResultOf(self.perform(real, simulated))
        self.assertEqual(["build", "close"], real.called)
        self.assertEqual(ALL, simulated.called)
        self.assertEqual("They are forbidden here.", self.play.whySimulated)
        first, *_ = self.said.getvalue().splitlines()
        self.assertTrue(first.startswith("simulated network (They are forbidden here)"), first)

    def test_simulated(self) -> None:
        """
        It can be simulated by wish.
        """
        simulated = EmptyStage()
        self.successResultOf(self.perform(None, simulated))
        self.assertEqual(ALL, simulated.called)
        self.assertIn("--simulated", self.said.getvalue().splitlines()[0])

    def test_oneTransport(self) -> None:
        """
        Only the acts that were asked for are played.
        """
        simulated = EmptyStage()
        self.successResultOf(self.perform(None, simulated, (UDP,)))
        self.assertNotIn("move simultaneous", simulated.called)

    def test_broken(self) -> None:
        """
        Whatever happens, the stage is closed.
        """
        simulated = EmptyStage(pingError=ZeroDivisionError())
        self.failureResultOf(self.perform(None, simulated), ZeroDivisionError)
        self.assertEqual("close", simulated.called[-1])

    def test_transports(self) -> None:
        """
        C{auto} is both transports, TCP first.
        """
        self.assertEqual((TCP, UDP), transportsOf("auto"))
        self.assertEqual((UDP,), transportsOf("udp"))


class HomeNetworksTests(SynchronousTestCase):
    """
    The topology and its latencies.
    """

    def test_latencies(self) -> None:
        """
        The links to the internet are slow, those inside of a home are not.
        """
        topology = homeNetworks("port-restricted/none", 0.025)
        self.assertEqual(0.0, topology.host("alice").link.latency)
        self.assertEqual(0.025, topology.nat("nat-alice").link.latency)
        self.assertEqual(0.025, topology.host("bob").link.latency)
        self.assertEqual(0.025, topology.host("rendezvous").link.latency)

    def test_unknown(self) -> None:
        """
        What is no topology is refused.
        """
        with self.assertRaises(BadTopology):
            homeNetworks("brick-wall")


def simulate(network: str, transport: Transport, flow: TCPFlow = TCPFlow.SIMULTANEOUS) -> Act:
    """
    Play one act in the simulated internet.
    """

    async def play() -> Act:
        stage = SimulatedStage(homeNetworks(network), lambda host, line: None)
        await stage.build()
        await stage.serve()
        await stage.listen()
        act = await (stage.move(flow) if transport is TCP else stage.ping())
        await stage.close()
        return act

    results: list[Act] = []
    Deferred.fromCoroutine(play()).addCallback(results.append)
    (act,) = results
    return act


class SimulatedStageTests(SynchronousTestCase):
    """
    The acts in the simulated internet, and what is reported of them.
    """

    def test_move(self) -> None:
        """
        Alice and bob exchange their files over a direct TCP path, in either flow.
        """
        for flow in TCPFlow:
            act = simulate(NETWORK, TCP, flow)
            self.assertEqual(("", FILE_SIZE), (act.failure, act.size))
            picture = demoreport.diagram([act])
            assert picture is not None
            self.assertIn(flow.value, picture.title)
            self.assertIn("1 MB each way", picture.conclusion)

    def test_ping(self) -> None:
        """
        Alice pings bob over a direct UDP path.
        """
        act = simulate(NETWORK, UDP)
        self.assertEqual(("", PINGS), (act.failure, len(act.roundTrips)))
        assert act.roundTrip is not None
        self.assertAlmostEqual(0.1, act.roundTrip, 2)

    def test_failure(self) -> None:
        """
        Where there can be no path, the act says so, and there is still a picture.
        """
        act = simulate("symmetric-random/symmetric-random", UDP)
        self.assertNotEqual("", act.failure)
        self.assertIsNone(act.connected)
        picture = demoreport.diagram([act])
        assert picture is not None
        self.assertIn("failed", picture.subtitle)
        self.assertEqual("", picture.conclusion)

    def test_table(self) -> None:
        """
        The table fits a terminal of 80 columns, and has the path and the time of both transports.
        """
        acts = [simulate(NETWORK, TCP), simulate(NETWORK, UDP)]
        console = Console(file=io.StringIO(), width=80)
        demoreport.show(console, acts)
        said = console.file.getvalue()  # type: ignore[attr-defined]
        self.assertIn("time to connect", said)
        self.assertIn("300 ms = 3.0 round trips", said)
        self.assertIn("srflx", said)
        self.assertIn("5 round trips, median 100 ms", said)

    def test_failedTable(self) -> None:
        """
        Where nothing can be drawn, each reason stands below the table, once.
        """
        act = Act(transport=TCP, asking=(), asked=(), failure="nobody answers")
        console = Console(file=io.StringIO(), width=80)
        demoreport.show(console, [act, act])
        said = console.file.getvalue()  # type: ignore[attr-defined]
        self.assertIn("none", said)
        self.assertEqual(1, said.count("nobody answers"))
        self.assertIsNone(demoreport.image([act]))
        self.assertEqual("TCP: no path", demoreport.sentence(act))

    def test_object(self) -> None:
        """
        A program finds the same in JSON.
        """
        encoded = json.loads(jsonLine(demoreport.asObject(simulate(NETWORK, TCP))))
        self.assertEqual("direct", encoded["path"])
        self.assertEqual("tcp", encoded["transport"])
        self.assertEqual(FILE_SIZE, encoded["bytes"])
        self.assertAlmostEqual(0.3, encoded["seconds"], 2)
        self.assertIsNone(encoded["failure"])


class CommandTests(SynchronousTestCase):
    """
    The command, as a program of its own.
    """

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.makedirs(self.directory)
        self.environment = {**engineEnvironment(), "TMPDIR": os.path.abspath(self.directory)}
        self.command = [sys.executable, "-m", "holepunch", "demo"]

    def run_(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )

    def test_json(self) -> None:
        """
        With real programs, or simulated where there can be none: both transports work, what went
        over them arrived, and nothing is left behind.
        """
        picture = os.path.abspath(self.mktemp())
        done = self.run_("--json", "--svg", picture)
        self.assertEqual(0, done.returncode, done.stderr)
        events = [json.loads(line) for line in done.stderr.splitlines()]
        self.assertIn("network", [event["event"] for event in events])
        report: dict[str, Any] = json.loads(done.stdout)
        self.assertIn(report["lab"], ("namespaces", "simulated"))
        self.assertEqual(["tcp", "udp"], [each["transport"] for each in report["sessions"]])
        for session in report["sessions"]:
            self.assertIsNone(session["failure"])
            self.assertEqual("direct", session["path"])
        self.assertTrue(ElementTree.parse(picture).getroot().tag.endswith("svg"))
        self.assertEqual([], os.listdir(self.directory))

    def test_simulated(self) -> None:
        """
        The simulated demonstration says so first, and ends with the picture.
        """
        done = self.run_("--simulated", "--transport", "tcp", "--tcp-flow", "sequential")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertTrue(done.stderr.startswith("simulated network"), done.stderr)
        self.assertIn("alice reaches bob by TCP, sequential flow", done.stdout)
        self.assertIn("ready: bob listens", done.stdout)

    def test_failure(self) -> None:
        """
        A network that lets nothing through is a failure with a sentence, which is said once.
        """
        network = "symmetric-random/symmetric-random"
        done = self.run_("--simulated", "--topology", network)
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertIn("Error: ", done.stderr)
        for told in (done.stderr, done.stdout):
            self.assertEqual(1, told.count("Nothing came through"), told)

    def test_unwritable(self) -> None:
        """
        A picture that cannot be written is told before anything is played.
        """
        picture = os.path.join(self.directory, "missing", "session.svg")
        done = self.run_("--simulated", "--transport", "udp", "--svg", picture)
        self.assertEqual(2, done.returncode, done.stderr)
        self.assertIn("cannot write", done.stderr)
        self.assertNotIn("simulated network", done.stderr)

    def test_interrupted(self) -> None:
        """
        Control-C in the midst of it leaves neither files nor programs behind.
        """
        program = subprocess.Popen(
            [*self.command, "--json"], env=self.environment, stderr=subprocess.PIPE, text=True
        )
        assert program.stderr is not None
        with program.stderr:
            program.stderr.readline()
            program.send_signal(signal.SIGINT)
            # The end of it comes when the last program that was started has ended, too.
            program.stderr.read()
        self.assertEqual(128 + signal.SIGINT, program.wait(_PATIENCE))
        self.assertEqual([], os.listdir(self.directory))

    def test_unknownTopology(self) -> None:
        """
        A topology that nobody knows is wrong usage, and the message names what there is.
        """
        result = CliRunner().invoke(demo, ["--topology", "brick-wall"])
        self.assertEqual(2, result.exit_code)
        self.assertIn("port-restricted", result.output)
