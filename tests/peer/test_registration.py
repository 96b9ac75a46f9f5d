"""
Tests for L{holepunch.peer.registration}: moving to another network, and bugs on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from holepunch.errors import HolepunchError
from holepunch.identity import Identity
from holepunch.interfaces import IHostAddresses
from holepunch.lab import HostSpec, Topology
from holepunch.peer import Peer
from holepunch.peer.events import Disconnected, InterfacesChanged, Mapped, PeerEvent, Registered
from tests.peer.network import EchoFactory, Network, RecorderFactory

FIRST, SECOND = "31.3.0.1", "31.3.0.2"


@implementer(IHostAddresses)
class Interfaces:
    """
    The addresses of a machine that moves.
    """

    def __init__(self, *hosts: str) -> None:
        self.hosts: Sequence[str] | Exception = hosts

    def hostAddresses(self) -> Sequence[str]:
        if isinstance(self.hosts, Exception):
            raise self.hosts
        return self.hosts


class MovingTestCase(SynchronousTestCase):
    """
    A peer on a machine with two addresses, of which it has one at a time.
    """

    def setUp(self) -> None:
        service = Topology.parse("none/none").host("rendezvous")
        carol = HostSpec(name="carol", addresses="31.3.0.9")
        roamer = HostSpec(name="roamer", addresses=(FIRST, SECOND))
        self.network = Network(Topology(hosts=(service, carol, roamer), nats=()))
        self.addCleanup(self.network.stop)
        self.interfaces = Interfaces(FIRST)
        self.events: list[PeerEvent] = []
        host = self.network.internet.host("roamer")
        reactor: Any = host.reactor
        self.peer = Peer(
            reactor,
            Identity.generate(),
            self.network.location,
            name="roamer",
            hostAddresses=self.interfaces,
            observer=self.events.append,
        )
        self.network.peers.append((self.peer, host))

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class MovingTests(MovingTestCase):
    """
    Other addresses.
    """

    def test_move(self) -> None:
        """
        A peer whose addresses have changed says so, registers from the new ones within seconds,
        and is reached there.
        """
        self.network.listen(self.peer, EchoFactory())
        self.interfaces.hosts = (SECOND,)
        self.network.internet.advance(7.0)
        self.assertEqual([each.hosts for each in self.told(InterfacesChanged)], [(SECOND,)])
        self.assertEqual(self.told(Disconnected)[-1].isMendable, True)
        self.assertGreater(self.told(Registered)[-1].at, self.told(InterfacesChanged)[0].at)
        self.assertEqual([each.local.host for each in self.told(Mapped)], [FIRST, SECOND])
        carol = self.network.peer("carol")
        self.network.waitFor(carol.connectEndpoint("roamer").connect(RecorderFactory()))

    def test_interruption(self) -> None:
        """
        Addresses that go and come back leave the main connection as it is.
        """
        self.network.waitFor(self.peer.whenRegistered())
        self.interfaces.hosts = ()
        self.network.internet.advance(7.0)
        self.interfaces.hosts = (FIRST,)
        self.network.internet.advance(7.0)
        self.assertEqual([each.hosts for each in self.told(InterfacesChanged)], [(), (FIRST,)])
        self.assertEqual(len(self.told(Registered)), 1)
        self.assertEqual(self.told(Disconnected), [])

    def test_networkAtLast(self) -> None:
        """
        A network that comes after long is used at once, however long the pauses have become.
        """
        self.interfaces.hosts = ()
        self.peer.startService()
        self.network.internet.advance(300.0)
        self.interfaces.hosts = (FIRST,)
        self.network.internet.advance(5.5)
        self.assertEqual(len(self.told(Registered)), 1)

    def test_stopped(self) -> None:
        """
        A peer that was stopped watches nothing any more.
        """
        self.network.waitFor(self.peer.whenRegistered())
        self.network.waitFor(self.peer.stopService())
        self.interfaces.hosts = (SECOND,)
        self.network.internet.advance(30.0)
        self.assertEqual(self.told(InterfacesChanged), [])

    def test_lastWords(self) -> None:
        """
        A peer is stopped only when the reactor has had a turn to send what was written last.
        """
        self.network.waitFor(self.peer.whenRegistered())
        clock = self.network.internet.clock
        turns: list[str] = []
        self.peer.stopService().addCallback(lambda _: turns.append("stopped"))
        # This call was made last: it is in the turn after which, at the earliest, all is sent.
        clock.callLater(0, turns.append, "sent")
        self.network.internet.advance(1.0)
        self.assertEqual(turns, ["sent", "stopped"])


class BugTests(MovingTestCase):
    """
    Errors that nobody foresaw.
    """

    def test_survived(self) -> None:
        """
        An unforeseen error of an attempt is logged and told to whoever waits, and the peer
        registers as soon as it can.
        """
        self.interfaces.hosts = RuntimeError("a policy of the program's own")
        failing = self.peer.whenRegistered()
        self.network.internet.advance(10.0)
        self.assertIn("a policy", str(self.failureResultOf(failing, HolepunchError).value))
        told = self.told(Disconnected)
        self.assertGreater(len(told), 1)
        self.assertEqual({each.isMendable for each in told}, {False})
        self.assertNotEqual(self.flushLoggedErrors(RuntimeError), [])
        self.interfaces.hosts = (FIRST,)
        self.network.waitFor(self.peer.whenRegistered())
