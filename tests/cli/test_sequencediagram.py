"""
Tests for L{holepunch.cli.sequencediagram}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.sequencediagram import (
    Message,
    MessageKind,
    Participant,
    ParticipantKind,
    SequenceDiagram,
)


def message(
    sender: str,
    receiver: str,
    sentAt: float = 0.0,
    arrivedAt: float = 0.05,
    label: str = "SYN",
    kind: MessageKind = MessageKind.PUNCH,
    stoppedBy: str | None = None,
) -> Message:
    """
    An arrow with what most tests do not care for filled in.
    """
    return Message(
        sentAt=sentAt,
        arrivedAt=arrivedAt,
        sender=sender,
        receiver=receiver,
        label=label,
        kind=kind,
        stoppedBy=stoppedBy,
    )


PARTICIPANTS = (
    Participant(name="alice", kind=ParticipantKind.PEER, detail="192.168.1.10"),
    Participant(name="alice's NAT", kind=ParticipantKind.NAT, detail="31.1.0.1"),
    Participant(name="rendezvous", kind=ParticipantKind.SERVICE),
    Participant(name="bob's NAT", kind=ParticipantKind.NAT, detail="31.2.0.1"),
    Participant(name="bob", kind=ParticipantKind.PEER, detail="192.168.2.10"),
)


class MessageTests(SynchronousTestCase):
    """
    One arrow.
    """

    def test_arrives(self) -> None:
        """
        An arrow ends at its receiver.
        """
        self.assertEqual("bob", message("alice", "bob").end)

    def test_stopped(self) -> None:
        """
        A stopped arrow ends where it was stopped.
        """
        self.assertEqual("bob's NAT", message("alice", "bob", stoppedBy="bob's NAT").end)

    def test_printable(self) -> None:
        """
        What would command a terminal is not in a label.
        """
        self.assertEqual("\ufffd[2J\ufffd", message("alice", "bob", label="\x1b[2J\n").label)


class SequenceDiagramTests(SynchronousTestCase):
    """
    A whole diagram.
    """

    def test_kinds(self) -> None:
        """
        The kinds that occur come in the order of a session, whatever the order of the arrows.
        """
        diagram = SequenceDiagram(
            title="",
            subtitle="",
            participants=PARTICIPANTS,
            messages=(
                message("alice", "bob", kind=MessageKind.STREAM),
                message("alice", "bob", kind=MessageKind.PUNCH),
                message("bob", "alice", kind=MessageKind.PUNCH),
            ),
        )
        self.assertEqual((MessageKind.PUNCH, MessageKind.STREAM), diagram.kinds)

    def test_names(self) -> None:
        """
        The names are those of the participants, from left to right.
        """
        diagram = SequenceDiagram(title="", subtitle="", participants=PARTICIPANTS, messages=())
        self.assertEqual(("alice", "alice's NAT", "rendezvous", "bob's NAT", "bob"), diagram.names)
