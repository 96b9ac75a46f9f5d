"""
A chat line to an echo peer over a path that is left only when it fails: another path chooser.

Ours moves to a better kind of path as soon as there is one, from the relay to a direct one. A
program that wants even round trips, such as a game, may like to stay where it is.
Run `python examples/stay_put.py RENDEZVOUS PEER`, with examples/echo_peer.py on the other side, and
type.
"""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet import stdio, task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch import Identity, Peer
from holepunch.address import Transport
from holepunch.interfaces import IPathChooser
from holepunch.peer import PathState, PeerConfig, SessionOptions


@implementer(IPathChooser)
class StayPut:
    """
    The path in use as long as it works; then whichever works, the latest first.
    """

    def order(self, paths: Sequence[PathState]) -> Sequence[PathState]:
        ordered = sorted(paths, key=lambda each: (each.isSuspect, not each.isUsed, -each.number))
        if ordered and not ordered[0].isUsed:
            print(f"taking a {ordered[0].kind.word} path", file=sys.stderr, flush=True)
        return ordered


class Terminal(Protocol):
    """
    Joins the stream to the terminal.
    """

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        keyboard = Protocol()
        keyboard.dataReceived = self.transport.write  # type: ignore[method-assign,union-attr]
        keyboard.connectionLost = lambda *reason: self.transport.loseConnection()  # type: ignore
        self.screen = stdio.StandardIO(keyboard)

    def dataReceived(self, data: bytes) -> None:
        self.screen.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


async def main(reactor: Any, rendezvous: str, target: str) -> None:
    config = PeerConfig(pathChooser=StayPut())
    peer = Peer(reactor, Identity.generate(), rendezvous, config=config)
    # Over UDP, several paths may carry one stream.
    endpoint = peer.connectEndpoint(target, SessionOptions(transports=frozenset({Transport.UDP})))
    terminal: Any = await endpoint.connect(Factory.forProtocol(Terminal))
    await terminal.ended
    await peer.stopService()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
