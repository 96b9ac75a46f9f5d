"""
An echo peer: an ordinary Twisted factory behind a NAT, reachable by name.

Run `python examples/echo_peer.py RENDEZVOUS NAME` on one machine, and on another
`holepunch connect NAME --rendezvous RENDEZVOUS`.
"""

import sys

from twisted.internet import protocol, task
from twisted.internet.defer import Deferred

from holepunch import Identity, Peer


class Echo(protocol.Protocol):
    """
    Sends back what it gets; closes when the other side has closed.
    """

    def connectionMade(self):
        peer = self.transport.getPeer()
        self.factory.count += 1
        print(f"connection {self.factory.count}: {peer.peerID.short} at {peer.host}:{peer.port}")

    def dataReceived(self, data):
        self.transport.write(data)


class EchoFactory(protocol.Factory):
    """
    Counts the connections.
    """

    protocol = Echo
    count = 0


async def main(reactor, rendezvous, name):
    peer = Peer(reactor, Identity.generate(), rendezvous, name=name)
    reactor.addSystemEventTrigger("before", "shutdown", peer.stopService)
    await peer.listenEndpoint().listen(EchoFactory())
    print(f"{name} is ready: {peer.peerID}", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    task.react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
