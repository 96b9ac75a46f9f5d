"""
C{holepunch demo}: the whole thing on this machine, in one command.

Owns: the command; which stage is used; what is told on the way, and at the end.
Knows nothing of: how the acts are played (L{holepunch.cli.demostage}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from twisted.internet.interfaces import IReactorTime

from holepunch.address import Transport
from holepunch.cli import demoreport
from holepunch.cli.demoprocesses import ProcessStage
from holepunch.cli.demosimulation import SimulatedStage
from holepunch.cli.demostage import LATENCY, Act, Stage, homeNetworks, transportsOf
from holepunch.cli.examples import examples
from holepunch.cli.notice import Importance, Notice, milliseconds
from holepunch.cli.options import jsonOption, transportOption, verboseOption
from holepunch.cli.output import Output, jsonLine, makeOutput
from holepunch.cli.outputfile import OutputFile
from holepunch.cli.running import run
from holepunch.errors import BadTopology, DemoFailed, LabError, UsageError
from holepunch.lab.topology import Topology
from holepunch.punch import TCPFlow

_Result = TypeVar("_Result")


@click.command(
    epilog=examples(
        "holepunch demo",
        "holepunch demo --topology symmetric/full-cone --tcp-flow sequential --svg session.svg",
    )
)
@click.option(
    "--topology",
    "network",
    default="port-restricted/port-restricted",
    show_default=True,
    metavar="NAT[/NAT[/NAT]]",
    help="The NATs of alice, bob, and their carrier; one for both; none is a public host.",
)
@click.option("--simulated", "isSimulated", is_flag=True, help="Simulate the network in any case.")
@transportOption
@click.option(
    "--tcp-flow",
    "flow",
    type=click.Choice([flow.value for flow in TCPFlow]),
    default=TCPFlow.SIMULTANEOUS.value,
    show_default=True,
    help="Connect from both sides at once, or from one after the other.",
)
@click.option(
    "--svg",
    type=OutputFile(),
    help="Draw the session into this file, too.",
)
@jsonOption
@verboseOption
def demo(
    network: str,
    isSimulated: bool,
    transport: str,
    flow: str,
    svg: Path | None,
    isJSON: bool,
    verbosity: int,
) -> None:
    """
    Show it all on this machine: a rendezvous service, and two peers behind NATs.

    The hosts are network namespaces, with the kernel's own TCP, and the NATs stand between them;
    nothing outside is touched. Where there can be none, the network is simulated.
    """
    topology = _readTopology(network)
    output = makeOutput(sys.stderr, isJSON, verbosity)

    async def main(reactor: Any) -> None:
        play = Play(reactor, output, network)
        startedAt = reactor.seconds()
        acts = await play.perform(
            None if isSimulated else ProcessStage(reactor, topology, play.told),
            SimulatedStage(topology, play.told),
            transportsOf(transport),
            TCPFlow(flow),
        )
        if isJSON:
            report = {
                "lab": "simulated" if play.whySimulated else "namespaces",
                "reason": play.whySimulated,
                "topology": network,
                "seconds": round(reactor.seconds() - startedAt, 3),
                "sessions": [demoreport.asObject(act) for act in acts],
            }
            click.echo(jsonLine(report), nl=False)
        else:
            output.step("")
            demoreport.show(Console(highlight=False), acts)
        if svg is not None:
            _write(svg, demoreport.image(acts))
        # The transports often fail for the same reason.
        failures = dict.fromkeys(act.failure.rstrip(".") for act in acts if act.failure)
        if failures:
            raise DemoFailed(f"{'; '.join(failures)} (-v tells more)")

    run(main, output)


def _readTopology(text: str) -> Topology:
    try:
        topology = homeNetworks(text)
        for name in ("alice", "bob", "rendezvous"):
            topology.host(name)
    except BadTopology as error:
        raise click.BadParameter(str(error), param_hint="'--topology'") from None
    return topology


def _write(path: Path, picture: str | None) -> None:
    if picture is None:
        return
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--svg: cannot write {path}: {error.strerror}") from None


class Play:
    """
    One performance.

    @ivar whySimulated: Why the network is simulated; L{None}: it is not.
    """

    def __init__(self, clock: IReactorTime, output: Output, network: str) -> None:
        """
        @param network: What to call the topology.
        """
        self._clock = clock
        self._output = output
        self._network = network
        self.whySimulated: str | None = None

    async def perform(
        self,
        real: Stage | None,
        simulated: Stage,
        transports: Sequence[Transport],
        flow: TCPFlow,
    ) -> list[Act]:
        """
        Play it, and leave nothing behind.

        @param real: The stage to use, if it can be built; L{None} where a simulated one is wanted.
        """
        stage = await self._stage(real, simulated)
        acts = []
        try:
            await self._step("service", "starting the rendezvous service", stage.serve())
            await self._step("listen", "bob registers, and listens", stage.listen())
            for transport in transports:
                if transport is Transport.TCP:
                    self._output.step("alice reaches bob by TCP; each sends the other a file")
                    acts.append(await stage.move(flow))
                else:
                    self._output.step("alice reaches bob by UDP, and pings him")
                    acts.append(await stage.ping())
                fields = demoreport.asObject(acts[-1])
                self._tell("session", demoreport.sentence(acts[-1]), **fields)
        finally:
            await stage.close()
        return acts

    async def _stage(self, real: Stage | None, simulated: Stage) -> Stage:
        """
        Find a stage, and say which one it is.
        """
        self._output.step("building the network")
        stage = real
        if real is None:
            self.whySimulated = "as --simulated asks"
        else:
            try:
                await self._build(real)
            except LabError as error:
                self.whySimulated, stage = str(error), None
        if stage is None:
            stage = simulated
            await self._build(stage)
        what = "simulated network" if self.whySimulated else "network namespaces of this machine"
        why = f" ({self.whySimulated.rstrip('.')})" if self.whySimulated else ""
        self._tell(
            "network",
            f"{what}{why}: {self._network}, {LATENCY * 1000:g} ms a link",
            lab="simulated" if self.whySimulated else "namespaces",
            reason=self.whySimulated,
        )
        return stage

    async def _build(self, stage: Stage) -> None:
        try:
            await stage.build()
        except BaseException:
            await stage.close()
            raise

    async def _step(self, name: str, text: str, doing: Awaitable[_Result]) -> _Result:
        """
        Show what goes on, and tell when it is done.
        """
        self._output.step(text)
        startedAt = self._clock.seconds()
        result = await doing
        seconds = self._clock.seconds() - startedAt
        self._tell("step", f"{text}: {milliseconds(seconds)}", step=name, seconds=round(seconds, 3))
        return result

    def _tell(self, event: str, text: str, **fields: Any) -> None:
        self._output.tell(Notice(event=event, text=text, fields=fields))

    def told(self, host: str, line: Mapping[str, Any]) -> None:
        """
        A program on a host told an event.
        """
        fields = {name: value for name, value in line.items() if name != "event"}
        text = fields.get("text") or ", ".join(f"{name} {value}" for name, value in fields.items())
        notice = Notice(
            event=line["event"],
            text=f"{host}: {line['event']}: {text}",
            fields={"host": host, **fields},
            importance=Importance.DETAIL if line["event"] == "log" else Importance.MILESTONE,
        )
        self._output.tell(notice)
