"""
How L{holepunch.nat.NATDevice} maps, held against the definitions of RFC 4787 section 4.
"""

from __future__ import annotations

from itertools import pairwise

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, UsageError
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    DropReason,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Protocol,
)
from tests.nat.harness import (
    ACK,
    ALICE,
    BOB,
    BOB_OTHER_PORT,
    CAROL,
    CONE,
    DAVE,
    EXTERNAL,
    SYMMETRIC,
    Rig,
    everyBehaviour,
)


class MappingTests(SynchronousTestCase):
    """
    For which destinations the mapped address is the same.
    """

    def test_reuse(self) -> None:
        """
        Every behaviour reuses a mapping for exactly the destinations that its definition names.
        """
        for behaviour in everyBehaviour():
            looksLikeCone = behaviour.overloadsPorts and behaviour.ports is PortAllocation.PRESERVED
            for protocol in (Protocol.UDP, Protocol.TCP):
                rig = Rig(behaviour)
                first = rig.mapped(ALICE, BOB, protocol)
                otherPort = rig.mapped(ALICE, BOB_OTHER_PORT, protocol)
                otherHost = rig.mapped(ALICE, DAVE, protocol)
                self.assertEqual(rig.mapped(ALICE, BOB, protocol), first, behaviour)
                self.assertEqual(
                    otherPort == first,
                    looksLikeCone or behaviour.mapping is not Mapping.ADDRESS_AND_PORT_DEPENDENT,
                    behaviour,
                )
                self.assertEqual(
                    otherHost == first,
                    looksLikeCone or behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT,
                    behaviour,
                )

    def test_neverAmbiguous(self) -> None:
        """
        No two internal endpoints ever share a mapped address towards one remote endpoint.
        """
        for behaviour in everyBehaviour():
            rig = Rig(behaviour)
            for remote in (BOB, BOB_OTHER_PORT, DAVE):
                self.assertNotEqual(rig.mapped(ALICE, remote), rig.mapped(CAROL, remote), behaviour)

    def test_protocolsApart(self) -> None:
        """
        UDP and TCP have port numbers of their own.
        """
        rig = Rig(CONE)
        self.assertEqual(rig.mapped(ALICE, BOB), TransportAddress(EXTERNAL, 5000))
        self.assertEqual(rig.mapped(CAROL, BOB, Protocol.TCP), TransportAddress(EXTERNAL, 5000))

    def test_overloading(self) -> None:
        """
        A symmetric device that preserves ports looks like a cone until two hosts use one port.
        """
        rig = Rig(NAMED_BEHAVIOURS["linux-masquerade"])
        preserved = TransportAddress(EXTERNAL, 5000)
        self.assertEqual(rig.mapped(ALICE, BOB), preserved)
        self.assertEqual(rig.mapped(ALICE, DAVE), preserved)
        self.assertEqual(rig.mapped(CAROL, BOB_OTHER_PORT), preserved)
        self.assertEqual(rig.mapped(CAROL, BOB), TransportAddress(EXTERNAL, 5001))
        self.assertEqual(rig.reached(DAVE, preserved), ALICE)
        self.assertEqual(rig.reached(BOB_OTHER_PORT, preserved), CAROL)
        self.assertEqual(rig.reached(BOB, TransportAddress(EXTERNAL, 5001)), CAROL)

    def test_noOverloadingWithALooseFilter(self) -> None:
        """
        Two hosts share no port where the filter would let a stranger choose between them.
        """
        for mapping, filtering in (
            (Mapping.ADDRESS_DEPENDENT, Filtering.ENDPOINT_INDEPENDENT),
            (Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ENDPOINT_INDEPENDENT),
            (Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_DEPENDENT),
        ):
            rig = Rig(NATBehaviour(mapping=mapping, filtering=filtering))
            self.assertEqual(rig.mapped(ALICE, BOB), rig.mapped(ALICE, DAVE))
            third = TransportAddress("198.51.100.9", 6000)
            self.assertEqual(rig.mapped(CAROL, third), TransportAddress(EXTERNAL, 5001))


