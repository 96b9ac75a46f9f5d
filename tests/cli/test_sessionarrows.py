"""
Tests for L{holepunch.cli.sessionarrows}: the arrows of connects and checks.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.cli.sequencediagram import MessageKind
from holepunch.punch import EventKind
from tests.cli.witness import UDP, arrows, diagramOf, lines, pair


class ConnectTests(SynchronousTestCase):
    """
    SYNs, of which the traces tell nothing but when connects began and succeeded.
    """

    def test_crossing(self) -> None:
        """
        Connects of one round trip each are two SYNs that crossed, and opened the holes.
        """
        alice, bob = pair()
        for one, other in ((alice, bob), (bob, alice)):
            one.step(0.1, EventKind.CONNECT_STARTED, other.outside)
            one.step(0.2, EventKind.CONNECTED, other.outside)
        diagram = diagramOf(alice, bob)
        self.assertEqual(
            lines(
                "100-150 alice>bob SYN",
                "100-150 bob>alice SYN",
                "150-200 alice>bob SYN ACK",
                "150-200 bob>alice SYN ACK",
            ),
            sorted(arrows(diagram, MessageKind.PUNCH)),
        )
        self.assertEqual({"alice's NAT", "bob's NAT"}, {hole.nat for hole in diagram.holes})

    def test_droppedFirst(self) -> None:
        """
        A connect that took a round trip longer than the other side's lost its SYN at the NAT.
        """
        alice, bob = pair()
        alice.step(0.1, EventKind.CONNECT_STARTED, bob.outside)
        bob.step(0.18, EventKind.CONNECT_STARTED, alice.outside)
        bob.step(0.28, EventKind.CONNECTED, alice.outside)
        alice.step(0.33, EventKind.CONNECTED, bob.outside)
        self.assertEqual(
            lines(
                "100-145 alice>|bob's NAT SYN",
                "180-230 bob>alice SYN",
                "230-280 alice>bob SYN ACK",
                "280-330 bob>alice ACK",
            ),
            sorted(arrows(diagramOf(alice, bob), MessageKind.PUNCH)),
        )

    def test_sequential(self) -> None:
        """
        In the sequential flow the first SYN ends at the NAT, and "ready" goes through the service.
        """
        alice, bob = pair()
        bob.step(0.1, EventKind.CONNECT_STARTED, alice.outside)
        bob.step(0.25, EventKind.CONNECT_FAILED, alice.outside, detail="no answer")
        for again in (0.0, 0.001):
            bob.signalled(0.25 + again, "ready", isOutgoing=True)
            alice.signalled(0.35 + again, "ready", isOutgoing=False)
        alice.step(0.35, EventKind.CONNECT_STARTED, bob.outside)
        alice.step(0.45, EventKind.CONNECTED, bob.outside)
        diagram = diagramOf(alice, bob)
        self.assertEqual(
            [
                "100-145 bob>|alice's NAT SYN",
                "350-400 alice>bob SYN",
                "400-450 bob>alice SYN ACK",
            ],
            arrows(diagram, MessageKind.PUNCH),
        )
        self.assertEqual(
            [
                "250-300 bob>rendezvous ready: bob listens",
                "300-350 rendezvous>alice ready: bob listens",
            ],
            arrows(diagram, MessageKind.SIGNAL)[3:],
        )
        self.assertIn("sequential", diagram.title)

    def test_lostSYN(self) -> None:
        """
        A connect of more than a second had its SYN sent twice.
        """
        alice, bob = pair()
        alice.step(0.1, EventKind.CONNECT_STARTED, bob.outside)
        alice.step(1.2, EventKind.CONNECTED, bob.outside)
        self.assertEqual(
            [
                "100-145 alice>|bob's NAT SYN",
                "1100-1150 alice>bob SYN again",
                "1150-1200 bob>alice SYN ACK",
            ],
            arrows(diagramOf(alice, bob), MessageKind.PUNCH),
        )

    def test_refused(self) -> None:
        """
        A refused connect was answered by the other side's NAT.
        """
        alice, bob = pair()
        alice.step(0.1, EventKind.CONNECT_STARTED, bob.outside)
        alice.step(0.19, EventKind.CONNECT_FAILED, bob.outside, detail="refused")
        self.assertEqual(
            ["100-145 alice>|bob's NAT SYN", "140-190 bob's NAT>alice RST"],
            arrows(diagramOf(alice, bob), MessageKind.PUNCH),
        )

    def test_manyTries(self) -> None:
        """
        Of many vain tries the first three are drawn.
        """
        alice, bob = pair()
        for connection in range(10):
            at = 0.1 + connection
            alice.step(at, EventKind.CONNECT_STARTED, bob.outside, connection=connection)
        self.assertEqual(
            ["SYN", "SYN again", "SYN again"],
            [each.label for each in diagramOf(alice, bob).messages if each.stoppedBy],
        )

    def test_private(self) -> None:
        """
        What was tried in vain at private addresses is named below the picture, and opens no hole.
        """
        alice, bob = pair()
        alice.step(0.1, EventKind.CONNECT_STARTED, bob.inside)
        diagram = diagramOf(alice, bob)
        self.assertEqual([], arrows(diagram, MessageKind.PUNCH))
        self.assertEqual((), diagram.holes)
        self.assertEqual(
            "Private addresses, tried in vain: 192.168.2.10 (by alice).", diagram.footnote
        )


class CheckTests(SynchronousTestCase):
    """
    Checks and answers.
    """

    def test_crossing(self) -> None:
        """
        A check that left one side and came to the other is one arrow; so is its answer, with the
        check that goes back in the same flight.
        """
        alice, bob = pair()
        for one, other in ((alice, bob), (bob, alice)):
            one.step(0.1, EventKind.CHECK_SENT, other.outside, UDP)
            one.step(0.15, EventKind.CHECK_RECEIVED, other.outside, UDP)
            one.step(0.15, EventKind.CHECK_SENT, other.outside, UDP)
            one.step(0.2, EventKind.CHECK_RECEIVED, other.outside, UDP)
            one.step(0.2, EventKind.CHECK_ANSWERED, other.outside, UDP)
        diagram = diagramOf(alice, bob)
        self.assertEqual(
            lines("100-150 alice>bob check", "100-150 bob>alice check"),
            sorted(arrows(diagram, MessageKind.PUNCH)),
        )
        self.assertEqual(
            lines("150-200 alice>bob success + check", "150-200 bob>alice success + check"),
            sorted(arrows(diagram, MessageKind.PROOF)),
        )

    def test_dropped(self) -> None:
        """
        A check that the other side did not see ended at its NAT.
        """
        alice, bob = pair()
        alice.step(0.1, EventKind.CHECK_SENT, bob.outside, UDP)
        self.assertEqual(
            ["100-145 alice>|bob's NAT check"], arrows(diagramOf(alice, bob), MessageKind.PUNCH)
        )

    def test_manyDropped(self) -> None:
        """
        Of many checks in vain the first three are drawn.
        """
        alice, bob = pair()
        for count in range(10):
            alice.step(0.1 + count, EventKind.CHECK_SENT, bob.outside, UDP)
        self.assertEqual(
            ["check", "check again", "check again"],
            [each.label for each in diagramOf(alice, bob).messages if each.stoppedBy],
        )

    def test_afterTheEnd(self) -> None:
        """
        A check that came when the other side looked at none any more is not called dropped.
        """
        alice, bob = pair()
        bob.connected(0.2, alice, UDP)
        alice.step(0.16, EventKind.CHECK_SENT, bob.outside, UDP)
        self.assertEqual([], arrows(diagramOf(alice, bob), MessageKind.PUNCH))

    def test_symmetric(self) -> None:
        """
        An address that only the other side's answer showed is known as well.
        """
        alice, bob = pair()
        elsewhere = TransportAddress("31.1.0.1", 4321)
        alice.step(0.1, EventKind.CHECK_SENT, bob.outside, UDP)
        bob.step(0.15, EventKind.CHECK_RECEIVED, elsewhere, UDP)
        alice.step(0.2, EventKind.CHECK_ANSWERED, bob.outside, UDP, f"mapped to {elsewhere}")
        self.assertEqual(
            ["100-150 alice>bob check"], arrows(diagramOf(alice, bob), MessageKind.PUNCH)
        )

    def test_nominationByTCP(self) -> None:
        """
        The nominating check brings TLS with it, and so does its answer; the first data follow.
        """
        alice, bob = pair()
        alice.step(0.2, EventKind.CHECK_SENT, bob.outside, detail="nominating")
        bob.step(0.25, EventKind.CHECK_RECEIVED, alice.outside, detail="nominating")
        alice.step(0.3, EventKind.CHECK_ANSWERED, bob.outside)
        alice.connected(0.3, bob)
        bob.connected(0.35, alice)
        diagram = diagramOf(alice, bob)
        self.assertEqual(
            [
                "200-250 alice>bob nominating check + TLS hello",
                "250-300 bob>alice success + TLS hello",
                "300-350 alice>bob TLS finished, first data",
            ],
            arrows(diagram, MessageKind.PROOF, MessageKind.STREAM),
        )
        self.assertEqual(
            [("alice", 300), ("bob", 350)],
            [(note.participant, round(note.at * 1000)) for note in diagram.notes],
        )

    def test_privatePath(self) -> None:
        """
        Checks between private addresses are arrows, and open no hole.
        """
        alice, bob = pair("31.1.0.1:5000", "192.168.1.20:5000")
        alice.step(0.1, EventKind.CHECK_SENT, bob.inside, UDP)
        bob.step(0.101, EventKind.CHECK_RECEIVED, alice.inside, UDP)
        diagram = diagramOf(alice, bob)
        self.assertEqual(["100-101 alice>bob check"], arrows(diagram, MessageKind.PUNCH))
        self.assertEqual((), diagram.holes)
