"""
C{holepunch lab run}: two programs in a lab that lasts as long as they do.

Owns: their start and end, their output, and the exit status.
Knows nothing of: what the programs are.
Driven by: L{holepunch.cli.lab}.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import click
from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from holepunch.cli.examples import examples
from holepunch.cli.laboptions import Plan, columns, planOptions
from holepunch.cli.options import jsonOption, seconds
from holepunch.cli.output import makeOutput
from holepunch.cli.running import run
from holepunch.errors import LabError
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.serving import (
    SERVES,
    serviceAddresses,
    serviceCommand,
    serviceLocation,
)

_SEPARATOR = "---"
_SERVES_WITHIN = 30.0
_SIGNALLED = 128
_HOSTS = ("alice", "bob")


class _Program(ProcessProtocol):
    """
    One of the programs.

    @ivar ended: Fires with its exit status.
    """

    def __init__(self, host: str, width: int) -> None:
        self.ended: Deferred[int] = Deferred()
        self._prefix = f"{host}:".ljust(width + 2).encode()
        self._rest = {1: b"", 2: b""}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        It says something; whole lines are passed on.
        """
        *lines, self._rest[childFD] = (self._rest[childFD] + data).split(b"\n")
        for line in lines:
            self._tell(childFD, line)

    def _tell(self, childFD: int, line: bytes) -> None:
        stream: BinaryIO = (sys.stdout if childFD == 1 else sys.stderr).buffer
        stream.write(self._prefix + line + b"\n")
        stream.flush()

    def processEnded(self, reason: Failure) -> None:
        """
        It ended.
        """
        for childFD, rest in self._rest.items():
            if rest:
                self._tell(childFD, rest)
        error: Any = reason.value
        self.ended.callback(_SIGNALLED + error.signal if error.signal else error.exitCode)


