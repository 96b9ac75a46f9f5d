"""
An echo peer that can be reached by a port which a router forwards, at an address that changes:
another source of candidates.

Run `python examples/dynamic_forward.py RENDEZVOUS NAME FILE PORT`. FILE has the public endpoint,
such as 203.0.113.5:40000, and is kept up to date by whatever knows it: a script that asks the
router, or a program for dynamic DNS. PORT is where the router sends what comes there. (For an
address that stays, holepunch.peer.ForwardedPort is enough.)
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo
from zope.interface import implementer

from holepunch import Identity, Peer
from holepunch.address import Transport, TransportAddress
from holepunch.errors import BadAddress
from holepunch.interfaces import ICandidateSource
from holepunch.peer import HostCandidates
from holepunch.peer.gathering import forwardedCandidates
from holepunch.peer.localports import LocalPorts
from holepunch.punch import Candidate


@implementer(ICandidateSource)
class DynamicForward:
    """
    Reads the endpoint anew whenever others are to be told of it.
    """

    def __init__(self, path: str, localPort: int) -> None:
        self.path = Path(path)
        self.localPort = localPort

    def candidates(self, ports: LocalPorts, transports: Iterable[Transport]) -> Sequence[Candidate]:
        try:
            public = TransportAddress.parse(self.path.read_text("ascii").strip())
        except (OSError, UnicodeDecodeError, BadAddress) as error:
            print(f"no forwarded port: {error}", flush=True)
            return ()
        print(f"reachable at {public}", flush=True)
        return forwardedCandidates(public, ports, transports)


async def main(reactor: Any, rendezvous: str, name: str, path: str, port: str) -> None:
    peer = Peer(
        reactor,
        Identity.generate(),
        rendezvous,
        name=name,
        candidateSources=[HostCandidates(), DynamicForward(path, int(port))],
    )
    await peer.listenEndpoint().listen(Factory.forProtocol(Echo))
    print(f"{name} is ready", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
