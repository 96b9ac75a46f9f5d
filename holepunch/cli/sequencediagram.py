"""
A sequence diagram as values: who takes part, which messages went when, what is worth a note.

Owns: the values, and the arithmetic on them that every renderer needs.
Knows nothing of: sessions and traces; how a diagram is drawn.
Driven by: L{holepunch.cli.sessiondiagram}, which makes one of what two peers saw; drawn by
L{holepunch.cli.diagramtext} and L{holepunch.cli.diagramsvg}.
"""

from __future__ import annotations

import enum

import attrs

_LONG = 10.0


class ParticipantKind(enum.Enum):
    """
    What a participant is: it decides how its lifeline looks.
    """

    PEER = "peer"
    NAT = "NAT"
    SERVICE = "service"


class MessageKind(enum.Enum):
    """
    What a message belongs to; the value is for the legend.
    """

    SIGNAL = "through the rendezvous service"
    ASSIST = "assist listener (STUN)"
    RELAY = "to and through the relay"
    PUNCH = "punching"
    PROOF = "proof and nomination"
    STREAM = "the path in use"


def moment(seconds: float) -> str:
    """
    Write a time since the beginning.
    """
    return f"{seconds * 1000:.0f} ms" if seconds < _LONG else f"{seconds:.1f} s"


def _printable(text: str) -> str:
    """
    Some of the words come from others: neither a terminal nor a file format shall obey them.
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


@attrs.frozen(kw_only=True)
class Participant:
    """
    One lifeline.

    @ivar detail: Small print, such as its address.
    """

    name: str
    kind: ParticipantKind
    detail: str = attrs.field(default="", converter=_printable)


@attrs.frozen(kw_only=True)
class Message:
    """
    One arrow.

    @ivar sentAt: Seconds from the beginning of the diagram.
    @ivar arrivedAt: Likewise, at C{receiver} or, for a stopped message, at C{stoppedBy}.
    @ivar stoppedBy: Where it ended before it reached C{receiver}.
    """

    sentAt: float
    arrivedAt: float
    sender: str
    receiver: str
    label: str = attrs.field(converter=_printable)
    kind: MessageKind
    stoppedBy: str | None = None

    @property
    def end(self) -> str:
        """
        The participant at which the arrow ends.
        """
        return self.receiver if self.stoppedBy is None else self.stoppedBy


@attrs.frozen(kw_only=True)
class Hole:
    """
    A NAT lets packets of the other peer pass from now on.
    """

    at: float
    nat: str


@attrs.frozen(kw_only=True)
class Note:
    """
    A remark on the lifeline of one participant.
    """

    at: float
    participant: str
    text: str = attrs.field(converter=_printable)


@attrs.frozen(kw_only=True)
class SequenceDiagram:
    """
    One picture. All times are in seconds from its beginning.

    @ivar subtitle: A sentence below the title: the outcome.
    @ivar participants: From left to right.
    @ivar conclusion: What the two peers have at the end; empty for nothing.
    @ivar footnote: Small print below the picture.
    """

    title: str = attrs.field(converter=_printable)
    subtitle: str = attrs.field(converter=_printable)
    participants: tuple[Participant, ...]
    messages: tuple[Message, ...]
    holes: tuple[Hole, ...] = ()
    notes: tuple[Note, ...] = ()
    conclusion: str = attrs.field(default="", converter=_printable)
    footnote: str = attrs.field(default="", converter=_printable)

    @property
    def names(self) -> tuple[str, ...]:
        """
        Of the participants, from left to right.
        """
        return tuple(participant.name for participant in self.participants)

    @property
    def kinds(self) -> tuple[MessageKind, ...]:
        """
        The kinds of message that occur.
        """
        used = {message.kind for message in self.messages}
        return tuple(kind for kind in MessageKind if kind in used)
