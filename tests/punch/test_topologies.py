"""
Properties of two sessions over networks at random: NATs, levels, loss, reordering, skew.
"""

from __future__ import annotations

import attrs
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.nat import (
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Unsolicited,
)
from holepunch.punch import (
    CloseConnection,
    OpenConnection,
    PathSelected,
    SendStream,
    StartStream,
    StreamData,
    TCPFlow,
)
from tests.punch.decoy import Decoy, Trick
from tests.punch.station import (
    ANSWER,
    BOTH,
    HELLO,
    TCP,
    UDP,
    Observer,
    Station,
    configs,
    gather,
    introduce,
    isSettled,
    run,
)
from tests.punch.wire import Network, Wire

behaviours = st.builds(
    NATBehaviour,
    mapping=st.sampled_from(Mapping),
    filtering=st.sampled_from(Filtering),
    ports=st.sampled_from(PortAllocation),
    unsolicited=st.sampled_from(Unsolicited),
    dropsMappingOnReset=st.booleans(),
    hairpin=st.booleans(),
)


@attrs.frozen
class Scenario:
    """
    A network at random, and what goes on in it.

    @ivar outer: A NAT that both peers' NATs are behind; L{None} where these are public.
    @ivar isShared: Both peers are behind the first NAT.
    """

    seed: int
    first: NATBehaviour | None
    second: NATBehaviour | None
    outer: NATBehaviour | None
    isShared: bool
    transports: frozenset[Transport]
    flow: TCPFlow
    latency: float
    loss: float
    jitter: float
    skew: float
    trick: Trick | None

    @property
    def isPossible(self) -> bool:
        """
        Does a way exist that asks nobody to guess a port?
        """
        if self.isShared:
            return True
        if self.outer is not None:
            return False
        isSequential = self.flow is TCPFlow.SEQUENTIAL and Transport.UDP not in self.transports
        if self.isBrittle or (self.isFragile and isSequential):
            return False
        return isReachable(self.first, self.second) or isReachable(self.second, self.first)

    @property
    def isBrittle(self) -> bool:
        """
        May a NAT forget, with the RST that answers one SYN, the mapping of all others to this peer?
        """
        return Transport.UDP not in self.transports and any(
            nat is not None
            and nat.dropsMappingOnReset
            and nat.mapping is not Mapping.ENDPOINT_INDEPENDENT
            for nat in (self.first, self.second, self.outer)
        )

    @property
    def isFragile(self) -> bool:
        """
        May a RST that comes late cut a TCP path? Who gives a connect up answers what comes too late
        with RST, as kernels do, and some NATs forget the mapping then.
        """
        nats = (self.first, self.second, self.outer)
        return any(nat is not None and nat.dropsMappingOnReset for nat in nats)


def isReachable(target: NATBehaviour | None, origin: NATBehaviour | None) -> bool:
    """
    Can C{origin} send to the address that C{target} announced, and be let in?
    """
    if target is None or target.filtering is Filtering.ENDPOINT_INDEPENDENT:
        return True
    if not keepsPort(target):
        return False
    return target.filtering is Filtering.ADDRESS_DEPENDENT or origin is None or keepsPort(origin)


def keepsPort(behaviour: NATBehaviour) -> bool:
    """
    Does every destination see the same port, as long as no other host inside uses it?
    """
    isPreserved = behaviour.ports is PortAllocation.PRESERVED
    return isPreserved or behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT


scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 1 << 32),
    first=st.none() | behaviours,
    second=st.none() | behaviours,
    outer=st.none() | st.none() | behaviours,
    isShared=st.sampled_from((False, False, True)),
    transports=st.sampled_from((UDP, TCP, BOTH)),
    flow=st.sampled_from(TCPFlow),
    latency=st.sampled_from((0.001, 0.03, 0.15)),
    loss=st.sampled_from((0.0, 0.0, 0.05, 0.15)),
    jitter=st.sampled_from((0.0, 0.2, 1.0)),
    skew=st.sampled_from((0.0, 0.0, 0.03, 0.2, 1.0)),
    trick=st.none() | st.sampled_from(Trick),
)


