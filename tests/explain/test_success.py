"""
Sessions that found a path, explained.
"""

from __future__ import annotations

from holepunch.address import Transport, TransportAddress
from holepunch.explain import Cause, Ended, Trace, explain
from holepunch.identity import PeerID
from holepunch.lab import Topology
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.nat.packet import Protocol
from holepunch.peer.events import Connected, Introduced, PeerEvent, Punched
from holepunch.punch import EventKind, PunchEvent
from tests.explain.stage import CONES, TCP, UDP, CauseTestCase

ALICE, BOB = (PeerID.fromPublicKey(bytes([each]) * 32) for each in (1, 2))
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

    def test_losers(self) -> None:
        """
        A connection that was accepted just before the path was chosen may be the very peer's: only
        who has had the time to prove to be the peer, and has not, is a stranger.
        """
        for waited, isStranger in ((0.01, False), (2.0, True)):
            steps = [
                PunchEvent(
                    at=at,
                    kind=kind,
                    transport=Transport.TCP,
                    local=TransportAddress("192.168.1.10", 5000),
                    remote=TransportAddress(host, 6000),
                    connection=connection,
                )
                for at, kind, host, connection in (
                    (1.0, EventKind.CONNECTED, "192.168.1.20", 1),
                    (1.0 + waited, EventKind.CONNECTED, "31.2.0.1", 2),
                    (1.0 + waited, EventKind.CHECK_ANSWERED, "31.2.0.1", 2),
                    (1.0 + waited, EventKind.SELECTED, "31.2.0.1", 2),
                )
            ]
            told: tuple[PeerEvent, ...] = (
                Introduced(at=0.0, session="s", remotePeer=BOB, remoteName=None, isRequester=True),
                *(Punched(at=step.at, session="s", event=step) for step in steps),
                Connected(
                    at=1.0 + waited,
                    session="s",
                    remotePeer=BOB,
                    remoteName=None,
                    path="direct",
                    transport=Transport.TCP,
                    local=TransportAddress("192.168.1.10", 5000),
                    remote=TransportAddress("31.2.0.1", 6000),
                    candidate="srflx",
                    seconds=1.0,
                ),
            )
            found = explain([Trace(peer=ALICE, name="alice", events=told, ended=Ended(at=9.0))])
            self.assertIs(found.cause, Cause.CONNECTED)
            self.assertEqual("Somebody else" in " ".join(found.sentences), isStranger)

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
