"""
Two stations that meet through NATs.

Owns: setting the two up, and letting their sessions run.
Knows nothing of: what is to be expected of them.
Driven by: the tests of whole sessions.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.nat import NAMED_BEHAVIOURS, NATBehaviour
from holepunch.punch import (
    TCPFlow,
)
from tests.punch.station import (
    Observer,
    Station,
    configs,
    gather,
    introduce,
    isSettled,
    run,
)
from tests.punch.wire import Wire

PUBLIC = "public"


@attrs.define
class Meeting:
    """
    Two stations, each public or behind its own NAT, and the observer.

    @ivar startedAt: When the sessions began.
    """

    alice: Station
    bob: Station
    wire: Wire
    startedAt: float = 0.0

    @classmethod
    def between(
        cls, first: str | NATBehaviour, second: str | NATBehaviour, wire: Wire | None = None
    ) -> Meeting:
        """
        Put the stations behind NATs of these behaviours, and let them learn their addresses.
        """
        wire = Wire() if wire is None else wire
        observer = Observer(wire)

        def station(kind: str | NATBehaviour, external: str, internal: str) -> Station:
            if kind == PUBLIC:
                return Station(wire=wire, network=wire.public, host=external)
            behaviour = NAMED_BEHAVIOURS[kind] if isinstance(kind, str) else kind
            return Station(wire=wire, network=wire.addNAT(behaviour, external), host=internal)

        alice = station(first, "203.0.113.1", "10.0.0.2")
        bob = station(second, "203.0.113.2", "192.168.1.2")
        gather(observer, [alice, bob])
        return cls(alice, bob, wire)

    def start(
        self,
        transports: frozenset[Transport],
        flow: TCPFlow = TCPFlow.SIMULTANEOUS,
        skew: float = 0.0,
        **more: object,
    ) -> None:
        """
        Begin both sessions, and introduce them to each other.
        """
        self.startedAt = self.wire.now
        first, second = configs(self.wire, transports, flow, **more)
        self.alice.start(first)
        self.bob.start(second)
        introduce(self.alice, self.bob, transports, skew)

    def finish(self, limit: float = 60.0) -> None:
        """
        Let the sessions run until both have a path or none, and for a moment more.
        """
        run(self.wire, lambda: isSettled(self.alice, self.bob), limit)
        run(self.wire, lambda: False, 1.0 + 4 * self.wire.latency)


def meet(
    first: str | NATBehaviour,
    second: str | NATBehaviour,
    transports: frozenset[Transport],
    flow: TCPFlow = TCPFlow.SIMULTANEOUS,
    skew: float = 0.0,
    wire: Wire | None = None,
    **more: object,
) -> Meeting:
    """
    Let two sessions run to their end.
    """
    meeting = Meeting.between(first, second, wire)
    meeting.start(transports, flow, skew, **more)
    meeting.finish()
    return meeting


class MeetingTestCase(SynchronousTestCase):
    """
    What the tests of whole sessions share.
    """

    def assertNear(self, length: float, expected: float) -> None:
        """
        Two lengths of time are equal but for what a packet takes inside a network.
        """
        self.assertTrue(abs(length - expected) < 0.01, f"{length} is not near {expected}")
