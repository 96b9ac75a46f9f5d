"""
C{holepunch explain}: its forms, bad files, and hostile ones.
"""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.cli.explaindiagram import drawExplanation
from holepunch.cli.explainhtml import renderHTML
from holepunch.cli.main import main
from holepunch.cli.trace import TraceWriter, readTrace
from holepunch.errors import BadTrace
from holepunch.explain import Cause, Ended, Trace, explain
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
)
from holepunch.punch import EventKind, PunchEvent
from tests.cli.test_trace import events

ALICE, BOB = (PeerID.fromPublicKey(bytes([each]) * 32) for each in (1, 2))
LOCAL = TransportAddress("192.168.1.10", 5000)
REMOTE = TransportAddress("31.2.0.1", 6000)
HOSTILE = "<script>alert('x')</script>&\"'\x1b[31m\x00\u202eevil\u200f<img src=x onerror=y>"


def step(at: float, kind: EventKind, **fields: Any) -> Punched:
    """
    A step of the session.
    """
    values = {"transport": Transport.UDP, "local": LOCAL, "remote": REMOTE, **fields}
    return Punched(at=at, session="s", event=PunchEvent(at=at, kind=kind, **values))


def sessionOf(isRequester: bool = True, word: str = "word") -> list[PeerEvent]:
    """
    A session that failed, with C{word} wherever a stranger chooses the words.
    """
    asking = [Requested(at=1.0, target=word)] if isRequester else []
    return [
        Registered(
            at=0.5,
            peerID=ALICE if isRequester else BOB,
            name=word,
            observed=TransportAddress("31.1.0.1", 5000),
            isBehindNAT=True,
        ),
        *asking,
        Introduced(
            at=1.1,
            session="s",
            remotePeer=BOB if isRequester else ALICE,
            remoteName=word,
            isRequester=isRequester,
        ),
        step(1.1, EventKind.LOCAL_CANDIDATE, detail="1 1 udp 9 192.168.1.10 5000 typ host"),
        step(1.1, EventKind.REMOTE_CANDIDATE, detail="2 1 udp 9 31.2.0.1 6000 typ srflx"),
        step(1.1, EventKind.CHECK_SENT, detail=word),
        Mapped(
            at=1.2,
            session="s",
            transport=Transport.UDP,
            local=LOCAL,
            mapped=TransportAddress("31.1.0.1", 5000),
            server=TransportAddress("5.1.0.1", 3478),
        ),
        step(4.0, EventKind.CHECK_FAILED, detail=word),
        Failed(at=11.0, session="s", reason=word, fates=(word,)),
    ]


class ExplainTestCase(SynchronousTestCase):
    """
    Runs the command.
    """

    def run_(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, ["explain", *map(str, arguments)])

    def write(
        self,
        told: list[PeerEvent],
        peer: PeerID = ALICE,
        name: str | None = "alice",
        ended: bool = True,
    ) -> Path:
        path = Path(self.mktemp())
        writer = TraceWriter.create(path, peer, name)
        for event in told:
            writer.observe(event)
        if ended:
            writer.end(12.0, None)
        else:
            writer.close()
        return path

    def assertRefused(self, words: str, *arguments: object) -> None:
        """
        It ends as wrong usage in one sentence on stderr, and says nothing else.
        """
        ran = self.run_(*arguments)
        self.assertEqual((ran.exit_code, ran.stdout), (2, ""))
        self.assertIn(words, ran.stderr)
        if not ran.stderr.startswith("Usage:"):
            self.assertEqual(ran.stderr.count("\n"), 1, ran.stderr)


