"""
Tests for L{holepunch.cli.sessiondiagram}, L{holepunch.cli.sessionarrows} and
L{holepunch.cli.sessionside}.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.cli.sequencediagram import MessageKind, SequenceDiagram
from holepunch.cli.sessiondiagram import diagramSession
from holepunch.errors import BadTrace
from holepunch.identity import PeerID
from holepunch.peer.events import (
    Connected,
    Failed,
    Introduced,
    Mapped,
    PeerEvent,
    Punched,
    Registered,
    Requested,
    Signalled,
)
from holepunch.punch import EventKind, PunchEvent

TCP, UDP = Transport.TCP, Transport.UDP
SESSION = "session"
BEGIN = 1000.0


class Witness:
    """
    One peer of a session, and what it tells.

    @ivar inside: The peer's own address; C{outside}: that of its NAT, or the same without one.
    """

    def __init__(self, name: str, inside: str, outside: str, isRequester: bool = False) -> None:
        self.name = name
        self.inside = TransportAddress.parse(inside)
        self.outside = TransportAddress.parse(outside)
        self.isRequester = isRequester
        self.peerID = PeerID.fromPublicKey(name.encode().ljust(32, b"\0"))
        self.events: list[PeerEvent] = [
            Registered(
                at=BEGIN - 5.0,
                peerID=self.peerID,
                name=name,
                observed=self.outside,
                isBehindNAT=self.inside.host != self.outside.host,
            ),
            Mapped(
                at=BEGIN - 4.9,
                session=None,
                transport=UDP,
                local=self.inside,
                mapped=self.outside,
                server=TransportAddress("5.1.0.1", 3478),
            ),
        ]

    def introduced(self, at: float, other: Witness) -> None:
        if self.isRequester:
            self.events.append(Requested(at=BEGIN, target=other.name))
        self.events.append(
            Introduced(
                at=BEGIN + at,
                session=SESSION,
                remotePeer=other.peerID,
                remoteName=other.name,
                isRequester=self.isRequester,
            )
        )

    def step(
        self,
        at: float,
        kind: EventKind,
        remote: TransportAddress,
        transport: Transport = TCP,
        detail: str = "",
        connection: int | None = 1,
    ) -> None:
        event = PunchEvent(
            at=BEGIN + at,
            kind=kind,
            transport=transport,
            local=self.inside,
            remote=remote,
            connection=connection if transport is TCP else None,
            detail=detail,
        )
        self.events.append(Punched(at=event.at, session=SESSION, event=event))

    def signalled(self, at: float, kind: str, isOutgoing: bool) -> None:
        self.events.append(
            Signalled(at=BEGIN + at, session=SESSION, kind=kind, isOutgoing=isOutgoing)
        )

    def mapped(self, at: float, server: str = "5.1.0.1") -> None:
        self.events.append(
            Mapped(
                at=BEGIN + at,
                session=SESSION,
                transport=TCP,
                local=self.inside,
                mapped=self.outside,
                server=TransportAddress(server, 3478),
            )
        )

    def connected(self, at: float, other: Witness, transport: Transport = TCP) -> None:
        self.step(at, EventKind.SELECTED, other.outside, transport)
        self.events.append(
            Connected(
                at=BEGIN + at,
                session=SESSION,
                remotePeer=other.peerID,
                remoteName=other.name,
                path="direct",
                transport=transport,
                local=self.inside,
                remote=other.outside,
                candidate="srflx",
                seconds=at,
            )
        )


def pair(
    bobOutside: str = "31.2.0.1:5000", bobInside: str = "192.168.2.10:5000"
) -> tuple[Witness, Witness]:
    """
    Alice and bob, introduced a round trip after the request.
    """
    alice = Witness("alice", "192.168.1.10:4000", "31.1.0.1:4000", isRequester=True)
    bob = Witness("bob", bobInside, bobOutside)
    alice.introduced(0.1, bob)
    bob.introduced(0.1, alice)
    return alice, bob


def diagramOf(alice: Witness, bob: Witness) -> SequenceDiagram:
    """
    The diagram of what the two tell.
    """
    return diagramSession((alice.name, alice.events), (bob.name, bob.events))


def arrows(diagram: SequenceDiagram, *kinds: MessageKind) -> list[str]:
    """
    The arrows of some kinds, in milliseconds: C{100-150 alice>bob SYN}, or C{|} where it stopped.
    """
    return [
        f"{each.sentAt * 1000:.0f}-{each.arrivedAt * 1000:.0f} {each.sender}>"
        f"{each.receiver if each.stoppedBy is None else '|' + each.stoppedBy} {each.label}"
        for each in diagram.messages
        if each.kind in kinds
    ]


def lines(*expected: str) -> Sequence[str]:
    """
    Sorted, for arrows of one moment have no order.
    """
    return sorted(expected)


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
