"""
Programs that stop, cancel or close from within whatever calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from holepunch.address import Transport
from holepunch.errors import HolepunchError
from holepunch.peer import SessionOptions
from holepunch.peer.events import PeerEvent
from tests.peer.network import EchoFactory
from tests.peer.test_scenarios import ScenarioTestCase

PAIR = "port-restricted/port-restricted"
BOTH = SessionOptions(transports=frozenset(Transport), timeout=10.0)


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
