"""
Noticing that this machine has other addresses than before: another network, a cable, a VPN.

Owns: when to look, and what counts as a change.
Knows nothing of: what a change means to whom.
Driven by: L{holepunch.peer.registration}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from holepunch.errors import NoLocalPort

Hosts = tuple[str, ...]


class InterfaceWatch:
    """
    Looks at the addresses again and again: a look takes less than a millisecond, and no system
    needs a way of its own.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        hosts: Callable[[], Hosts],
        changed: Callable[[Hosts], None],
    ) -> None:
        """
        @param interval: Seconds from one look to the next.
        @param hosts: Tells the addresses; raises L{NoLocalPort} when the system does not.
        @param changed: Called with all addresses when they are others than at the look before, in
            whatever order.
        """
        self._clock = clock
        self._interval = interval
        self._hosts = hosts
        self._changed = changed
        self._seen: frozenset[str] | None = None
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """
        Begin to watch.
        """
        if self._call is None:
            self._call = self._clock.callLater(self._interval, self._lookAgain)

    def stop(self) -> None:
        """
        Watch no longer, and forget what was seen.
        """
        self._seen = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def look(self) -> Hosts:
        """
        The addresses at this moment. Whoever looks knows them, and is not told of them again.

        @raise NoLocalPort: The system does not tell.
        """
        hosts = self._hosts()
        self._seen = frozenset(hosts)
        return hosts

    def _lookAgain(self) -> None:
        self._call = self._clock.callLater(self._interval, self._lookAgain)
        before = self._seen
        try:
            hosts = self.look()
        except NoLocalPort as error:
            self._log.debug("{error}", error=error)
        except Exception:
            self._log.failure("bug: the addresses of this machine could not be asked for")
        else:
            if before is not None and before != self._seen:
                self._changed(hosts)
