"""
An echo peer that asks the person in front of it before it lets anybody in: another authoriser.

Run `python examples/ask_me.py RENDEZVOUS NAME`, and type y or n when somebody wants to connect.
Nobody learns an address of this machine before that. Who does not get an answer within a minute is
refused.
"""

import sys
from typing import Any

from twisted.internet import stdio, task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.wire import Echo
from zope.interface import implementer

from holepunch import Identity, Peer
from holepunch.errors import SessionRefused
from holepunch.interfaces import IAuthoriser
from holepunch.peer import AccessRequest


@implementer(IAuthoriser)
class AskMe(LineOnlyReceiver):
    """
    Asks on the terminal, one question after the other.
    """

    isOpen = False  # requesters have to wait for the decision
    delimiter = b"\n"

    def __init__(self, reactor: Any) -> None:
        self.clock = reactor
        self.questions: list[tuple[str, Deferred[bool]]] = []

    def authorise(self, request: AccessRequest) -> Deferred[bool]:
        claim = f"who says {request.remoteName}" if request.remoteName else "who gives no name"
        who = request.knownName or f"{request.remote.short}, {claim},"
        answer: Deferred[bool] = Deferred()
        self.questions.append((f"{who} wants to connect: y or n?", answer))
        if len(self.questions) == 1:
            self.ask()
        return answer.addTimeout(60, self.clock, self.tooLate)

    def ask(self) -> None:
        while self.questions and self.questions[0][1].called:
            self.questions.pop(0)
        if self.questions:
            print(self.questions[0][0], flush=True)

    def lineReceived(self, line: bytes) -> None:
        if self.questions:
            _, answer = self.questions.pop(0)
            if not answer.called:
                answer.callback(line.strip().lower() in (b"y", b"yes"))
            self.ask()

    def tooLate(self, result: Any, seconds: float) -> bool:
        self.ask()
        raise SessionRefused("nobody is here to let you in: try again later")


async def main(reactor: Any, rendezvous: str, name: str) -> None:
    authoriser = AskMe(reactor)
    stdio.StandardIO(authoriser)
    peer = Peer(reactor, Identity.generate(), rendezvous, name=name, authoriser=authoriser)
    await peer.listenEndpoint().listen(Factory.forProtocol(Echo))
    print(f"{name} is ready", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
