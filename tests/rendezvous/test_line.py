"""
Tests for L{holepunch.rendezvous.line}: what arrives may be anything.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.amp import AmpBox, parseString
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import TooLarge
from holepunch.rendezvous.commands import EndSession, Ping, Ready
from holepunch.rendezvous.introduction import EndReason
from holepunch.rendezvous.line import Line, shortened


class RecordingLine(Line):
    """
    Keeps the complaints.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[str] = []

    def misbehaved(self, reason: str) -> None:
        self.complaints.append(reason)


def request(**fields: bytes) -> AmpBox:
    return AmpBox({b"_ask": b"1", **{key.encode(): value for key, value in fields.items()}})


class LineTests(SynchronousTestCase):
    """
    L{Line}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.line, self.transport = self.connected()

    def connected(self) -> tuple[RecordingLine, StringTransport]:
        line = RecordingLine()
        line.clock = self.clock
        transport = StringTransport()
        line.makeConnection(transport)
        return line, transport

    def answers(self) -> list[Any]:
        return list(parseString(self.transport.value()))

    def test_ping(self) -> None:
        """
        A ping is answered.
        """
        self.line.dataReceived(request(_command=b"Ping").serialize())
        self.assertEqual(self.answers(), [AmpBox({b"_answer": b"1"})])

    @given(st.lists(st.binary(max_size=300), max_size=5))
    def test_garbage(self, chunks: list[bytes]) -> None:
        """
        Arbitrary bytes raise nothing.
        """
        line, transport = self.connected()
        for chunk in chunks:
            line.dataReceived(chunk)
        self.assertEqual(transport.disconnecting, line.isClosing)

    @given(st.dictionaries(st.sampled_from(["_command", "_answer", "_error", "x"]), st.binary()))
    def test_strangeBoxes(self, fields: dict[str, bytes]) -> None:
        """
        Well-formed boxes that make no sense raise nothing, and end the connection at worst.
        """
        line, transport = self.connected()
        box = AmpBox({key.encode(): value for key, value in fields.items()})
        if box:
            line.dataReceived(box.serialize())
        self.assertEqual(transport.disconnecting, line.isClosing)

    def test_notAMP(self) -> None:
        """
        Another protocol is disconnected, with one complaint.
        """
        self.line.dataReceived(b"GET / HTTP/1.1\r\n\r\n" * 10)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.line.complaints, ["what arrived is not AMP"])

    def test_unaskedAnswer(self) -> None:
        """
        An answer to nothing ends the connection.
        """
        self.line.dataReceived(AmpBox({b"_answer": b"77"}).serialize())
        self.assertEqual(len(self.line.complaints), 1)
        self.assertTrue(self.transport.disconnecting)

    def test_oversizeBox(self) -> None:
        """
        A message that never ends is cut off at the limit, though no value in it is too long.
        """
        for number in range(100):
            key = b"key%d" % number
            self.line.dataReceived(bytes([0, len(key)]) + key + b"\x10\x00" + bytes(4096))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.line.complaints, ["a message of more than 65536 bytes"])

    def test_manyInOne(self) -> None:
        """
        After the complaint nothing more is read, even of the same chunk.
        """
        bad = AmpBox({b"_answer": b"77"}).serialize()
        self.line.dataReceived(bad * 50 + request(_command=b"Ping").serialize())
        self.assertEqual(len(self.line.complaints), 1)
        self.assertEqual(self.answers(), [])

    def test_badArguments(self) -> None:
        """
        A command with missing or senseless arguments gets an error, and the connection ends.
        """
        for command, fields in (
            (b"Ready", {}),
            (b"Ready", {"sessionID": b"\xff\xfe"}),
            (b"EndSession", {"sessionID": b"x", "reason": b"because", "text": b""}),
        ):
            line = _Answering()
            line.clock = self.clock
            self.transport = StringTransport()
            line.makeConnection(self.transport)
            line.dataReceived(request(_command=command, **fields).serialize())
            [answer] = self.answers()
            self.assertEqual(answer[b"_error_code"], b"MALFORMED")
            self.assertTrue(self.transport.disconnecting)
            self.assertEqual(len(line.complaints), 1)

    def test_unknownCommand(self) -> None:
        """
        A command of a later version gets an error, and the connection stays; so does AMP's own.
        """
        for name in (b"Dance", b"StartTLS", b"\x80"):
            self.line.dataReceived(request(_command=name).serialize())
        codes = [answer[b"_error_code"] for answer in self.answers()]
        self.assertEqual(codes, [b"UNHANDLED"] * 3)
        self.assertFalse(self.transport.disconnecting)

    def test_bug(self) -> None:
        """
        A bug of ours is logged, and ends this connection only.
        """
        self.transport = StringTransport()
        line = _Buggy()
        line.clock = self.clock
        line.makeConnection(self.transport)
        line.dataReceived(request(_command=b"Ready", sessionID=b"x").serialize())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.answers()[0][b"_error_code"], b"UNKNOWN")
        self.assertTrue(line.isClosing)

    def test_tooLarge(self) -> None:
        """
        What is too large to be sent fails before a byte of it is sent.
        """
        failure = self.failureResultOf(
            self.line.callRemote(EndSession, sessionID="x", reason=EndReason.DONE, text="x" * 70000)
        )
        failure.trap(TooLarge)
        self.assertEqual(self.transport.value(), b"")

    def test_stubbornPeer(self) -> None:
        """
        A connection that the other side does not let us close is aborted after a while.
        """
        self.line.hangUp("enough")
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(5.0)
        self.assertTrue(self.transport.disconnected)

    def test_goodbye(self) -> None:
        """
        Goodbye is said once, as far as it fits, and with nothing after it.
        """
        self.line.hangUp("ü" * 2000)
        self.line.hangUp("again")
        self.line.drop("again")
        [box] = self.answers()
        self.assertEqual(box[b"_command"], b"Goodbye")
        self.assertEqual(len(box[b"text"]), 1000)
        self.line.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """
        A silent other side is pinged, and given up after three intervals.
        """
        self.line.startKeepalive(10.0)
        self.clock.pump([1.0] * 29)
        self.assertEqual([box[b"_command"] for box in self.answers()], [b"Ping"] * 2)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1.0)
        self.assertTrue(self.transport.disconnected)

    def test_lostWhileAsking(self) -> None:
        """
        Requests under way fail with the connection, and later ones at once.
        """
        asked = self.line.callRemote(Ping)
        self.line.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(asked, ConnectionLost)
        self.failureResultOf(self.line.callRemote(Ping), ConnectionLost)

    def test_shortened(self) -> None:
        """
        Texts are cut between characters.
        """
        self.assertEqual(shortened("short"), "short")
        self.assertEqual(shortened("€" * 400), "€" * 333)


class _Answering(RecordingLine):
    @Ready.responder
    def ready(self, sessionID: str) -> dict[str, Any]:
        return {}

    @EndSession.responder
    def end(self, sessionID: str, reason: EndReason, text: str) -> dict[str, Any]:
        return {}


class _Buggy(RecordingLine):
    @Ready.responder
    def ready(self, sessionID: str) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")
