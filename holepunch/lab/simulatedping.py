"""
Echoes of a simulated host: it answers requests (RFC 1122 section 3.2.2.6), and can send some.

Owns: requests that wait for their reply.
Knows nothing of: routes.
Driven by: L{holepunch.lab.simulatedkernel}; L{SimulatedHost.ping
<holepunch.lab.simulated.SimulatedHost.ping>}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from holepunch.address import TransportAddress
from holepunch.lab.refusal import echoReplyFor
from holepunch.nat.packet import ECHO_PORT, Echo, Packet, Protocol

_MOST_IDENTIFIERS = 65535


class Pinger:
    """
    The echoes of one host.

    @param output: Sends a packet, in fragments where it is too long.
    """

    def __init__(self, clock: IReactorTime, output: Callable[[Packet], None]) -> None:
        self._clock = clock
        self._output = output
        self._identifier = 0
        self._waiting: dict[tuple[TransportAddress, TransportAddress], Deferred[float]] = {}

    def ping(self, local: str, remote: str, size: int, patience: float) -> Deferred[float]:
        """
        Send an echo request.

        @param size: Bytes of data.
        @param patience: Seconds to wait for the reply.
        @return: The round trip in seconds.
        @raise TimeoutError: (from the Deferred) There was no reply.
        """
        self._identifier = self._identifier % _MOST_IDENTIFIERS + 1
        source = TransportAddress(local, self._identifier)
        destination = TransportAddress(remote, ECHO_PORT)
        sentAt = self._clock.seconds()
        waiting: Deferred[float] = Deferred()
        self._waiting[source, destination] = waiting
        payload = Echo(isReply=False, sequence=1, data=bytes(size))
        self._output(Packet(Protocol.ICMP, source, destination, payload=payload))

        def forget(result: float) -> float:
            self._waiting.pop((source, destination), None)
            return result

        waiting.addTimeout(patience, self._clock)
        return waiting.addCallback(lambda _: self._clock.seconds() - sentAt).addBoth(forget)

    def receive(self, packet: Packet) -> None:
        """
        Take a request or a reply.
        """
        reply = echoReplyFor(packet)
        if reply is not None:
            self._output(reply)
            return
        waiting = self._waiting.pop((packet.destination, packet.source), None)
        if waiting is not None:
            waiting.callback(0.0)
