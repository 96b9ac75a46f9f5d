"""
Asking for a peer that may not be there yet: two programs that are started together seldom come in
the right order.

Owns: C{--wait}; when to ask again, and when that is enough.
Knows nothing of: what is asked for.
Driven by: C{holepunch connect} and C{ping}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import click
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from holepunch.cli.notice import Notice
from holepunch.cli.output import Output
from holepunch.errors import PeerNotListening, UnknownPeer

_T = TypeVar("_T")
_INTERVAL = 1.0
_PATIENCE = 5.0


waitOption = click.option(
    "--wait",
    type=click.FloatRange(0, 86400),
    metavar="SECONDS",
    show_default=f"{_PATIENCE:g}, or the time-out if that is less",
    help="How long to wait for a peer that is not there yet.",
)


@attrs.frozen(kw_only=True)
class Patience:
    """
    How long to wait for a peer that is not there.

    @ivar seconds: From the first time that it is not; 0 is not at all.
    """

    clock: IReactorTime
    output: Output
    seconds: float

    @classmethod
    def of(
        cls, clock: IReactorTime, output: Output, wait: float | None, timeout: float
    ) -> Patience:
        """
        What C{--wait} and C{--timeout} mean: who gives a short time-out wants to know soon.
        """
        seconds = min(_PATIENCE, timeout) if wait is None else wait
        return cls(clock=clock, output=output, seconds=seconds)

    async def ask(self, target: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """
        Ask, and ask again about once a second while the service knows no such peer.

        @param attempt: Asks once.
        """
        isTold = False
        until = None
        while True:
            try:
                return await attempt()
            except (UnknownPeer, PeerNotListening) as error:
                now = self.clock.seconds()
                until = now + self.seconds if until is None else until
                if now + _INTERVAL > until + 1e-6:
                    raise
                if not isTold:
                    isTold = True
                    self._tell(target, error)
            self.output.step(f"waiting for {target}")
            await deferLater(self.clock, _INTERVAL, lambda: None)

    def _tell(self, target: str, error: Exception) -> None:
        self.output.tell(
            Notice(
                event="waiting",
                text=f"{target} is not there yet; waiting",
                fields={"target": target, "reason": str(error), "error": type(error).__name__},
            )
        )
