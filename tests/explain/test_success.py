"""
Sessions that found a path, explained.
"""

from __future__ import annotations

from holepunch.explain import Cause
from holepunch.lab import Topology
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.nat.packet import Protocol
from tests.explain.stage import CONES, TCP, UDP, CauseTestCase

NATS = ("nat-alice", "nat-bob")
CONE = NAMED_BEHAVIOURS["port-restricted"]


class ConnectedTests(CauseTestCase):
    """
    Sessions that found a path.
    """

    def test_throughNATs(self) -> None:
        """
        Two cones let a path through the holes, and the sentence says so.
        """
        for transports in (TCP, UDP):
            self.stage(CONES)
            self.session(transports)
            words = ("directly", "where the service saw bob", "led nowhere")
            self.assertFromAnySide(Cause.CONNECTED, words)
            self.assertCause(Cause.CONNECTED, "alice", words=words)

    def test_otherSide(self) -> None:
        """
        The trace of the peer that was asked tells of the path, too.
        """
        self.stage(CONES)
        self.session(TCP)
        self.assertCause(Cause.CONNECTED, "bob", words=("bob and alice connected",))

    def test_closedOverUDP(self) -> None:
        """
        A UDP path that the other side has closed is not taken for a lost one.
        """
        self.stage(CONES)
        self.session(UDP)
        self.assertCause(Cause.CONNECTED, "bob", words=("bob and alice connected",))

    def test_sameLAN(self) -> None:
        """
        On one LAN the private path is taken, because it is preferred.
        """
        self.stage("port-restricted")
        self.session(TCP)
        self.assertFromAnySide(Cause.CONNECTED, ("private network",))

    def test_public(self) -> None:
        """
        A public peer needs no hole.
        """
        self.stage("port-restricted/none")
        self.session(UDP)
        self.assertFromAnySide(Cause.CONNECTED, ("public address of its own",))

    def test_peerReflexive(self) -> None:
        """
        A symmetric NAT is reached at the address from which its checks come.
        """
        self.stage("full-cone/symmetric")
        self.session(UDP)
        self.assertFromAnySide(Cause.CONNECTED, ("only when its checks came",))

    def test_hairpin(self) -> None:
        """
        A carrier's NAT with hairpin turns the packets back.
        """
        self.stage("port-restricted/port-restricted/port-restricted")
        self.session(UDP)
        self.assertFromAnySide(Cause.CONNECTED, ("turned the packets back",))

    def test_decoyOnTheSide(self) -> None:
        """
        A stranger at the private address is mentioned, though the session connects.
        """
        network = self.stage(Topology.sameSubnet(CONE, CONE))
        self.listen()
        self.startDecoys()
        self.ping(TCP)
        network.internet.advance(20.0)
        self.assertFromAnySide(Cause.CONNECTED)

    def test_lost(self) -> None:
        """
        A path that is cut later was lost, and not closed.
        """
        network = self.stage(CONES)
        self.listen()
        self.ping(UDP, stay=100.0)
        network.internet.advance(10.0)
        for name in NATS:
            network.internet.fabric.nat(name).block(Protocol.UDP)
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.PATH_LOST, ("has not answered",))
