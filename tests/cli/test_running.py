"""
Running a command, from its start to the exit status.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.output import TextOutput
from holepunch.cli.running import Main, Run
from holepunch.errors import BadIdentity, NoPathFound, UsageError


class RunnableClock(Clock):
    """
    As much of a reactor as a run needs.
    """

    running = True

    def stop(self) -> None:
        self.running = False


class RunTests(SynchronousTestCase):
    """
    L{Run}.
    """

    def setUp(self) -> None:
        self.reactor = RunnableClock()
        self.stderr = io.StringIO()
        self.closing: Deferred[None] = Deferred()

    def start(self, main: Main) -> Run:
        run = Run(self.reactor, main, TextOutput(self.stderr))
        run.start()
        return run

    async def failing(self, reactor: Any) -> None:
        raise self.error

    async def waiting(self, reactor: Any) -> None:
        try:
            await Deferred()
        finally:
            await self.closing

    def assertEnded(self, run: Run, status: int, stderr: str = "") -> None:
        self.assertFalse(self.reactor.running)
        self.assertEqual((run.status, self.stderr.getvalue()), (status, stderr))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_done(self) -> None:
        """
        A command that comes to its end is done.
        """

        async def main(reactor: Any) -> None:
            self.assertIs(reactor, self.reactor)

        self.assertEnded(self.start(main), 0)

    def test_errors(self) -> None:
        """
        The person's fault is status 2, the network's is 1; one sentence says why.
        """
        for error, status in (
            (UsageError("write it so"), 2),
            (BadIdentity("no file"), 2),
            (NoPathFound("nothing came through"), 1),
        ):
            self.setUp()
            self.error: Exception = error
            self.assertEnded(self.start(self.failing), status, f"Error: {error}\n")

    def test_bug(self) -> None:
        """
        Whatever else goes wrong is logged, with its traceback, and called a bug.
        """
        self.error = KeyError("key")
        self.assertEnded(self.start(self.failing), 1, "Error: a bug: 'key'\n")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_interrupted(self) -> None:
        """
        A signal cancels the command and lets it close what it opened; the status tells the signal.
        """
        run = self.start(self.waiting)
        run.interrupt(signal.SIGTERM)
        self.assertTrue(self.reactor.running)
        self.closing.callback(None)
        self.assertEnded(run, 128 + signal.SIGTERM)

    def test_impatient(self) -> None:
        """
        A second signal, or a command that does not end, ends everything at once.
        """
        for hurry in (
            lambda run: run.interrupt(signal.SIGINT),
            lambda run: self.reactor.advance(3),
        ):
            self.setUp()
            run = self.start(self.waiting)
            run.interrupt(signal.SIGINT)
            hurry(run)
            self.assertEnded(run, 128 + signal.SIGINT)

    def test_ordinaryEnd(self) -> None:
        """
        A command may take the interruption for an ordinary end.
        """

        async def main(reactor: Any) -> None:
            try:
                await Deferred()
            except CancelledError:
                return

        run = self.start(main)
        run.interrupt(signal.SIGINT)
        self.assertEnded(run, 0)


SCRIPT = """
import sys
from twisted.internet.defer import Deferred
from holepunch.cli.output import JSONOutput
from holepunch.cli.running import run
async def main(reactor):
    {body}
run(main, JSONOutput(sys.stderr))
"""


class ProcessTests(SynchronousTestCase):
    """
    In a process of its own, with the real reactor.
    """

    def start(self, body: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(body=body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_signals(self) -> None:
        """
        SIGINT and SIGTERM end it, without a word.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("print('ready', flush=True); await Deferred()")
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            self.assertEqual(process.communicate(timeout=10), (b"", b""))
            self.assertEqual(process.returncode, 128 + number)

    def test_closedReport(self) -> None:
        """
        Who reads the report may stop reading; nothing is said about it.
        """
        reader, writer = os.pipe()
        os.close(reader)
        script = SCRIPT.format(body="import click; click.echo('report')")
        ran = subprocess.run(
            [sys.executable, "-c", script], stdout=writer, stderr=subprocess.PIPE, timeout=10
        )
        os.close(writer)
        self.assertEqual((ran.returncode, ran.stderr), (1, b""))