class _Service(ProcessProtocol):
    """
    The rendezvous service.

    @ivar ready: Fires when it serves.
    """

    def __init__(self) -> None:
        self.ready: Deferred[None] = Deferred()
        self._said = b""

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        Its log.
        """
        self._said = (self._said + data)[-4000:]
        if SERVES in self._said and not self.ready.called:
            self.ready.callback(None)

    def processEnded(self, reason: Failure) -> None:
        """
        It ended.
        """
        if not self.ready.called:
            *_, lastWord = self._said.decode(errors="replace").strip().split("\n")
            self.ready.errback(LabError(f"The rendezvous service did not start. {lastWord}"))


@attrs.define(kw_only=True)
class Performance:
    """
    The two programs in their lab.

    @ivar commands: On the first host, and on the second.
    @ivar hasService: Is there to be a rendezvous service?
    @ivar headStart: How many seconds later the first program starts than the second.
    @ivar endsWithFirst: Is it over when one program has ended well?
    @ivar limit: In seconds.
    @ivar status: The exit status of the first program that failed.
    """

    plan: Plan
    commands: tuple[Sequence[str], Sequence[str]]
    hasService: bool = True
    headStart: float = 0.0
    endsWithFirst: bool = False
    hasStats: bool = False
    limit: float | None = None
    status: int = 0
    _isOver: bool = attrs.field(default=False, init=False)

    async def play(self, reactor: Any) -> None:
        """
        Build the lab, run the programs, and take it down.
        """
        plan = self.plan
        lab = NamespaceLab(
            reactor,
            plan.topology,
            seed=plan.seed,
            isRootless=plan.isRootless,
            useOffload=plan.useOffload,
        )
        with tempfile.TemporaryDirectory(prefix="holepunch-lab-") as folder:
            await lab.start()
            try:
                for part, path in plan.captures:
                    await lab.capture(part, path)
                location = await self._serve(reactor, lab, Path(folder))
                if self.hasStats:
                    await lab.countFlows()
                await self._programs(reactor, lab, Path(folder), location)
                if self.hasStats:
                    await self._tellFlows(lab)
            finally:
                await lab.stop()

    async def _serve(self, reactor: Any, lab: NamespaceLab, folder: Path) -> str:
        if not self.hasService:
            return ""
        addresses = serviceAddresses(self.plan.topology)
        identity = folder / "rendezvous.pem"
        service = _Service()
        command = serviceCommand(addresses, identity, folder)
        lab.spawn(service, "rendezvous", command, env=engineEnvironment())
        await service.ready.addTimeout(_SERVES_WITHIN, reactor)
        return serviceLocation(addresses, identity)

    def _environment(self, host: str, folder: Path, location: str) -> Mapping[str, str]:
        environment = {
            **os.environ,
            "HOLEPUNCH_LAB_HOST": host,
            "HOLEPUNCH_IDENTITY": os.fspath(folder / f"{host}.pem"),
            # Lines are passed on when they are complete, not when a buffer is full.
            "PYTHONUNBUFFERED": "1",
        }
        if location:
            environment["HOLEPUNCH_RENDEZVOUS"] = location
        return environment

    async def _programs(self, reactor: Any, lab: NamespaceLab, folder: Path, location: str) -> None:
        width = max(map(len, _HOSTS))
        ended: list[Deferred[int]] = []
        # The second one is the one that waits for the first, where one does.
        for host, command in reversed(tuple(zip(_HOSTS, self.commands, strict=True))):
            program = _Program(host, width)
            environment = self._environment(host, folder, location)
            lab.spawn(program, host, command, env=environment)
            program.ended.addCallback(self._checked)
            ended.append(program.ended)
            if host != _HOSTS[0] and self.headStart:
                pause: Deferred[None] = Deferred()
                reactor.callLater(self.headStart, pause.callback, None)
                await pause
        both: Any = DeferredList(
            ended,
            fireOnOneCallback=self.endsWithFirst,  # type: ignore[call-overload]
            fireOnOneErrback=True,
            consumeErrors=True,
        )
        if self.limit is not None:
            both.addTimeout(self.limit, reactor, self._tooLate)
        try:
            await both
        except Exception as error:
            if isinstance(error, FirstError) and error.subFailure.check(CancelledError):
                raise CancelledError from None
            # One that failed ends both; its status is known.
            if isinstance(error, LabError) or not self.status:
                raise
        finally:
            # What still runs is killed now, which is no failure of its own.
            self._isOver = True

    def _checked(self, status: int) -> int:
        """
        Note the first failure.
        """
        if status and not self._isOver:
            self._isOver = True
            self.status = status
            raise _ProgramFailed
        return status

    def _tooLate(self, result: object, seconds: float) -> None:
        raise LabError(f"The programs did not end within {seconds:g} seconds.")

    async def _tellFlows(self, lab: NamespaceLab) -> None:
        topology = self.plan.topology
        parts = [each for host in _HOSTS for each in topology.host(host).allInterfaces]
        rows: list[Sequence[object]] = []
        for part in parts:
            rows += [
                (
                    f"{part.name}:",
                    flow.protocol.name.lower(),
                    f"{flow.local} with {flow.remote}:",
                    f"sent {flow.sent} ({flow.sentBytes} bytes),",
                    f"received {flow.received} ({flow.receivedBytes} bytes)",
                )
                for flow in await lab.flows(part.name)
            ]
        if rows:
            click.echo(columns(rows), err=True)
        for nat in topology.nats:
            for reason, count in (await lab.counters(nat.name))["dropped"].items():
                click.echo(f"{nat.name}: dropped {count}: {reason}", err=True)


class _ProgramFailed(Exception):
    """
    A program ended with a status other than 0.
    """


@click.command(
    "run",
    epilog=examples(
        "holepunch lab run --first port-restricted/symmetric -- \\",
        "  holepunch ping bob --- holepunch listen --name bob --echo",
        "holepunch lab run full-cone/none --head-start 2 --stats -- ./client --- ./server",
    ),
)
@planOptions
@click.option(
    "--rendezvous/--no-rendezvous",
    "hasService",
    default=True,
    show_default=True,
    help="Run the rendezvous service, which HOLEPUNCH_RENDEZVOUS tells the programs.",
)
@click.option(
    "--head-start",
    "headStart",
    type=seconds,
    metavar="SECONDS",
    default=None,
    help="Start CMD-B so much earlier than CMD-A.",
)
@click.option("--first", "endsWithFirst", is_flag=True, help="End when one of them ends.")
@click.option("--stats", "hasStats", is_flag=True, help="Tell in the end which way the data went.")
@click.option("--timeout", type=seconds, metavar="SECONDS", help="End after so long.")
@jsonOption
@click.argument(
    "commands",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="-- CMD-A... --- CMD-B...",
)
def runPrograms(
    plan: Plan,
    commands: Sequence[str],
    hasService: bool,
    headStart: float | None,
    endsWithFirst: bool,
    hasStats: bool,
    timeout: float | None,
    isJSON: bool,
) -> None:
    """
    Run two programs in a lab of their own, and end it.

    CMD-A runs on alice, CMD-B on bob. Every line that they write has the host's name before it.
    When one fails, the other is ended, and its exit status is that of this command.
    """
    words = list(commands)
    if words.count(_SEPARATOR) != 1:
        raise click.UsageError("expected two commands: -- CMD-A... --- CMD-B...")
    at = words.index(_SEPARATOR)
    if not words[:at] or not words[at + 1 :]:
        raise click.UsageError("expected a command before and after ---")
    missing = {*_HOSTS, *(("rendezvous",) if hasService else ())} - {
        host.name for host in plan.topology.hosts
    }
    if missing:
        raise click.UsageError(f"the topology has no host {', '.join(sorted(missing))}")
    performance = Performance(
        plan=plan,
        commands=(words[:at], words[at + 1 :]),
        hasService=hasService,
        headStart=headStart or 0.0,
        endsWithFirst=endsWithFirst,
        hasStats=hasStats,
        limit=timeout,
    )
    try:
        run(performance.play, makeOutput(sys.stderr, isJSON))
    except SystemExit as ended:
        sys.exit(performance.status or ended.code)