class PortTests(SynchronousTestCase):
    """
    Which external port is chosen.
    """

    def ports(self, behaviour: NATBehaviour, count: int = 5, seed: int = 1) -> list[int]:
        """
        The ports of new mappings from one internal endpoint to several remote ones.
        """
        rig = Rig(behaviour, seed=seed)
        return [
            rig.mapped(ALICE, TransportAddress(BOB.host, 7000 + index)).port
            for index in range(count)
        ]

    def test_preservedFallsBack(self) -> None:
        """
        A port that is taken gives way to the next free one.
        """
        rig = Rig(CONE)
        third = TransportAddress("192.168.1.12", 5000)
        ports = [rig.mapped(internal, BOB).port for internal in (ALICE, CAROL, third)]
        self.assertEqual(ports, [5000, 5001, 5002])

    def test_sequentialSteps(self) -> None:
        """
        Sequential ports follow each other at the distance of the step, upwards or downwards.
        """
        for step in (1, 2, 7, -1):
            behaviour = attrs.evolve(SYMMETRIC, portStep=step, firstPort=1024)
            ports = self.ports(behaviour)
            distances = {after - before for before, after in pairwise(ports)}
            self.assertEqual(distances, {step})

    def test_sequentialWrapsAround(self) -> None:
        """
        After the last port comes the first.
        """
        ports = self.ports(attrs.evolve(SYMMETRIC, firstPort=2000, lastPort=2004), count=5)
        self.assertEqual(sorted(ports), [2000, 2001, 2002, 2003, 2004])

    def test_randomIsSeeded(self) -> None:
        """
        Random ports come from the given source alone, and do not follow each other.
        """
        behaviour = attrs.evolve(SYMMETRIC, ports=PortAllocation.RANDOM)
        first = self.ports(behaviour, count=20)
        self.assertEqual(first, self.ports(behaviour, count=20))
        self.assertNotEqual(first, self.ports(behaviour, count=20, seed=2))
        distances = {after - before for before, after in pairwise(first)}
        self.assertGreater(len(distances), 15)

    def test_exhaustion(self) -> None:
        """
        When all ports are given away, new mappings are refused and old ones go on working.
        """
        for ports in PortAllocation:
            behaviour = attrs.evolve(
                SYMMETRIC, ports=ports, firstPort=5000, lastPort=5003, overloadsPorts=False
            )
            self.assertEqual(sorted(self.ports(behaviour, count=4)), [5000, 5001, 5002, 5003])
            rig = Rig(behaviour)
            for index in range(4):
                rig.mapped(ALICE, TransportAddress(DAVE.host, 7000 + index))
            self.assertIs(rig.refusedOut(ALICE, BOB), DropReason.PORTS_EXHAUSTED)
            rig.mapped(ALICE, TransportAddress(DAVE.host, 7000))
            rig.now = 301.0
            rig.mapped(ALICE, BOB)


class LimitTests(SynchronousTestCase):
    """
    Bounded tables.
    """

    def test_mappings(self) -> None:
        """
        Above the maximum of mappings, packets that need another one are dropped.
        """
        rig = Rig(attrs.evolve(SYMMETRIC, maxMappings=2))
        rig.mapped(ALICE, BOB)
        rig.mapped(CAROL, BOB)
        self.assertIs(rig.refusedOut(ALICE, DAVE), DropReason.TABLE_FULL)
        rig.mapped(ALICE, BOB)

    def test_mappingsPerHost(self) -> None:
        """
        One host that uses up its share leaves the others theirs.
        """
        rig = Rig(attrs.evolve(SYMMETRIC, maxMappingsPerHost=2))
        rig.mapped(ALICE, BOB)
        rig.mapped(ALICE, BOB_OTHER_PORT)
        self.assertIs(rig.refusedOut(ALICE, DAVE), DropReason.HOST_LIMIT)
        rig.mapped(CAROL, DAVE)

    def test_sessions(self) -> None:
        """
        Strangers outside can use up the sessions, but no more than the maximum.
        """
        rig = Rig(attrs.evolve(CONE, maxSessions=3))
        external = rig.mapped(ALICE, BOB)
        strangers = [TransportAddress("198.51.100.9", 7000 + index) for index in range(3)]
        self.assertEqual(rig.reached(strangers[0], external), ALICE)
        self.assertEqual(rig.reached(strangers[1], external), ALICE)
        self.assertIs(rig.reached(strangers[2], external), DropReason.TABLE_FULL)
        self.assertIs(rig.refusedOut(ALICE, DAVE), DropReason.TABLE_FULL)
        self.assertEqual(rig.reached(BOB, external), ALICE)


