"""
A way through several model NATs to a server: what the plan for the way meets without any sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

import attrs

from holepunch.address import TransportAddress
from holepunch.nat import Forward, NATBehaviour, NATDevice, Packet, Protocol, Side
from holepunch.nat.discoveryprobe import Fate, Outcome, Plan, Probe
from holepunch.nat.packet import ICMPType

SERVER = TransportAddress("198.51.100.7", 3478)
PUBLIC = "203.0.113.1"
_LONGEST_HERE = 1500

_Report = TypeVar("_Report")


@attrs.frozen(kw_only=True)
class Carriage:
    """
    How the way carries packets.

    @ivar mtuOut: Towards the server.
    @ivar mtuIn: Towards us.
    @ivar isBlackHole: Does nobody say that a packet is too long?
    @ivar passesFragments: Towards the server, and towards us.
    @ivar knowsPadding: Does the server answer PADDING by as much PADDING?
    @ivar paddedSize: If not, so long is its answer, as coturn's is always the same.
    """

    mtuOut: int = 1500
    mtuIn: int = 1500
    isBlackHole: bool = False
    passesFragments: tuple[bool, bool] = (True, True)
    knowsPadding: bool = True
    paddedSize: int = 60


class Way:
    """
    Carries out plans.

    @param behaviours: The NATs, the one next to us first.
    @param hosts: Our address, and the outer one of each NAT but the last, which has L{PUBLIC}.
    @ivar isMute: Does no router complain?
    @ivar requests: How many probes there were.
    """

    isMute = False

    def __init__(
        self,
        behaviours: Sequence[NATBehaviour] = (),
        hosts: Sequence[str] = (PUBLIC,),
        carriage: Carriage | None = None,
        seed: int = 0,
    ) -> None:
        outer = [*hosts[1:], PUBLIC]
        self._devices = [
            NATDevice(behaviour, [host], Random(seed + number))
            for number, (behaviour, host) in enumerate(zip(behaviours, outer, strict=False))
        ]
        self._host = hosts[0]
        self._carriage = carriage or Carriage()
        self._now = 0.0
        self.requests = 0
        self.sockets: set[int] = set()

    def follow(self, plan: Plan[_Report]) -> _Report:
        """
        Carry out a plan to its end.
        """
        try:
            probes = next(plan)
            while True:
                self._now += 1.0
                probes = plan.send([self.send(probe) for probe in probes])
        except StopIteration as end:
            report: _Report = end.value
            return report

    def send(self, probe: Probe) -> Outcome:
        """
        Send one probe.
        """
        self.requests += 1
        self.sockets.add(probe.socket)
        local = self._local(probe.socket)
        if probe.size is not None:
            return attrs.evolve(self._carry(probe, probe.size), local=local)
        packet = Packet(
            Protocol.UDP, local, probe.destination, payload="request", ttl=probe.ttl or 64
        )
        return attrs.evolve(self._climb(packet, 0, probe), local=local)

    def _local(self, number: int) -> TransportAddress:
        return TransportAddress(self._host, 40000 + number)

    # --- routers and NATs -------------------------------------------------------------------------

    def _climb(self, packet: Packet, level: int, probe: Probe) -> Outcome:
        """
        Let a packet go outside from a level.
        """
        if level == len(self._devices):
            if packet.destination != SERVER:
                return Outcome(fate=Fate.SILENT)
            answer = Packet(Protocol.UDP, SERVER, packet.source, payload=packet.source)
            return self._descend(answer, level, probe)
        self._devices[level].receiveInside(packet, self._now)
        return self._passOn(level, probe)

    def _descend(self, packet: Packet, level: int, probe: Probe) -> Outcome:
        """
        Let a packet come in to a level.
        """
        if level > 0:
            self._devices[level - 1].receiveOutside(packet, self._now)
            return self._passOn(level - 1, probe)
        error = packet.icmp
        if error is not None:
            if self.isMute:
                return Outcome(fate=Fate.SILENT)
            isExpired = error.type == ICMPType.TIME_EXCEEDED
            return Outcome(
                fate=Fate.EXPIRED if isExpired else Fate.UNREACHABLE, source=packet.source
            )
        if packet.payload == "request":
            isHeard = probe.hearer is not None and packet.destination == self._local(probe.hearer)
            return Outcome(fate=Fate.HEARD if isHeard else Fate.SILENT, source=packet.source)
        return Outcome(fate=Fate.ANSWERED, source=packet.source, mapped=packet.payload)

    def _passOn(self, level: int, probe: Probe) -> Outcome:
        for effect in self._devices[level].takeEffects():
            if isinstance(effect, Forward):
                if effect.side is Side.OUTSIDE:
                    return self._climb(effect.packet, level + 1, probe)
                return self._descend(effect.packet, level, probe)
        return Outcome(fate=Fate.SILENT)

    # --- sizes ------------------------------------------------------------------------------------

    def _carry(self, probe: Probe, size: int) -> Outcome:
        carriage = self._carriage
        out, here = carriage.passesFragments
        if size > _LONGEST_HERE and not probe.mayFragment:
            return Outcome(fate=Fate.TOO_LONG)
        if size > carriage.mtuOut and not probe.mayFragment:
            if carriage.isBlackHole:
                return Outcome(fate=Fate.SILENT)
            return Outcome(fate=Fate.TOO_LONG, mtu=carriage.mtuOut, source=SERVER)
        if size > carriage.mtuOut and not out:
            return Outcome(fate=Fate.SILENT)
        length = 60
        if probe.isFilled:
            length = size if carriage.knowsPadding else carriage.paddedSize
        if length <= carriage.mtuIn:
            return Outcome(fate=Fate.ANSWERED, source=SERVER, size=length)
        if not here:
            return Outcome(fate=Fate.SILENT)
        # The data in a fragment is a multiple of eight bytes long (RFC 791).
        longest = (carriage.mtuIn - 20) // 8 * 8 + 20
        return Outcome(fate=Fate.ANSWERED, source=SERVER, size=length, fragmentSize=longest)
