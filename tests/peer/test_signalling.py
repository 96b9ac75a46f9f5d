"""
Tests for L{holepunch.peer.signalling}.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.address import Transport, TransportAddress
from holepunch.errors import RendezvousUnreachable
from holepunch.identity import Identity
from holepunch.interfaces import ISignalling
from holepunch.peer.signalling import (
    Description,
    MoreCandidates,
    Ready,
    ServiceSignalling,
    SignallingMessage,
    TextSignalling,
)
from holepunch.punch import CandidateType, Credentials, TCPFlow, gatheredCandidate
from holepunch.rendezvous.introduction import EndReason, SessionEnd

ALICE, BOB = Identity.generate().peerID, Identity.generate().peerID
CANDIDATES = tuple(
    gatheredCandidate(CandidateType.HOST, transport, TransportAddress("192.168.1.10", 40001))
    for transport in Transport
)
DESCRIPTION = Description(
    peerID=ALICE,
    credentials=Credentials("abcd", "x" * 22),
    transports=tuple(Transport),
    flow=TCPFlow.SEQUENTIAL,
    candidates=CANDIDATES,
)
OTHERS = (
    MoreCandidates(CANDIDATES),
    Ready(),
    SessionEnd(EndReason.FAILED, "nothing came through"),
)


class TextSignallingTests(SynchronousTestCase):
    """
    L{TextSignalling}.
    """

    def setUp(self) -> None:
        self.written: list[str] = []
        self.heard: list[SignallingMessage] = []
        self.alice = TextSignalling(ALICE, BOB, self.written.append)
        self.bob = TextSignalling(BOB, ALICE, lambda line: None)
        self.bob.setReceiver(self.heard.append)

    def test_interface(self) -> None:
        """
        It is signalling.
        """
        self.assertTrue(verifyObject(ISignalling, self.alice))

    def test_messages(self) -> None:
        """
        Every message comes as it was sent, by a line that is text and nothing else.
        """
        messages = (DESCRIPTION, *OTHERS)
        for message in messages:
            self.alice.send(message)
        self.assertFalse(any(not line.isprintable() for line in self.written))
        self.bob.received("\n".join(self.written))
        self.assertEqual(self.heard, list(messages))

    def test_early(self) -> None:
        """
        What comes before somebody wants to hear it is kept.
        """
        bob = TextSignalling(BOB, ALICE, lambda line: None)
        self.alice.send(DESCRIPTION)
        bob.received(self.written[0])
        bob.setReceiver(self.heard.append)
        self.assertEqual(self.heard, [DESCRIPTION])

    def test_others(self) -> None:
        """
        Whatever else is said in the channel is passed over: chatter, own lines, those of others and
        those for others.
        """
        eve = Identity.generate().peerID
        for each in (
            TextSignalling(BOB, ALICE, self.written.append),
            TextSignalling(eve, BOB, self.written.append),
            TextSignalling(ALICE, eve, self.written.append),
        ):
            each.send(DESCRIPTION)
        for line in (*self.written, "hello", "{ that looks odd }", '{"holepunch":2}', "{}"):
            self.bob.received(line)
        self.assertEqual(self.heard, [])

    def test_earlierSession(self) -> None:
        """
        What belongs to an earlier description does not count for a later one.
        """
        earlier = TextSignalling(ALICE, BOB, self.written.append)
        for message in (DESCRIPTION, *OTHERS):
            earlier.send(message)
        later = Description(
            peerID=ALICE, credentials=Credentials("efgh", "y" * 22), transports=(Transport.UDP,)
        )
        self.alice.send(later)
        self.bob.received(self.written[-1])
        for line in self.written[1:-1]:
            self.bob.received(line)
        self.assertEqual(self.heard, [later])

    def test_unknown(self) -> None:
        """
        Candidates of a kind that came later, and fields that nobody knows, are skipped.
        """
        self.alice.send(DESCRIPTION)
        fields = json.loads(self.written[0])
        fields["candidates"].insert(0, "1 1 sctp 1 192.0.2.1 1 typ host")
        self.bob.received(json.dumps({**fields, "weather": ["fine"]}))
        self.assertEqual(self.heard, [DESCRIPTION])

    def test_nonsense(self) -> None:
        """
        A description with a field that makes no sense is passed over, however odd it is.
        """
        self.alice.send(DESCRIPTION)
        fields = json.loads(self.written[0])
        odd: list[Any] = [None, 7, "", "?", [], {}, ["tcp", 3], {"a": []}, "x" * 300, True]
        for name in ("session", "password", "transports", "flow", "candidates", "kind", "from"):
            for value in odd:
                self.bob.received(json.dumps({**fields, name: value}))
            self.bob.received(json.dumps({key: fields[key] for key in fields if key != name}))
        for message in self.heard:
            assert isinstance(message, Description)
            self.assertIn(message.candidates, ((), CANDIDATES))
        self.bob.received("{" * 10_000)
        self.bob.received('{"a":' * 3_000)
        self.bob.received(self.written[0].replace("}", "," + " " * 20_000 + '"a":1}'))

    @given(st.text(), st.integers(0, 400), st.integers(0, 400))
    def test_garbage(self, text: str, start: int, end: int) -> None:
        """
        Lines may be cut and written over.
        """
        self.setUp()
        self.alice.send(DESCRIPTION)
        line = self.written[0]
        self.bob.received(line[:start] + text + line[end:])
        self.bob.received("{" + text)


class _Client:
    """
    Keeps what is to be sent over a main connection.
    """

    def __init__(self, result: Deferred[None]) -> None:
        self.sent: list[Any] = []
        self._result = result

    def sendCandidates(self, sessionID: str, candidates: Any) -> Deferred[None]:
        self.sent.append((sessionID, MoreCandidates(candidates)))
        return self._result

    def sendReady(self, sessionID: str) -> Deferred[None]:
        self.sent.append((sessionID, Ready()))
        return self._result

    def endSession(self, sessionID: str, end: SessionEnd) -> Deferred[None]:
        self.sent.append((sessionID, end))
        return self._result


class ServiceSignallingTests(SynchronousTestCase):
    """
    L{ServiceSignalling}.
    """

    def test_messages(self) -> None:
        """
        Everything goes over the main connection but descriptions: the service introduces.
        """
        client: Any = _Client(succeed(None))
        signalling = ServiceSignalling(client, "one")
        self.assertTrue(verifyObject(ISignalling, signalling))
        for message in (DESCRIPTION, *OTHERS):
            signalling.send(message)
        self.assertEqual(client.sent, [("one", message) for message in OTHERS])

    def test_lost(self) -> None:
        """
        Where the main connection is gone, nothing is raised.
        """
        client: Any = _Client(fail(RendezvousUnreachable()))
        ServiceSignalling(client, "one").send(Ready())
        self.assertEqual(len(client.sent), 1)
