"""
Labs that stand alone: they go on when the program that built them has ended.

Owns: starting, finding, asking and ending them, and clearing up after one that was killed.
Knows nothing of: namespaces and packets: all that is in the engine.
Driven by: C{holepunch lab}, and programs that want a lab without a reactor; every call waits::

    lab = StandingLab.up(Topology.parse("port-restricted/symmetric"), name="work")
    print(lab.popen("alice", ["ip", "address"], stdout=subprocess.PIPE).communicate()[0])
    lab.flushNAT("nat-alice")
    lab.down()

For labs that end with their program, and for waiting under a reactor, there is
L{NamespaceLab<holepunch.lab.namespaces.NamespaceLab>}.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from holepunch.errors import BadTopology, LabError, NamespacesUnavailable
from holepunch.lab.enginelink import ENGINE_COMMAND, EngineOptions, engineEnvironment
from holepunch.lab.flows import Flow
from holepunch.lab.jsonform import fromPlain, toPlain
from holepunch.lab.namespaces import enterCommand
from holepunch.lab.serving import SERVES, serviceCommand, serviceLocation
from holepunch.lab.standingfiles import (
    CONTROL_SOCKET,
    END_REQUEST,
    LOG,
    Record,
    labsFolder,
    readRecord,
    writeRecord,
)
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import MappingView, Protocol

#: In the environment of every process of a lab: the lab's mark.
MARK_VARIABLE = "HOLEPUNCH_LAB"
DEFAULT_NAME = "lab"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_ANSWERS_WITHIN = 10.0
_ENDS_WITHIN = 5.0
_SERVES_WITHIN = 30.0
_DIES_WITHIN = 3.0
_MOST_ROUNDS = 200
_KINDS = {kind.__name__: kind for kind in (LabError, NamespacesUnavailable, BadTopology)}


class StandingLab:
    """
    One such lab, which may have been killed.

    @ivar name: By which it is found.
    @ivar record: What is known of it.
    """

    def __init__(self, name: str, record: Record) -> None:
        self.name = name
        self.record = record
        self._folder = labsFolder() / name

    # --- life -----------------------------------------------------------------------------------

    @classmethod
    def up(
        cls,
        topology: Topology,
        *,
        name: str = DEFAULT_NAME,
        text: str = "",
        seed: int = 0,
        isRootless: bool | None = None,
        useOffload: bool = True,
    ) -> StandingLab:
        """
        Build a lab.

        @param text: What C{holepunch lab list} shows of the topology.
        @raise NamespacesUnavailable: The system does not let us.
        @raise LabError: There is a lab of that name, or something is missing.
        """
        if not _NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a lab: use letters, digits, - and _")
        folder = labsFolder() / name
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            there = cls._in(folder)
            if there.isUp:
                raise LabError(
                    f"The lab {name!r} is up already: holepunch lab down {name}"
                ) from None
            there.down()
            folder.mkdir(mode=0o700)
        record = Record(
            mark=f"{name}:{secrets.token_hex(16)}",
            text=text,
            seed=seed,
            hosts=tuple(host.name for host in topology.hosts),
            interfaces=tuple(each.name for host in topology.hosts for each in host.interfaces),
            nats=tuple(nat.name for nat in topology.nats),
        )
        writeRecord(folder, record)
        lab = cls(name, record)
        options = EngineOptions(
            topology=topology,
            seed=seed,
            isRootless=isRootless,
            useOffload=useOffload,
            folder=os.fspath(folder),
        )
        try:
            lab._startEngine(options)
        except BaseException:
            lab.down()
            raise
        lab.record = readRecord(folder)
        return lab

    def _startEngine(self, options: EngineOptions) -> None:
        with open(self._folder / LOG, "wb") as log:
            engine = subprocess.Popen(
                [sys.executable, *ENGINE_COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**engineEnvironment(), MARK_VARIABLE: self.record.mark},
                cwd="/",
            )
        assert engine.stdin is not None and engine.stdout is not None
        with engine.stdin, engine.stdout:
            engine.stdin.write(options.line)
            engine.stdin.close()
            line = engine.stdout.readline()
        said = json.loads(line or b"{}")
        if "ready" in said:
            # It stays: not to be waited for by whoever is its parent.
            engine.returncode = 0
            return
        engine.wait()
        if "failed" in said:
            raise _KINDS.get(said["kind"], LabError)(said["failed"])
        *_, lastWord = (self._folder / LOG).read_text(errors="replace").strip().split("\n")
        raise LabError(f"The lab's engine ended. {lastWord}")

    @classmethod
    def all(cls) -> tuple[StandingLab, ...]:
        """
        All labs of this user, those that were killed as well.
        """
        folders = sorted(each for each in labsFolder().iterdir() if each.is_dir())
        return tuple(cls._in(folder) for folder in folders)

    @classmethod
    def find(cls, name: str = DEFAULT_NAME) -> StandingLab:
        """
        The lab of that name.

        @raise LabError: There is none.
        """
        for lab in cls.all():
            if lab.name == name:
                return lab
        known = ", ".join(lab.name for lab in cls.all()) or "none"
        raise LabError(f"There is no lab {name!r}, only: {known}. Start one: holepunch lab up")

    @classmethod
    def _in(cls, folder: Path) -> StandingLab:
        try:
            return cls(folder.name, readRecord(folder))
        except LabError:
            # Whoever began it was killed before it wrote the record.
            return cls(folder.name, Record(mark="", text="?"))

    @property
    def isUp(self) -> bool:
        """
        Does it answer? If not, its engine was killed.
        """
        try:
            self._connected().close()
        except LabError:
            return False
        return True

    def down(self) -> None:
        """
        End it: kill the programs in it, and remove whatever is left of it.
        """
        with contextlib.suppress(LabError), self._connected() as control:
            control.sendall(_line(0, END_REQUEST))
            control.settimeout(_ENDS_WITHIN)
            with contextlib.suppress(OSError):
                while control.recv(4096):
                    pass
            self._await(lambda: not self._folder.exists(), _ENDS_WITHIN)
        if self.record.mark:
            _killMarked(self.record.mark)
        if self.record.pid:
            # The kernel takes its time over a process with many sockets.
            self._await(lambda: not _isRunning(self.record.pid), _DIES_WITHIN)
            # This very program may have started it.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.record.pid, os.WNOHANG)
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- programs inside ------------------------------------------------------------------------

    def environment(self, host: str) -> dict[str, str]:
        """
        The environment of programs in a host: ours, and with it where the rendezvous service is,
        and an identity of the host's own.
        """
        added = {
            MARK_VARIABLE: self.record.mark,
            "HOLEPUNCH_LAB_HOST": host,
            "HOLEPUNCH_IDENTITY": os.fspath(self._folder / f"{host}.pem"),
        }
        if self.record.rendezvous:
            added["HOLEPUNCH_RENDEZVOUS"] = self.record.rendezvous
        return {**os.environ, **added}

    def command(self, host: str, arguments: Sequence[str]) -> list[str]:
        """
        What to run on this machine, with L{environment}, in order to run a command inside a host.

        @param host: The name of a host, or of a kernel NAT.
        @raise LabError: There is none of that name, or the lab is not up.
        """
        record = self.record
        if not self.isUp:
            raise self._notUp()
        if host not in record.descriptors:
            known = ", ".join(record.descriptors)
            raise LabError(f"There is no host {host!r} in the lab {self.name!r}, only: {known}")
        return enterCommand(record.pid, record.descriptors[host], record.hasUser, arguments)

    def popen(self, host: str, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """
        Start a command inside a host; C{options} are those of C{subprocess.Popen}.
        """
        options.setdefault("env", self.environment(host))
        return subprocess.Popen(self.command(host, arguments), **options)

    def startService(self, addresses: Sequence[str]) -> None:
        """
        Run C{twistd holepunch} on the host C{rendezvous}, until the lab ends.

        @param addresses: Those of that host.
        @raise LabError: It does not start.
        """
        identity = self._folder / "rendezvous.pem"
        log = self._folder / "rendezvous.log"
        with open(log, "wb") as written:
            service = self.popen(
                "rendezvous",
                serviceCommand(addresses, identity, self._folder),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
                env={**engineEnvironment(), **self._marks()},
                cwd="/",
            )
        self._await(
            lambda: SERVES in log.read_bytes() or service.poll() is not None, _SERVES_WITHIN
        )
        if service.poll() is not None or SERVES not in log.read_bytes():
            *_, lastWord = log.read_text(errors="replace").strip().split("\n")
            raise LabError(f"The rendezvous service did not start. {lastWord}")
        # It stays, as the engine does.
        service.returncode = 0
        location = serviceLocation(addresses, identity)
        self.record = attrs.evolve(self.record, rendezvous=location)
        writeRecord(self._folder, self.record)

    def _marks(self) -> Mapping[str, str]:
        return {MARK_VARIABLE: self.record.mark}

    # --- the network while it runs --------------------------------------------------------------

    def flushNAT(self, name: str) -> None:
        """
        See L{NamespaceLab.flushNAT<holepunch.lab.namespaces.NamespaceLab.flushNAT>}.
        """
        self._request("flushNAT", name)

    def rebindNAT(self, name: str, hosts: Sequence[str] = ()) -> tuple[str, ...]:
        """
        Give a NAT other external addresses; its mappings are lost.

        @param hosts: With none, it gets the next free ones.
        @return: The new ones.
        """
        self._request("rebindNAT", name, hosts)
        return self.hosts(name)

    def blockNAT(self, name: str, protocol: Protocol) -> None:
        """
        Let a NAT drop a whole protocol.
        """
        self._request("blockNAT", name, protocol)

    def unblockNAT(self, name: str, protocol: Protocol) -> None:
        """
        Let it pass again.
        """
        self._request("unblockNAT", name, protocol)

    def setLink(self, name: str, link: LinkSpec) -> None:
        """
        Change the link of a host or NAT.
        """
        self._request("setLink", name, toPlain(link))

    def capture(self, name: str, path: str | os.PathLike[str]) -> None:
        """
        Write what crosses the link of a host or NAT to a pcap file.
        """
        self._request("capture", name, os.path.abspath(path))

    def stopCapture(self, name: str) -> None:
        """
        Finish that.
        """
        self._request("stopCapture", name)

    def hosts(self, name: str) -> tuple[str, ...]:
        """
        The addresses that a host or NAT has at the moment; those of a NAT are outside.
        """
        return tuple(self._request("hosts", name))

    def mappings(self, name: str) -> tuple[MappingView, ...]:
        """
        What a NAT has mapped, with moments that are seconds from now.
        """
        now = float(self._request("now"))
        views = (fromPlain(MappingView, each) for each in self._request("mappings", name))
        return tuple(attrs.evolve(view, expiresAt=view.expiresAt - now) for view in views)

    def counters(self, name: str) -> dict[str, Any]:
        """
        See L{NamespaceLab.counters<holepunch.lab.namespaces.NamespaceLab.counters>}.
        """
        counters: dict[str, Any] = self._request("counters", name)
        return counters

    def flows(self, name: str) -> tuple[Flow, ...]:
        """
        With whom a host spoke since the lab began.
        """
        return tuple(fromPlain(Flow, each) for each in self._request("flows", name))

    # --- the control socket ---------------------------------------------------------------------

    def _notUp(self) -> LabError:
        return LabError(
            f"The lab {self.name!r} was killed; remove it: holepunch lab down {self.name}"
        )

    def _connected(self) -> socket.socket:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        control.settimeout(_ANSWERS_WITHIN)
        try:
            control.connect(os.fspath(self._folder / CONTROL_SOCKET))
        except OSError:
            control.close()
            raise self._notUp() from None
        return control

    def _request(self, name: str, *arguments: Any) -> Any:
        with self._connected() as control:
            control.sendall(_line(0, name, *arguments))
            try:
                with control.makefile("rb") as answers:
                    said = json.loads(answers.readline() or b"null")
            except OSError:
                said = None
        if said is None:
            raise LabError(f"The lab {self.name!r} does not answer.")
        if "error" in said:
            raise LabError(said["error"])
        return said["result"]

    def _await(self, isDone: Any, patience: float) -> None:
        """
        Look now and then whether something is done, for so many seconds.
        """
        for _ in range(int(patience * 50)):
            if isDone():
                return
            select.select([], [], [], 0.02)


def _line(number: int, name: str, *arguments: Any) -> bytes:
    return json.dumps([number, name, arguments]).encode() + b"\n"


def _isRunning(process: int) -> bool:
    """
    Is there such a process, of which more is left than its exit status?
    """
    try:
        status = Path("/proc", str(process), "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _marked(mark: str) -> list[int]:
    """
    The processes with a mark in their environment, this one excepted.
    """
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            # A process that has ended meanwhile, or is none of ours.
            with contextlib.suppress(OSError):
                if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def _killMarked(mark: str) -> None:
    for _ in range(_MOST_ROUNDS):
        found = _marked(mark)
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        select.select([], [], [], 0.01)