class ReportTests(ExplainTestCase):
    """
    The forms of the report.
    """

    def test_text(self) -> None:
        """
        The text names the cause, its evidence and remedy, and draws the session.
        """
        ran = self.run_(self.write(sessionOf()))
        self.assertEqual((ran.exit_code, ran.stderr), (0, ""))
        for words in ("Cause: nothing-came-through", "What to do", "What shows it", "check"):
            self.assertIn(words, ran.stdout)
        self.assertIn("Only alice's trace was given", ran.stdout)

    def test_bothSides(self) -> None:
        """
        With both traces nothing is said of limits, and both NATs are in the picture.
        """
        both = (self.write(sessionOf()), self.write(sessionOf(False), BOB, "bob"))
        ran = self.run_(*both)
        self.assertEqual(ran.exit_code, 0, ran.output)
        self.assertNotIn("Only", ran.stdout)
        self.assertIn("NAT", ran.stdout)

    def test_json(self) -> None:
        """
        For programs there is one object.
        """
        ran = self.run_("--json", self.write(sessionOf()))
        told = json.loads(ran.stdout)
        self.assertEqual(told["cause"], Cause.NOTHING_CAME_THROUGH.value)
        self.assertEqual(told["remedy"], Cause.NOTHING_CAME_THROUGH.remedy)
        self.assertEqual((told["session"], told["complete"]), ("s", True))
        self.assertEqual(told["evidence"][0]["peer"], "alice")

    def test_files(self) -> None:
        """
        The SVG is well-formed, and the HTML holds the whole report and refers to nothing.
        """
        svg, html = Path(self.mktemp()), Path(self.mktemp())
        self.assertEqual(
            self.run_(self.write(sessionOf()), "--svg", svg, "--html", html).exit_code, 0
        )
        ElementTree.fromstring(svg.read_text())
        page = html.read_text()
        self.assertIn(Cause.NOTHING_CAME_THROUGH.meaning, page)
        self.assertIn("<svg", page)
        self.assertEqual(re.findall(r"(?:src|href)=|url\(|@import", page), [])

    def test_incomplete(self) -> None:
        """
        A trace that was cut short is explained as far as it goes, and the report says so.
        """
        path = self.write(sessionOf()[:-2], ended=False)
        ran = self.run_(path)
        self.assertEqual(ran.exit_code, 0)
        self.assertIn("has no end", ran.stdout)
        self.assertFalse(json.loads(self.run_(path, "--json").stdout)["complete"])

    def test_otherClock(self) -> None:
        """
        Two machines whose clocks differ by years are brought together.
        """
        path = self.write(sessionOf(False), BOB, "bob")
        lines = path.read_text().splitlines()
        later = [json.loads(line) for line in lines]
        for event in later[1:]:
            event["at"] += 1e8
            if "event" in event:
                event["event"]["at"] += 1e8
        path.write_text("".join(f"{json.dumps(each)}\n" for each in later))
        told = json.loads(self.run_("--json", self.write(sessionOf()), path).stdout)
        self.assertLess(max(each["at"] for each in told["evidence"]), 20.0)

    def test_connected(self) -> None:
        """
        A path is not called a failure.
        """
        connected = Connected(
            at=1.3,
            session="s",
            remotePeer=BOB,
            remoteName="bob",
            path="direct",
            transport=Transport.UDP,
            local=LOCAL,
            remote=REMOTE,
            candidate="srflx",
            seconds=0.3,
        )
        told = [*sessionOf()[:-2], connected]
        ran = self.run_(self.write(told))
        self.assertIn("Cause: connected", ran.stdout)
        self.assertNotIn("What to do", ran.stdout)


class BadFileTests(ExplainTestCase):
    """
    Files that are no traces, or of no use together.
    """

    def test_notThere(self) -> None:
        """
        A file that is not there is named.
        """
        self.assertRefused("/nowhere/trace", "/nowhere/trace")

    def test_noTrace(self) -> None:
        """
        Anything else than a trace is refused by a sentence that names the file.
        """
        path = Path(self.mktemp())
        for data in (
            b"",
            b"\n",
            b"{}\n",
            b"\xff\xfe\n",
            b"[" * 100_000 + b"\n",
            b"\x00" * 99 + b"\n",
        ):
            path.write_bytes(data)
            self.assertRefused(str(path), path)

    def test_version(self) -> None:
        """
        A trace of another version says which one.
        """
        path = self.write(sessionOf())
        path.write_text(path.read_text().replace('"version": 2', '"version": 7'))
        self.assertRefused("version 7", path)

    def test_nothingInCommon(self) -> None:
        """
        Two traces of one peer, or of different sessions, are not mixed.
        """
        path = self.write(sessionOf())
        self.assertRefused("same peer", path, path)
        other = self.write(sessionOf(False), PeerID.fromPublicKey(b"c" * 32), "carol")
        self.assertRefused("no session in common", path, other)

    def test_tooMany(self) -> None:
        """
        Three traces, or none, are wrong usage.
        """
        path = self.write(sessionOf())
        self.assertRefused("at most two", path, path, path)
        self.assertRefused("FILE")

    def test_cannotWrite(self) -> None:
        """
        A report that cannot be written is named.
        """
        for option in ("--svg", "--html"):
            path = f"{self.mktemp()}/none/report"
            self.assertRefused(path, self.write(sessionOf()), option, path)


