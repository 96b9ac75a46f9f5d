"""
Programs that stop, cancel or close from within whatever calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from holepunch.address import Transport
from holepunch.errors import HolepunchError
from holepunch.peer import SessionOptions
from holepunch.peer.events import PeerEvent
from holepunch.peer.openpath import OpenPath
from tests.peer.network import EchoFactory, Recorder, RecorderFactory
from tests.peer.test_scenarios import ScenarioTestCase

PAIR = "port-restricted/port-restricted"
BOTH = SessionOptions(transports=frozenset(Transport), timeout=10.0)
UDP = SessionOptions(transports=frozenset({Transport.UDP}))


class Trigger(list[PeerEvent]):
    """
    Does something when the event of a number is appended.
    """

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        super().__init__()
        self.number = number
        self.action = action

    def append(self, event: PeerEvent) -> None:
        super().append(event)
        if len(self) == self.number:
            self.action()


class FromObserverTests(ScenarioTestCase):
    """
    An observer that acts on an event, whichever it is.
    """

    def play(self, who: str, number: int, action: str) -> int:
        """
        Let the observer of C{who} act at one event of a session. How many events were there?
        """
        network = self.build(PAIR)
        connecting: list[Deferred[Any]] = []
        isCancelled = False

        def act() -> None:
            nonlocal isCancelled
            if action == "cancel":
                for pings in connecting:
                    isCancelled = not pings.called
                    pings.cancel()
            else:
                stopped: Deferred[Any] = peers[who].stopService()
                stopped.addErrback(self.fail)

        network.events[who] = trigger = Trigger(number, act)
        peers = {name: network.peer(name, name) for name in ("bob", "alice")}
        listening = peers["bob"].listenEndpoint().listen(EchoFactory())
        listening.addErrback(lambda failure: failure.trap(HolepunchError))
        network.internet.advance(1.0)
        pings = peers["alice"].openPingPath("bob", BOTH)
        connecting.append(pings)
        settled: list[Any] = []
        pings.addBoth(settled.append)
        network.internet.advance(15.0)
        self.assertEqual(len(settled), 1)
        if isCancelled:
            settled[0].trap(CancelledError)
        elif isinstance(settled[0], Failure):
            settled[0].trap(HolepunchError, CancelledError)
        else:
            settled[0].close()
            network.internet.advance(5.0)
        return len(trigger)

    def everyEvent(self, who: str, action: str) -> None:
        """
        Act at the first event, then in another session at the second one, and so on.
        """
        number, count = 1, 1
        while number <= count:
            count = self.play(who, number, action)
            number += 1
            self.doCleanups()

    def test_stopAlice(self) -> None:
        """
        The asking peer may be stopped from within any event, and leaves nothing behind.
        """
        self.everyEvent("alice", "stop")

    def test_stopBob(self) -> None:
        """
        The asked peer may be stopped from within any event, and leaves nothing behind.
        """
        self.everyEvent("bob", "stop")

    def test_cancel(self) -> None:
        """
        A connect may be cancelled from within any event, and leaves nothing behind.
        """
        self.everyEvent("alice", "cancel")


class Acting(Recorder):
    """
    A protocol that does something at one of its moments.
    """

    def __init__(self, moment: str, act: Callable[[Recorder], object]) -> None:
        super().__init__()
        self._moment, self._act = moment, act

    def connectionMade(self) -> None:
        if self._moment == "connectionMade":
            self._act(self)
        self.transport.write(b"hello")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._moment == "dataReceived" and data:
            self._act(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._moment == "connectionLost":
            self._act(self)


class FromProtocolTests(ScenarioTestCase):
    """
    Protocols that act within their own methods.
    """

    def play(self, who: str, moment: str, action: str) -> None:
        """
        Let the protocol of C{who} act once.
        """
        network = self.build(PAIR)
        peers = {name: network.peer(name, name) for name in ("bob", "alice")}

        def act(protocol: Recorder) -> None:
            transport: Any = protocol.transport
            if action == "stop":
                stop()
            else:
                getattr(transport, action)()

        def stop() -> None:
            peers[who].stopService().addErrback(self.fail)

        class ActingFactory(RecorderFactory):
            def buildProtocol(self, addr: Any) -> Recorder:
                if moment == "buildProtocol":
                    stop()
                return Acting(moment, act)

        factories = {"bob": EchoFactory(), "alice": RecorderFactory(), who: ActingFactory()}
        network.listen(peers["bob"], factories["bob"])
        connecting = peers["alice"].connectEndpoint("bob").connect(factories["alice"])
        settled: list[Any] = []
        connecting.addBoth(settled.append)
        network.internet.advance(5.0)
        self.assertEqual(len(settled), 1)
        if not isinstance(settled[0], Failure):
            settled[0].transport.loseConnection()
        network.internet.advance(10.0)
        self.doCleanups()

    def test_everyMoment(self) -> None:
        """
        A protocol may close, abort or stop everything whenever it is called.
        """
        for who in ("alice", "bob"):
            for moment in ("connectionMade", "dataReceived", "connectionLost"):
                for action in (
                    "stop",
                    "abortConnection",
                    "loseConnection",
                    "loseWriteConnection",
                    "pauseProducing",
                ):
                    self.play(who, moment, action)
            self.play(who, "buildProtocol", "stop")

    def closeInReceiver(self, action: str) -> None:
        """
        Let a receiver of datagrams act while more of them wait.
        """
        network = self.build(PAIR)
        bob, alice = network.peer("bob", "bob"), network.peer("alice", "alice")
        paths: list[OpenPath] = []
        network.waitFor(Deferred.fromCoroutine(bob.acceptDatagrams(paths.append)))
        near = network.waitFor(alice.openDatagrams("bob", UDP))
        for _ in range(5):
            near.send(b"early")
        network.internet.advance(1.0)

        def receive(data: bytes) -> None:
            if action == "close":
                paths[0].close()
            else:
                bob.stopService().addErrback(self.fail)

        lost, other = near.whenLost(), near.whenLost()
        lost.addErrback(lambda failure: other.cancel())
        other.addErrback(lambda failure: failure.trap(CancelledError))
        paths[0].setReceiver(receive)
        near.send(b"late")
        network.internet.advance(1.0)
        near.close()
        self.doCleanups()

    def test_datagrams(self) -> None:
        """
        A receiver of datagrams may close the path, or stop the peer, with more waiting.
        """
        for action in ("close", "stop"):
            self.closeInReceiver(action)
