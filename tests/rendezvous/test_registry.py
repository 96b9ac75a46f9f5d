"""
Tests for L{holepunch.rendezvous.registry}.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.address import Transport, TransportAddress
from holepunch.errors import BadName, NameTaken
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IRegistry
from holepunch.punch.candidate import CandidateType
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous.introduction import IntroductionPolicy
from holepunch.rendezvous.registry import MemoryRegistry, Registration, checkName

PEERS = [Identity.generate().peerID for _ in range(3)]
LOCAL = TransportAddress("192.168.1.10", 5000)


def registration(
    peerID: PeerID, connection: int = 1, name: str | None = None, local: TransportAddress = LOCAL
) -> Registration:
    return Registration(
        peerID=peerID,
        connection=connection,
        name=name,
        accepts=True,
        policy=IntroductionPolicy.AT_ONCE,
        local=local,
        observed=TransportAddress("31.1.0.1", 5000),
        candidates=(gatheredCandidate(CandidateType.HOST, Transport.TCP, LOCAL),),
    )


class RegistrationTests(SynchronousTestCase):
    """
    What follows from a registration's values.
    """

    def test_isBehindNAT(self) -> None:
        """
        A peer is behind a NAT where its own view and the service's differ, even in the port alone.
        """
        self.assertTrue(registration(PEERS[0]).isBehindNAT)
        moved = TransportAddress("31.1.0.1", 5001)
        self.assertTrue(registration(PEERS[0], local=moved).isBehindNAT)
        same = TransportAddress("31.1.0.1", 5000)
        self.assertFalse(registration(PEERS[0], local=same).isBehindNAT)

    def test_isMainPunchable(self) -> None:
        """
        The main connection counts as a candidate only where it comes from a punching port.
        """
        self.assertTrue(registration(PEERS[0]).isMainPunchable)
        elsewhere = TransportAddress("192.168.1.10", 40000)
        self.assertFalse(registration(PEERS[0], local=elsewhere).isMainPunchable)

    def test_names(self) -> None:
        """
        Names have letters, digits, dots, dashes and underscores, and are unlike peer IDs.
        """
        for name in ("a", "Alice-2.example_org", "9" * 63, PEERS[0].text[:-1]):
            self.assertEqual(checkName(name), name)
        for name in ("", "x" * 64, "a b", "a\n", "ä", PEERS[0].text, PEERS[0].text.upper()):
            self.assertRaises(BadName, checkName, name)


class MemoryRegistryTests(SynchronousTestCase):
    """
    L{MemoryRegistry}.
    """

    def test_interface(self) -> None:
        """
        It is a registry.
        """
        self.assertTrue(verifyObject(IRegistry, MemoryRegistry()))

    def test_staleConnection(self) -> None:
        """
        The end of a replaced connection does not end the registration that replaced it.
        """
        registry = MemoryRegistry()
        old, new = registration(PEERS[0], 1, "alice"), registration(PEERS[0], 2, "alice")
        self.assertIsNone(registry.register(old))
        self.assertEqual(registry.register(new), old)
        registry.unregister(old)
        registry.update(old)
        self.assertEqual(registry.find("alice"), new)

    def test_refusedKeepsOld(self) -> None:
        """
        A peer that is refused another name keeps the one it has.
        """
        registry = MemoryRegistry()
        registry.register(registration(PEERS[0], 1, "alice"))
        registry.register(registration(PEERS[1], 2, "bob"))
        self.assertRaises(NameTaken, registry.register, registration(PEERS[1], 2, "alice"))
        found = registry.find("bob")
        assert found is not None
        self.assertEqual(found.peerID, PEERS[1])

    def test_model(self) -> None:
        """
        Whatever peers do, names and IDs find the newest registration of their owner, or nothing.
        """
        run_state_machine_as_test(RegistryMachine)


class RegistryMachine(RuleBasedStateMachine):
    """
    Compares L{MemoryRegistry} with a list.
    """

    def __init__(self) -> None:
        super().__init__()
        self.registry = MemoryRegistry()
        self.online: list[Registration] = []
        self.connections = 0

    @rule(peer=st.sampled_from(PEERS), name=st.sampled_from([None, "a", "A", "b"]))
    def register(self, peer: PeerID, name: str | None) -> None:
        self.connections += 1
        new = registration(peer, self.connections, name)
        taken = [
            each
            for each in self.online
            if name and each.name and each.name.lower() == name.lower() and each.peerID != peer
        ]
        try:
            self.registry.register(new)
        except NameTaken:
            assert taken
        else:
            assert not taken
            self.online = [each for each in self.online if each.peerID != peer] + [new]

    @rule(peer=st.sampled_from(PEERS), connection=st.integers(1, 30))
    def unregister(self, peer: PeerID, connection: int) -> None:
        self.registry.unregister(registration(peer, connection))
        self.online = [
            each for each in self.online if (each.peerID, each.connection) != (peer, connection)
        ]

    @invariant()
    def agrees(self) -> None:
        assert len(self.registry) == len(self.online)
        for peer in PEERS:
            expected = [each for each in self.online if each.peerID == peer]
            assert self.registry.find(peer.text) == (expected[0] if expected else None)
        for name in ("a", "b"):
            expected = [each for each in self.online if (each.name or "").lower() == name]
            assert self.registry.find(name) == (expected[0] if expected else None)
