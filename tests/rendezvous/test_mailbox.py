"""
Tests for L{holepunch.rendezvous.mailbox} and what goes over main connections of it.
"""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import (
    InvitationFailed,
    NotRegistered,
    RendezvousError,
    TooManyRequests,
)
from holepunch.rendezvous.mailbox import Mailboxes, MailboxLimits
from tests.rendezvous.network import ALICE, BOB, CAROL, NetworkTestCase

HOST = "192.0.2.1"


class MailboxesTests(SynchronousTestCase):
    """
    L{Mailboxes}.
    """

    def setUp(self) -> None:
        self.mailboxes = Mailboxes(os.urandom, MailboxLimits(total=20))

    def test_once(self) -> None:
        """
        A mailbox is entered once, by somebody else than its owner; the words are the same for one
        that there never was.
        """
        number = self.mailboxes.open(1, 0.0)
        enter = self.mailboxes.enter
        texts = {str(self.assertRaises(InvitationFailed, enter, number, 1, HOST, 0.0))}
        enter(number, 2, HOST, 0.0)
        texts.add(str(self.assertRaises(InvitationFailed, enter, number, 3, HOST, 0.0)))
        texts.add(str(self.assertRaises(InvitationFailed, enter, 999, 3, HOST, 0.0)))
        self.assertEqual(len(texts), 1)

    def test_ends(self) -> None:
        """
        What one end says is for the other one, as long as both are there.
        """
        number = self.mailboxes.open(1, 0.0)
        self.assertRaises(InvitationFailed, self.mailboxes.post, number, 1, 0.0)
        self.mailboxes.enter(number, 2, HOST, 0.0)
        self.assertEqual(self.mailboxes.post(number, 1, 0.0), 2)
        self.assertEqual(self.mailboxes.post(number, 2, 0.0), 1)
        self.assertRaises(InvitationFailed, self.mailboxes.post, number, 3, 0.0)
        self.assertIsNone(self.mailboxes.close(number, 3))
        self.assertEqual(self.mailboxes.close(number, 2), 1)
        self.assertRaises(InvitationFailed, self.mailboxes.post, number, 1, 0.0)

    def test_lost(self) -> None:
        """
        A main connection that is lost takes its mailboxes with it.
        """
        number = self.mailboxes.open(1, 0.0)
        self.mailboxes.open(1, 0.0)
        self.mailboxes.enter(number, 2, HOST, 0.0)
        self.assertEqual(self.mailboxes.connectionLost(1), [(number, 2)])
        self.assertEqual(len(self.mailboxes), 0)

    def test_expiry(self) -> None:
        """
        After ten minutes a mailbox is gone, entered or not.
        """
        number, other = self.mailboxes.open(1, 0.0), self.mailboxes.open(1, 1.0)
        self.mailboxes.enter(number, 2, HOST, 1.0)
        self.assertRaises(InvitationFailed, self.mailboxes.post, number, 2, 600.0)
        self.mailboxes.enter(other, 2, HOST, 600.5)
        self.assertRaises(InvitationFailed, self.mailboxes.post, other, 2, 601.0)

    def test_bounds(self) -> None:
        """
        One peer has four mailboxes at most, all together have so many, and little is said in one.
        """
        numbers = [self.mailboxes.open(1, 0.0) for _ in range(4)]
        self.assertRaises(TooManyRequests, self.mailboxes.open, 1, 0.0)
        for connection in range(2, 6):
            numbers += [self.mailboxes.open(connection, 0.0) for _ in range(4)]
        self.assertRaises(RendezvousError, self.mailboxes.open, 9, 0.0)
        self.assertEqual(len(set(numbers)), 20)
        self.assertLess(max(numbers), 100)
        self.mailboxes.enter(numbers[0], 9, HOST, 0.0)
        for _ in range(4):
            self.mailboxes.post(numbers[0], 9, 0.0)
        self.assertRaises(InvitationFailed, self.mailboxes.post, numbers[0], 9, 0.0)

    def test_rate(self) -> None:
        """
        One address tries ten numbers, and then one in half a minute; others are not concerned.
        """
        number = self.mailboxes.open(1, 0.0)
        for _ in range(10):
            self.assertRaises(InvitationFailed, self.mailboxes.enter, 0, 2, HOST, 0.0)
        enter = self.mailboxes.enter
        error = self.assertRaises(TooManyRequests, enter, number, 2, HOST, 0.0)
        self.assertIn("30 seconds", str(error))
        self.assertRaises(InvitationFailed, enter, 0, 2, HOST, 30.0)
        self.assertRaises(TooManyRequests, enter, number, 2, HOST, 30.0)
        enter(number, 2, "192.0.2.2", 30.0)


class MailboxLineTests(NetworkTestCase):
    """
    Mailboxes over main connections.
    """

    def test_both(self) -> None:
        """
        Two peers talk by a mailbox, and either is told when the other one closes it, and why.
        """
        alice, _ = self.network.register("alice", ALICE)
        bob, _ = self.network.register("bob", BOB)
        opened = self.waitFor(alice.openMailbox())
        self.assertEqual(opened.lifetime, 600.0)
        entered = self.waitFor(bob.enterMailbox(opened.nameplate))
        self.waitFor(entered.post(b"\x00hello"))
        self.assertEqual(self.waitFor(opened.receive()), b"\x00hello")
        opened.close("that is all")
        error = self.assertFails(entered.receive(), InvitationFailed)
        self.assertEqual(str(error), "that is all")
        self.assertFails(entered.post(b"more"), InvitationFailed)

    def test_serviceLost(self) -> None:
        """
        Who waits in a mailbox when the main connection is lost is told so.
        """
        alice, _ = self.network.register("alice", ALICE)
        opened = self.waitFor(alice.openMailbox())
        received = opened.receive()
        alice.goodbye()
        error = self.assertFails(received, InvitationFailed)
        self.assertIn("connection to the rendezvous service", str(error))

    def test_unregistered(self) -> None:
        """
        Only registered peers have mailboxes.
        """
        carol = self.network.connect("bob", CAROL)
        self.assertFails(carol.openMailbox(), NotRegistered)
        self.assertFails(carol.enterMailbox(1), NotRegistered)

    def test_flood(self) -> None:
        """
        What nobody takes is kept to a limit, and what is said about mailboxes that there are not
        changes nothing.
        """
        alice, _ = self.network.register("alice", ALICE)
        bob, _ = self.network.register("bob", BOB)
        opened = self.waitFor(alice.openMailbox())
        entered = self.waitFor(bob.enterMailbox(opened.nameplate))
        for _ in range(4):
            self.waitFor(entered.post(b"x" * 700))
        for number in range(10):
            opened.posted(b"%d" % number)
        taken = 0
        while self.waitFor(opened.receive()) == b"x" * 700:
            taken += 1
            if taken == 4:
                break
        waiting = opened.receive()
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        line = self.network.service.exchange.lineOf(1)
        assert line is not None
        line.passPost(999, b"x")
        line.passClose(999, "x")
        self.network.advance()
