"""
Sending the probes of a discovery plan over UDP.

Owns: the sockets, one for each number that a plan uses.
Knows nothing of: why a probe is sent (L{holepunch.nat.discoverydatagrams}); what is sent again, and
when (L{holepunch.peer.discoveryquery}).
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from holepunch.address import Transport
from holepunch.nat.discoveryprobe import Outcome, Probe
from holepunch.peer.discoveryprober import Prober
from holepunch.peer.discoveryquery import DatagramAsker, bindingRequest, outcomeOf

_PATIENT = 5
_BRIEF = 3


class DatagramProber(Prober):
    """
    The UDP sockets of one discovery.
    """

    transport = Transport.UDP

    def send(self, probe: Probe) -> Deferred[Outcome]:
        """
        Send one probe now.

        @raise NoLocalPort: There is no socket to be had.
        """
        sender = self._asker(probe.socket)
        hearer = sender if probe.hearer is None else self._asker(probe.hearer)
        asking = sender.ask(
            probe.destination,
            bindingRequest(self.randomBytes, probe.change, probe.responsePort),
            _BRIEF if probe.isBrief else _PATIENT,
            hearer,
            probe.isEcho,
        )
        return self.orNothing(asking, self.timeout).addCallback(
            lambda answer: outcomeOf(sender.local, answer)
        )

    def listen(self, number: int) -> Any:
        """
        Open a socket that asks.
        """
        return self.reactor.listenUDP(0, DatagramAsker(self.reactor), interface=self.host)

    def _asker(self, number: int) -> DatagramAsker:
        asker: DatagramAsker = self.port(number).protocol
        return asker
