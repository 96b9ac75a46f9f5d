"""
A program that plays one peer after the other on a host of the lab, as it is told.

Owns: its peers; reading orders and telling results, as one JSON object a line.
Knows nothing of: which cell it plays in.
Driven by: L{holepunch.lab.matrixkernel}, which runs one on each host.

Each session has a new peer on either side, and so new local ports, that no NAT has seen before.
Orders: C{{"number": N, "order": "listen", "name": …, "rendezvous": …}};
C{{"number": N, "order": "connect", "target": …, "flow": …, "timeout": …, "relay": …,
"rendezvous": …}};
C{{"number": N, "order": "stop", "name": …}}. Each is answered by an object with the same number.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError
from holepunch.identity import Identity
from holepunch.lab.matrixkind import Flow
from holepunch.lab.matrixsession import Witness, connectBy
from holepunch.peer import Peer
from holepunch.rendezvous.introduction import RelayPolicy

_SETTLED = 0.3


class Worker(LineOnlyReceiver):
    """
    Obeys orders.

    @ivar ended: Fires when there will be no more.
    """

    delimiter = b"\n"

    def __init__(self, reactor: Any) -> None:
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._listening: dict[str, Peer] = {}

    def lineReceived(self, line: bytes) -> None:
        """
        An order.
        """
        order = json.loads(line)
        obeyed = Deferred.fromCoroutine(self._obey(order))
        obeyed.addErrback(lambda failure: {"failure": failure.getErrorMessage()})
        obeyed.addCallback(lambda answer: self._answer(order["number"], answer))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        No more orders.
        """
        self.ended.callback(None)

    def _answer(self, number: int, answer: Mapping[str, Any]) -> None:
        self.sendLine(json.dumps({"number": number, **answer}).encode())

    async def _obey(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        if order["order"] == "listen":
            return await self._listen(order["name"], order["rendezvous"])
        if order["order"] == "connect":
            return await self._connect(order)
        await self._listening.pop(order["name"]).stopService()
        return {}

    async def _listen(self, name: str, rendezvous: str) -> Mapping[str, Any]:
        peer = Peer(self._reactor, Identity.generate(), rendezvous, name=name)
        self._listening[name] = peer
        await peer.listenEndpoint().listen(Factory.forProtocol(Protocol))
        await peer.acceptDatagrams(lambda path: None)
        return {}

    async def _connect(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        witness = Witness()
        identity = Identity.generate()
        peer = Peer(self._reactor, identity, order["rendezvous"], observer=witness.observe)
        try:
            await peer.whenRegistered()
            # Both sides' warm UDP mappings are known by then, as those of peers in use are.
            await deferLater(self._reactor, _SETTLED, lambda: None)
            way = await connectBy(
                self._reactor,
                peer,
                witness,
                order["target"],
                Flow(order["flow"]),
                timeout=order["timeout"],
                relay=RelayPolicy(order["relay"]),
            )
        except HolepunchError as error:
            return {"failure": str(error)}
        finally:
            await peer.stopService()
        return attrs.asdict(way)


def main(reactor: Any) -> Deferred[None]:
    """
    Obey until standard input ends.
    """
    worker = Worker(reactor)
    stdio.StandardIO(worker, reactor=reactor)
    return worker.ended


if __name__ == "__main__":
    react(main, sys.argv[1:])