def play(scenario: Scenario) -> tuple[Station, Station]:
    """
    Let two sessions run in a scenario until both have a path or none, and a good while longer.
    """
    # The observer is heard without loss, so that both know their mapped addresses.
    wire = Wire(seed=scenario.seed, latency=scenario.latency)
    observer = Observer(wire)
    parent = wire.public
    externals = ["203.0.113.1", "203.0.113.2"]
    if scenario.outer is not None:
        parent = wire.addNAT(scenario.outer, "203.0.113.9")
        externals = ["100.64.0.1", "100.64.0.2"]
    networks: list[Network] = []
    for behaviour, external in zip((scenario.first, scenario.second), externals, strict=True):
        if scenario.isShared and networks:
            networks.append(networks[0])
        else:
            networks.append(
                parent if behaviour is None else wire.addNAT(behaviour, external, parent)
            )
    hosts = [
        external if network is parent else f"10.0.0.{number}"
        for number, (network, external) in enumerate(zip(networks, externals, strict=True), 2)
    ]
    alice, bob = (
        Station(wire=wire, network=network, host=host, isStrict=False)
        for network, host in zip(networks, hosts, strict=True)
    )
    gather(observer, [alice, bob])
    wire.loss, wire.jitter = scenario.loss, scenario.jitter
    first, second = configs(wire, scenario.transports, scenario.flow)
    alice.start(first)
    bob.start(second)
    if scenario.trick is not None:
        for station, other, ufrags in ((alice, bob, "alice:bobb"), (bob, alice, "bobb:alice")):
            if other.base.isPrivate and other.host not in station.network.hosts:
                decoy = Decoy(
                    wire=wire,
                    network=station.network,
                    address=other.base,
                    trick=scenario.trick,
                )
                decoy.attack(station.base, ufrags)
    introduce(alice, bob, scenario.transports, scenario.skew)
    run(wire, lambda: isSettled(alice, bob), 40.0)
    # Long enough for a nomination that nobody confirms, and too short to lose consent by bad luck.
    run(wire, lambda: False, 25.0)
    return alice, bob


class TopologyTests(SynchronousTestCase):
    """
    What holds in every network.
    """

    def check(self, scenario: Scenario) -> None:
        """
        Let a scenario run, and see whether everything holds.
        """
        alice, bob = play(scenario)
        hasPath = [station.path is not None and station.lost is None for station in (alice, bob)]
        if not scenario.isBrittle:
            self.assertEqual(hasPath[0], hasPath[1], (alice.failure, bob.failure))
        if scenario.isPossible:
            self.assertTrue(hasPath[0], (alice.failure, bob.failure))
        if all(hasPath):
            self.checkAgreement(alice, bob, scenario.isFragile)
        else:
            # A path that was lost may have carried data; nobody else's has come.
            self.assertLessEqual(set(alice.heard + bob.heard), {HELLO, ANSWER})
            for station in (alice, bob):
                if station.path is None:
                    self.assertEqual(station.heard, [])
        for station in (alice, bob):
            self.checkStreams(station)
            station.session.close("the end", station.wire.now)
            station.pump()
            self.assertIsNone(station.session.nextTimeout())
            self.assertEqual(station.opened, set())

    def checkAgreement(self, alice: Station, bob: Station, isFragile: bool) -> None:
        """
        Both have the same path, and what arrived came from the other.
        """
        assert alice.path is not None and bob.path is not None
        self.assertIs(alice.path.transport, bob.path.transport)
        self.assertEqual(alice.path.localCandidate.address, bob.path.remote)
        if alice.path.transport is Transport.UDP:
            self.assertEqual(bob.path.localCandidate.address, alice.path.remote)
            self.assertLessEqual(len(alice.heard), 1)
            self.assertLessEqual(set(alice.heard + bob.heard), {HELLO, ANSWER})
        else:
            self.assertLessEqual(set(alice.heard), {ANSWER})
            self.assertLessEqual(set(bob.heard), {HELLO})
            if not isFragile:
                self.assertEqual((len(alice.heard), len(bob.heard)), (1, 1))

    def checkStreams(self, station: Station) -> None:
        """
        Each connection was opened once; a stream begins once on it; nothing is written on it after
        the stream began or it was closed.
        """
        opened: set[int] = set()
        started: set[int] = set()
        ended: set[int] = set()
        for effect in station.effects:
            match effect:
                case OpenConnection():
                    self.assertNotIn(effect.connection, opened)
                    opened.add(effect.connection)
                case StartStream():
                    self.assertNotIn(effect.connection, started | ended)
                    started.add(effect.connection)
                case SendStream():
                    self.assertNotIn(effect.connection, started | ended)
                case CloseConnection():
                    self.assertNotIn(effect.connection, ended)
                    ended.add(effect.connection)
                case PathSelected():
                    self.assertNotIn(effect.path.connection, ended)
                case StreamData():
                    self.assertNotIn(effect.connection, ended)

    @settings(max_examples=400, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
    @given(scenarios)
    def test_everyNetwork(self, scenario: Scenario) -> None:
        """
        Both sides agree on one path or both have none; a way that exists is found; no stranger gets
        anything; nothing is left behind.
        """
        try:
            self.check(scenario)
        except AssertionError as error:
            # trial does not print the notes with which hypothesis tells its example.
            raise self.failureException(f"{scenario}: {error}") from error
