"""
C{holepunch ping}: round trips over a punched path.

Owns: the command; when to ping and when to give up; the report.
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import abc
import itertools
import statistics
import sys
from typing import Any

import attrs
import click
from twisted.internet.defer import CancelledError, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from holepunch.cli.examples import examples
from holepunch.cli.notice import describePath, milliseconds, nameOf
from holepunch.cli.options import PeerOptions, peerArgument, peerOptions, seconds
from holepunch.cli.output import jsonLine, makeOutput
from holepunch.cli.peering import withPeer
from holepunch.cli.running import run
from holepunch.cli.waiting import Patience, waitOption
from holepunch.errors import PathLost
from holepunch.peer import Peer, PingPath
from holepunch.peer.events import Connected
from holepunch.peer.ping import PingWay

_REPLY_TIMEOUT = 2.0


@click.command(epilog=examples("holepunch ping alice", "holepunch ping alice -c 0 --transport udp"))
@peerArgument
@click.option(
    "-c",
    "--count",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="How many pings; 0 goes on until interrupted.",
)
@click.option(
    "--interval",
    type=seconds,
    metavar="SECONDS",
    default=1.0,
    show_default=True,
    help="How long from one ping to the next.",
)
@waitOption
@peerOptions
def ping(options: PeerOptions, peer: str, count: int, interval: float, wait: float | None) -> None:
    """
    Measure round trips to a peer, and tell which path they take.

    PEER is a name or a peer ID; any peer that listens answers.
    """
    output = makeOutput(sys.stderr, options.isJSON, options.verbosity)
    report: Report = JSONReport() if options.isJSON else TextReport()

    async def main(reactor: Any) -> None:
        async def use(made: Peer) -> None:
            patience = Patience.of(reactor, output, wait, options.timeout)
            session = options.sessionOptions()
            path = await patience.ask(peer, lambda: made.openPingPath(peer, session))
            await Pinger(
                reactor,
                path,
                report,
                interval=interval,
                replyTimeout=min(_REPLY_TIMEOUT, options.timeout),
            ).run(count)

        await withPeer(reactor, options, output, use)

    run(main, output)


# --- what is reported ---------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Statistics:
    """
    All pings together.

    @ivar times: The round trips that were answered, in seconds.
    """

    sent: int
    times: tuple[float, ...]

    @property
    def lossPercent(self) -> float:
        """
        How much was not answered.
        """
        return 100 * (1 - len(self.times) / self.sent) if self.sent else 0.0


class Report(abc.ABC):
    """
    What goes to standard output.
    """

    @abc.abstractmethod
    def begin(self, connected: Connected) -> None:
        """
        The path is there.
        """

    @abc.abstractmethod
    def reply(self, number: int, seconds: float, way: PingWay) -> None:
        """
        A ping was answered.

        @param way: Which way it went.
        """

    @abc.abstractmethod
    def lost(self, number: int) -> None:
        """
        A ping was not answered in time.
        """

    @abc.abstractmethod
    def end(self, results: Statistics) -> None:
        """
        That was all.
        """


class TextReport(Report):
    """
    For people.
    """

    def begin(self, connected: Connected) -> None:
        """
        Name the path.
        """
        click.echo(
            f"PING {nameOf(connected.remotePeer, connected.remoteName)}: {describePath(connected)}"
        )

    def reply(self, number: int, seconds: float, way: PingWay) -> None:
        """
        A line.
        """
        click.echo(f"{number}: {milliseconds(seconds)}, {way.path} {way.transport.value}")

    def lost(self, number: int) -> None:
        """
        A line.
        """
        click.echo(f"{number}: no reply")

    def end(self, results: Statistics) -> None:
        """
        Two lines.
        """
        times = results.times
        click.echo(f"{results.sent} sent, {len(times)} received, {results.lossPercent:.3g} % lost")
        if times:
            extremes = (min(times), statistics.median(times), max(times))
            click.echo("min/median/max " + " / ".join(map(milliseconds, extremes)))


class JSONReport(Report):
    """
    For programs: an object a reply, then one for all.
    """

    def begin(self, connected: Connected) -> None:
        """
        Nothing: the event tells of it, and each reply.
        """

    def reply(self, number: int, seconds: float, way: PingWay) -> None:
        """
        A line.
        """
        self._write(
            {
                "seq": number,
                "seconds": round(seconds, 6),
                "path": way.path,
                "transport": way.transport,
            }
        )

    def lost(self, number: int) -> None:
        """
        Nothing: there is an object for each reply only.
        """

    def end(self, results: Statistics) -> None:
        """
        The last line.
        """
        times = results.times
        self._write(
            {
                "sent": results.sent,
                "received": len(times),
                "min": round(min(times), 6) if times else None,
                "median": round(statistics.median(times), 6) if times else None,
                "max": round(max(times), 6) if times else None,
            }
        )

    def _write(self, line: dict[str, object]) -> None:
        click.echo(jsonLine(line), nl=False)


# --- pinging ------------------------------------------------------------------------------------


class Pinger:
    """
    Pings over one path, one ping after the other.
    """

    def __init__(
        self,
        clock: IReactorTime,
        path: PingPath,
        report: Report,
        *,
        interval: float,
        replyTimeout: float,
    ) -> None:
        """
        @param interval: Seconds from one ping to the next.
        @param replyTimeout: Seconds after which a ping is lost.
        """
        self._clock = clock
        self._path = path
        self._report = report
        self._interval = interval
        self._replyTimeout = replyTimeout
        self._sent = 0
        self._times: list[float] = []

    async def run(self, count: int) -> None:
        """
        Ping, and report; to be cancelled is an ordinary end.

        @param count: How often; 0 is until cancelled.
        @raise PathLost: The path was lost, or nothing was ever answered.
        """
        lost: PathLost | None = None
        # Each ping in flight hears of it as well.
        self._path.whenLost().addErrback(lambda failure: None)
        self._report.begin(self._path.connected)
        try:
            for number in range(1, count + 1) if count else itertools.count(1):
                await self._ping(number, isLast=number == count)
        except CancelledError:
            pass
        except PathLost as error:
            lost = error
        finally:
            self._path.close()
        self._report.end(Statistics(sent=self._sent, times=tuple(self._times)))
        if lost is not None:
            raise lost
        if self._sent and not self._times:
            raise PathLost(
                f"there is a path, but none of {self._sent} pings was answered: try again"
            )

    async def _ping(self, number: int, isLast: bool) -> None:
        sentAt = self._clock.seconds()
        self._sent = number
        try:
            seconds = await self._path.ping().addTimeout(self._replyTimeout, self._clock)
        except TimeoutError:
            self._report.lost(number)
        else:
            self._times.append(seconds)
            self._report.reply(number, seconds, self._path.way)
        if not isLast:
            pause = max(0.0, sentAt + self._interval - self._clock.seconds())
            await deferLater(self._clock, pause, lambda: None)
