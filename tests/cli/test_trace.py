"""
Traces, written and read back.
"""

from __future__ import annotations

import io
import json
import re
import types
import typing
from enum import Enum
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.cli.trace import (
    TraceWriter,
    decodeEvent,
    encodeEvent,
    parseTrace,
    readTrace,
)
from holepunch.errors import BadTrace, UnknownPeer
from holepunch.explain import Ended
from holepunch.identity import PeerID
from holepunch.peer.events import Connected, Failed, Introduced, PeerEvent, Punched, Requested
from holepunch.punch import EventKind, PunchEvent

ALICE = PeerID.fromPublicKey(b"a" * 32)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """
    Values of the type that an annotation names.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(values, arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if kind is TransportAddress:
        hosts = st.ip_addresses().map(str)
        return st.builds(TransportAddress, hosts, st.integers(0, 65535))
    if kind is PeerID:
        return st.binary(min_size=32, max_size=32).map(PeerID.fromPublicKey)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if attrs.has(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{name: values(hint) for name, hint in hints.items()})
    if kind is float:
        return st.floats(-1e11, 1e11)
    return st.from_type(kind)


def isWhole(event: PeerEvent) -> bool:
    """
    Has it the addresses that a reader may rely on?
    """
    step = event.event if isinstance(event, Punched) else None
    return step is None or None not in (step.transport, step.local, step.remote)


events = st.one_of(*map(values, typing.get_args(PeerEvent))).filter(isWhole)


class EventTests(SynchronousTestCase):
    """
    One event.
    """

    @given(events)
    def test_roundTrip(self, event: PeerEvent) -> None:
        """
        Every event comes back from JSON as it was.
        """
        self.assertEqual(decodeEvent(json.loads(json.dumps(encodeEvent(event)))), event)

    def test_form(self) -> None:
        """
        The form is flat, and made of words and numbers.
        """
        connected = Connected(
            at=1.5,
            session="s",
            remotePeer=ALICE,
            remoteName=None,
            path="direct",
            transport=Transport.TCP,
            local=TransportAddress("10.0.0.2", 1),
            remote=TransportAddress("2001:db8::1", 2),
            candidate="host",
            seconds=0.25,
        )
        self.assertEqual(
            encodeEvent(connected),
            {
                "type": "Connected",
                "at": 1.5,
                "session": "s",
                "remotePeer": str(ALICE),
                "remoteName": None,
                "path": "direct",
                "transport": "tcp",
                "local": "10.0.0.2:1",
                "remote": "[2001:db8::1]:2",
                "candidate": "host",
                "seconds": 0.25,
            },
        )

    @given(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_nonsense(self, encoded: Any) -> None:
        """
        What is no event is refused, and nothing else happens.
        """
        self.assertRaises(BadTrace, decodeEvent, encoded)

    def test_wrongTypes(self) -> None:
        """
        A field of the wrong type is refused.
        """
        good = encodeEvent(Failed(at=0.0, session=None, reason="r", fates=("f",)))
        for change in (
            {"at": "soon"},
            {"reason": 3},
            {"fates": [1]},
            {"more": 1},
            {"type": "Vanished"},
        ):
            self.assertRaises(BadTrace, decodeEvent, {**good, **change})


class FileTests(SynchronousTestCase):
    """
    Whole traces.
    """

    @given(st.lists(events, max_size=5))
    def test_roundTrip(self, told: list[PeerEvent]) -> None:
        """
        What was written is read, and the header says whose trace it is.
        """
        file = io.StringIO()
        writer = TraceWriter(file, ALICE, "alice")
        for event in told:
            writer.observe(event)
        trace = parseTrace(file.getvalue().splitlines(keepends=True))
        self.assertEqual((trace.peer, trace.name), (ALICE, "alice"))
        self.assertEqual(trace.events, tuple(told))

    def test_cutShort(self) -> None:
        """
        A last line that was not finished is left out.
        """
        path = self.mktemp()
        writer = TraceWriter.create(path, ALICE, None)
        writer.observe(Requested(at=0.0, target="bob"))
        writer.close()
        with open(path, "a", encoding="utf-8") as file:
            file.write('{"type": "Requ')
        trace = readTrace(path)
        self.assertEqual(trace.events, (Requested(at=0.0, target="bob"),))
        self.assertIsNone(trace.ended)

    def test_ended(self) -> None:
        """
        The last line tells how the command ended; without an error it ended well.
        """
        for error, ended in (
            (None, Ended(at=2.0)),
            (UnknownPeer("no bob"), Ended(at=2.0, error="UnknownPeer", reason="no bob")),
        ):
            path = self.mktemp()
            TraceWriter.create(path, ALICE, "alice").end(2.0, error)
            self.assertEqual(readTrace(path).ended, ended)

    def test_cutCharacter(self) -> None:
        """
        A trace that ends within a character is read up to there.
        """
        path = self.mktemp()
        TraceWriter.create(path, ALICE, None).close()
        with open(path, "ab") as file:
            file.write('{"type": "é'.encode()[:-1])
        self.assertEqual(readTrace(path).events, ())

    def test_withoutAddresses(self) -> None:
        """
        What happens to a pair must say to which.
        """
        step = PunchEvent(at=0.0, kind=EventKind.CHECK_SENT)
        encoded = encodeEvent(Punched(at=0.0, session="s", event=step))
        with self.assertRaisesRegex(BadTrace, "without addresses"):
            decodeEvent(encoded)

    def test_senselessTimes(self) -> None:
        """
        Times are numbers that can be calculated with.
        """
        for at in (float("nan"), float("inf"), 10**400, True, "1"):
            with self.assertRaises(BadTrace):
                decodeEvent({"type": "Requested", "at": at, "target": "bob"})

    def test_noTrace(self) -> None:
        """
        Each file that is no trace is refused by a sentence.
        """
        for text in ("", "{}\n", "[]\n", "what\n", '{"format": "holepunch-trace"}\n'):
            self.assertRaises(BadTrace, parseTrace, text.splitlines(keepends=True))
        for number in (0, 3, "2", None, [1]):
            version = {"format": "holepunch-trace", "version": number, "peer": str(ALICE)}
            with self.assertRaisesRegex(BadTrace, f"version {re.escape(repr(number))}"):
                parseTrace([json.dumps(version) + "\n"])
        with self.assertRaisesRegex(BadTrace, "cannot read"):
            readTrace(self.mktemp())

    def test_earlier(self) -> None:
        """
        A trace of version 1, whose events have fewer fields, is still read.
        """
        header = {"format": "holepunch-trace", "version": 1, "peer": str(ALICE)}
        introduced = {"type": "Introduced", "at": 1.0, "session": "s", "remotePeer": str(ALICE)}
        introduced |= {"remoteName": None, "isRequester": True}
        [event] = parseTrace([f"{json.dumps(each)}\n" for each in (header, introduced)]).events
        assert isinstance(event, Introduced)
        self.assertEqual((event.relay, event.continues), (None, None))

    def test_cannotWrite(self) -> None:
        """
        A file that cannot be written is named.
        """
        path = f"{self.mktemp()}/missing/trace"
        with self.assertRaisesRegex(BadTrace, "cannot write the trace file .*/missing/trace"):
            TraceWriter.create(path, ALICE, None)
