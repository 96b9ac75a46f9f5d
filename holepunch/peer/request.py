"""
A session that this peer asked for, from the request until its path is there.

Owns: giving up at any moment, even from within something that the request itself calls.
Knows nothing of: how a session comes to be.
Driven by: L{holepunch.peer.sessions}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError
from holepunch.peer.events import Connected


@attrs.frozen(kw_only=True)
class Reached:
    """
    What a request led to.

    @ivar outcome: The stream, or the path for datagrams.
    @ivar connected: What there is to tell about the path.
    @ivar end: Lets go of it.
    """

    outcome: Any
    connected: Connected
    end: Callable[[Exception], None]


class SessionRequest:
    """
    One request.

    A coroutine that is cancelled while it runs, and not while it waits, goes on: hence it has to
    ask, with L{mustBeWanted}, after everything that calls the program.

    @ivar outcome: Fires when the peer is reached. Cancelling it gives up.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.outcome: Deferred[Reached] = Deferred(lambda _: self.giveUp(CancelledError()))
        self._reason: Exception | None = None
        self._work: Deferred[Reached] | None = None

    def follow(self, work: Deferred[Reached]) -> None:
        """
        C{work} does what was asked for.
        """
        self._work = work
        work.addCallbacks(self._succeeded, self._failed)

    def giveUp(self, reason: Exception) -> None:
        """
        The session is not wanted any more.
        """
        if self._reason is None:
            self._reason = reason
        if self._work is not None:
            self._work.cancel()

    def mustBeWanted(self) -> None:
        """
        Go on only if nobody gave up.
        """
        if self._reason is not None:
            raise self._reason

    def _succeeded(self, reached: Reached) -> None:
        if self._reason is None:
            self.outcome.callback(reached)
            return
        reached.end(self._reason)
        if not self.outcome.called:
            self.outcome.errback(self._reason)

    def _failed(self, failure: Failure) -> None:
        if not self.outcome.called:
            self.outcome.errback(failure if self._reason is None else self._reason)
        elif failure.check(CancelledError, HolepunchError) is None:
            self._log.failure("bug: a session that was given up failed", failure)
