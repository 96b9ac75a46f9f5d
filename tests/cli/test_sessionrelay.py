"""
Relays and moves in sequence diagrams.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.cli.sequencediagram import Message, MessageKind
from holepunch.cli.sessionrelay import RELAY, allocationArrows, moveNotes
from holepunch.peer.events import (
    Connected,
    Introduced,
    Moved,
    PairNews,
    RelayNews,
    RelayPair,
    RelayTold,
    Suspected,
)
from tests.cli.witness import BEGIN, SESSION, UDP, Witness, diagramOf, pair

SERVER = "turn:5.1.0.1:3480?transport=udp"
RELAYED = TransportAddress("5.1.0.1", 50000)


def told(at: float, news: RelayNews, server: str = SERVER, **more: Any) -> RelayTold:
    return RelayTold(at=BEGIN + at, news=news, server=server, **more)


def moved(at: float, witness: Witness, other: Witness, path: str | None) -> Moved:
    return Moved(
        at=BEGIN + at,
        session=SESSION,
        remotePeer=other.peerID,
        remoteName=other.name,
        path=path,
        transport=None if path is None else UDP,
        local=None if path is None else witness.inside,
        remote=None if path is None else other.outside,
        candidate=None if path is None else "srflx",
    )


def relayed() -> tuple[Witness, Witness]:
    """
    Both sides have an address at the relay, and meet there.
    """
    alice, bob = pair()
    for start, one, other in ((0.0, alice, bob), (0.1, bob, alice)):
        one.events += [
            told(start, RelayNews.ASKED),
            told(start + 0.04, RelayNews.ALLOCATED, relayed=RELAYED),
        ]
        for at, news in ((0.1, PairNews.CHECKED), (0.16, PairNews.PROVEN)):
            pairing = RelayPair(at=BEGIN + at, session=SESSION, news=news, remote=RELAYED)
            one.events.append(pairing)
        one.connected(0.16, other, UDP)
        last: Any = one.events[-1]
        assert isinstance(last, Connected)
        one.events[-1] = attrs.evolve(last, path="relay")
    return alice, bob


class DiagramTests(SynchronousTestCase):
    """
    Both sides.
    """

    def through(self, alice: Witness, bob: Witness) -> list[Message]:
        messages = diagramOf(alice, bob).messages
        return [each for each in messages if each.kind is MessageKind.RELAY]

    def test_hops(self) -> None:
        """
        The relay is a participant; what goes through it takes two arrows.
        """
        alice, bob = relayed()
        names = diagramOf(alice, bob).names
        self.assertEqual(names, ("alice", "alice's NAT", "rendezvous", RELAY, "bob's NAT", "bob"))
        ways = [
            (each.sender, each.receiver, each.label)
            for each in self.through(alice, bob)
            if "alice" in (each.sender, each.receiver) or "alice" in each.label
        ]
        self.assertEqual(
            sorted(ways),
            [
                ("alice", RELAY, "allocate by UDP"),
                ("alice", RELAY, "check for bob"),
                ("bob", RELAY, "check for alice"),
                (RELAY, "alice", "check of bob"),
                (RELAY, "alice", f"yours: {RELAYED}"),
                (RELAY, "bob", "check of alice"),
            ],
        )

    def test_none(self) -> None:
        """
        Without a relay there is none in the picture, even where an earlier session had one.
        """
        alice, bob = pair()
        alice.events.insert(0, told(-60.0, RelayNews.ASKED))
        self.assertNotIn(RELAY, diagramOf(alice, bob).names)

    def test_moves(self) -> None:
        """
        Each move, and what it was for, is a remark; a session for another path is no other picture.
        """
        alice, bob = relayed()
        direct = moved(0.3, alice, bob, "direct")
        alice.events += [
            direct,
            Suspected(
                at=BEGIN + 9.0,
                session=SESSION,
                path="direct",
                transport=UDP,
                local=alice.inside,
                remote=bob.outside,
            ),
            Introduced(
                at=BEGIN + 9.1,
                session="another",
                remotePeer=bob.peerID,
                remoteName="bob",
                isRequester=True,
                continues=SESSION,
            ),
            moved(10.0, alice, bob, None),
            moved(11.0, alice, bob, "relay"),
        ]
        notes = [each.text for each in diagramOf(alice, bob).notes if each.participant == "alice"]
        self.assertEqual(
            notes,
            ["connected", "moved: direct path", "path silent", "no path", "moved: relay path"],
        )


class ArrowTests(SynchronousTestCase):
    """
    One side.
    """

    def labels(self, *events: RelayTold) -> list[str]:
        return [each.label for each in allocationArrows(events, BEGIN, BEGIN + 60.0, 0.02)]

    def test_refused(self) -> None:
        """
        What a relay says instead of an address is told; of silence, that it is one.
        """
        asked = told(0.0, RelayNews.ASKED)
        for error, answer in (
            ("RelayRefused", ["allocate by UDP", "credential refused"]),
            ("RelayFull", ["allocate by UDP", "no room left"]),
            ("RelayUnreachable", ["allocate by UDP, unanswered"]),
        ):
            self.assertEqual(self.labels(asked, told(1.0, RelayNews.FAILED, error=error)), answer)
        self.assertEqual(self.labels(asked), ["allocate by UDP"])

    def test_ways(self) -> None:
        """
        Each way to the relay has its name, and what is no address of a relay has none.
        """
        for server, way in (
            ("turn:relay?transport=tcp", "TCP"),
            ("turns:relay:443?transport=tcp", "TLS"),
            ("\x1b[31m<script>", "an unknown way"),
        ):
            self.assertEqual(
                self.labels(told(0.0, RelayNews.ASKED, server)), [f"allocate by {way}"]
            )

    def test_bounded(self) -> None:
        """
        A trace with thousands of requests and moves does not make a picture of thousands.
        """
        many = [told(number / 100, RelayNews.ASKED) for number in range(1000)]
        self.assertLess(len(self.labels(*many)), 20)
        alice, bob = pair()
        moves = [moved(float(number), alice, bob, "relay") for number in range(1000)]
        self.assertLess(len(moveNotes(moves)), 20)
