"""
Tests for L{holepunch.peer.demultiplexer}.
"""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.demultiplexer import Demultiplexer, SessionSink
from holepunch.stun import Attribute, AttributeType, Message, Method


def check(username: str | None, kind: Any = Message.request) -> bytes:
    """
    A Binding message with this USERNAME.
    """
    attributes = [] if username is None else [Attribute(AttributeType.USERNAME, username)]
    message: Message = kind(Method.BINDING, b"t" * 12, attributes)
    return message.encode(integrityKey=b"k")


class DemultiplexerTests(SynchronousTestCase):
    """
    From a check to its session.
    """

    def setUp(self) -> None:
        self.demultiplexer = Demultiplexer()
        self.session = cast(SessionSink, object())
        self.demultiplexer.enter("here", self.session)

    def test_known(self) -> None:
        """
        A request goes to the session whose fragment stands before the colon.
        """
        self.assertIs(self.demultiplexer.sessionFor(check("here:there")), self.session)

    def test_others(self) -> None:
        """
        Other fragments, other messages, and requests without USERNAME belong to nobody.
        """
        for data in (
            check("there:here"),
            check(""),
            check(None),
            check("here:there", Message.indication),
            b"",
            b"nonsense",
        ):
            self.assertIsNone(self.demultiplexer.sessionFor(data))

    def test_left(self) -> None:
        """
        A session that has ended gets nothing more; leaving twice does no harm.
        """
        self.demultiplexer.leave("here")
        self.demultiplexer.leave("here")
        self.assertIsNone(self.demultiplexer.sessionFor(check("here:there")))

    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """
        No bytes make it raise.
        """
        self.demultiplexer.sessionFor(data)
