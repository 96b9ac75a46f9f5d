"""
The demonstration with programs: each host is a network namespace, the service is C{twistd}, the
peers are the C{holepunch} commands that everybody uses.

Owns: their command lines, files and processes; what they say.
Knows nothing of: the order of the acts.
Driven by: C{holepunch demo}.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from holepunch.address import Transport
from holepunch.cli.demostage import PATIENCE, PING_INTERVAL, PINGS, Act, Stage
from holepunch.cli.trace import readTrace
from holepunch.errors import DemoFailed, NamespacesUnavailable
from holepunch.identity import Identity
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import Topology
from holepunch.peer.events import PeerEvent
from holepunch.punch import TCPFlow

FILE_SIZE = 4_000_000
_ASSIST_PORTS = (3478, 3479)
_STARTS_WITHIN = 20.0
_MOVES_WITHIN = 60.0
_TWISTD = "from twisted.scripts.twistd import run; run()"

Told = Callable[[str, Mapping[str, Any]], None]
Line = Mapping[str, Any]


class Program(ProcessProtocol):
    """
    One running program.

    @ivar lines: The JSON lines of its standard output.
    """

    def __init__(self, host: str, told: Told) -> None:
        """
        @param told: Called with the host and each event that the program tells.
        """
        self._host = host
        self._told = told
        self._rest = {1: b"", 2: b""}
        self._waiting: list[tuple[str, Deferred[Line]]] = []
        self._ended: list[Deferred[None]] = []
        self._failure: DemoFailed | None = None
        self._hasEnded = False
        self._reason = ""
        self.lines: list[Line] = []

    def whenTold(self, event: str) -> Deferred[Line]:
        """
        Fires with the next event of that name; fails if the program ends without one.
        """
        waiting: Deferred[Line] = Deferred()
        self._waiting.append((event, waiting))
        return waiting

    def whenEnded(self) -> Deferred[None]:
        """
        Fires when it ends; fails if that was no success.
        """
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        if self._hasEnded:
            self._settle()
        return ended

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        It says something.
        """
        *lines, self._rest[childFD] = (self._rest[childFD] + data).split(b"\n")
        for line in lines:
            self._lineReceived(childFD, line.decode(errors="replace"))

    def _lineReceived(self, childFD: int, text: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            # The log of twistd; whatever it is, it may be the reason of an end.
            self._reason = text.strip() or self._reason
            line = {"event": "log", "text": text}
        if childFD == 1 and "event" not in line:
            self.lines.append(line)
            return
        if line["event"] == "failed":
            self._reason = line["reason"]
        self._told(self._host, line)
        waiting = [each for each in self._waiting if self._isWaitedFor(each[0], line)]
        self._waiting = [each for each in self._waiting if each not in waiting]
        for _, deferred in waiting:
            deferred.callback(line)

    def _isWaitedFor(self, event: str, line: Line) -> bool:
        return line["event"] == event or event in line.get("text", "")

    def processEnded(self, reason: Failure) -> None:
        """
        It ended.
        """
        self._hasEnded = True
        sentence = self._reason or f"a program on {self._host} ended: {reason.getErrorMessage()}"
        error = DemoFailed(sentence)
        self._failure = None if reason.check(ProcessDone) else error
        waiting, self._waiting = self._waiting, []
        for _, deferred in waiting:
            deferred.errback(error)
        self._settle()

    def _settle(self) -> None:
        ended, self._ended = self._ended, []
        for deferred in ended:
            if self._failure is None:
                deferred.callback(None)
            else:
                deferred.errback(self._failure)


class ProcessStage(Stage):
    """
    The play in kernel namespaces.
    """

    def __init__(self, reactor: Any, topology: Topology, told: Told) -> None:
        """
        @param told: Called with a host and each event that a program there tells.
        """
        self._reactor = reactor
        self._topology = topology
        self._told = told
        self._lab: NamespaceLab | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="holepunch-demo-")
        self._path = Path(self._directory.name)

    async def build(self) -> None:
        """
        Make the namespaces, and the files that are to be sent.
        """
        if not sys.platform.startswith("linux"):
            raise NamespacesUnavailable("network namespaces exist only on Linux")
        self._lab = NamespaceLab(self._reactor, self._topology)
        await self._lab.start()
        for name in ("alice", "bob"):
            (self._path / f"from-{name}").write_bytes(os.urandom(FILE_SIZE))

    async def serve(self) -> None:
        """
        Start C{twistd holepunch}.
        """
        identity = self._path / "rendezvous.pem"
        addresses = self._topology.host("rendezvous").addresses
        self._location = f"{Identity.load(identity, create=True).peerID}@{addresses[0]}"
        assist = [
            f"--assist={address}:{port}"
            for address, port in zip(addresses, _ASSIST_PORTS, strict=False)
        ]
        twistd = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile="]
        twistd += [f"--rundir={self._path}", "holepunch", f"--identity={identity}", *assist]
        service = self._start("rendezvous", twistd)
        await self._inTime(service.whenTold("rendezvous service"), _STARTS_WITHIN)

    async def listen(self) -> None:
        """
        Start C{holepunch listen}.
        """
        self._bob = self._peer(
            "bob",
            "bob",
            ["listen", "--name=bob", "--keep"],
            ("from-bob", "to-bob"),
        )
        await self._inTime(self._bob.whenTold("listening"), _STARTS_WITHIN)

    async def move(self, flow: TCPFlow) -> Act:
        """
        C{holepunch connect}, with a file as standard input on either side.
        """
        closed = self._bob.whenTold("closed")
        closed.addErrback(lambda failure: None)
        arguments = ["connect", "bob", f"--tcp-flow={flow.value}", f"--timeout={PATIENCE:g}"]
        alice = self._peer("alice", "alice-tcp", arguments, ("from-alice", "to-alice"))
        startedAt = self._reactor.seconds()
        connected = alice.whenTold("connected")
        connected.addCallbacks(lambda line: self._reactor.seconds(), lambda failure: startedAt)
        failure = await self._fate(alice)
        size = 0
        moved = self._reactor.seconds() - await connected
        if not failure:
            await self._inTime(closed, _STARTS_WITHIN)
            if self._digest("from-alice") != self._digest("to-bob"):
                failure = "what bob received is not what alice sent"
            elif self._digest("from-bob") != self._digest("to-alice"):
                failure = "what alice received is not what bob sent"
            else:
                size = FILE_SIZE
        return Act(
            transport=Transport.TCP,
            asking=self._trace("alice-tcp"),
            asked=self._trace("bob"),
            failure=failure,
            size=size,
            moved=moved,
        )

    async def ping(self) -> Act:
        """
        C{holepunch ping}.
        """
        arguments = ["ping", "bob", "--transport=udp", f"--count={PINGS}"]
        arguments += [f"--interval={PING_INTERVAL}", f"--timeout={PATIENCE:g}"]
        alice = self._peer("alice", "alice-udp", arguments)
        failure = await self._fate(alice)
        return Act(
            transport=Transport.UDP,
            asking=self._trace("alice-udp"),
            asked=self._trace("bob"),
            failure=failure,
            roundTrips=tuple(line["seconds"] for line in alice.lines if "seq" in line),
        )

    async def close(self) -> None:
        """
        End all programs, and remove all files.
        """
        lab, self._lab = self._lab, None
        try:
            if lab is not None:
                await lab.stop()
        finally:
            self._directory.cleanup()

    # --- programs -------------------------------------------------------------------------------

    def _start(
        self, host: str, command: list[str], childFDs: Mapping[int, Any] | None = None
    ) -> Program:
        assert self._lab is not None
        program = Program(host, self._told)
        arguments = self._lab.command(host, command)
        descriptors = {0: "w", 1: "r", 2: "r", **(childFDs or {})}
        self._reactor.spawnProcess(
            program, arguments[0], arguments, env=engineEnvironment(), childFDs=descriptors
        )
        return program

    def _peer(
        self, host: str, role: str, arguments: list[str], files: tuple[str, str] | None = None
    ) -> Program:
        """
        Start a C{holepunch} command.

        @param role: Names its trace.
        @param files: For its standard input and output.
        """
        command = [sys.executable, "-m", "holepunch", *arguments, "--json"]
        command += [f"--rendezvous={self._location}", f"--identity={self._path / role}.pem"]
        command += [f"--trace={self._path / role}.trace"]
        if files is None:
            return self._start(host, command)
        with (
            open(self._path / files[0], "rb") as source,
            open(self._path / files[1], "wb") as target,
        ):
            return self._start(host, command, {0: source.fileno(), 1: target.fileno()})

    async def _fate(self, program: Program) -> str:
        """
        Wait for the end of a program.

        @return: Why it failed; nothing if it did not.
        """
        try:
            await self._inTime(program.whenEnded(), _MOVES_WITHIN)
        except DemoFailed as error:
            return str(error)
        return ""

    async def _inTime(self, deferred: Deferred[Any], seconds: float) -> None:
        def tooLate(result: object, seconds: float) -> None:
            raise DemoFailed(f"a program did not get on within {seconds:g} seconds")

        await deferred.addTimeout(seconds, self._reactor, tooLate)

    # --- files ----------------------------------------------------------------------------------

    def _trace(self, role: str) -> tuple[PeerEvent, ...]:
        path = self._path / f"{role}.trace"
        return readTrace(path).events if path.exists() else ()

    def _digest(self, name: str) -> str:
        return hashlib.sha256((self._path / name).read_bytes()).hexdigest()
