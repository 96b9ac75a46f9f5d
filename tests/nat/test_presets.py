"""
Tests for L{holepunch.nat.presets}, and for what of a behaviour only they have.
"""

from __future__ import annotations

from random import Random

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import UsageError
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    PRESETS,
    DropReason,
    NATBehaviour,
    NATDevice,
    Packet,
    PortAllocation,
    Protocol,
    Service,
    TCPFlag,
)

from .harness import ALICE, BOB, CONE, EXTERNAL, Rig

_WEB = TransportAddress(BOB.host, 443)


def _fateOf(behaviour: NATBehaviour, protocol: Protocol, remote: TransportAddress) -> object:
    """
    What becomes of the first packet out: the reason, or where it goes.
    """
    device = NATDevice(behaviour, [EXTERNAL], Random(1))
    flags = TCPFlag.SYN if protocol is Protocol.TCP else TCPFlag(0)
    device.receiveInside(Packet(protocol, ALICE, remote, flags=flags), 0.0)
    (effect,) = device.takeEffects()
    return getattr(effect, "reason", effect.packet.destination)


class LifetimeTests(SynchronousTestCase):
    """
    Mappings that end however busy they are.
    """

    def test_ends(self) -> None:
        """
        A mapping in steady use ends when its lifetime is over, and the next has another port.
        """
        behaviour = attrs.evolve(
            CONE, udpTimeout=30.0, mappingLifetime=100.0, ports=PortAllocation.SEQUENTIAL
        )
        rig = Rig(behaviour)
        first = rig.mapped(ALICE, BOB)
        for moment in range(10, 100, 10):
            rig.now = float(moment)
            self.assertEqual(rig.mapped(ALICE, BOB), first)
            self.assertEqual(rig.reached(BOB, first), ALICE)
        (view,) = rig.device.mappings(rig.now)
        self.assertEqual(view.expiresAt, 100.0)
        rig.now = 100.0
        self.assertIs(rig.reached(BOB, first), DropReason.NO_MAPPING)
        second = rig.mapped(ALICE, BOB)
        self.assertNotEqual(second, first)
        rig.now = 125.0
        self.assertEqual(rig.reached(BOB, second), ALICE)

    def test_idleComesFirst(self) -> None:
        """
        A mapping that nobody uses ends after its idle time, as any other.
        """
        rig = Rig(attrs.evolve(CONE, udpTimeout=30.0, mappingLifetime=100.0))
        external = rig.mapped(ALICE, BOB)
        rig.now = 30.0
        self.assertIs(rig.reached(BOB, external), DropReason.NO_MAPPING)


class OutboundTests(SynchronousTestCase):
    """
    Devices that let only some services out.
    """

    def test_only(self) -> None:
        """
        What is permitted goes out, the rest is dropped with a reason, be it port or protocol.
        """
        behaviour = attrs.evolve(CONE, outbound=(Service(Protocol.TCP, 443),))
        self.assertEqual(_fateOf(behaviour, Protocol.TCP, _WEB), _WEB)
        for protocol, remote in ((Protocol.UDP, _WEB), (Protocol.TCP, BOB)):
            self.assertIs(_fateOf(behaviour, protocol, remote), DropReason.NOT_PERMITTED)

    def test_blocked(self) -> None:
        """
        Of a blocked protocol nothing goes out, and everything else does.
        """
        behaviour = PRESETS["udp-blocked"]
        self.assertIs(_fateOf(behaviour, Protocol.UDP, BOB), DropReason.BLOCKED)
        self.assertEqual(_fateOf(behaviour, Protocol.TCP, BOB), BOB)

    def test_senselessPort(self) -> None:
        """
        A port that cannot be is refused.
        """
        for port in (0, 65536):
            with self.assertRaises(UsageError):
                Service(Protocol.TCP, port)


class PresetTests(SynchronousTestCase):
    """
    The examples.
    """

    def test_names(self) -> None:
        """
        No preset hides a plain kind of NAT of the same name.
        """
        self.assertFalse(PRESETS.keys() & NAMED_BEHAVIOURS.keys())

    def test_webGetsOut(self) -> None:
        """
        Behind each of them the web can be reached.
        """
        for name, behaviour in PRESETS.items():
            self.assertEqual(_fateOf(behaviour, Protocol.TCP, _WEB), _WEB, name)

    def test_classicNames(self) -> None:
        """
        They are what people say of such devices.
        """
        self.assertEqual(
            {name: behaviour.classicName for name, behaviour in PRESETS.items()},
            {
                "home-router": "port-restricted cone",
                "linux-fully-random": "symmetric",
                "carrier-grade-lifetime": "port-restricted cone",
                "pf": "symmetric",
                "cloud-gateway": "symmetric",
                "udp-blocked": "port-restricted cone",
                "corporate-firewall": "port-restricted cone",
            },
        )
