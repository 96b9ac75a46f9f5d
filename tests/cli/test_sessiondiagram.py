"""
Tests for L{holepunch.cli.sessiondiagram} and L{holepunch.cli.sessionside}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.sequencediagram import MessageKind
from holepunch.cli.sessiondiagram import diagramSession
from holepunch.errors import BadTrace
from holepunch.peer.events import (
    Failed,
    Introduced,
    PeerEvent,
    Requested,
)
from tests.cli.witness import BEGIN, SESSION, UDP, arrows, diagramOf, lines, pair


class IntroductionTests(SynchronousTestCase):
    """
    The beginning.
    """

    def test_request(self) -> None:
        """
        The request goes to the service, which tells both peers of each other.
        """
        self.assertEqual(
            lines(
                "0-50 alice>rendezvous request: reach bob",
                "50-100 rendezvous>alice introduction: bob at 31.2.0.1",
                "50-100 rendezvous>bob offer: alice at 31.1.0.1",
            ),
            sorted(arrows(diagramOf(*pair()), MessageKind.SIGNAL)),
        )

    def test_participants(self) -> None:
        """
        Each peer that is behind a NAT has it beside it.
        """
        diagram = diagramOf(*pair())
        self.assertEqual(("alice", "alice's NAT", "rendezvous", "bob's NAT", "bob"), diagram.names)
        self.assertEqual("31.2.0.1", diagram.participants[3].detail)

    def test_onePublic(self) -> None:
        """
        A public peer has no NAT.
        """
        diagram = diagramOf(*pair("31.2.0.10:5000", "31.2.0.10:5000"))
        self.assertEqual(("alice", "alice's NAT", "rendezvous", "bob"), diagram.names)

    def test_oneNAT(self) -> None:
        """
        Peers behind one NAT stand on the same side of it.
        """
        diagram = diagramOf(*pair("31.1.0.1:5000", "192.168.1.20:5000"))
        self.assertEqual(("alice", "bob", "NAT", "rendezvous"), diagram.names)

    def test_nothingInCommon(self) -> None:
        """
        Traces of different sessions make no diagram.
        """
        alice, bob = pair()
        for one, other in ((alice.events, []), ([], bob.events), (bob.events, alice.events)):
            with self.assertRaises(BadTrace):
                diagramSession(("alice", one), ("bob", other))

    def test_otherSessions(self) -> None:
        """
        Of several sessions, the one that was asked for last is drawn.
        """
        alice, bob = pair()
        events: list[PeerEvent] = [
            Requested(at=BEGIN - 3, target="bob"),
            Introduced(
                at=BEGIN - 2.9,
                session="earlier",
                remotePeer=bob.peerID,
                remoteName="bob",
                isRequester=True,
            ),
            Failed(at=BEGIN - 2, session="earlier", reason="nothing worked"),
        ]
        alice.events[2:2] = events
        self.assertEqual("It has not ended yet.", diagramOf(alice, bob).subtitle)

    def test_assist(self) -> None:
        """
        What the assist listeners tell is drawn once for each address, and only while it is news.
        """
        alice, bob = pair()
        alice.mapped(0.2)
        alice.mapped(0.21, "5.2.0.1")
        bob.mapped(0.5)
        alice.connected(0.4, bob)
        self.assertEqual(
            ["150-200 rendezvous>alice STUN: you are 31.1.0.1:4000"],
            arrows(diagramOf(alice, bob), MessageKind.ASSIST),
        )


class OutcomeTests(SynchronousTestCase):
    """
    The words around the picture.
    """

    def test_success(self) -> None:
        """
        The path and its time are told, and by which transport.
        """
        alice, bob = pair()
        alice.connected(0.2, bob, UDP)
        diagram = diagramOf(alice, bob)
        self.assertEqual("alice reaches bob by UDP", diagram.title)
        self.assertEqual(
            "A direct path, 192.168.1.10:4000 to 31.2.0.1:5000, 200 ms after the request.",
            diagram.subtitle,
        )

    def test_failure(self) -> None:
        """
        The reason is told where there is no path.
        """
        alice, bob = pair()
        alice.events.append(Failed(at=BEGIN + 10, session=SESSION, reason="both are symmetric"))
        self.assertEqual("It failed: both are symmetric", diagramOf(alice, bob).subtitle)
