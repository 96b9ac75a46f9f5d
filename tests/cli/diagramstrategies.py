"""
Strategies for sequence diagrams.
"""

from __future__ import annotations

from hypothesis import strategies as st

from holepunch.cli.sequencediagram import (
    Hole,
    Message,
    MessageKind,
    Note,
    Participant,
    ParticipantKind,
    SequenceDiagram,
)

_NAMES = ("alice", "alice's NAT", "rendezvous", "bob's NAT", "bob")
_KINDS = (
    ParticipantKind.PEER,
    ParticipantKind.NAT,
    ParticipantKind.SERVICE,
    ParticipantKind.NAT,
    ParticipantKind.PEER,
)
_SECONDS = st.floats(min_value=0.0, max_value=20.0).map(lambda value: round(value, 3))
_TEXT = st.text(max_size=60)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """
    Any arrow between two participants.
    """
    sender, receiver = draw(st.permutations(_NAMES))[:2]
    sentAt = draw(_SECONDS)
    others = [name for name in _NAMES if name != sender]
    return Message(
        sentAt=sentAt,
        arrivedAt=sentAt + draw(_SECONDS),
        sender=sender,
        receiver=receiver,
        label=draw(_TEXT),
        kind=draw(st.sampled_from(MessageKind)),
        stoppedBy=draw(st.none() | st.sampled_from(others)),
    )


def diagrams() -> st.SearchStrategy[SequenceDiagram]:
    """
    Any diagram of five participants.
    """
    participants = [
        Participant(name=name, kind=kind) for name, kind in zip(_NAMES, _KINDS, strict=True)
    ]
    holes = st.builds(Hole, at=_SECONDS, nat=st.sampled_from(("alice's NAT", "bob's NAT")))
    notes = st.builds(Note, at=_SECONDS, participant=st.sampled_from(_NAMES), text=_TEXT)
    return st.builds(
        SequenceDiagram,
        title=_TEXT,
        subtitle=_TEXT,
        participants=st.just(tuple(participants)),
        messages=st.lists(messages(), min_size=1, max_size=12).map(tuple),
        holes=st.lists(holes, max_size=2).map(tuple),
        notes=st.lists(notes, max_size=3).map(tuple),
        conclusion=_TEXT,
        footnote=_TEXT,
    )
