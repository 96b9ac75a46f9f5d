"""
Asking for a peer that may not be there yet.
"""

from __future__ import annotations

import click
from click.testing import CliRunner
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.waiting import Patience, waitOption
from holepunch.errors import HolepunchError, PeerNotListening, SessionRefused, UnknownPeer
from tests.cli.network import Told


class PatienceTests(SynchronousTestCase):
    """
    L{Patience}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.told = Told()
        self.askedAt: list[float] = []

    def ask(self, wait: float, *outcomes: HolepunchError | str) -> Deferred[str]:
        """
        @param outcomes: Of each attempt; the last one is that of all further ones.
        """
        left = list(outcomes)

        def attempt() -> Deferred[str]:
            self.askedAt.append(self.clock.seconds())
            outcome = left.pop(0) if len(left) > 1 else left[0]
            return succeed(outcome) if isinstance(outcome, str) else fail(outcome)

        patience = Patience.of(self.clock, self.told, wait, 30.0)
        return Deferred.fromCoroutine(patience.ask("bob", attempt))

    def test_there(self) -> None:
        """
        A peer that is there is asked for once.
        """
        self.assertEqual(self.successResultOf(self.ask(5.0, "path")), "path")
        self.assertEqual(self.told.events, [])

    def test_later(self) -> None:
        """
        A peer that comes later is asked for each second; that is told once.
        """
        asking = self.ask(5.0, UnknownPeer("no"), PeerNotListening("not yet"), "path")
        self.clock.pump([0.5] * 5)
        self.assertEqual(self.successResultOf(asking), "path")
        self.assertEqual(self.askedAt, [0.0, 1.0, 2.0])
        self.assertEqual(
            self.told.events,
            [{"event": "waiting", "target": "bob", "reason": "no", "error": "UnknownPeer"}],
        )

    def test_never(self) -> None:
        """
        When the time is over, the service's own sentence ends it.
        """
        asking = self.ask(3.0, UnknownPeer("no peer bob is registered"))
        self.clock.pump([0.5] * 20)
        self.assertEqual(str(self.failureResultOf(asking, UnknownPeer).value)[:11], "no peer bob")
        self.assertEqual(self.askedAt, [0.0, 1.0, 2.0, 3.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_impatient(self) -> None:
        """
        Nobody waits who does not want to, and nothing is told of waiting.
        """
        self.failureResultOf(self.ask(0.0, UnknownPeer("no")), UnknownPeer)
        self.assertEqual(self.told.events, [])

    def test_otherFailures(self) -> None:
        """
        What waiting does not mend fails at once.
        """
        self.failureResultOf(self.ask(5.0, SessionRefused("no")), SessionRefused)

    def test_cancelled(self) -> None:
        """
        Waiting can be interrupted.
        """
        asking = self.ask(5.0, UnknownPeer("no"))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_default(self) -> None:
        """
        Five seconds, or the time-out where that is less; what was given counts as it is.
        """
        for wait, timeout, seconds in ((None, 30.0, 5.0), (None, 2.0, 2.0), (60.0, 2.0, 60.0)):
            patience = Patience.of(self.clock, self.told, wait, timeout)
            self.assertEqual(patience.seconds, seconds)


class WaitOptionTests(SynchronousTestCase):
    """
    C{--wait}.
    """

    def test_values(self) -> None:
        """
        Zero may be given, a negative time not.
        """

        @click.command()
        @waitOption
        def command(wait: float | None) -> None:
            click.echo(repr(wait))

        runner = CliRunner()
        self.assertEqual(runner.invoke(command, ["--wait=0"]).output, "0.0\n")
        self.assertEqual(runner.invoke(command, []).output, "None\n")
        self.assertEqual(runner.invoke(command, ["--wait=-1"]).exit_code, 2)
