"""
A relay and its clients on a network that is no more than a list of packets, which may lose some.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from holepunch.address import Transport, TransportAddress
from holepunch.turn import (
    AllocationClient,
    EphemeralCredential,
    RelayServer,
    SendToServer,
    mintCredential,
)
from holepunch.turn.effects import Effect
from holepunch.turn.peerpolicy import PeerPolicy
from holepunch.turn.relaylimits import RelayLimits
from holepunch.turn.servereffects import (
    CloseRelay,
    FiveTuple,
    OpenRelay,
    SendToClient,
    SendToPeer,
    ServerEffect,
)
from tests.turn.relay import EXPIRES_AT, REALM, SECRET, SERVER, countingBytes

OTHER_SERVER = TransportAddress("2001:db8::1", 3478)


class Network:
    """
    One relay, whose sockets bind as it wants them to.

    @ivar now: The time everywhere.
    @ivar effects: What the relay did that is no packet to a client.
    @ivar toPeers: What it sent to peers.
    @ivar told: What each client told.
    @ivar lose: Is this packet lost?
    """

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.effects: list[ServerEffect] = []
        self.toPeers: list[SendToPeer] = []
        self.told: dict[TransportAddress, list[Effect]] = {}
        self.lose: Callable[[], bool] = lambda: False
        self.busyPorts: set[int] = set()
        self.opened: set[tuple[Transport, TransportAddress]] = set()
        self.clients: dict[TransportAddress, AllocationClient] = {}
        self._ports = itertools.count(40000)
        hosts = options.pop("hosts", (SERVER.host, OTHER_SERVER.host))
        policy = PeerPolicy(hosts, options.pop("allowed", ()))
        limits = RelayLimits(**options.pop("limits", {}))
        self.server = RelayServer(
            hosts,
            realm=REALM,
            secret=SECRET,
            nonceSecret=b"nonces" * 4,
            randomBytes=countingBytes(),
            policy=policy,
            now=self.now,
            limits=limits,
            **options,
        )

    # --- clients ----------------------------------------------------------------------------------

    def credential(self, user: str = "alice") -> EphemeralCredential:
        """
        A credential that is good for long.
        """
        return mintCredential(SECRET, user, EXPIRES_AT)

    def fiveTuple(
        self, host: str = "203.0.113.5", transport: Transport = Transport.UDP
    ) -> FiveTuple:
        """
        Another client of a host.
        """
        return FiveTuple(transport, SERVER, TransportAddress(host, next(self._ports)))

    def client(
        self, user: str = "alice", host: str = "203.0.113.5", **options: Any
    ) -> AllocationClient:
        """
        A client that has been started; its address is that of its 5-tuple.
        """
        client = AllocationClient(
            SERVER,
            options.pop("credential", self.credential(user)),
            isReliable=False,
            randomBytes=countingBytes(),
            **options,
        )
        address = TransportAddress(host, next(self._ports))
        self.clients[address] = client
        self.told[address] = []
        client.start(self.now)
        return client

    def toldBy(self, client: AllocationClient) -> list[Effect]:
        """
        What a client told since it was asked last.
        """
        address = next(key for key, each in self.clients.items() if each is client)
        told, self.told[address] = self.told[address], []
        return told

    # --- packets ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """
        Carry packets to and fro until there are none.
        """
        while self._carry():
            pass

    def _carry(self) -> bool:
        isBusy = False
        for address, client in list(self.clients.items()):
            for effect in client.takeEffects():
                isBusy = True
                if not isinstance(effect, SendToServer):
                    self.told[address].append(effect)
                elif not self.lose():
                    self.ask(effect.data, FiveTuple(Transport.UDP, SERVER, address))
        return isBusy

    def ask(self, data: bytes, client: FiveTuple) -> list[bytes]:
        """
        Give the relay a message.

        @return: What it sent to that client, unless it is one of L{clients}, which gets it.
        """
        self.server.receive(data, client, self.now)
        return self.perform(client)

    def fromPeer(self, relayed: TransportAddress, peer: TransportAddress, data: bytes) -> None:
        """
        A peer sends to a relayed address.
        """
        if (Transport.UDP, relayed) in self.opened:
            self.server.receiveFromPeer(relayed, peer, data, self.now)
            self.perform()
            self.settle()

    def perform(self, client: FiveTuple | None = None) -> list[bytes]:
        """
        Do what the relay wants done.
        """
        answers = []
        while effects := self.server.takeEffects():
            for effect in effects:
                if isinstance(effect, SendToClient):
                    ours = self.clients.get(effect.client.client)
                    if effect.client == client:
                        answers.append(effect.data)
                    if ours is not None and not self.lose():
                        ours.receive(effect.data, self.now)
                elif isinstance(effect, SendToPeer):
                    assert (Transport.UDP, effect.relayed) in self.opened
                    self.toPeers.append(effect)
                elif isinstance(effect, OpenRelay):
                    self._open(effect)
                else:
                    if isinstance(effect, CloseRelay):
                        self.opened.remove((effect.transport, effect.relayed))
                    self.effects.append(effect)
        return answers

    def _open(self, effect: OpenRelay) -> None:
        key = (effect.transport, effect.relayed)
        assert key not in self.opened
        if effect.relayed.port in self.busyPorts:
            self.server.relayFailed(*key, self.now)
        else:
            self.opened.add(key)
            self.server.relayOpened(*key, self.now)

    # --- time -------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """
        Let time pass, with all timers.
        """
        until = self.now + seconds
        while True:
            self.settle()
            timed: list[Any] = [self.server, *self.clients.values()]
            due = [each.nextTimeout() for each in timed]
            at = min((each for each in due if each is not None), default=until)
            if at > until:
                break
            self.now = max(self.now, at)
            self.server.handleTimeout(self.now)
            self.perform()
            for client in self.clients.values():
                client.handleTimeout(self.now)
            if at == until:
                break
        self.now = until
        self.settle()
