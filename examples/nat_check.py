"""
Is there a NAT, and does it map one port alike for every destination? Asked of any STUN servers.

Run `python examples/nat_check.py HOST:PORT HOST:PORT`: two servers, or two addresses of one.
`holepunch check` finds out more; this shows how to use holepunch.stun, which does no I/O itself.
"""

import os
import sys
from typing import Any

from twisted.internet import protocol, task
from twisted.internet.defer import Deferred

from holepunch.address import TransportAddress, splitHostPort
from holepunch.errors import MalformedMessage, TransactionTimedOut
from holepunch.peer import SystemHostAddresses
from holepunch.stun import AttributeType, ClientTransaction, Message, Method, decode


class Asker(protocol.DatagramProtocol):
    """
    Asks STUN servers, one after the other, from one port.
    """

    noisy = False

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    def ask(self, server: TransportAddress) -> "Deferred[TransportAddress]":
        self.server = server
        request = Message.request(Method.BINDING, os.urandom(12)).encode()
        self.transaction = ClientTransaction(request, self.clock.seconds(), requestCount=4)
        self.answered: Deferred[TransportAddress] = Deferred()
        self.send(request)
        return self.answered

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self.transport.write(request, (self.server.host, self.server.port))
        delay = (self.transaction.nextTimeout() or 0.0) - self.clock.seconds()
        self.timer = self.clock.callLater(delay, self.timedOut)

    def timedOut(self) -> None:
        again = self.transaction.handleTimeout(self.clock.seconds())
        if again is not None:
            self.send(again)
        else:
            self.answered.errback(TransactionTimedOut(f"{self.server} did not answer"))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        try:
            message = decode(datagram)
        except MalformedMessage:
            return
        mapped = message.get(AttributeType.XOR_MAPPED_ADDRESS)
        if self.timer.active() and self.transaction.matches(message) and mapped is not None:
            self.timer.cancel()
            self.answered.callback(mapped)


async def main(reactor: Any, first: str, second: str) -> None:
    asker = Asker(reactor)
    port = reactor.listenUDP(0, asker)
    seen = []
    for host, number in map(splitHostPort, (first, second)):
        seen.append(await asker.ask(TransportAddress(await reactor.resolve(host), number)))
        print(f"{host}:{number} sees port {port.getHost().port} as {seen[-1]}")
    if seen[0].host in SystemHostAddresses().hostAddresses():
        print("no NAT: that is an address of this machine")
    elif seen[0] == seen[1]:
        print("a NAT that maps endpoint-independently: hole punching by UDP works well")
    else:
        print("a NAT that maps by destination (symmetric): some peers cannot be reached")


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
