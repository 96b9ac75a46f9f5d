"""
Mailboxes over the main connection: the service's end.

Owns: the commands of mailboxes, and passing on what is said in them.
Knows nothing of: which mailboxes there are (L{holepunch.rendezvous.mailbox}).
Driven by: the peer; L{MainConnection<holepunch.rendezvous.server.MainConnection>} is the rest.
"""

from __future__ import annotations

import abc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from holepunch.rendezvous.authenticationline import LoginLine
from holepunch.rendezvous.commands import CloseMailbox, EnterMailbox, OpenMailbox, Post
from holepunch.rendezvous.line import shortened
from holepunch.rendezvous.registry import Registration


class MailboxLine(LoginLine):
    """
    A main connection over which registered peers use mailboxes.
    """

    _number: int

    @abc.abstractmethod
    def mustBeRegistered(self) -> Registration:
        """
        Go on only with a registered peer.

        @raise NotRegistered: It is not.
        """

    @OpenMailbox.responder
    def _mailboxOpened(self) -> dict[str, Any]:
        self.mustBeRegistered()
        mailboxes = self.exchange.mailboxes
        nameplate = mailboxes.open(self._number, self.clock.seconds())
        return {"nameplate": nameplate, "lifetime": mailboxes.limits.lifetime}

    @EnterMailbox.responder
    def _mailboxEntered(self, nameplate: int) -> dict[str, Any]:
        self.mustBeRegistered()
        now = self.clock.seconds()
        self.exchange.mailboxes.enter(nameplate, self._number, self.observed.host, now)
        return {}

    @Post.responder
    def _posted(self, nameplate: int, body: bytes) -> dict[str, Any]:
        self.mustBeRegistered()
        other = self.exchange.mailboxes.post(nameplate, self._number, self.clock.seconds())
        line = self.exchange.lineOf(other)
        if line is not None:
            line.passPost(nameplate, body)
        return {}

    @CloseMailbox.responder
    def _mailboxClosed(self, nameplate: int, text: str) -> dict[str, Any]:
        self.mustBeRegistered()
        self.exchange.closeMailbox(nameplate, self._number, text)
        return {}

    def passPost(self, nameplate: int, body: bytes) -> None:
        """
        The other end of a mailbox says something.
        """
        self._tellOfMailbox(Post, nameplate=nameplate, body=body)

    def passClose(self, nameplate: int, text: str) -> None:
        """
        A mailbox was closed.
        """
        self._tellOfMailbox(CloseMailbox, nameplate=nameplate, text=shortened(text))

    def _tellOfMailbox(self, command: type[amp.Command], **fields: Any) -> None:
        if not self.paused:
            told: Deferred[object] = self.callRemote(command, **fields)
            # The peer may have left in the same moment.
            told.addErrback(lambda failure: None)
