"""
Mailboxes over the main connection: the peer's end.

Owns: the commands of mailboxes as methods, and what was said but not taken yet.
Knows nothing of: what is said (L{holepunch.rendezvous.invitation}).
Driven by: L{holepunch.peer.invitation}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from holepunch.errors import InvitationFailed
from holepunch.rendezvous.arguments import printable
from holepunch.rendezvous.authenticationclient import LoginClient
from holepunch.rendezvous.commands import CloseMailbox, EnterMailbox, OpenMailbox, Post
from holepunch.rendezvous.line import shortened

_BACKLOG = 4


class Mailbox:
    """
    One end of a mailbox.

    @ivar nameplate: Its number.
    @ivar lifetime: Seconds for which it is open, where this peer opened it.
    """

    def __init__(self, client: MailboxClient, nameplate: int, lifetime: float = 0.0) -> None:
        self.nameplate = nameplate
        self.lifetime = lifetime
        self._client = client
        self._said: list[bytes] = []
        self._end: InvitationFailed | None = None
        self._waiting: Deferred[bytes] | None = None

    def post(self, body: bytes) -> Deferred[None]:
        """
        Say something to the other end.

        @raise InvitationFailed: Nobody is there any more.
        """
        return self._client.tell(Post, nameplate=self.nameplate, body=body)

    def receive(self) -> Deferred[bytes]:
        """
        Fires with the next thing that the other end says.

        @raise InvitationFailed: It says no more; the sentence is its own.
        """
        waiting: Deferred[bytes] = Deferred(self._forget)
        self._waiting = waiting
        self._settle()
        return waiting

    def close(self, text: str = "") -> Deferred[None]:
        """
        Close it.

        @param text: Why, for the other side's user.
        @return: Fires when the service knows; never fails.
        """
        if self._client.mailboxes.pop(self.nameplate, None) is None:
            return succeed(None)
        told = self._client.tell(CloseMailbox, nameplate=self.nameplate, text=shortened(text))
        return told.addErrback(lambda failure: None)

    def posted(self, body: bytes) -> None:
        """
        The other end says something.
        """
        if len(self._said) < _BACKLOG:
            self._said.append(body)
            self._settle()

    def closed(self, error: InvitationFailed) -> None:
        """
        The other end, or the service, has closed it.
        """
        self._end = error
        self._settle()

    def _settle(self) -> None:
        waiting = self._waiting
        if waiting is None or not (self._said or self._end):
            return
        self._waiting = None
        if self._said:
            waiting.callback(self._said.pop(0))
        else:
            waiting.errback(self._end or InvitationFailed())

    def _forget(self, waiting: Deferred[bytes]) -> None:
        self._waiting = None


class MailboxClient(LoginClient):
    """
    A main connection over which a peer uses mailboxes.

    @ivar mailboxes: Those that are open, by number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mailboxes: dict[int, Mailbox] = {}

    def openMailbox(self) -> Deferred[Mailbox]:
        """
        Open a mailbox.

        @raise TooManyRequests: This peer has too many.
        """
        return self.request(OpenMailbox).addCallback(
            lambda opened: self._enter(opened["nameplate"], opened["lifetime"])
        )

    def enterMailbox(self, nameplate: int) -> Deferred[Mailbox]:
        """
        Enter the mailbox that another peer has opened.

        @raise InvitationFailed: There is none of that number, or somebody has entered it before.
        """
        entered = self.request(EnterMailbox, nameplate=nameplate)
        return entered.addCallback(lambda answer: self._enter(nameplate, 0.0))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone, and the mailboxes with it.
        """
        super().connectionLost(reason)
        mailboxes, self.mailboxes = self.mailboxes, {}
        for mailbox in mailboxes.values():
            mailbox.closed(InvitationFailed("the connection to the rendezvous service was lost"))

    def _enter(self, nameplate: int, lifetime: float) -> Mailbox:
        mailbox = self.mailboxes[nameplate] = Mailbox(self, nameplate, lifetime)
        return mailbox

    @Post.responder
    def _posted(self, nameplate: int, body: bytes) -> dict[str, Any]:
        mailbox = self.mailboxes.get(nameplate)
        if mailbox is not None:
            mailbox.posted(body)
        return {}

    @CloseMailbox.responder
    def _mailboxClosed(self, nameplate: int, text: str) -> dict[str, Any]:
        mailbox = self.mailboxes.pop(nameplate, None)
        if mailbox is not None:
            mailbox.closed(InvitationFailed(printable(text)) if text else InvitationFailed())
        return {}
