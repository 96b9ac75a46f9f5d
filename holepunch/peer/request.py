"""
A session that this peer asked for, from the request until its path is there.

Owns: giving up at any moment, even from within something that the request itself calls.
Knows nothing of: how a session comes to be.
Driven by: L{holepunch.peer.sessions}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError
from holepunch.peer.session import Session


class SessionRequest:
    """
    One request.

    A coroutine that is cancelled while it runs, and not while it waits, goes on: hence it has to
    ask, with L{mustBeWanted}, after everything that calls the program.

    @ivar outcome: Fires with a session whose path is there. Cancelling it gives up.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.outcome: Deferred[Session] = Deferred(lambda _: self.giveUp(CancelledError()))
        self._reason: Exception | None = None
        self._work: Deferred[Session] | None = None

    def follow(self, work: Deferred[Session]) -> None:
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

    def _succeeded(self, session: Session) -> None:
        if self._reason is None:
            self.outcome.callback(session)
            return
        session.end(self._reason)
        if not self.outcome.called:
            self.outcome.errback(self._reason)

    def _failed(self, failure: Failure) -> None:
        if not self.outcome.called:
            self.outcome.errback(failure if self._reason is None else self._reason)
        elif failure.check(CancelledError, HolepunchError) is None:
            self._log.failure("bug: a session that was given up failed", failure)
