"""
Tests for L{holepunch.rendezvous.tickets}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from holepunch.rendezvous.tickets import TicketBook, TicketHolder


class TicketBookTests(SynchronousTestCase):
    """
    L{TicketBook}.
    """

    def setUp(self) -> None:
        self.book = TicketBook(os.urandom)

    def test_holder(self) -> None:
        """
        A ticket, with any label, leads to its own holder and key.
        """
        holders = [TicketHolder(1), TicketHolder(1, "session"), TicketHolder(2, "session")]
        tickets = [self.book.issue(holder, 0.0) for holder in holders]
        for ticket, holder in zip(tickets, holders, strict=True):
            for username in (ticket.name, ticket.username("5000"), ticket.username("a.b")):
                self.assertEqual(self.book.holderOf(username, 1e9), holder)
                self.assertEqual(self.book.keyFor(username, 1e9), ticket.key)
        self.assertEqual(len({ticket.key for ticket in tickets}), 3)

    def test_unknown(self) -> None:
        """
        What no ticket names has neither holder nor key.
        """
        self.book.issue(TicketHolder(1), 0.0)
        for username in ("", ".", "x", ".5000"):
            self.assertIsNone(self.book.holderOf(username, 0.0))
            self.assertIsNone(self.book.keyFor(username, 0.0))

    def test_expiry(self) -> None:
        """
        A ticket with a lifetime is good before its end, and not from then on.
        """
        ticket = self.book.issue(TicketHolder(1), 10.0, 60.0)
        self.assertEqual(ticket.lifetime, 60.0)
        self.assertIsNotNone(self.book.keyFor(ticket.name, 69.9))
        self.assertIsNone(self.book.keyFor(ticket.name, 70.0))
        self.assertIsNone(self.book.holderOf(ticket.name, 70.0))

    def test_revoked(self) -> None:
        """
        A revoked ticket is forgotten, and may be revoked again.
        """
        ticket = self.book.issue(TicketHolder(1), 0.0)
        self.book.revoke(ticket)
        self.book.revoke(ticket)
        self.assertIsNone(self.book.keyFor(ticket.name, 0.0))
        self.assertEqual(len(self.book), 0)

    def test_secret(self) -> None:
        """
        The key is no part of what is printed.
        """
        ticket = self.book.issue(TicketHolder(1), 0.0)
        self.assertNotIn(ticket.key.decode(), repr(ticket))