class Tags(HTMLParser):
    """
    The elements and attributes of a page.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


KNOWN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "strong"),
    *("table", "tr", "th", "td", "svg", "rect", "line", "text", "path"),
}


def inSession(event: PeerEvent) -> PeerEvent:
    """
    The same event in the session of the tests.
    """
    changed: Any = event
    return attrs.evolve(changed, session="s") if hasattr(event, "session") else event


class HostileTests(ExplainTestCase):
    """
    Traces that a stranger wrote.
    """

    def page(self, traces: list[Trace]) -> str:
        explanation = explain(traces)
        return renderHTML(explanation, drawExplanation(explanation))

    def assertHarmless(self, page: str) -> None:
        """
        No markup but ours, nothing that runs, no characters that steer.
        """
        tags = Tags()
        tags.feed(page)
        self.assertEqual(tags.names - KNOWN_TAGS, set())
        self.assertEqual({each for each in tags.attributes if each.startswith("on")}, set())
        self.assertNotRegex(
            page, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
        )

    def assertExplained(self, traces: list[Trace]) -> None:
        """
        There is a harmless page, or a sentence.
        """
        try:
            self.assertHarmless(self.page(traces))
        except BadTrace as error:
            self.assertTrue(str(error))

    @given(st.sampled_from([HOSTILE, HOSTILE * 50]) | st.text(), st.booleans(), st.booleans())
    def test_words(self, word: str, isTwoSided: bool, isRequester: bool) -> None:
        """
        Whatever words are in a trace, the report is harmless.
        """
        ended = Ended(at=12.0, error=word, reason=word)
        one = Trace(peer=ALICE, name=word, events=tuple(sessionOf(True, word)), ended=ended)
        two = Trace(peer=BOB, name=word, events=tuple(sessionOf(False, word)), ended=ended)
        traces = [one, two] if isTwoSided else [one if isRequester else two]
        self.assertHarmless(self.page(traces))
        self.page(traces).encode("utf-8")

    def test_refusedWords(self) -> None:
        """
        A service's words about a request are harmless as well.
        """
        told = tuple(sessionOf(True, HOSTILE)[:2])
        ended = Ended(at=12.0, error="SessionRefused", reason=HOSTILE)
        self.assertHarmless(self.page([Trace(peer=ALICE, name=None, events=told, ended=ended)]))

    def test_terminal(self) -> None:
        """
        Nothing of a stranger's words steers the terminal.
        """
        ran = self.run_(self.write(sessionOf(True, HOSTILE)))
        self.assertEqual(ran.exit_code, 0, ran.output)
        self.assertNotRegex(ran.stdout, "[\x00-\x09\x0b-\x1f\u202e\u200f]")

    @given(st.lists(events, max_size=12), st.lists(events, max_size=12))
    def test_anyEvents(self, one: list[PeerEvent], other: list[PeerEvent]) -> None:
        """
        Any events, in any order, are explained or refused by a sentence.
        """
        traces = [
            Trace(peer=ALICE, name="alice", events=tuple(one)),
            Trace(peer=BOB, name="bob", events=tuple(other)),
        ]
        self.assertExplained(traces[:1])
        self.assertExplained(traces)

    @given(
        st.lists(events.map(inSession), max_size=20), st.lists(events.map(inSession), max_size=20)
    )
    def test_anySession(self, one: list[PeerEvent], other: list[PeerEvent]) -> None:
        """
        Whatever two traces tell of one session, they are explained.
        """
        self.assertExplained(
            [
                Trace(peer=ALICE, name="alice", events=(*sessionOf()[:4], *one)),
                Trace(peer=BOB, name="bob", events=(*sessionOf(False)[:4], *other)),
            ]
        )

    @given(st.permutations(sessionOf()), st.permutations(sessionOf(False)))
    def test_anyOrder(self, one: list[PeerEvent], other: list[PeerEvent]) -> None:
        """
        A real session whose events are shuffled is explained or refused.
        """
        traces = [
            Trace(peer=ALICE, name="NAT", events=tuple(one)),
            Trace(peer=BOB, name="rendezvous", events=tuple(other)),
        ]
        self.assertExplained(traces)

    @settings(max_examples=60)
    @given(st.data())
    def test_mutations(self, data: st.DataObject) -> None:
        """
        Any prefix of a trace, with any bytes changed, gives a report or a sentence.
        """
        file = io.StringIO()
        writer = TraceWriter(file, ALICE, "alice")
        for event in sessionOf():
            writer.observe(event)
        whole = file.getvalue().encode()
        changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
        for _ in range(data.draw(st.integers(0, 3))):
            if changed:
                place = data.draw(st.integers(0, len(changed) - 1))
                changed[place] = data.draw(st.integers(0, 255))
        path = Path(self.mktemp())
        path.write_bytes(bytes(changed))
        try:
            self.assertHarmless(self.page([readTrace(path)]))
        except BadTrace as error:
            self.assertIn(str(path), str(error))

    def test_endlessTimes(self) -> None:
        """
        A session that lasts for a thousand years is drawn as quickly as any other.
        """
        told = [*sessionOf()[:-1], step(3e10, EventKind.CHECK_SENT)]
        self.assertIn("<svg", self.page([Trace(peer=ALICE, name="alice", events=tuple(told))]))

    def test_manyEvents(self) -> None:
        """
        Of very many steps only the first ones are drawn.
        """
        many = [step(1.2 + each * 0.001, EventKind.CHECK_SENT) for each in range(20_000)]
        traces = [
            Trace(peer=ALICE, name="alice", events=(*sessionOf()[:-1], *many)),
            Trace(peer=BOB, name="bob", events=(*sessionOf(False)[:-1], *many)),
        ]
        self.assertLess(len(self.page(traces)), 200_000)
