"""
What two peers tell of a session, and the diagram of it, for tests.
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.address import Transport, TransportAddress
from holepunch.cli.sequencediagram import MessageKind, SequenceDiagram
from holepunch.cli.sessiondiagram import diagramSession
from holepunch.identity import PeerID
from holepunch.peer.events import (
    Connected,
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
