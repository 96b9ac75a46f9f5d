"""
Sending the probes of a discovery plan over UDP.

Owns: the sockets, one for each number that a plan uses.
Knows nothing of: why a probe is sent (L{holepunch.nat.discoverydatagrams}); what is sent again, and
when (L{holepunch.peer.discoveryquery}).
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from holepunch.errors import NoLocalPort
from holepunch.nat.discoveryprobe import Outcome, Probe
from holepunch.peer.discoveryquery import Answer, DatagramAsker, bindingRequest, outcomeOf
from holepunch.peer.together import together

_PATIENT = 5
_BRIEF = 3


class DatagramProber:
    """
    The UDP sockets of one discovery.
    """

    def __init__(
        self, reactor: Any, host: str, timeout: float, randomBytes: Callable[[int], bytes]
    ) -> None:
        """
        @param host: Our own address towards the servers.
        @param timeout: Seconds to wait for a server that does not answer.
        """
        self._reactor = reactor
        self._host = host
        self._timeout = timeout
        self._randomBytes = randomBytes
        self._askers: dict[int, DatagramAsker] = {}
        self._ports: list[Any] = []

    def send(self, probe: Probe) -> Deferred[Outcome]:
        """
        Send one probe now.

        @raise NoLocalPort: There is no socket to be had.
        """
        sender = self._asker(probe.socket)
        hearer = sender if probe.hearer is None else self._asker(probe.hearer)
        asking = sender.ask(
            probe.destination,
            bindingRequest(self._randomBytes, probe.change, probe.responsePort),
            _BRIEF if probe.isBrief else _PATIENT,
            hearer,
            probe.isEcho,
        )
        return asking.addTimeout(self._timeout, self._reactor, _giveUp).addCallback(
            lambda answer: outcomeOf(sender.local, answer)
        )

    async def close(self) -> None:
        """
        Close all sockets.
        """
        ports, self._ports = self._ports, []
        self._askers.clear()
        await together(*(maybeDeferred(port.stopListening) for port in ports))

    def _asker(self, number: int) -> DatagramAsker:
        asker = self._askers.get(number)
        if asker is None:
            asker = DatagramAsker(self._reactor)
            try:
                self._ports.append(self._reactor.listenUDP(0, asker, interface=self._host))
            except CannotListenError as error:
                raise NoLocalPort(f"no UDP port can be opened on {self._host}: {error}") from None
            self._askers[number] = asker
        return asker


def _giveUp(result: object, seconds: float) -> Answer | None:
    return None
