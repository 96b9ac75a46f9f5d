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

from holepunch.address import joinHostPort
from holepunch.identity import Identity
from holepunch.lab.topology import Topology

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
        f"--assist={joinHostPort(address, port)}"
        for family in (_four(addresses), _six(addresses))
        for address, port in zip(family, _ASSIST_PORTS, strict=False)
    ]
    # One listener for both IP versions.
    main = ["--main=tcp6:4460"] if _six(addresses) else []
    twistd = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile="]
    return [
        *twistd,
        f"--rundir={os.fspath(folder)}",
        "holepunch",
        f"--identity={os.fspath(identity)}",
        *main,
        *assist,
    ]


def serviceAddresses(topology: Topology) -> tuple[str, ...]:
    """
    The addresses of the host C{rendezvous}, first one that all others can reach.

    @raise BadTopology: There is no such host.
    """
    addresses = topology.host("rendezvous").addresses
    if all(_four(host.allAddresses) for host in topology.hosts):
        return (*_four(addresses), *_six(addresses))
    return (*_six(addresses), *_four(addresses))


def serviceLocation(addresses: Sequence[str], identity: str | os.PathLike[str]) -> str:
    """
    How peers call it: C{ID@HOST}.

    @param addresses: Those of L{serviceAddresses}.
    """
    host = addresses[0]
    return f"{Identity.load(identity).peerID}@{f'[{host}]' if ':' in host else host}"


def _four(addresses: Sequence[str]) -> list[str]:
    return [each for each in addresses if ":" not in each]


def _six(addresses: Sequence[str]) -> list[str]:
    return [each for each in addresses if ":" in each]