class PoolingTests(SynchronousTestCase):
    """
    Several external hosts.
    """

    hosts = ("203.0.113.1", "203.0.113.2", "2001:db8::1")

    def test_paired(self) -> None:
        """
        All mappings of an internal host are on one external host, and hosts take turns.
        """
        rig = Rig(SYMMETRIC, self.hosts)
        used = {
            internal.host: {rig.mapped(internal, remote).host for remote in (BOB, DAVE)}
            for internal in (ALICE, CAROL)
        }
        self.assertEqual(used, {ALICE.host: {self.hosts[0]}, CAROL.host: {self.hosts[1]}})

    def test_family(self) -> None:
        """
        An IPv6 host gets an IPv6 address, and none where the device has none.
        """
        internal = TransportAddress("fd00::10", 5000)
        remote = TransportAddress("2001:db8:7::7", 6000)
        self.assertEqual(Rig(CONE, self.hosts).mapped(internal, remote).host, "2001:db8::1")
        self.assertIs(Rig(CONE).refusedOut(internal, remote), DropReason.NO_EXTERNAL_HOST)

    def test_badHost(self) -> None:
        """
        An external host must be an IP literal.
        """
        with self.assertRaises(BadAddress):
            Rig(CONE, ("nat.example.org",))


class OneToOneTests(SynchronousTestCase):
    """
    Static pairs of an internal and an external host.
    """

    hosts = ("203.0.113.1", "203.0.113.2")

    def test_keepsPorts(self) -> None:
        """
        Each internal host has an external one to itself, with the same ports, even low ones.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"], self.hosts)
        self.assertEqual(rig.mapped(ALICE, BOB), TransportAddress(self.hosts[0], 5000))
        self.assertEqual(rig.mapped(CAROL, BOB), TransportAddress(self.hosts[1], 5000))
        low = TransportAddress(ALICE.host, 80)
        self.assertEqual(rig.mapped(low, DAVE), TransportAddress(self.hosts[0], 80))

    def test_noAddressLeft(self) -> None:
        """
        An internal host for which no external one is left cannot send.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"])
        rig.mapped(ALICE, BOB)
        self.assertIs(rig.refusedOut(CAROL, BOB), DropReason.NO_EXTERNAL_HOST)

    def test_pairOutlivesMappings(self) -> None:
        """
        The pair stays when its mappings have expired, and everybody may still send.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"])
        rig.mapped(ALICE, BOB)
        rig.now = 10_000.0
        self.assertEqual(rig.device.mappings(rig.now), ())
        external = TransportAddress(EXTERNAL, 99)
        self.assertEqual(rig.reached(DAVE, external), TransportAddress(ALICE.host, 99))

    def test_assign(self) -> None:
        """
        A pair can be given before the internal host sends anything.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"], self.hosts)
        rig.device.assign(CAROL.host, self.hosts[0])
        self.assertEqual(rig.reached(BOB, TransportAddress(self.hosts[0], 5000)), CAROL)
        self.assertEqual(rig.mapped(ALICE, BOB).host, self.hosts[1])

    def test_badAssignments(self) -> None:
        """
        A pair that cannot be is refused.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"], self.hosts)
        rig.device.assign(ALICE.host, self.hosts[0])
        rig.device.assign(ALICE.host, self.hosts[0])
        for internal, external in (
            (CAROL.host, self.hosts[0]),
            (ALICE.host, self.hosts[1]),
            (CAROL.host, "203.0.113.99"),
        ):
            with self.assertRaises(UsageError):
                rig.device.assign(internal, external)
        with self.assertRaises(UsageError):
            Rig(CONE).device.assign(ALICE.host, EXTERNAL)

    def test_hostWithExternalAddress(self) -> None:
        """
        An internal host that has one of the external addresses itself keeps it.
        """
        rig = Rig(NAMED_BEHAVIOURS["one-to-one"], self.hosts)
        public = TransportAddress(self.hosts[1], 5000)
        self.assertEqual(rig.mapped(public, BOB), public)

    def test_firewall(self) -> None:
        """
        Without external hosts addresses stay; only who was sent to may answer.
        """
        rig = Rig(NAMED_BEHAVIOURS["firewall"], ())
        self.assertIs(rig.reached(BOB, ALICE), DropReason.NO_MAPPING)
        self.assertEqual(rig.mapped(ALICE, BOB), ALICE)
        self.assertEqual(rig.reached(BOB, ALICE), ALICE)
        self.assertIs(rig.reached(BOB_OTHER_PORT, ALICE), DropReason.FILTERED)
        self.assertIs(rig.reached(DAVE, ALICE), DropReason.FILTERED)

    def test_noNAT(self) -> None:
        """
        Where there is no NAT, everything passes unchanged, segments of unknown connections too.
        """
        rig = Rig(NAMED_BEHAVIOURS["no-nat"], ())
        for protocol in (Protocol.UDP, Protocol.TCP):
            self.assertEqual(rig.reached(BOB, ALICE, protocol, ACK), ALICE)
            self.assertEqual(rig.mapped(CAROL, DAVE, protocol, ACK), CAROL)
