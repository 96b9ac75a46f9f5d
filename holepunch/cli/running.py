"""
Running one command in the reactor, from its start to the exit status.

Owns: starting and stopping the reactor, signals, and which error means which exit status.
Knows nothing of: what the command does.
Driven by: each command.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.cli.output import Output
from holepunch.cli.reactorlog import logTo
from holepunch.errors import (
    BadAddress,
    BadIdentity,
    BadName,
    BadPeerID,
    BadTrace,
    HolepunchError,
    UsageError,
)
from holepunch.peer.steadytime import keepSteady

_USAGE = (UsageError, BadAddress, BadIdentity, BadName, BadPeerID, BadTrace)
_SIGNALLED = 128
_PATIENCE = 3.0

Main = Callable[[Any], Coroutine[Deferred[Any], Any, None]]


class Status(enum.IntEnum):
    """
    The exit statuses that a command has by itself.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2


def statusOf(error: HolepunchError) -> Status:
    """
    Whose fault is it: that of the network or the peer, or that of the person?
    """
    return Status.USAGE if isinstance(error, _USAGE) else Status.FAILED


class Run:
    """
    One run of one command.

    A signal cancels the command, which then closes what it has opened; a second one, or a command
    that takes too long over it, ends everything at once.
    """

    _log = Logger()

    def __init__(self, reactor: Any, main: Main, output: Output) -> None:
        """
        @param main: Called with the reactor when it runs.
        """
        self._reactor = reactor
        self._main = main
        self._output = output
        self._command: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None
        self._status: int = Status.FAILED

    def start(self) -> None:
        """
        Begin, in the running reactor.
        """
        command = self._command = Deferred.fromCoroutine(self._main(self._reactor)).addCallback(
            self._done
        )
        command.addErrback(self._failed).addBoth(self._stop)

    def interrupt(self, number: int) -> None:
        """
        A signal came.
        """
        self._status = _SIGNALLED + number
        if self._patience is None and self._command is not None:
            self._patience = self._reactor.callLater(_PATIENCE, self._stop, None)
            self._command.cancel()
        else:
            self._stop(None)

    def _done(self, result: None) -> None:
        self._status = Status.DONE

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, BrokenPipeError):
            # Who read our report has seen enough. Nothing may be written at the exit, either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        elif isinstance(error, HolepunchError):
            self._status = statusOf(error)
            self._output.fail(error)
        elif not (self._patience is not None and failure.check(CancelledError)):
            self._status = Status.FAILED
            self._log.failure("bug: the command ended in an unforeseen way", failure)
            self._output.fail(HolepunchError(f"a bug: {failure.getErrorMessage()}"))

    def _stop(self, result: object) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._output.close()
        if self._reactor.running:
            self._reactor.stop()

    @property
    def status(self) -> int:
        """
        The exit status, when all is over.
        """
        return int(self._status)


def run(main: Main, output: Output) -> NoReturn:
    """
    Run a command and leave the program with its exit status.
    """
    # The reactor is installed by this import, so it must not happen before.
    from twisted.internet import reactor as imported

    reactor: Any = imported
    keepSteady(reactor)
    logTo(output)
    command = Run(reactor, main, output)

    def start() -> None:
        # In place of Twisted's own handlers, which would not let the command close what it opened.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(
                number, lambda number, frame: reactor.callFromThread(command.interrupt, number)
            )
        command.start()

    reactor.callWhenRunning(start)
    reactor.run()
    sys.exit(command.status)
