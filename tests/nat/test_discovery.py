"""
What is concluded about a NAT from outside.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping, PortAllocation
from holepunch.nat.discovery import (
    NATReport,
    Observation,
    ProtocolReport,
    explain,
    filteringBehaviour,
    portAllocation,
    possibleMappings,
)

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
        report = ProtocolReport.conclude(observe(Mapping.ENDPOINT_INDEPENDENT, SERVERS[:1]))
        self.assertEqual((report.mapping, report.isDestinationDependent), (None, None))
        self.assertTrue(report.isTranslated)

    def test_twoHosts(self) -> None:
        """
        Two hosts tell a mapping that depends on the destination, if not on which part of it.
        """
        report = ProtocolReport.conclude(
            observe(Mapping.ADDRESS_AND_PORT_DEPENDENT, (SERVERS[0], SERVERS[2]))
        )
        self.assertEqual((report.mapping, report.isDestinationDependent), (None, True))

    def test_onlyOneEndpointCounts(self) -> None:
        """
        Other local endpoints have other mappings, which says nothing about the behaviour.
        """
        other = Observation(
            local=attrs.evolve(LOCAL, port=5001),
            server=SERVERS[3],
            mapped=TransportAddress("198.51.100.1", 9999),
        )
        observations = [*observe(Mapping.ENDPOINT_INDEPENDENT, SERVERS), other]
        report = ProtocolReport.conclude(observations)
        self.assertIs(report.mapping, Mapping.ENDPOINT_INDEPENDENT)

    def test_noNAT(self) -> None:
        """
        Who is seen as what it is has no NAT, so its mapping depends on nothing.
        """
        report = ProtocolReport.conclude(
            [Observation(local=LOCAL, server=SERVERS[0], mapped=LOCAL)]
        )
        self.assertEqual((report.isTranslated, report.isBlocked), (False, False))
        self.assertIs(report.mapping, Mapping.ENDPOINT_INDEPENDENT)


class PortTests(SynchronousTestCase):
    """
    How external ports are chosen.
    """

    def test_preserved(self) -> None:
        """
        Ports are preserved when the first mapping of each local port has that port.
        """
        ports = ((5000, 5000), (5000, 7000), (5001, 5001))
        self.assertIs(portAllocation(seen(*ports)), PortAllocation.PRESERVED)

    def test_sequential(self) -> None:
        """
        Ports are sequential when they go one way in small steps; others may use the NAT, too.
        """
        for ports in ((7000, 7001, 7004), (7000, 6998, 6997)):
            observations = seen(*((5000, port) for port in ports))
            self.assertIs(portAllocation(observations), PortAllocation.SEQUENTIAL)

    def test_random(self) -> None:
        """
        Ports that jump are random.
        """
        for ports in ((7000, 7001, 6999), (7000, 9000, 12000)):
            observations = seen(*((5000, port) for port in ports))
            self.assertIs(portAllocation(observations), PortAllocation.RANDOM)

    def test_tooFew(self) -> None:
        """
        Two ports are too few to tell a sequence from chance.
        """
        self.assertIsNone(portAllocation(seen((5000, 7000), (5001, 7001))))


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


class ReportTests(SynchronousTestCase):
    """
    The classic name, and the sentence for people.
    """

    def udp(self, **values: object) -> NATReport:
        protocol = ProtocolReport(isBlocked=False, **values)  # type: ignore[arg-type]
        return NATReport(udp=protocol, tcp=ProtocolReport())

    def test_classicNames(self) -> None:
        """
        UDP decides the classic name, as far as it is known.
        """
        cone = {
            "isTranslated": True,
            "mapping": Mapping.ENDPOINT_INDEPENDENT,
            "isDestinationDependent": False,
        }
        for values, name in (
            ({"isTranslated": False, "filtering": Filtering.ENDPOINT_INDEPENDENT}, "open internet"),
            (
                {"isTranslated": False, "filtering": Filtering.ADDRESS_DEPENDENT},
                "symmetric UDP firewall",
            ),
            ({"isTranslated": True, "isDestinationDependent": True}, "symmetric"),
            ({**cone, "filtering": Filtering.ADDRESS_DEPENDENT}, "restricted cone"),
            (cone, None),
            ({}, None),
        ):
            self.assertEqual(self.udp(**values).classic, name)
        blocked = NATReport(udp=ProtocolReport(isBlocked=True), tcp=ProtocolReport())
        self.assertEqual(blocked.classic, "blocked")

    @given(
        st.sampled_from([None, True, False]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, *Filtering]),
        st.sampled_from([None, *PortAllocation]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, True, False]),
    )
    def test_alwaysOneSentence(
        self,
        isTranslated: bool | None,
        isDependent: bool | None,
        filtering: Filtering | None,
        ports: PortAllocation | None,
        isUDPBlocked: bool | None,
        isTCPBlocked: bool | None,
    ) -> None:
        """
        Whatever was found out, there is one sentence for people.
        """
        protocol = ProtocolReport(
            isTranslated=isTranslated,
            isDestinationDependent=isDependent,
            filtering=filtering,
            ports=ports,
        )
        report = NATReport(
            udp=attrs.evolve(protocol, isBlocked=isUDPBlocked),
            tcp=attrs.evolve(protocol, isBlocked=isTCPBlocked),
        )
        self.assertTrue(explain(report).endswith("."))

    def test_blocked(self) -> None:
        """
        Where one transport is blocked, the sentence names the other.
        """
        free, blocked = ProtocolReport(isBlocked=False), ProtocolReport(isBlocked=True)
        self.assertIn("only TCP", explain(NATReport(udp=blocked, tcp=free)))
        self.assertIn("only UDP", explain(NATReport(udp=free, tcp=blocked)))
