"""
Tests for TCP ports in the simulated internet, and for connecting from both sides at once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
)
from twisted.internet.tcp import makeBinding

from tests.lab.tcpcase import ALICE, BOB, TCPTestCase, reusing


class PortTests(TCPTestCase):
    """
    Tests for who may have which port.
    """

    def test_portInUse(self) -> None:
        """
        A port is listened on once, unless all its users reuse it.
        """
        self.listen("alice")
        self.assertRaises(CannotListenError, self.listen, "alice")
        self.assertRaises(CannotListenError, self.listen, "alice", reusing(4460))
        self.listen("alice", reusing(4461))
        self.listen("alice", reusing(4461))
        self.assertRaises(CannotListenError, self.listen, "alice", 4461)

    def test_foreignAddress(self) -> None:
        """
        An address of another host cannot be bound.
        """
        self.assertRaises(CannotListenError, self.listen, "alice", makeBinding(BOB, 4460))
        connecting = self.connecting("alice", bindAddress=(BOB, 0))
        self.assertRaises(ConnectBindError, self.internet.waitFor, connecting)

    def test_otherAddress(self) -> None:
        """
        Two listeners may have one port on different addresses; the more precise one is taken.
        """
        for address in ("5.1.0.1", "5.2.0.1"):
            factory, _ = self.listen("rendezvous", makeBinding(address, 4460))
            self.connect("alice", address)
            self.internet.advance(1.0)
            self.assertEqual(len(factory.built), 1)

    def test_connectFromListeningPort(self) -> None:
        """
        With both options set, a program listens on a port and connects from it, to several places.
        """
        self.listen("rendezvous")
        factory, _ = self.listen("alice", reusing(5000))
        first = self.connect("alice", bindAddress=reusing(5000))
        second = self.connect("alice", "5.2.0.1", bindAddress=reusing(5000))
        for client in (first, second):
            self.assertEqual(client.transport.getHost().port, 5000)
        self.connect("bob", ALICE, 5000)
        self.internet.advance(1.0)
        self.assertEqual(len(factory.built), 1)

    def test_connectFromTakenPort(self) -> None:
        """
        Without the options, the port of a listener cannot be connected from.
        """
        self.listen("alice", reusing(5000))
        for binding in (("", 5000), makeBinding("", 5000, reuseAddress=True)):
            connecting = self.connecting("alice", bindAddress=binding)
            self.assertRaises(ConnectBindError, self.internet.waitFor, connecting)

    def test_sameConnectionTwice(self) -> None:
        """
        A second connection between the same two addresses fails with EADDRNOTAVAIL.
        """
        self.listen("rendezvous")
        self.connect("alice", bindAddress=reusing(5000))
        connecting = self.connecting("alice", bindAddress=reusing(5000))
        error = self.assertRaises(ConnectError, self.internet.waitFor, connecting)
        self.assertEqual(error.osError, 99)

    def test_acceptedFirst(self) -> None:
        """
        A connect to where a connection was just accepted from fails with EADDRNOTAVAIL.
        """
        factory, _ = self.listen("alice", reusing(5000))
        self.connect("bob", ALICE, 5000, bindAddress=reusing(6000))
        self.internet.advance(1.0)
        connecting = self.connecting("alice", BOB, 6000, bindAddress=reusing(5000))
        error = self.assertRaises(ConnectError, self.internet.waitFor, connecting)
        self.assertEqual(error.osError, 99)
        self.assertTrue(factory.built[0].isConnected)

    def test_listenAgain(self) -> None:
        """
        A port that is no longer listened on can be taken again, while its connections go on.
        """
        factory, port = self.listen("rendezvous")
        self.connect("alice")
        self.internet.advance(1.0)
        stopped: Any = port.stopListening()
        self.internet.waitFor(stopped)
        self.assertRaises(ConnectionRefusedError, self.internet.waitFor, self.connecting("bob"))
        again, _ = self.listen("rendezvous")
        self.connect("bob")
        self.internet.advance(1.0)
        self.assertEqual(len(again.built), 1)
        self.assertIsNone(factory.built[0].reason)


class SimultaneousOpenTests(TCPTestCase):
    """
    Tests for two hosts that connect to each other.
    """

    def both(self, skew: float = 0.0, listening: bool = True) -> tuple[Any, Any]:
        """
        Connect alice and bob to each other from port 5000, bob C{skew} seconds later.
        """
        if listening:
            self.factories = [self.listen(host, reusing(5000))[0] for host in ("alice", "bob")]
        options = {"bindAddress": reusing(5000), "timeout": 20}
        alice = self.connecting("alice", BOB, 5000, **options)
        self.internet.advance(skew)
        bob = self.connecting("bob", ALICE, 5000, **options)
        return alice, bob

    def test_simultaneous(self) -> None:
        """
        SYNs that cross make one connection, which neither listener sees.
        """
        alice, bob = (self.internet.waitFor(each) for each in self.both(skew=0.002))
        self.internet.advance(1.0)
        self.assertEqual([factory.built for factory in self.factories], [[], []])
        alice.transport.write(b"from alice")
        bob.transport.write(b"from bob")
        self.assertEqual(self.internet.waitFor(bob.whenReceived(10)), b"from alice")
        self.assertEqual(self.internet.waitFor(alice.whenReceived(8)), b"from bob")
        alice.transport.loseConnection()
        self.assertEqual(self.internet.waitFor(bob.whenLost()), ConnectionDone)

    def test_tooLate(self) -> None:
        """
        A SYN that meets no SYN goes to the listener, and the late connect finds the address taken.
        """
        alice, bob = self.both(skew=0.05)
        client = self.internet.waitFor(alice)
        error = self.assertRaises(ConnectError, self.internet.waitFor, bob)
        self.assertEqual(error.osError, 99)
        [accepted] = self.factories[1].built
        accepted.transport.write(b"hello")  # type: ignore[union-attr]
        self.assertEqual(self.internet.waitFor(client.whenReceived(5)), b"hello")

    def test_bothCancelled(self) -> None:
        """
        When both give up while their SYNs are under way, the listeners end up with nothing.
        """
        for seed in range(10):
            self.build("none/none", seed=seed)
            attempts = self.both(skew=0.001)
            self.internet.advance(0.001)
            for each in attempts:
                each.cancel()
                self.failureResultOf(each, ConnectingCancelledError)
            self.internet.advance(600.0)
            self.assertEqual([factory.built for factory in self.factories], [[], []])
            self.assertEqual(self.internet.clock.getDelayedCalls(), [])

    def test_punching(self) -> None:
        """
        Between two NATs, SYNs from the mapped ports open the way for each other.
        """
        for skew in (0.0, 0.004, 0.5, 2.5):
            self.build("port-restricted/port-restricted")
            mapped = self.mappedPorts()
            connecting = [self.connecting("alice", *mapped["bob"], bindAddress=reusing(5000))]
            self.internet.advance(skew)
            connecting += [self.connecting("bob", *mapped["alice"], bindAddress=reusing(5000))]
            alice, bob = (self.internet.waitFor(each) for each in connecting)
            alice.transport.write(b"hello")
            self.assertEqual(self.internet.waitFor(bob.whenReceived(5)), b"hello")

    def mappedPorts(self) -> dict[str, tuple[str, int]]:
        """
        Where the NATs map port 5000 of each peer, as the rendezvous host sees it.
        """
        factory, _ = self.listen("rendezvous")
        mapped = {}
        for host in ("alice", "bob"):
            self.connect(host, bindAddress=reusing(5000))
            self.internet.advance(1.0)
            peer: Any = factory.built[-1].transport.getPeer()  # type: ignore[union-attr]
            mapped[host] = (peer.host, peer.port)
        return mapped

    def test_hairpin(self) -> None:
        """
        Behind a carrier's NAT, two homes meet by that NAT's hairpin.
        """
        self.build("port-restricted/port-restricted/full-cone")
        mapped = self.mappedPorts()
        self.assertEqual(mapped["alice"][0], mapped["bob"][0])
        connecting = [
            self.connecting("alice", *mapped["bob"], bindAddress=reusing(5000)),
            self.connecting("bob", *mapped["alice"], bindAddress=reusing(5000)),
        ]
        alice, bob = (self.internet.waitFor(each) for each in connecting)
        bob.transport.write(b"hello")
        self.assertEqual(self.internet.waitFor(alice.whenReceived(5)), b"hello")

    def test_resettingNAT(self) -> None:
        """
        A NAT that answers with RST ends the attempt; the next one, from the same port, succeeds.
        """
        self.build("port-restricted-rst/port-restricted-rst")
        mapped = self.mappedPorts()
        early = self.connecting("alice", *mapped["bob"], bindAddress=reusing(5000))
        self.assertRaises(ConnectionRefusedError, self.internet.waitFor, early)
        alice = self.connecting("alice", *mapped["bob"], bindAddress=reusing(5000))
        bob = self.connecting("bob", *mapped["alice"], bindAddress=reusing(5000))
        self.internet.waitFor(alice)
        self.internet.waitFor(bob)
