"""
What keeps checks and connects from coming through, injected and named.
"""

from __future__ import annotations

from typing import Any

import attrs

from holepunch.explain import Cause
from holepunch.lab import Topology
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.nat.packet import Packet, Protocol
from tests.explain.middlebox import Middlebox, accept, isOfService, noRoute, reset
from tests.explain.stage import CONES, TCP, UDP, CauseTestCase

NATS = ("nat-alice", "nat-bob")
CONE = NAMED_BEHAVIOURS["port-restricted"]


def isDirectTCP(packet: Packet) -> bool:
    """
    TCP from peer to peer.
    """
    return packet.protocol is Protocol.TCP and not isOfService(packet)


def isPunching(packet: Packet) -> bool:
    """
    All TCP but the main connection.
    """
    ports = (packet.source.port, packet.destination.port)
    return packet.protocol is Protocol.TCP and not (isOfService(packet) and 4460 in ports)


class NATTests(CauseTestCase):
    """
    NATs and firewalls that let no path through.
    """

    def inject(self, topology: Topology | str, transports: Any, inject: Any = None) -> None:
        """
        Let alice try, with something in the way.
        """
        network = self.stage(topology)
        self.listen()
        if inject is not None:
            inject(network.internet.fabric)
        self.ping(transports)
        network.internet.advance(40.0)

    def test_bothSymmetric(self) -> None:
        """
        Two symmetric NATs map by destination, which either trace alone shows as well.
        """
        for transports in (TCP, UDP):
            self.inject("symmetric-random/symmetric-random", transports)
            self.assertFromAnySide(Cause.BOTH_MAP_BY_DESTINATION, ("alice", "bob"))
            self.assertCause(Cause.BOTH_MAP_BY_DESTINATION, "alice")
            self.assertCause(Cause.BOTH_MAP_BY_DESTINATION, "bob")

    def test_oneSymmetric(self) -> None:
        """
        A symmetric NAT and a port-restricted one do not meet, and it is said which is which.
        """
        for transports in (TCP, UDP):
            self.inject("symmetric-random/port-restricted", transports)
            self.assertFromAnySide(Cause.MAPPING_MEETS_FILTER, ("alice's NAT", "bob sends"))
            self.inject("port-restricted/symmetric-random", transports)
            self.assertFromAnySide(Cause.MAPPING_MEETS_FILTER, ("bob's NAT", "alice sends"))
            self.assertCause(Cause.MAPPING_MEETS_FILTER, "alice", words=("bob's NAT",))

    def test_blockedUDP(self) -> None:
        """
        Where UDP is blocked, it is said on which side.
        """
        for side in ("alice", "bob"):
            network = self.stage(CONES)
            network.internet.fabric.nat(f"nat-{side}").block(Protocol.UDP)
            self.session(UDP)
            self.assertFromAnySide(Cause.UDP_BLOCKED, (f"at {side}.",))
            self.assertCause(Cause.UDP_BLOCKED, "alice", words=(f"at {side}.",))
            self.assertCause(Cause.UDP_BLOCKED, "bob", words=(f"at {side}.",))

    def test_blockedUDPOnBothSides(self) -> None:
        """
        Where UDP is blocked on both sides, both are named.
        """
        network = self.stage(CONES)
        for name in NATS:
            network.internet.fabric.nat(name).block(Protocol.UDP)
        self.session(UDP)
        self.assertFromAnySide(Cause.UDP_BLOCKED, ("alice and bob",))

    def test_blockedTCP(self) -> None:
        """
        A network that passes no TCP but the main connection is named.
        """
        self.inject(CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS[:1], isPunching))
        self.assertFromAnySide(Cause.TCP_BLOCKED, ("at alice.",))
        self.assertCause(Cause.TCP_BLOCKED, "alice", words=("at alice.",))

    def test_reset(self) -> None:
        """
        A firewall that answers with resets is recognised from either side.
        """
        self.inject(CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS, isDirectTCP, reset))
        self.assertFromAnySide(Cause.RESET_ON_THE_WAY, ("31.2.0.1", "refused"))
        self.assertCause(Cause.RESET_ON_THE_WAY, "alice")
        self.assertCause(Cause.RESET_ON_THE_WAY, "bob")

    def test_proxy(self) -> None:
        """
        Somebody who accepts connections in the peer's name is not taken for the peer.
        """
        self.inject(CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS, isDirectTCP, accept))
        self.assertFromAnySide(Cause.ANSWERED_FOR_THE_PEER, ("31.2.0.1",))
        self.assertCause(Cause.ANSWERED_FOR_THE_PEER, "alice")

    def test_decoy(self) -> None:
        """
        A stranger with the peer's private address is named, where the public one leads nowhere.
        """
        network = self.stage(Topology.sameSubnet(CONE, CONE))
        self.listen()
        Middlebox.install(network.internet.fabric, NATS, isDirectTCP)
        self.startDecoys()
        self.ping(TCP)
        network.internet.advance(40.0)
        self.assertFromAnySide(Cause.DECOY, ("192.168.1.20",))
        self.assertCause(Cause.DECOY, "alice", words=("192.168.1.20",))

    def test_noRoute(self) -> None:
        """
        A router that knows no way says so.
        """
        self.inject(
            CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS, isDirectTCP, noRoute)
        )
        self.assertFromAnySide(Cause.NO_ROUTE, ("31.2.0.1",))

    def test_firewall(self) -> None:
        """
        Silence between two good NATs is a firewall's.
        """
        self.inject(
            CONES,
            UDP,
            lambda fabric: Middlebox.install(fabric, NATS, lambda packet: not isOfService(packet)),
        )
        self.assertFromAnySide(Cause.NOTHING_CAME_THROUGH)
        self.assertCause(Cause.NOTHING_CAME_THROUGH, "alice", words=("not known",))

    def test_noHairpin(self) -> None:
        """
        One outer NAT without hairpin is recognised by the address that both have.
        """
        carrier = attrs.evolve(CONE, hairpin=False)
        for transports in (TCP, UDP):
            self.inject(Topology.twoLevel(CONE, CONE, carrier), transports)
            self.assertFromAnySide(Cause.NO_HAIRPIN, ("31.3.0.1",))
            self.assertCause(Cause.NO_HAIRPIN, "alice", words=("31.3.0.1",))
            self.assertCause(Cause.NO_HAIRPIN, "bob")

    def test_loss(self) -> None:
        """
        Where few checks arrive, it is loss.
        """
        count = 0

        def isLost(packet: Packet) -> bool:
            nonlocal count
            count += not isOfService(packet)
            return not isOfService(packet) and count % 8 != 0

        self.inject(CONES, UDP, lambda fabric: Middlebox.install(fabric, NATS[1:], isLost))
        self.assertFromAnySide(Cause.LOSS, ("arrived",))
