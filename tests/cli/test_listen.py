"""
C{holepunch listen} and C{holepunch connect}, on simulated networks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from holepunch.cli.answering import Echo
from holepunch.cli.connect import connectTo
from holepunch.cli.connection import ConnectionProtocol
from holepunch.cli.listen import TakingFactory, serve
from holepunch.cli.waiting import Patience
from holepunch.errors import PathLost, PeerNotListening, PeerReplaced, UnknownPeer
from holepunch.peer import Peer, SessionOptions
from tests.cli.network import CommandTestCase, Told


class Talker(ConnectionProtocol):
    """
    Says something, ends its direction, and keeps what it hears.
    """

    def __init__(self, words: bytes = b"") -> None:
        super().__init__()
        self.words = words
        self.heard = b""

    def connectionMade(self) -> None:
        self.connection.write(self.words)
        self.connection.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class SilentTalker(Talker):
    """
    Never says anything.
    """

    def connectionMade(self) -> None:
        pass


def stay(peer: Peer) -> Deferred[None]:
    """
    A command that goes on for ever.
    """
    return Deferred()


class ConnectionTestCase(CommandTestCase):
    """
    Bob listens, alice connects.
    """

    def listen(
        self,
        make: Callable[[], ConnectionProtocol] = Echo,
        isSingle: bool = True,
        told: Told | None = None,
    ) -> Deferred[Any]:
        output = told or Told()
        factory = TakingFactory(make, output, isSingle)
        listening = self.start("bob", lambda peer: serve(peer, factory, output), output, name="bob")
        self.network.internet.advance(2.0)
        return listening

    def connect(
        self,
        protocol: ConnectionProtocol,
        target: str = "bob",
        told: Told | None = None,
        wait: float = 0.0,
    ) -> Deferred[Any]:
        output = told or Told()
        clock: Any = self.network.internet.host("alice").reactor
        patience = Patience.of(clock, output, wait, 30.0)

        def use(peer: Peer) -> Any:
            return connectTo(peer, target, SessionOptions(), protocol, patience)

        return self.start("alice", use, output)

    def stop(self, *commands: Deferred[Any]) -> None:
        """
        Interrupt commands.
        """
        for command in commands:
            command.cancel()
        self.network.internet.advance(1.0)
        for command in commands:
            self.failureResultOf(command)


class ConnectionTests(ConnectionTestCase):
    """
    One connection or more.
    """

    def test_protocol(self) -> None:
        """
        The protocols of connections can be half-closed.
        """
        for protocol in (Talker(), Echo()):
            verifyObject(IHalfCloseableProtocol, protocol)

    def test_once(self) -> None:
        """
        Both commands end by themselves after one connection, and both have told about it.
        """
        self.build()
        alice, bob = Told(), Told()
        listening = self.listen(told=bob)
        self.assertEqual(bob.named("listening")["name"], "bob")
        talker = Talker(b"hello" * 50_000)
        self.network.waitFor(self.connect(talker, told=alice))
        self.assertEqual(talker.heard, talker.words)
        self.network.waitFor(listening)
        for told, other in ((alice, bob), (bob, alice)):
            connected = told.named("connected")
            self.assertEqual(connected["peer"], other.named("registered")["peer"])
            self.assertEqual((connected["path"], connected["transport"]), ("direct", "tcp"))
            self.assertEqual(told.named("closed")["peer"], connected["peer"])

    def test_noSecond(self) -> None:
        """
        While the only connection is there, nobody else gets one.
        """
        self.build()
        listening = self.listen(SilentTalker)
        first = self.connect(SilentTalker())
        self.network.internet.advance(5.0)
        with self.assertRaises(PeerNotListening):
            self.network.waitFor(self.connect(Talker()))
        self.assertNoResult(first)
        self.stop(first, listening)

    def test_keep(self) -> None:
        """
        With C{--keep}, one connection after the other is answered, whatever became of the first.
        """
        self.build()
        bob = Told()
        listening = self.listen(isSingle=False, told=bob)
        broken = self.connect(SilentTalker())
        self.network.internet.advance(5.0)
        broken.cancel()
        self.network.internet.advance(1.0)
        self.failureResultOf(broken, CancelledError)
        talker = Talker(b"still there")
        self.network.waitFor(self.connect(talker))
        self.assertEqual(talker.heard, b"still there")
        self.assertNoResult(listening)
        reasons = [event["reason"] for event in bob.events if event["event"] == "closed"]
        self.assertEqual(len(reasons), 2)
        self.assertIn("was lost", reasons[0])
        self.assertIsNone(reasons[1])
        self.stop(listening)

    def test_lost(self) -> None:
        """
        When the only connection is lost, the command fails and says so.
        """
        self.build()
        listening = self.listen(SilentTalker)
        connecting = self.connect(SilentTalker())
        self.network.internet.advance(5.0)
        connecting.cancel()
        self.network.internet.advance(1.0)
        self.failureResultOf(connecting, CancelledError)
        self.assertIn("lost", str(self.failureResultOf(listening, PathLost).value))

    def test_early(self) -> None:
        """
        Who asks too early waits for the peer to come, and is connected then.
        """
        self.build()
        told = Told()
        talker = Talker(b"early")
        connecting = self.connect(talker, told=told, wait=5.0)
        self.network.internet.advance(1.5)
        listening = self.listen()
        self.network.waitFor(connecting)
        self.assertEqual(talker.heard, b"early")
        self.assertEqual(told.named("waiting")["error"], "UnknownPeer")
        self.network.waitFor(listening)

    def test_replaced(self) -> None:
        """
        Whoever cannot be reached any more, because another program has its identity, says so
        and ends.
        """
        self.build()
        for isSingle in (True, False):
            told, options = Told(), self.options()
            factory = TakingFactory(Echo, told, isSingle)
            use = functools.partial(serve, factory=factory, output=told)
            listening = self.start("bob", use, told, options=options, replaced=factory.endWith)
            self.network.internet.advance(2.0)
            if not isSingle:
                peer = self.identityOf(options)
                self.network.waitFor(self.connect(Talker(b"hello"), peer))
            second = self.start("alice", stay, Told(), options=options)
            self.network.internet.advance(2.0)
            self.failureResultOf(listening, PeerReplaced)
            self.assertNotIn("trying", told.file.getvalue())
            self.stop(second)

    def test_unknownPeer(self) -> None:
        """
        A peer that is not there fails at once where nobody wants to wait, with its name.
        """
        self.build()
        told = Told()
        with self.assertRaisesRegex(UnknownPeer, "carol"):
            self.network.waitFor(self.connect(Talker(), "carol", told), 3.0)
        # The end of the command is told by who runs it.
        self.assertNotIn("failed", [event["event"] for event in told.events])

    def test_noPath(self) -> None:
        """
        The listening side tells of a session that came to nothing, and goes on listening.
        """
        self.build("symmetric-random/symmetric-random")
        bob = Told()
        listening = self.listen(told=bob)
        failure: Any = self.failed(self.connect(Talker()))
        self.assertTrue(failure.value.fates)
        self.network.internet.advance(5.0)
        self.assertTrue(bob.named("failed")["reason"])
        self.assertNoResult(listening)
        self.stop(listening)

    def failed(self, deferred: Deferred[Any]) -> Failure:
        failures: list[Failure] = []
        deferred.addErrback(failures.append)
        self.network.waitFor(deferred)
        return failures[0]
