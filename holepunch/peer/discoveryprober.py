"""
What the probers of all protocols have in common.

Owns: the sockets by number, opened when they are first used, and closing them.
Knows nothing of: what is sent.
Driven by: L{holepunch.peer.discoverydatagrams}, L{holepunch.peer.discoverystreams}; through them,
L{holepunch.peer.discovery}.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from holepunch.address import Transport
from holepunch.errors import NoLocalPort
from holepunch.nat.discoveryprobe import Outcome, Probe
from holepunch.peer.discoveryquery import Answer
from holepunch.peer.together import together


class Prober(abc.ABC):
    """
    The sockets of one discovery over one protocol.

    @ivar transport: The protocol.
    """

    transport: Transport

    def __init__(
        self, reactor: Any, host: str, timeout: float, randomBytes: Callable[[int], bytes]
    ) -> None:
        """
        @param host: Our own address towards the servers.
        @param timeout: Seconds to wait for a server that does not answer.
        """
        self.reactor = reactor
        self.host = host
        self.timeout = timeout
        self.randomBytes = randomBytes
        self._ports: dict[int, Any] = {}

    @abc.abstractmethod
    def send(self, probe: Probe) -> Deferred[Outcome]:
        """
        Send one probe now.

        @raise NoLocalPort: There is no socket to be had.
        """

    @abc.abstractmethod
    def listen(self, number: int) -> Any:
        """
        Open the socket of that number.

        @return: Its C{IListeningPort}.
        @raise CannotListenError: There is none to be had.
        """

    async def close(self) -> None:
        """
        Close all sockets.
        """
        ports = list(self._ports.values())
        self._ports.clear()
        await together(*(maybeDeferred(port.stopListening) for port in ports))

    def port(self, number: int) -> Any:
        """
        The socket of that number, a new one where there is none.

        @raise NoLocalPort: There is no socket to be had.
        """
        if number not in self._ports:
            try:
                self._ports[number] = self.listen(number)
            except CannotListenError as error:
                raise NoLocalPort(
                    f"no {self.transport.name} port can be opened on {self.host}: {error}"
                ) from None
        return self._ports[number]

    def orNothing(
        self, answered: Deferred[Answer | None], timeout: float
    ) -> Deferred[Answer | None]:
        """
        Wait for an answer for so many seconds, and then take nothing for it.
        """
        return answered.addTimeout(timeout, self.reactor, lambda result, seconds: None)
