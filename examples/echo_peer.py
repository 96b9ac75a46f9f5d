"""
An echo peer: an ordinary Twisted factory behind a NAT, reachable by name.

Run `python examples/echo_peer.py RENDEZVOUS NAME` on one machine, and on another
`holepunch connect NAME --rendezvous RENDEZVOUS`.
"""

import sys
from typing import Any

from twisted.internet import protocol, task
from twisted.internet.defer import Deferred

from holepunch import Identity, Peer
from holepunch.peer import SecureStream


class Echo(protocol.Protocol):
    """
    Sends back what it gets; when the other side has closed, so does this one.
    """

    transport: SecureStream

    def connectionMade(self) -> None:
        # Read no faster than the other side takes its echo.
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoFactory(protocol.Factory):
    """
    Counts the connections, and tells who is there: the address also has the proven peer ID.
    """

    noisy = False
    count = 0

    def buildProtocol(self, addr: Any) -> Echo:
        self.count += 1
        who = f"{addr.peerID.short} at {addr.host}:{addr.port}"
        print(f"connection {self.count}: {who}", flush=True)
        return Echo()


async def main(reactor: Any, rendezvous: str, name: str) -> None:
    peer = Peer(reactor, Identity.generate(), rendezvous, name=name)
    reactor.addSystemEventTrigger("before", "shutdown", peer.stopService)
    await peer.listenEndpoint().listen(EchoFactory())
    print(f"{name} is ready: {peer.peerID}", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
