"""
Registrations and listening ports that come and go at bad moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from holepunch.address import Transport
from holepunch.errors import HolepunchError, NameTaken, NoLocalPort
from holepunch.identity import Identity
from holepunch.interfaces import IHostAddresses
from holepunch.peer import Peer, SessionOptions
from holepunch.peer.events import Disconnected, Registered
from holepunch.rendezvous.commands import Register
from holepunch.rendezvous.server import MainConnection
from tests.peer.network import EchoFactory, Network, RecorderFactory
from tests.peer.test_faults import FaultTestCase

UDP = SessionOptions(transports=frozenset({Transport.UDP}))


class Silent(MainConnection):
    """
    Never answers a registration.
    """

    @Register.responder
    def ignore(self, **fields: Any) -> Deferred[Any]:
        self.inTime()
        return Deferred()


class Raising(Protocol):
    """
    An application with a bug.
    """

    def connectionMade(self) -> None:
        raise RuntimeError("a bug")


@implementer(IHostAddresses)
class Interfaces:
    """
    The addresses of a machine whose network comes and goes.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = hosts
        self.error: OSError | None = None

    def hostAddresses(self) -> Sequence[str]:
        if self.error is not None:
            raise self.error
        return self.hosts


class ListeningTests(FaultTestCase):
    """
    Ports that do not come to listen, or stop.
    """

    def test_refused(self) -> None:
        """
        A peer whose name was refused does not listen, and may try again.
        """
        network = self.start()
        impostor = network.peer("alice", "bob")
        for _ in range(2):
            self.assertRaises(NameTaken, network.listen, impostor, EchoFactory())
            self.assertFalse(impostor.isListening)

    def test_cancelled(self) -> None:
        """
        Listening can be cancelled at every step: then the peer does not listen, and may try again.
        """
        for step in range(15):
            network = self.build("port-restricted/port-restricted")
            bob = network.peer("bob", "bob")
            listening = bob.listenEndpoint().listen(EchoFactory())
            network.internet.advance(step * 0.01)
            if listening.called:
                break
            listening.cancel()
            self.assertRaises(CancelledError, network.waitFor, listening)
            self.assertFalse(bob.isListening)
            network.waitFor(network.listen(bob, EchoFactory()).stopListening())
            self.doCleanups()

    def test_stopWithoutService(self) -> None:
        """
        A port can be closed while the service is away.
        """
        network = self.start()
        carol = network.peer("bob", "carol")
        port = network.listen(carol, EchoFactory())
        network.waitFor(network.service.stopService())
        network.internet.advance(5.0)
        network.waitFor(port.stopListening(), 1.0)
        network.startService()

    def test_serviceVanishesAtEveryStep(self) -> None:
        """
        A port closes though the service dies in that moment.
        """
        network = self.start()
        carol = network.peer("bob", "carol")
        port = network.listen(carol, EchoFactory())
        stopping = port.stopListening()
        network.waitFor(network.service.stopService())
        network.waitFor(stopping, 1.0)
        network.startService()


