"""
C{holepunch ping}.
"""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.cli.answering import Echo
from holepunch.cli.listen import TakingFactory, serve
from holepunch.cli.ping import JSONReport, Pinger, Report, Statistics, TextReport
from holepunch.errors import PathLost
from holepunch.identity import PeerID
from holepunch.peer import Peer
from holepunch.peer.events import Connected
from holepunch.peer.ping import PingWay
from tests.cli.network import CommandTestCase, Told

BOB = PeerID.fromPublicKey(b"b" * 32)


class RecordedPath:
    """
    A path whose round trips a test decides.
    """

    def __init__(self) -> None:
        self.connected = Connected(
            at=0.0,
            session="s",
            remotePeer=BOB,
            remoteName="bob",
            path="direct",
            transport=Transport.UDP,
            local=TransportAddress("10.0.0.2", 1),
            remote=TransportAddress("192.0.2.1", 2),
            candidate="srflx",
            seconds=0.1,
        )
        self.way = PingWay("direct", Transport.UDP)
        self.pings: list[Deferred[float]] = []
        self.lost: Deferred[None] = Deferred()
        self.isClosed = False

    def ping(self) -> Deferred[float]:
        ping: Deferred[float] = Deferred()
        self.pings.append(ping)
        return ping

    def whenLost(self) -> Deferred[None]:
        return self.lost

    def close(self) -> None:
        self.isClosed = True
        self.lost.errback(PathLost("closed"))


class RecordedReport(Report):
    """
    Keeps what is reported.
    """

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def begin(self, connected: Connected) -> None:
        self.lines.append(connected.transport)

    def reply(self, number: int, seconds: float, way: PingWay) -> None:
        self.lines.append((number, seconds))

    def lost(self, number: int) -> None:
        self.lines.append((number, None))

    def end(self, results: Statistics) -> None:
        self.lines.append(results)


class PingerTests(SynchronousTestCase):
    """
    When to ping, and when to give up.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = RecordedPath()
        self.report = RecordedReport()

    def start(self, count: int) -> Deferred[None]:
        path: Any = self.path
        pinger = Pinger(self.clock, path, self.report, interval=1.0, replyTimeout=2.0)
        return Deferred.fromCoroutine(pinger.run(count))

    def answer(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.path.pings[-1].callback(seconds)

    def test_interval(self) -> None:
        """
        Pings begin one interval apart, and the last one ends it.
        """
        running = self.start(2)
        self.answer(0.25)
        self.clock.advance(0.5)
        self.assertEqual(len(self.path.pings), 1)
        self.clock.advance(0.25)
        self.assertEqual(len(self.path.pings), 2)
        self.answer(0.5)
        self.successResultOf(running)
        self.assertTrue(self.path.isClosed)
        self.assertEqual(
            self.report.lines,
            [Transport.UDP, (1, 0.25), (2, 0.5), Statistics(sent=2, times=(0.25, 0.5))],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lostPing(self) -> None:
        """
        A ping without a reply in time is lost, and the next one follows at once.
        """
        running = self.start(2)
        self.clock.advance(2.0)
        self.clock.advance(0.0)
        self.answer(0.1)
        self.successResultOf(running)
        self.assertEqual(self.report.lines[1:3], [(1, None), (2, 0.1)])
        self.assertEqual(self.report.lines[3].lossPercent, 50.0)

    def test_nothing(self) -> None:
        """
        When nothing is answered, the command fails, after the report.
        """
        running = self.start(1)
        self.clock.advance(2.0)
        failure = self.failureResultOf(running, PathLost)
        self.assertIn("none of 1 pings was answered", str(failure.value))
        self.assertEqual(self.report.lines[-1], Statistics(sent=1, times=()))

    def test_lostPath(self) -> None:
        """
        When the path is lost, the report comes nevertheless, and the command fails.
        """
        running = self.start(0)
        self.answer(0.1)
        self.clock.advance(0.9)
        self.path.pings[-1].errback(PathLost("the other side no longer answers"))
        self.failureResultOf(running, PathLost)
        self.assertEqual(self.report.lines[-1], Statistics(sent=2, times=(0.1,)))

    def test_interrupted(self) -> None:
        """
        To be interrupted is an ordinary end once there was a reply.
        """
        running = self.start(0)
        self.answer(0.1)
        running.cancel()
        self.successResultOf(running)
        self.assertEqual(self.report.lines[-1], Statistics(sent=1, times=(0.1,)))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ReportTests(SynchronousTestCase):
    """
    What goes to standard output.
    """

    def report(self, report: Report) -> str:
        with redirect_stdout(StringIO()) as output:
            report.begin(RecordedPath().connected)
            report.reply(1, 0.0123456789, PingWay("relay", Transport.UDP))
            report.lost(2)
            report.reply(3, 0.25, PingWay("direct", Transport.TCP))
            report.end(Statistics(sent=3, times=(0.0123456789, 0.25)))
            report.end(Statistics(sent=0, times=()))
        return output.getvalue()

    def test_json(self) -> None:
        """
        For programs: an object a reply, and one for all.
        """
        lines = [json.loads(line) for line in self.report(JSONReport()).splitlines()]
        none = {"min": None, "median": None, "max": None}
        self.assertEqual(
            lines,
            [
                {"seq": 1, "seconds": 0.012346, "path": "relay", "transport": "udp"},
                {"seq": 3, "seconds": 0.25, "path": "direct", "transport": "tcp"},
                {"sent": 3, "received": 2, "min": 0.012346, "median": 0.131173, "max": 0.25},
                {"sent": 0, "received": 0, **none},
            ],
        )

    def test_text(self) -> None:
        """
        For people: the path, the pings, and a summary.
        """
        self.assertEqual(
            self.report(TextReport()).splitlines(),
            [
                f"PING bob ({BOB.short}…): direct udp path, 10.0.0.2:1 → 192.0.2.1:2 (srflx)",
                "1: 12.3 ms, relay udp",
                "2: no reply",
                "3: 250 ms, direct tcp",
                "3 sent, 2 received, 33.3 % lost",
                "min/median/max 12.3 ms / 131 ms / 250 ms",
                "0 sent, 0 received, 0 % lost",
            ],
        )


class PathTests(CommandTestCase):
    """
    Over real paths.
    """

    def test_bothTransports(self) -> None:
        """
        Whoever listens answers pings over either transport, and goes on listening.
        """
        self.build()
        told = Told()
        factory = TakingFactory(Echo, told, isSingle=True)
        listening = self.start("bob", lambda peer: serve(peer, factory, told), told, name="bob")
        self.network.internet.advance(2.0)
        for transport in Transport:
            report = RecordedReport()
            options = self.options(transports=frozenset({transport}))

            async def use(peer: Peer, report: Report = report, options: Any = options) -> None:
                path = await peer.openPingPath("bob", options.sessionOptions())
                clock: Any = self.network.internet.host("alice").reactor
                await Pinger(clock, path, report, interval=1.0, replyTimeout=2.0).run(2)

            self.network.waitFor(self.start("alice", use, Told(), options=options))
            self.assertIs(report.lines[0], transport)
            self.assertEqual(len(report.lines[-1].times), 2)
        self.assertNoResult(listening)
        listening.addErrback(lambda failure: None)
        listening.cancel()
        self.network.internet.advance(1.0)
