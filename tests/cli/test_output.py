"""
What goes to stderr.
"""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.cli.notice import Importance, Notice, milliseconds
from holepunch.cli.output import (
    JSONOutput,
    TerminalOutput,
    TextOutput,
    makeOutput,
)
from holepunch.cli.reactorlog import noticeOf
from holepunch.errors import NoPathFound, UnknownPeer
from holepunch.identity import PeerID
from holepunch.peer.events import (
    Connected,
    Disconnected,
    Failed,
    InterfacesChanged,
    Introduced,
    Mapped,
    PeerEvent,
    Punched,
    Registered,
    Requested,
    Signalled,
)
from holepunch.punch import PunchEvent
from holepunch.punch.effects import EventKind

ALICE = PeerID.fromPublicKey(b"a" * 32)
LOCAL, REMOTE = TransportAddress("10.0.0.2", 1), TransportAddress("192.0.2.1", 2)
REGISTERED = Registered(at=0.0, peerID=ALICE, name="alice", observed=REMOTE, isBehindNAT=True)
ASKED = Introduced(at=0.0, session="mine", remotePeer=ALICE, remoteName=None, isRequester=True)
OFFERED = Introduced(at=0.0, session="theirs", remotePeer=ALICE, remoteName="a", isRequester=False)
CONNECTED = Connected(
    at=0.0,
    session="mine",
    remotePeer=ALICE,
    remoteName="alice",
    path="direct",
    transport=Transport.TCP,
    local=LOCAL,
    remote=REMOTE,
    candidate="srflx",
    seconds=0.123456789,
)
DETAILS: tuple[PeerEvent, ...] = (
    Requested(at=0.0, target="bob"),
    Mapped(
        at=0.0, session=None, transport=Transport.UDP, local=LOCAL, mapped=REMOTE, server=REMOTE
    ),
    Signalled(at=0.0, session="mine", kind="ready", isOutgoing=True),
    Punched(at=0.0, session="mine", event=PunchEvent(at=0.0, kind=next(iter(EventKind)))),
)


class Terminal(io.StringIO):
    """
    A stream that leads to a person.
    """

    def isatty(self) -> bool:
        return True


class JSONOutputTests(SynchronousTestCase):
    """
    For programs.
    """

    def told(self, *events: PeerEvent, verbosity: int = 0) -> list[dict[str, Any]]:
        stream = io.StringIO()
        output = JSONOutput(stream, verbosity)
        for event in events:
            output.observe(event)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    def test_connected(self) -> None:
        """
        The events that programs rely on have these keys and values.
        """
        self.assertEqual(
            self.told(REGISTERED, CONNECTED),
            [
                {
                    "event": "registered",
                    "peer": str(ALICE),
                    "name": "alice",
                    "observed": "192.0.2.1:2",
                    "nat": True,
                },
                {
                    "event": "connected",
                    "peer": str(ALICE),
                    "name": "alice",
                    "path": "direct",
                    "transport": "tcp",
                    "local": "10.0.0.2:1",
                    "remote": "192.0.2.1:2",
                    "candidate": "srflx",
                    "seconds": 0.123457,
                },
            ],
        )

    def test_failed(self) -> None:
        """
        The failure of a command says why, and what became of each pair.
        """
        stream = io.StringIO()
        JSONOutput(stream).fail(NoPathFound("nothing came through", ("one", "other")))
        self.assertEqual(
            json.loads(stream.getvalue()),
            {
                "event": "failed",
                "reason": "nothing came through",
                "error": "NoPathFound",
                "fates": ["one", "other"],
            },
        )

    def test_ownFailureOnce(self) -> None:
        """
        A failed session is told when others asked for it; our own is told as the command's end.
        """
        mine = Failed(at=0.0, session="mine", reason="mine", fates=())
        theirs = Failed(at=0.0, session="theirs", reason="theirs", fates=("fate",))
        told = self.told(ASKED, OFFERED, mine, theirs, Failed(at=0.0, session=None, reason="r"))
        self.assertEqual([event["event"] for event in told], ["introduced"] * 2 + ["failed"])
        self.assertEqual((told[-1]["reason"], told[-1]["fates"]), ("theirs", ["fate"]))

    def test_details(self) -> None:
        """
        Details come with C{-v} only.
        """
        self.assertEqual(self.told(*DETAILS), [])
        told = self.told(*DETAILS, verbosity=1)
        self.assertEqual(
            [event["event"] for event in told], ["requested", "mapped", "signalled", "punched"]
        )

    def test_noEcho(self) -> None:
        """
        The same reason again and again is told once.
        """
        lost = [Disconnected(at=float(time), reason="refused") for time in range(3)]
        self.assertEqual(len(self.told(*lost)), 1)


