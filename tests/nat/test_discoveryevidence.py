"""
What follows from mapped addresses, and from answers that came or did not.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation
from holepunch.nat.discoveryevidence import (
    Observation,
    PortFinding,
    filteringBehaviour,
    findPorts,
    possibleMappings,
)
from holepunch.nat.discoveryfindings import isDestinationDependent, isTranslated

LOCAL = TransportAddress("10.0.0.2", 5000)
SERVERS = tuple(
    TransportAddress(host, port) for host in ("192.0.2.1", "192.0.2.2") for port in (3478, 3479)
)

# What the external port depends on, for each behaviour.
_KEYS: dict[Mapping, Callable[[TransportAddress], object]] = {
    Mapping.ENDPOINT_INDEPENDENT: lambda server: None,
    Mapping.ADDRESS_DEPENDENT: lambda server: server.host,
    Mapping.ADDRESS_AND_PORT_DEPENDENT: lambda server: server,
}


def observe(mapping: Mapping, servers: tuple[TransportAddress, ...]) -> list[Observation]:
    """
    What servers see of one local endpoint behind a NAT that maps so.
    """
    ports: dict[object, int] = {}
    return [
        Observation(
            local=LOCAL,
            server=server,
            mapped=TransportAddress(
                "198.51.100.1", ports.setdefault(_KEYS[mapping](server), 6000 + len(ports))
            ),
        )
        for server in servers
    ]


def seen(*ports: tuple[int, int]) -> list[Observation]:
    """
    Observations of local and mapped ports.
    """
    return [
        Observation(
            local=attrs.evolve(LOCAL, port=local),
            server=SERVERS[0],
            mapped=TransportAddress("198.51.100.1", mapped),
        )
        for local, mapped in ports
    ]


class MappingTests(SynchronousTestCase):
    """
    The mapping behaviour.
    """

    @given(st.sampled_from(Mapping), st.permutations(SERVERS))
    def test_allCorners(self, mapping: Mapping, servers: list[TransportAddress]) -> None:
        """
        Four servers at two hosts and two ports tell the behaviour, in whichever order.
        """
        self.assertEqual(possibleMappings(observe(mapping, tuple(servers))), {mapping})

    @given(st.sampled_from(Mapping), st.lists(st.sampled_from(SERVERS), min_size=1))
    def test_neverWrong(self, mapping: Mapping, servers: list[TransportAddress]) -> None:
        """
        However few servers there are, the behaviour is among those that are left.
        """
        self.assertIn(mapping, possibleMappings(observe(mapping, tuple(servers))))

    def test_oneServer(self) -> None:
        """
        One server alone tells nothing about the mapping.
        """
        seen = observe(Mapping.ENDPOINT_INDEPENDENT, SERVERS[:1])
        self.assertTrue(isTranslated(seen))
        self.assertIsNone(isDestinationDependent(seen))
        self.assertEqual(possibleMappings(seen), set(Mapping))

    def test_twoHosts(self) -> None:
        """
        Two hosts tell a mapping that depends on the destination, if not on which part of it.
        """
        seen = observe(Mapping.ADDRESS_AND_PORT_DEPENDENT, (SERVERS[0], SERVERS[2]))
        self.assertIs(isDestinationDependent(seen), True)
        self.assertGreater(len(possibleMappings(seen)), 1)

    def test_noNAT(self) -> None:
        """
        Who is seen as what it is has no NAT, so its mapping depends on nothing.
        """
        seen = [Observation(local=LOCAL, server=SERVERS[0], mapped=LOCAL)]
        self.assertEqual((isTranslated(seen), isDestinationDependent(seen)), (False, False))


class PortTests(SynchronousTestCase):
    """
    How external ports are chosen.
    """

    def find(self, *ports: tuple[int, int]) -> PortFinding:
        finding = findPorts(seen(*ports))
        assert finding is not None
        return finding

    def test_preserved(self) -> None:
        """
        Ports are preserved when most local ports are mapped to themselves; some may be taken.
        """
        finding = self.find((5000, 5000), (5001, 5001), (5002, 7000), (5003, 5003))
        self.assertEqual(finding, PortFinding(ports=PortAllocation.PRESERVED, confidence=0.75))

    def test_sequential(self) -> None:
        """
        Ports are sequential when they go one way by a step, or by some steps, as others use the
        NAT, too; one wrap at the end of the range does not hide it.
        """
        for ports, step, confidence in (
            ((7000, 7001, 7004, 7005, 7006), 1, 1.0),
            ((7000, 6998, 6996, 6990, 6988), -2, 1.0),
            ((65533, 65535, 1024, 1026, 1028), 2, 0.75),
        ):
            finding = self.find(*((5000 + number, port) for number, port in enumerate(ports)))
            self.assertIs(finding.ports, PortAllocation.SEQUENTIAL)
            self.assertEqual((finding.step, finding.confidence), (step, confidence))

    def test_random(self) -> None:
        """
        Ports that jump are random.
        """
        for ports in ((7000, 7001, 6999, 7002, 6990), (7000, 9000, 12000, 8000, 50000)):
            finding = self.find(*((5000, port) for port in ports))
            self.assertEqual((finding.ports, finding.step), (PortAllocation.RANDOM, None))

    @given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), min_size=4))
    def test_confidence(self, ports: list[tuple[int, int]]) -> None:
        """
        Whatever the ports, the confidence is a share of at least a half.
        """
        self.assertTrue(0.5 <= self.find(*ports).confidence <= 1.0)

    def test_tooFew(self) -> None:
        """
        Three ports are too few to tell a sequence from chance.
        """
        self.assertIsNone(findPorts(seen((5000, 7000), (5001, 7001), (5002, 7002))))


class FilteringTests(SynchronousTestCase):
    """
    The filtering behaviour.
    """

    def test_table(self) -> None:
        """
        Who is heard tells who may send; what the server cannot send tells nothing.
        """
        endpoint, address, port = Filtering
        for otherHost, otherPort, expected in (
            (True, True, endpoint),
            (True, None, endpoint),
            (False, True, address),
            (False, False, port),
            (False, None, None),
            (None, True, None),
            (None, None, None),
        ):
            self.assertIs(filteringBehaviour(otherHost, otherPort), expected)
