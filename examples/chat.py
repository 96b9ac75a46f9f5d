"""
A chat between two peers, line by line.

Run `python examples/chat.py RENDEZVOUS listen NAME` on one machine and
`python examples/chat.py RENDEZVOUS connect NAME` on another. What one types, the other reads.
"""

import sys

from twisted.internet import protocol, stdio, task
from twisted.internet.defer import Deferred
from twisted.protocols.basic import LineOnlyReceiver

from holepunch import Identity, Peer


class Keyboard(LineOnlyReceiver):
    """
    Sends what is typed.
    """

    delimiter = b"\n"

    def __init__(self, chat):
        self.chat = chat

    def lineReceived(self, line):
        self.chat.sendLine(line)

    def connectionLost(self, reason=None):
        self.chat.transport.loseConnection()


class Chat(LineOnlyReceiver):
    """
    Shows what the other side says.
    """

    def connectionMade(self):
        print(f"connected to {self.transport.getPeer().peerID.short}", flush=True)
        self.keyboard = stdio.StandardIO(Keyboard(self))

    def lineReceived(self, line):
        print(f"> {line.decode('utf-8', 'replace')}", flush=True)

    def connectionLost(self, reason):
        print("the other side has left", flush=True)
        self.keyboard.loseConnection()
        self.factory.ended.callback(None)


class ChatFactory(protocol.Factory):
    """
    Makes the one chat.
    """

    protocol = Chat

    def __init__(self):
        self.ended = Deferred()


async def main(reactor, rendezvous, what, name):
    factory = ChatFactory()
    peer = Peer(reactor, Identity.generate(), rendezvous, name=name if what == "listen" else None)
    if what == "listen":
        await peer.listenEndpoint().listen(factory)
        print(f"{name} waits", flush=True)
    else:
        await peer.connectEndpoint(name).connect(factory)
    await factory.ended
    await peer.stopService()


if __name__ == "__main__":
    task.react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
