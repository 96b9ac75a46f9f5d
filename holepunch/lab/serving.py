"""
The rendezvous service as a program on a host of the lab.

Owns: its command line there.
Knows nothing of: how programs are started.
Driven by: L{holepunch.lab.standing}, and C{holepunch lab run}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from holepunch.identity import Identity

#: What it writes when it is ready.
SERVES = b"assist listener"
_TWISTD = "from twisted.scripts.twistd import run; run()"
_ASSIST_PORTS = (3478, 3479)


def serviceCommand(
    addresses: Sequence[str], identity: str | os.PathLike[str], folder: str | os.PathLike[str]
) -> list[str]:
    """
    The command to run on the host.

    @param addresses: The host's.
    @param identity: The file of the service's identity, which is made when it is missing.
    @param folder: Where the command runs.
    """
    Identity.load(identity, create=True)
    assist = [
        f"--assist={address}:{port}"
        for address, port in zip(addresses, _ASSIST_PORTS, strict=False)
    ]
    twistd = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile="]
    return [
        *twistd,
        f"--rundir={os.fspath(folder)}",
        "holepunch",
        f"--identity={os.fspath(identity)}",
        *assist,
    ]


def serviceLocation(addresses: Sequence[str], identity: str | os.PathLike[str]) -> str:
    """
    How peers call it: C{ID@HOST}.
    """
    return f"{Identity.load(identity).peerID}@{addresses[0]}"
