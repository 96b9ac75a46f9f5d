"""
Tests for L{holepunch.peer.quiccontrol} and what it is for.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.quiccontrol import Control, ControlMessage, ControlReader
from tests.peer.network import Recorder
from tests.peer.quicnetwork import Pair

messages = st.lists(
    st.builds(
        ControlMessage,
        st.sampled_from(Control),
        st.integers(0, 2**62 - 1),
        st.integers(0, 2**62 - 1),
    )
)


class ControlTests(SynchronousTestCase):
    """
    The messages.
    """

    @given(messages=messages, cut=st.integers(1, 40))
    def test_roundTrip(self, messages: list[ControlMessage], cut: int) -> None:
        """
        Messages come out as they went in, however their bytes are cut.
        """
        data = b"".join(message.encode() for message in messages)
        reader = ControlReader()
        read = [
            message
            for start in range(0, len(data), cut)
            for message in reader.feed(data[start : start + cut])
        ]
        self.assertEqual(messages, read)

    @given(data=st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Unknown kinds are passed over.
        """
        for message in ControlReader().feed(data):
            self.assertIn(message.control, Control)

    def test_lostEnd(self) -> None:
        """
        A stream ends where the control stream says so, even when QUIC's own word is lost for good.
        """
        pair = Pair()
        pair.connect()
        here, there = Recorder(), Recorder()
        stream, _ = pair.join(here, there)
        send = pair.alice._core.send

        def withoutEnd(stream: int, data: bytes, isEnd: bool = False) -> None:
            if not isEnd:
                send(stream, data)

        pair.alice._core.send = withoutEnd  # type: ignore[method-assign]
        stream.write(b"last words")
        stream.loseConnection()
        self.assertIsInstance(pair.waitFor(there.lost), ConnectionDone)
        self.assertEqual(b"last words", there.received)
        self.assertIsInstance(pair.waitFor(here.lost), ConnectionDone)

    def test_messagesAboutNothing(self) -> None:
        """
        What is said of streams that are not there does no harm, nor does a second control stream.
        """
        pair = Pair()
        pair.connect()
        core = pair.alice._core
        for _ in range(2):
            number = core.openStream(isUnidirectional=True)
            assert number is not None
            core.send(number, b"\x00")
            for stream in range(1000):
                for control in Control:
                    core.send(number, ControlMessage(control, stream, stream).encode())
        pair.alice.pathMoved()
        pair.advance(1.0)
        self.assertTrue(pair.bob.isConnected)
        recorder = Recorder()
        pair.join(there=recorder)[0].write(b"data")
        self.assertEqual(b"data", pair.waitFor(recorder.whenReceived(4)))
