"""
Peers that log in at a service with users.
"""

from __future__ import annotations

from typing import Any

from holepunch.errors import LoginFailed, LoginRequired
from holepunch.peer.events import Disconnected
from holepunch.rendezvous import Authority, LoginCredentials, PasswordFile
from holepunch.rendezvous.scram import StoredPassword
from tests.peer.network import EchoFactory, Network
from tests.peer.test_scenarios import ScenarioTestCase
from tests.rendezvous.test_scram import CHEAP


class LoginTests(ScenarioTestCase):
    """
    C{Peer(credentials=…)}.
    """

    def start(self) -> Network:
        self.network = network = self.build("port-restricted/port-restricted")
        users = PasswordFile(self.mktemp())
        users.setPassword("alice", StoredPassword.make("secret", lambda size: bytes(size), CHEAP))
        authority = Authority(object(), [users], network.serviceIdentity, cost=CHEAP)
        network.service.exchange.authority = authority
        return network

    def peer(self, name: str, password: str) -> Any:
        return self.network.peer(name, name, credentials=LoginCredentials("alice", password))

    def test_again(self) -> None:
        """
        A peer logs in, and again when it has lost its main connection.
        """
        network = self.start()
        bob = self.peer("bob", "secret")
        network.listen(bob, EchoFactory())
        exchange = network.service.exchange
        line: Any = exchange.lineOf(1)
        self.assertEqual(line.user, "alice")
        line.hangUp("for a test")
        network.internet.advance(5.0)
        line = exchange.lineOf(2)
        self.assertEqual((line.user, line.registration.name), ("alice", "bob"))

    def test_wrongPassword(self) -> None:
        """
        With a wrong password it tries once: each further try would count against the user.
        """
        network = self.start()
        alice = self.peer("alice", "wrong")
        with self.assertRaises(LoginFailed):
            network.waitFor(alice.whenRegistered())
        network.internet.advance(300.0)
        lost = [each for each in network.events["alice"] if isinstance(each, Disconnected)]
        self.assertEqual([(each.error, each.isMendable) for each in lost], [("LoginFailed", False)])
        with self.assertRaises(LoginFailed):
            network.waitFor(alice.whenRegistered())

    def test_none(self) -> None:
        """
        Without credentials, the service says what it wants.
        """
        network = self.start()
        with self.assertRaises(LoginRequired):
            network.waitFor(network.peer("alice").whenRegistered())
