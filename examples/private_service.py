"""
A rendezvous service with rules of its own, by subclassing MainConnection.

Only peers whose IDs stand in a file may register, and nobody gets more than three sessions a minute.
Run `python examples/private_service.py FILE [PORT]`; the file has one peer ID a line.
"""

import sys
from pathlib import Path

from twisted.internet import task
from twisted.internet.defer import Deferred

from holepunch import Identity
from holepunch.errors import SessionRefused
from holepunch.rendezvous import MainConnection, RendezvousService

SESSIONS_A_MINUTE = 3


class PrivateConnection(MainConnection):
    """
    A main connection that asks for permission.
    """

    members = Path()

    def authoriseRegistration(self, request):
        known = self.members.read_text("ascii").split()
        if request.peerID.text not in known:
            raise SessionRefused("this service is for members only: ask its operator")

    def connectionMade(self):
        super().connectionMade()
        self.requestedAt = []

    def authoriseSession(self, target, transports):
        now = self.clock.seconds()
        self.requestedAt = [at for at in self.requestedAt if at > now - 60]
        if len(self.requestedAt) >= SESSIONS_A_MINUTE:
            raise SessionRefused("three sessions a minute are enough: wait a little")
        self.requestedAt.append(now)

    def registered(self, registration):
        print(f"{registration.peerID.short} registered as {registration.name}", flush=True)


async def main(reactor, members, port="4460"):
    PrivateConnection.members = Path(members)
    service = RendezvousService(
        reactor,
        Identity.generate(),
        main=[f"tcp:{port}"],
        assist=["0.0.0.0:3478"],
        protocol=PrivateConnection,
    )
    service.startService()
    print("the service listens", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    task.react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
