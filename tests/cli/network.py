"""
The peer commands on a simulated network, with the real service and real peers.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.options import PeerOptions
from holepunch.cli.output import JSONOutput
from holepunch.cli.peering import withPeer
from holepunch.identity import Identity
from holepunch.peer import FixedHostAddresses, Peer
from tests.peer.network import AddressesOf, Network


class Told(JSONOutput):
    """
    Remembers what a command tells.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self.file = io.StringIO()
        super().__init__(self.file, verbosity)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def named(self, name: str) -> dict[str, Any]:
        """
        The only event of a name.
        """
        (event,) = [event for event in self.events if event["event"] == name]
        return event


class CommandTestCase(SynchronousTestCase):
    """
    Runs commands on the hosts of a network.
    """

    def build(self, topology: str = "port-restricted/port-restricted") -> Network:
        self.network = Network(topology)
        self.addCleanup(self.network.stop)
        return self.network

    def options(self, **changes: Any) -> PeerOptions:
        directory = Path(self.mktemp())
        directory.mkdir()
        values = {"rendezvous": self.network.location, "identity": directory / "identity.pem"}
        return PeerOptions(**{**values, **changes})

    def start(
        self,
        hostName: str,
        use: Callable[[Peer], Awaitable[Any]],
        output: Told,
        *,
        name: str | None = None,
        options: PeerOptions | None = None,
        hosts: Sequence[str] | None = None,
        **callbacks: Any,
    ) -> Deferred[Any]:
        """
        Begin a command, as C{holepunch.cli} does it.

        @param hosts: Which addresses the machine says that it has, if not its own.
        """
        host = self.network.internet.host(hostName)
        addresses = AddressesOf(host) if hosts is None else FixedHostAddresses(hosts)
        makePeer: Any = functools.partial(Peer, hostAddresses=addresses)
        return Deferred.fromCoroutine(
            withPeer(
                host.reactor,
                options or self.options(),
                output,
                use,
                name=name,
                makePeer=makePeer,
                **callbacks,
            )
        )

    def identityOf(self, options: PeerOptions) -> str:
        return str(Identity.load(options.identity).peerID)
