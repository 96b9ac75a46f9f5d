"""
Tests for L{holepunch.rendezvous.arguments} and L{holepunch.rendezvous.commands}.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols.amp import Command
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import HolepunchError, MalformedMessage, TooLarge
from holepunch.identity import Identity
from holepunch.punch.candidate import CandidateType
from holepunch.punch.credentials import Credentials
from holepunch.punch.priority import gatheredCandidate
from holepunch.rendezvous import commands
from holepunch.rendezvous.arguments import (
    ID,
    CandidateText,
    Choice,
    Credential,
    Endpoint,
    Many,
    RelayGrantText,
    Text,
    TicketText,
)
from holepunch.rendezvous.introduction import EndReason, Ticket
from holepunch.rendezvous.relaygrant import RelayGrant

COMMANDS: list[Any] = [
    each
    for _, each in inspect.getmembers(commands, inspect.isclass)
    if issubclass(each, Command) and each is not Command
]
CANDIDATE = gatheredCandidate(
    CandidateType.SERVER_REFLEXIVE,
    Transport.TCP,
    TransportAddress("2001:db8::1", 5000),
    base=TransportAddress("fd00::1", 5000),
)
EVERY: list[Any] = [
    Text(),
    ID(),
    Endpoint(),
    Choice(EndReason),
    Credential(),
    TicketText(),
    Many(CandidateText()),
    RelayGrantText(),
]


class ArgumentTests(SynchronousTestCase):
    """
    Values on the wire.
    """

    def test_roundTrip(self) -> None:
        """
        Every value comes back as it was.
        """
        values: list[Any] = [
            "text with ü and\nlines",
            Identity.generate().peerID,
            TransportAddress("2001:db8::1", 65535),
            EndReason.CANCELLED,
            Credentials("abcd", "a" * 22),
            Ticket(name="abc", key=b"key-_", lifetime=60.0),
            (),
            RelayGrant(
                username="1:a",
                password="b=",
                nonce="n",
                lifetime=60.0,
                servers=("turn:192.0.2.1:3478?transport=udp", "turns:relay.example.org"),
            ),
        ]
        for argument, value in zip(EVERY, values, strict=True):
            self.assertEqual(argument.fromString(argument.toString(value)), value)

    def test_candidates(self) -> None:
        """
        Candidates travel in the form of RFC 8839, without the sender's base.
        """
        argument = Many(CandidateText())
        data = argument.toString([CANDIDATE] * 2)
        self.assertEqual(data.decode().split("\n"), [CANDIDATE.format()] * 2)
        [first, _] = argument.fromString(data)
        self.assertEqual((first.address, first.base), (CANDIDATE.address, None))

    def test_uselessGrants(self) -> None:
        """
        Leave to use a relay that fits no request is refused when it arrives, not when it is used.
        """
        parts = ["1:a", "b=", "realm", "n", "60", "turn:192.0.2.1"]
        argument = RelayGrantText()
        argument.fromString("\n".join(parts).encode())
        useless = [
            *((0, each) for each in ("", "\0", "\u00ad", "u" * 509)),
            *((1, each) for each in ("", "\7")),
            *((2, each) for each in ("\0", "r" * 764)),
            (3, "n" * 764),
            *((4, each) for each in ("0", "-1", "nan", "inf", "x")),
        ]
        for index, each in useless:
            spoilt = "\n".join([*parts[:index], each, *parts[index + 1 :]])
            self.assertRaises(MalformedMessage, argument.fromString, spoilt.encode())

    @given(st.binary(max_size=80))
    def test_garbage(self, data: bytes) -> None:
        """
        Arbitrary bytes are a value or a malformed message, and never anything else.
        """
        for argument in EVERY:
            with contextlib.suppress(MalformedMessage):
                argument.fromString(data)

    def test_tooLarge(self) -> None:
        """
        What is over a limit is refused before it is sent, and when it arrives.
        """
        argument = Many(CandidateText())
        self.assertRaises(TooLarge, Text().toString, "x" * 1001)
        self.assertRaises(MalformedMessage, Text().fromString, b"x" * 1001)
        self.assertRaises(TooLarge, argument.toString, [CANDIDATE] * 33)
        lines = "\n".join([CANDIDATE.format()] * 33).encode()
        self.assertRaises(MalformedMessage, argument.fromString, lines)
        self.assertRaises(TooLarge, Many(Text(), most=1000).toString, ["x" * 900] * 80)


class CommandTests(SynchronousTestCase):
    """
    The schema.
    """

    def test_words(self) -> None:
        """
        The commands have the names that the protocol's description gives them.
        """
        names = {each.commandName.decode() for each in COMMANDS}
        expected = "BeginLogin FinishLogin OpenMailbox EnterMailbox Post CloseMailbox "
        expected += "Register RequestSession Offer Candidates Ready EndSession Ping Goodbye"
        self.assertEqual(names, set(expected.split()))

    def test_errors(self) -> None:
        """
        Every command can fail with what any command can, and each error arrives as what it was.
        """
        for command in COMMANDS:
            codes = list(command.allErrors.values())
            self.assertEqual(len(set(codes)), len(codes))
            for code in (b"TOO_MANY_REQUESTS", b"TOO_LARGE", b"MALFORMED", b"REFUSED"):
                self.assertIn(code, codes)
            kinds = list(command.allErrors)
            for position, kind in enumerate(kinds):
                self.assertTrue(issubclass(kind, HolepunchError))
                self.assertFalse(any(issubclass(kind, each) for each in kinds[:position]))

    def test_documented(self) -> None:
        """
        Every command says in which direction it goes.
        """
        for command in COMMANDS:
            self.assertRegex(
                inspect.getdoc(command) or "", "^(Peer to service|Service to peer|Both ways)"
            )