class TextOutputTests(SynchronousTestCase):
    """
    For people.
    """

    def test_again(self) -> None:
        """
        What another attempt may mend is tried again, a refusal is only told.
        """
        lost = Disconnected(at=0.0, reason="the network is away")
        refused = Disconnected(at=0.0, reason="go away", isMendable=False)
        self.assertEqual(self.told(lost, refused), ["the network is away; trying again", "go away"])

    def test_moved(self) -> None:
        """
        Other addresses are told to who wants to know more.
        """
        moved = InterfacesChanged(at=0.0, hosts=("192.0.2.7", "2001:db8::7"))
        self.assertEqual(self.told(moved), [])
        (line,) = self.told(moved, verbosity=1)
        self.assertIn("192.0.2.7, 2001:db8::7", line)

    def told(self, *events: PeerEvent, verbosity: int = 0) -> list[str]:
        stream = io.StringIO()
        output = TextOutput(stream, verbosity)
        output.step("something goes on")
        for event in events:
            output.observe(event)
        output.close()
        return stream.getvalue().splitlines()

    def test_quiet(self) -> None:
        """
        Without C{-v}, there is a line for the connection, and none for the way to it.
        """
        self.assertEqual(
            self.told(REGISTERED, ASKED, *DETAILS, CONNECTED),
            [
                f"connected to alice ({ALICE.short}…): direct tcp path, "
                "10.0.0.2:1 → 192.0.2.1:2 (srflx), after 123 ms"
            ],
        )

    def test_verbose(self) -> None:
        """
        With C{-v} there are the milestones, with C{-vv} the details.
        """
        events = (REGISTERED, ASKED, *DETAILS, CONNECTED)
        self.assertEqual(len(self.told(*events, verbosity=1)), 3)
        self.assertEqual(len(self.told(*events, verbosity=2)), 3 + len(DETAILS))

    def test_failure(self) -> None:
        """
        The failure of a command is one line; with C{-v} each pair has one before it.
        """
        error = NoPathFound("nothing came through", ("one", "other"))
        for verbosity, lines in ((0, []), (1, ["one", "other"])):
            stream = io.StringIO()
            TextOutput(stream, verbosity).fail(error)
            self.assertEqual(
                stream.getvalue().splitlines(), [*lines, "Error: nothing came through"]
            )

    def test_durations(self) -> None:
        """
        Durations have three digits, and always the same unit.
        """
        self.assertEqual(
            [milliseconds(each) for each in (0.000123456, 0.0123456, 0.123456, 2.5)],
            ["0.123 ms", "12.3 ms", "123 ms", "2500 ms"],
        )


class TerminalOutputTests(SynchronousTestCase):
    """
    For a person at a terminal.
    """

    def test_steps(self) -> None:
        """
        What goes on is shown while it goes on, and the lines stay.
        """
        stream = Terminal()
        output = TerminalOutput(stream)
        self.addCleanup(output.close)
        output.step("registering")
        output.observe(ASKED)
        output.observe(CONNECTED)
        output.fail(UnknownPeer("no peer of that name"))
        shown = stream.getvalue()
        for words in ("registering", "punching a path", "connected to alice", "Error: no peer"):
            self.assertIn(words, shown)

    def test_markup(self) -> None:
        """
        Brackets in what is told are no markup.
        """
        stream = Terminal()
        output = TerminalOutput(stream)
        output.note("event", "never told")
        output.tell(Notice(event="event", text="an address [2001:db8::1]:5 [bold]"))
        self.assertIn("[2001:db8::1]:5 [bold]", stream.getvalue())

    def test_chosen(self) -> None:
        """
        The form fits where stderr leads.
        """
        for stream, isJSON, kind in (
            (Terminal(), False, TerminalOutput),
            (Terminal(), True, JSONOutput),
            (io.StringIO(), False, TextOutput),
        ):
            self.assertIs(type(makeOutput(stream, isJSON)), kind)


class LogTests(SynchronousTestCase):
    """
    What is logged.
    """

    def test_importance(self) -> None:
        """
        Errors are always told; the less important a line is, the more C{-v} it needs.
        """
        for level, importance in (
            (LogLevel.critical, Importance.ALWAYS),
            (LogLevel.warn, Importance.MILESTONE),
            (LogLevel.info, Importance.DETAIL),
            (LogLevel.debug, Importance.DEBUGGING),
        ):
            notice = noticeOf({"log_level": level, "log_format": "{what} happened", "what": "it"})
            self.assertEqual((notice.text, notice.importance), ("it happened", importance))
