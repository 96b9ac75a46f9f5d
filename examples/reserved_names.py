"""
A rendezvous service whose names are given out by its operator: another registry.

A file says which name belongs to which peer, one `NAME ID` a line; nobody gets any other name.
Run `python examples/reserved_names.py FILE [HOST [PORT [STUN-PORT]]]`.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from zope.interface import implementer

from holepunch import Identity
from holepunch.address import TransportAddress
from holepunch.errors import NameTaken
from holepunch.interfaces import IRegistry
from holepunch.rendezvous import MemoryRegistry, Registration, RendezvousService


@implementer(IRegistry)
class ReservedNames:
    """
    Knows the names; who is online, an ordinary registry knows.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.online = MemoryRegistry()

    def register(self, registration: Registration) -> Registration | None:
        name = registration.name
        if name is not None and self.owners().get(name.lower()) != registration.peerID.text:
            raise NameTaken(f"the name {name} is not yours: ask the operator for it")
        return self.online.register(registration)

    def update(self, registration: Registration) -> None:
        self.online.update(registration)

    def unregister(self, registration: Registration) -> None:
        self.online.unregister(registration)

    def find(self, target: str) -> Registration | None:
        # A name leads to its owner, under whatever name that one is registered.
        return self.online.find(self.owners().get(target.lower(), target))

    def owners(self) -> dict[str, str]:
        lines = [line.split() for line in self.path.read_text("utf-8").splitlines()]
        return {words[0].lower(): words[1] for words in lines if len(words) == 2}


async def main(
    reactor: Any, path: str, host: str = "0.0.0.0", port: str = "4460", stunPort: str = "3478"
) -> None:
    identity = Identity.load("reserved_names.pem", create=True)
    service = RendezvousService(
        reactor,
        identity,
        main=[f"tcp:{port}:interface={host}"],
        assist=[TransportAddress(host, int(stunPort))],
        registry=ReservedNames(path),
    )
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    print(f"the service listens: {identity.peerID}@{service.mainAddresses[0]}", flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
