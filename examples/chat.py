"""
A chat between two peers, line by line.

Run `python examples/chat.py RENDEZVOUS listen NAME` on one machine and
`python examples/chat.py RENDEZVOUS connect NAME` on another. What one types, the other reads.
"""

import sys
from typing import Any

from twisted.internet import stdio, task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from holepunch import Identity, Peer
from holepunch.peer import SecureStream


class Keyboard(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, chat: "Chat") -> None:
        self.chat = chat

    def lineReceived(self, line: bytes) -> None:
        self.chat.sendLine(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.chat.transport.loseConnection()


class Chat(LineOnlyReceiver):
    transport: SecureStream

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        print(f"connected to {self.transport.getPeer().peerID.short}", flush=True)
        self.keyboard = stdio.StandardIO(Keyboard(self))

    def lineReceived(self, line: bytes) -> None:
        print(f"> {line.decode('utf-8', 'replace')}", flush=True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        print("the chat is over", flush=True)
        self.keyboard.loseConnection()
        self.ended.callback(None)


class OneChat(Factory):
    noisy = False

    def __init__(self) -> None:
        self.chat = Chat()
        self.waiting = [self.chat]

    def buildProtocol(self, addr: Any) -> Chat | None:
        return self.waiting.pop() if self.waiting else None  # others are turned away


async def main(reactor: Any, rendezvous: str, what: str, name: str) -> None:
    factory = OneChat()
    peer = Peer(reactor, Identity.generate(), rendezvous, name=name if what == "listen" else None)
    if what == "listen":
        await peer.listenEndpoint().listen(factory)
        print(f"{name} waits", flush=True)
    else:
        await peer.connectEndpoint(name).connect(factory)
    await factory.chat.ended
    await peer.stopService()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
