"""
A rendezvous service with rules of its own, by subclassing MainConnection.

Only peers whose IDs stand in a file may register, and none gets more than three sessions a minute.
Run `python examples/private_service.py FILE [HOST [PORT [STUN-PORT]]]`; FILE has one peer ID a line
(`holepunch id` prints it).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from holepunch import Identity
from holepunch.address import Transport, TransportAddress
from holepunch.errors import RendezvousError, SessionRefused
from holepunch.rendezvous import (
    MainConnection,
    Registration,
    RegistrationRequest,
    RendezvousService,
)

SESSIONS_A_MINUTE = 3


class PrivateConnection(MainConnection):
    """
    A main connection that asks for permission. What it raises, the peer's user reads.
    """

    members: Path

    def connectionMade(self) -> None:
        super().connectionMade()
        self.requestedAt: list[float] = []

    def authoriseRegistration(self, request: RegistrationRequest) -> None:
        if request.peerID.text not in self.members.read_text("ascii").split():
            raise RendezvousError("this service is for members only: ask its operator")

    def authoriseSession(self, target: Registration, transports: Sequence[Transport]) -> None:
        now = self.clock.seconds()
        self.requestedAt = [at for at in self.requestedAt if at > now - 60]
        if len(self.requestedAt) >= SESSIONS_A_MINUTE:
            raise SessionRefused("three sessions a minute are enough: wait a little")
        self.requestedAt.append(now)

    def registered(self, registration: Registration) -> None:
        print(f"{registration.peerID.short} registered as {registration.name}", flush=True)


async def main(
    reactor: Any, members: str, host: str = "0.0.0.0", port: str = "4460", stunPort: str = "3478"
) -> None:
    PrivateConnection.members = Path(members)
    identity = Identity.load("private_service.pem", create=True)
    service = RendezvousService(
        reactor,
        identity,
        main=[f"tcp:{port}:interface={host}"],
        assist=[TransportAddress(host, int(stunPort))],
        protocol=PrivateConnection,
    )
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print(f"the service listens: {identity.peerID}@{service.mainAddresses[0]}", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
