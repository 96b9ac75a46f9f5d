"""
A model NAT, and servers behind which nothing is: what a discovery plan meets without any sockets.
"""

from __future__ import annotations

from random import Random
from typing import TypeVar

import attrs

from holepunch.address import TransportAddress
from holepunch.nat import (
    Forward,
    NATBehaviour,
    NATDevice,
    Packet,
    Protocol,
    Side,
    TCPFlag,
)
from holepunch.nat.discoveryprobe import Fate, Outcome, Plan, Probe
from holepunch.stun import ChangeRequest

INSIDE = "192.168.1.10"
EXTERNAL = "203.0.113.1"
SERVER = TransportAddress("198.51.100.7", 3478)
OTHER = TransportAddress("198.51.100.8", 3479)
CORNERS = {
    ChangeRequest(0): SERVER,
    ChangeRequest.PORT: TransportAddress(SERVER.host, OTHER.port),
    ChangeRequest.HOST: TransportAddress(OTHER.host, SERVER.port),
    ChangeRequest.HOST | ChangeRequest.PORT: OTHER,
}
_UDP, _TCP = Protocol.UDP, Protocol.TCP

_Report = TypeVar("_Report")


class World:
    """
    Carries out plans.

    @ivar now: The time of the device.
    @ivar sent: Every probe, with its moment.
    @ivar patience: After how many idle seconds the servers close a connection.
    """

    patience = float("inf")

    def __init__(
        self, behaviour: NATBehaviour, protocol: Protocol = _UDP, seed: int = 0, noNAT: bool = False
    ) -> None:
        random = Random(seed)
        self._device = NATDevice(behaviour, () if noNAT else (EXTERNAL,), random)
        self._protocol = protocol
        self._firstPort = random.randrange(20000, 60000)
        self._random = random
        self._sockets: dict[int, TransportAddress] = {}
        # Who a server sees at the other end of each connection, and when it was used last.
        self._connections: dict[tuple[int, TransportAddress], tuple[TransportAddress, float]] = {}
        self.now = 0.0
        self.sent: list[tuple[float, Probe]] = []

    def follow(self, plan: Plan[_Report]) -> _Report:
        """
        Carry out a plan to its end.
        """
        try:
            probes = next(plan)
            while True:
                beginning = self.now
                outcomes: dict[int, Outcome] = {}
                for number in sorted(range(len(probes)), key=lambda each: probes[each].delay):
                    self.now = beginning + probes[number].delay
                    self.sent.append((self.now, probes[number]))
                    outcomes[number] = self.send(probes[number])
                for number, outcome in outcomes.items():
                    if outcome.fate is Fate.SILENT and probes[number].isEcho:
                        outcomes[number] = self.send(probes[number])
                self.now += 0.05
                probes = plan.send([outcomes[number] for number in range(len(probes))])
        except StopIteration as end:
            report: _Report = end.value
            return report

    def send(self, probe: Probe) -> Outcome:
        """
        Send one probe, and whatever answers it.
        """
        local = self._local(probe.socket)
        if probe.isAgain:
            return self._sendAgain(probe, local)
        hearer = local if probe.hearer is None else self._local(probe.hearer)
        for packet in self._through(
            Side.INSIDE, Packet(self._protocol, local, probe.destination, flags=TCPFlag.SYN)
        ):
            if packet.destination == hearer and probe.isEcho:
                return Outcome(fate=Fate.HEARD, local=local, source=packet.source)
            if packet.destination == local and packet.flags & TCPFlag.RST:
                return Outcome(fate=Fate.REFUSED, local=local)
            if packet.destination.host == local.host and packet.icmp is not None:
                return Outcome(fate=Fate.UNREACHABLE, local=local)
            if packet.destination == probe.destination:
                return self.answer(probe, local, hearer, packet)
        return Outcome(fate=Fate.SILENT, local=local)

    def _sendAgain(self, probe: Probe, local: TransportAddress) -> Outcome:
        """
        Ask on a connection that is there.
        """
        connection = self._connections.get((probe.socket, probe.destination))
        if connection is None:
            return Outcome(fate=Fate.SILENT, local=local)
        mapped, usedAt = connection
        if self.now - usedAt > self.patience:
            # The server's goodbye came through only where the mapping was there at that time.
            bye = Packet(self._protocol, probe.destination, mapped, flags=TCPFlag.FIN)
            self._device.receiveOutside(bye, usedAt + self.patience)
            if any(isinstance(effect, Forward) for effect in self._device.takeEffects()):
                return Outcome(fate=Fate.CLOSED, local=local, idleTime=self.patience)
        for packet in self._through(
            Side.INSIDE, Packet(self._protocol, local, probe.destination, flags=TCPFlag.ACK)
        ):
            if packet.destination == probe.destination and packet.source == mapped:
                self._connections[probe.socket, probe.destination] = (mapped, self.now)
                if probe.change:
                    return self.call(probe, local, mapped)
                return Outcome(
                    fate=Fate.ANSWERED, local=local, source=probe.destination, mapped=mapped
                )
        return Outcome(fate=Fate.SILENT, local=local)

    def call(self, probe: Probe, local: TransportAddress, mapped: TransportAddress) -> Outcome:
        """
        Let the server connect to a client that asked for it.
        """
        caller = TransportAddress(CORNERS[probe.change].host, 50505)
        call, source = Fate.SILENT, probe.destination
        first = Packet(self._protocol, caller, mapped, flags=TCPFlag.SYN)
        for packet in self._through(Side.OUTSIDE, first):
            if packet.destination == local:
                return Outcome(
                    fate=Fate.ANSWERED, local=local, source=source, call=Fate.HEARD, caller=caller
                )
            if packet.destination.host == caller.host:
                call = Fate.REFUSED if packet.icmp is None else Fate.UNREACHABLE
        return Outcome(fate=Fate.REJECTED, local=local, source=source, call=call)

    def answer(
        self, probe: Probe, local: TransportAddress, hearer: TransportAddress, request: Packet
    ) -> Outcome:
        """
        Answer a request that has reached the server that it was sent to.
        """
        mapped = request.source
        answers = {corner: change for change, corner in CORNERS.items()}
        if probe.destination not in answers:
            return Outcome(fate=Fate.SILENT, local=local)
        change = ChangeRequest(answers[probe.destination] ^ probe.change)
        target = (
            mapped if probe.responsePort is None else attrs.evolve(mapped, port=probe.responsePort)
        )
        reply = Packet(self._protocol, CORNERS[change], target, flags=TCPFlag.SYN | TCPFlag.ACK)
        arrived = self._through(Side.OUTSIDE, reply)
        if not any(packet.destination == hearer for packet in arrived):
            return Outcome(fate=Fate.SILENT, local=local)
        if self._protocol is _TCP:
            self._connections[probe.socket, probe.destination] = (mapped, self.now)
            opened = Packet(self._protocol, local, probe.destination, flags=TCPFlag.ACK)
            self._through(Side.INSIDE, opened)
        return Outcome(
            fate=Fate.ANSWERED,
            local=local,
            source=reply.source,
            mapped=mapped,
            otherAddress=CORNERS[
                ChangeRequest(
                    answers[probe.destination] ^ (ChangeRequest.HOST | ChangeRequest.PORT)
                )
            ],
        )

    def _through(self, side: Side, packet: Packet) -> list[Packet]:
        """
        What comes out of the device, on either side.
        """
        if side is Side.INSIDE:
            self._device.receiveInside(packet, self.now)
        else:
            self._device.receiveOutside(packet, self.now)
        effects = self._device.takeEffects()
        return [effect.packet for effect in effects if isinstance(effect, Forward)]

    def _local(self, number: int) -> TransportAddress:
        if number not in self._sockets:
            port = self._firstPort
            while TransportAddress(INSIDE, port) in self._sockets.values():
                port = self._random.randrange(20000, 60000)
            self._sockets[number] = TransportAddress(INSIDE, port)
        return self._sockets[number]
