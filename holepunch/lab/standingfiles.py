"""
The files of labs that stand alone: where they are, and what is in them.

Owns: the folder of all labs of this user, and the record of each lab.
Knows nothing of: what a lab does.
Driven by: L{holepunch.lab.standing}, and the engine of such a lab.

Each lab has a folder with its name. There are its record, the UNIX socket over which it is
controlled, its log, and the identities of the peers in it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import attrs

from holepunch.errors import LabError, NamespacesUnavailable

CONTROL_SOCKET = "control"
LOG = "log"
#: The request that ends such a lab.
END_REQUEST = "end"
_RECORD = "lab.json"


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


@attrs.frozen(kw_only=True)
class Record:
    """
    One lab.

    @ivar mark: Tells the processes of this lab from all others: it is in their environment.
    @ivar text: The topology, as the person who started it wrote it.
    @ivar hosts: Their names.
    @ivar interfaces: The names of further interfaces of hosts.
    @ivar nats: Their names.
    @ivar rendezvous: Where the rendezvous service in it is; empty: there is none.
    @ivar pid: The engine; 0 until it is there.
    @ivar descriptors: The engine's descriptor of the network namespace of each host.
    @ivar hasUser: Has the lab a user namespace?
    """

    mark: str
    text: str
    seed: int = 0
    hosts: tuple[str, ...] = attrs.field(default=(), converter=_names)
    interfaces: tuple[str, ...] = attrs.field(default=(), converter=_names)
    nats: tuple[str, ...] = attrs.field(default=(), converter=_names)
    rendezvous: str = ""
    pid: int = 0
    descriptors: dict[str, int] = attrs.Factory(dict)
    hasUser: bool = False


def labsFolder() -> Path:
    """
    The folder of all labs of this user: in C{XDG_RUNTIME_DIR}, or where temporary files are.

    @raise LabError: Somebody else could write to it.
    @raise NamespacesUnavailable: This is not Linux, so there are none.
    """
    if not sys.platform.startswith("linux"):
        raise NamespacesUnavailable("Labs of network namespaces exist only on Linux.")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        folder = Path(runtime) / "holepunch"
    else:
        folder = Path(tempfile.gettempdir()) / f"holepunch-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise LabError(f"There is no place for the files of labs: {error}") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise LabError(f"{folder} is not a folder of this user alone; remove it.")
    return folder


def readRecord(folder: str | os.PathLike[str]) -> Record:
    """
    Read the record of a lab.

    @raise LabError: There is none that can be read.
    """
    try:
        return Record(**json.loads((Path(folder) / _RECORD).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"The lab in {os.fspath(folder)} cannot be read: {error}") from None


def writeRecord(folder: str | os.PathLike[str], record: Record) -> None:
    """
    Write the record of a lab, such that a reader sees the old one or the new one.
    """
    new = Path(folder) / f"{_RECORD}.new"
    new.write_text(json.dumps(attrs.asdict(record)))
    new.rename(Path(folder) / _RECORD)
