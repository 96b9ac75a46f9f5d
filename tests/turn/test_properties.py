"""
Promises of the relay that hold for every order of events.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.stun import Attribute, AttributeType, Message, MessageClass, Method
from holepunch.turn import Allocated, AllocationState, RelayedData, encodeChannelData
from tests.stun.strategies import REPEATABLE, attributes
from tests.turn.asker import TCP, UDP, Asker, relayedOf
from tests.turn.network import Network

T = AttributeType

HOSTS = ("203.0.113.9", "203.0.113.10", "10.0.0.1", "198.51.100.1", "::ffff:127.0.0.1")
PORTS = (1, 22, 49153)
peers = st.builds(TransportAddress, st.sampled_from(HOSTS), st.sampled_from(PORTS))
LIMITS = {"permissions": 3, "channels": 2, "allocationsPerUser": 3, "allocations": 5}


class RelayMachine(RuleBasedStateMachine):
    """
    Some users do what they like; a plain list of who was permitted, and when, tells what may come
    of it.
    """

    askers = Bundle("askers")

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(limits=LIMITS)
        self.permitted: dict[tuple[TransportAddress, str], float] = {}
        self.relayed: dict[Any, TransportAddress] = {}

    @rule(target=askers, user=st.sampled_from(["alice", "bob"]))
    def arrive(self, user: str) -> Asker:
        asker = Asker(self.network, user)
        self.allocate(asker)
        return asker

    @rule(asker=askers)
    def allocateAgain(self, asker: Asker) -> None:
        self.allocate(asker)

    def allocate(self, asker: Asker) -> None:
        response = asker.allocate()
        if response.error is None:
            self.relayed[asker.client] = relayedOf(response)

    @rule(asker=askers, lifetime=st.sampled_from([0, 600, 3600]))
    def refresh(self, asker: Asker, lifetime: int) -> None:
        code = asker.code(Method.REFRESH, Attribute(T.LIFETIME, lifetime))
        if code == 0 and lifetime == 0:
            relayed = self.relayed.pop(asker.client)
            self.permitted = {key: at for key, at in self.permitted.items() if key[0] != relayed}

    @rule(asker=askers, host=st.sampled_from(HOSTS))
    def permit(self, asker: Asker, host: str) -> None:
        if asker.permit(host) == 0:
            self.note(asker, host)

    @rule(asker=askers, number=st.sampled_from([0x4000, 0x4001, 0x4002]), peer=peers)
    def bind(self, asker: Asker, number: int, peer: TransportAddress) -> None:
        if asker.bind(number, peer) == 0:
            self.note(asker, peer.host)

    def note(self, asker: Asker, host: str) -> None:
        host = TransportAddress(host, 0).host
        assert host not in ("10.0.0.1", "127.0.0.1")
        self.permitted[self.relayed[asker.client], host] = self.network.now

    @rule(asker=askers, peer=peers, number=st.sampled_from([0x4000, 0x4001, 0x4002]))
    def send(self, asker: Asker, peer: TransportAddress, number: int) -> None:
        asker.indicate(peer, b"data")
        asker.send(encodeChannelData(number, b"data"))

    @rule(asker=askers, peer=peers)
    def arriveFromPeer(self, asker: Asker, peer: TransportAddress) -> None:
        relayed = self.relayed.get(asker.client)
        if relayed is None:
            return
        self.network.server.receiveFromPeer(relayed, peer, b"back", self.network.now)
        got = self.network.perform(asker.client)
        isAlive = self.network.server.allocationOf(asker.client) is not None
        assert bool(got) == (isAlive and self.isPermitted(relayed, peer.host))

    @rule(asker=askers, peer=peers, number=st.sampled_from([0x4000, 0x4001]))
    def bindAndSend(self, asker: Asker, peer: TransportAddress, number: int) -> None:
        self.bind(asker, number, peer)
        self.send(asker, peer, number)

    @rule(asker=askers, peer=peers, seconds=st.sampled_from([0, 200, 400]))
    def permitAndSend(self, asker: Asker, peer: TransportAddress, seconds: float) -> None:
        self.permit(asker, peer.host)
        self.wait(seconds)
        self.send(asker, peer, 0x4000)

    @rule(seconds=st.sampled_from([1, 299, 301, 601]))
    def wait(self, seconds: float) -> None:
        self.network.advance(seconds)
        for client in list(self.relayed):
            if self.network.server.allocationOf(client) is None:
                del self.relayed[client]

    def isPermitted(self, relayed: TransportAddress, host: str) -> bool:
        at = self.permitted.get((relayed, host))
        return at is not None and self.network.now < at + 300

    @invariant()
    def nothingWithoutPermission(self) -> None:
        sent, self.network.toPeers = self.network.toPeers, []
        for each in sent:
            assert self.isPermitted(each.relayed, each.peer.host), each
            # Never to the relay itself, at any port.
            assert each.peer.host != "198.51.100.1", each

    @invariant()
    def bounded(self) -> None:
        assert self.network.server.allocationCount <= LIMITS["allocations"]
        assert len(self.network.opened) == self.network.server.allocationCount


class RelayPropertyTests(SynchronousTestCase):
    """
    Promises for every order of events.
    """

    def test_permissions(self) -> None:
        """
        Whatever clients do, no packet goes to a peer, or comes from one, without a permission that
        is at most five minutes old; none goes to private addresses or the relay itself; and there
        are never more allocations and sockets than allowed.
        """
        run_state_machine_as_test(
            RelayMachine,
            settings=settings(REPEATABLE, max_examples=150, stateful_step_count=40),
        )

    @REPEATABLE
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=80),
                st.builds(
                    lambda method, kind, found: Message(
                        method=method,
                        messageClass=kind,
                        transactionId=bytes(12),
                        attributes=found,
                    ).encode(),
                    st.sampled_from(Method),
                    st.sampled_from(MessageClass),
                    st.lists(attributes(), max_size=5),
                ),
            ),
            max_size=10,
        ),
        st.sampled_from(Transport),
    )
    def test_strangers(self, messages: list[bytes], transport: Transport) -> None:
        """
        Whatever a stranger sends: it raises nothing, leaves no state, opens no socket, and is sent
        on to nobody; each message has at most one answer.
        """
        network = Network()
        asker = Asker(network, transport=transport)
        for message in messages:
            assert len(asker.send(message)) <= 1
        assert network.server.allocationCount == 0
        assert not network.effects and not network.toPeers and not network.opened
        assert network.server.nextTimeout() is None

    @REPEATABLE
    @given(st.lists(st.lists(attributes(), max_size=5), max_size=10), st.sampled_from([UDP, TCP]))
    def test_users(self, requests: list[list[Attribute]], protocol: int) -> None:
        """
        Whatever a user asks for, it gets an answer, and no packet leaves.
        """
        network = Network(limits=LIMITS)
        asker = Asker(network, transport=Transport.TCP)
        asker.allocate(transport=protocol)
        forbidden = {T.USERNAME, T.REALM, T.NONCE, T.USERHASH}
        forbidden |= {T.PASSWORD_ALGORITHM, T.PASSWORD_ALGORITHMS}
        methods = [Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION]
        methods += [Method.CHANNEL_BIND, Method.CONNECTION_BIND]
        for found in requests:
            kept = [each for each in found if each.type not in forbidden]
            for method in methods:
                asker.ask(method, *kept)
        assert network.toPeers == []
        assert network.server.allocationCount <= 1

    @REPEATABLE
    @given(st.integers(0, 1 << 32), st.integers(0, 40), st.booleans())
    def test_lossy(self, seed: int, percent: int, isKnown: bool) -> None:
        """
        Two clients on a link that loses packets both get their allocations, permissions and
        channels, keep them for an hour, and data gets through whenever a packet does.
        """
        chance = random.Random(seed)
        network = Network()
        network.lose = lambda: chance.randrange(100) < percent
        options: dict[str, Any] = {"realm": None}
        if isKnown:
            # As after a restart of the relay: the realm is right, and the nonce is not.
            options = {"realm": network.server.realm, "nonce": b"of another life"}
        clients = [
            network.client(user, host, **options)
            for user, host in (("alice", "203.0.113.5"), ("bob", "203.0.113.6"))
        ]
        network.advance(200)
        if any(client.state is not AllocationState.ALLOCATED for client in clients):
            # Seven requests, or their answers, were lost in a row: told as such.
            return
        relayed = [client.relayed for client in clients]
        for client, other in zip(clients, reversed(relayed), strict=True):
            assert other is not None
            client.permit(other.host, network.now)
            client.bindChannel(other, network.now)
        network.advance(3600)
        if network.server.allocationCount < 2:
            return
        network.lose = lambda: False
        network.advance(300)
        for sender, receiver in (clients, reversed(clients)):
            network.toldBy(receiver)
            assert receiver.relayed is not None and sender.relayed is not None
            sender.send(receiver.relayed, b"hello", network.now)
            network.settle()
            assert RelayedData(sender.relayed, b"hello") in network.toldBy(receiver)

    @REPEATABLE
    @given(st.integers(0, 1 << 32))
    def test_mildLoss(self, seed: int) -> None:
        """
        With a tenth of the packets lost every client gets its allocation.
        """
        chance = random.Random(seed)
        network = Network()
        network.lose = lambda: chance.randrange(10) == 0
        client = network.client()
        network.advance(60)
        assert any(isinstance(each, Allocated) for each in network.toldBy(client))