class BuggyProgramTests(FaultTestCase):
    """
    Applications that raise.
    """

    def test_client(self) -> None:
        """
        A connection whose protocol cannot be made is closed, and the program hears why.
        """
        network = self.start()
        for factory in (Factory.forProtocol(Raising), Factory()):
            connecting = self.alice.connectEndpoint("bob").connect(factory)
            self.assertRaises((RuntimeError, AssertionError), network.waitFor, connecting)
            network.internet.advance(10.0)
            self.assertNoSessions(network)

    def assertNoSessions(self, network: Network) -> None:
        """
        Only main connections and the punching ports are left.
        """
        reactor = network.internet.host("alice").reactor
        self.assertLessEqual(len(reactor.getReaders()), 3)

    def test_datagrams(self) -> None:
        """
        A datagram path that the program failed to take is closed, and the log says why.
        """
        network = self.start()

        def acceptor(path: object) -> None:
            raise RuntimeError("a bug")

        network.waitFor(Deferred.fromCoroutine(self.bob.acceptDatagrams(acceptor)))
        path = network.waitFor(self.alice.openDatagrams("bob", UDP))
        network.internet.advance(1.0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        lost = path.whenLost()
        self.assertRaises(HolepunchError, network.waitFor, lost)


class RegistrationTests(FaultTestCase):
    """
    Registering.
    """

    def test_neverAnswered(self) -> None:
        """
        A service that does not answer the registration is given up, and tried again.
        """
        network = self.build("port-restricted/port-restricted")
        network.service.factory.protocol = Silent
        bob = network.peer("bob", "bob")
        bob.startService()
        network.internet.advance(30.0)
        self.assertIsInstance(network.events["bob"][0], Disconnected)
        network.service.factory.protocol = MainConnection
        network.internet.advance(60.0)
        self.assertIn(Registered, [type(event) for event in network.events["bob"]])

    def test_restartWithoutGoodbye(self) -> None:
        """
        A peer that is stopped and started at once stays registered, though the service is slow to
        let the first connection go.
        """
        lines: list[Any] = []

        class Slow(MainConnection):
            def registered(self, registration: object) -> None:
                lines.append(self)

        network = self.build("port-restricted/port-restricted")
        network.service.factory.protocol = Slow
        bob = network.peer("bob", "bob")
        network.waitFor(bob.whenRegistered())
        lines[0].transport.pauseProducing()
        network.waitFor(bob.stopService())
        bob.startService()
        network.waitFor(bob.whenRegistered())
        del network.events["bob"][:]
        network.internet.advance(30.0)
        self.assertNotIn(Disconnected, [type(event) for event in network.events["bob"]])

    def peerOn(self, network: Network, hosts: Interfaces) -> Peer:
        host = network.internet.host("alice")
        reactor: Any = host.reactor
        peer = Peer(reactor, Identity.generate(), network.location, hostAddresses=hosts)
        network.peers.append((peer, host))
        return peer

    def test_networkComesLater(self) -> None:
        """
        A patient program waits for a network, an impatient one learns that there is none.
        """
        network = self.start()
        hosts = Interfaces([])
        peer = self.peerOn(network, hosts)
        waiting = peer.whenRegistered()
        network.internet.advance(5.0)
        self.assertRaises(NoLocalPort, network.waitFor, peer.whenRegistered(False))
        hosts.hosts = network.internet.host("alice").addresses
        network.waitFor(waiting)

    def test_noDescriptors(self) -> None:
        """
        A system that cannot even tell its addresses is asked again later.
        """
        network = self.start()
        hosts = Interfaces(network.internet.host("alice").addresses)
        hosts.error = OSError(24, "Too many open files")
        peer = self.peerOn(network, hosts)
        waiting = peer.whenRegistered()
        network.internet.advance(5.0)
        hosts.error = None
        network.waitFor(waiting)
        hosts.error = OSError(24, "Too many open files")
        for _ in range(2):
            connecting = peer.connectEndpoint("bob").connect(RecorderFactory())
            network.internet.advance(5.0)
            connecting.addErrback(lambda failure: failure.trap(NoLocalPort))


class StoppingTests(FaultTestCase):
    """
    Stopping in the middle of a stream.
    """

    def test_stuckStream(self) -> None:
        """
        A peer that stops does not wait for ever for another one that reads nothing.
        """
        network = self.start()
        carol = network.peer("bob", "carol")

        class Deaf(Protocol):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()  # type: ignore[union-attr]

        network.listen(carol, Factory.forProtocol(Deaf))
        protocol: Any = network.waitFor(self.connect("carol"))
        for _ in range(100):
            protocol.transport.write(bytes(100_000))
            network.internet.advance(0.01)
        network.waitFor(self.alice.stopService())
        network.internet.advance(10.0)
        reactor = network.internet.host("alice").reactor
        self.assertEqual((reactor.getReaders(), reactor.getWriters()), ([], []))
        self.assertEqual(reactor.getDelayedCalls(), [])
