"""
Inviting another peer, and accepting an invitation: afterwards each knows the other by its key.

Owns: the order of what is said, time limits, and the names under which the two are pinned.
Knows nothing of: what a code is made of (L{holepunch.rendezvous.invitation}); connections.
Driven by: programs and C{holepunch invite} and C{accept}, by way of
L{Peer.invite<holepunch.peer.peer.Peer.invite>} and
L{Peer.acceptInvitation<holepunch.peer.peer.Peer.acceptInvitation>}.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from holepunch.errors import HolepunchError, InvitationFailed, KnownAlready
from holepunch.interfaces import IKnownPeers
from holepunch.peer.knownpeers import INVITED, KnownPeer
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.invitation import (
    Greeting,
    InvitationCode,
    InvitationExchange,
    splitFirst,
)
from holepunch.rendezvous.mailboxclient import Mailbox
from holepunch.rendezvous.registry import checkName

ANSWER_TIMEOUT = 30.0
_CLOSE_TIMEOUT = 2.0


@attrs.frozen(kw_only=True)
class Acquaintance:
    """
    Whom an invitation made known.

    @ivar peer: The other side, by the name under which it is pinned now.
    @ivar isConnecting: Do both sides want to be connected at once?
    """

    peer: KnownPeer
    isConnecting: bool


@attrs.frozen(kw_only=True)
class Inviting:
    """
    What both sides of an invitation bring along.

    @ivar client: The main connection.
    @ivar known: Whom this peer knows.
    @ivar greeting: What it tells of itself.
    @ivar name: What it will call the other one; C{None} takes that one's own suggestion.
    """

    clock: IReactorTime
    client: RendezvousClient
    known: IKnownPeers
    greeting: Greeting
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.name is not None and self.known.find(checkName(self.name)) is not None:
            raise KnownAlready(f"{self.name} is known already: choose another name")

    async def invite(self, tell: Callable[[InvitationCode, float], None]) -> Acquaintance:
        """
        Invite somebody.

        @param tell: Called with the code and how many seconds it is good for.
        @raise InvitationFailed: Nobody came, or one with a wrong code.
        """
        mailbox = await self.client.openMailbox()

        def expired(result: object, seconds: float) -> bytes:
            raise InvitationFailed(
                f"nobody accepted the invitation within {seconds / 60:g} minutes: make a new one"
            )

        try:
            code = InvitationCode.make(mailbox.nameplate, os.urandom)
            exchange = InvitationExchange(code, True, os.urandom)
            tell(code, mailbox.lifetime)
            half = await mailbox.receive().addTimeout(mailbox.lifetime, self.clock, expired)
            exchange.receiveHalf(half)
            await mailbox.post(exchange.half + exchange.seal(self.greeting))
            greeting = exchange.open(await self._soon(mailbox))
        except HolepunchError as error:
            await self._closed(mailbox, error)
            raise
        except BaseException:
            mailbox.close("the other side gave up")
            raise
        mailbox.close()
        return self._meet(greeting)

    async def accept(self, code: InvitationCode) -> Acquaintance:
        """
        Accept an invitation.

        @raise InvitationFailed: There is none of that code, or it came to nothing.
        """
        mailbox = await self.client.enterMailbox(code.nameplate)
        try:
            exchange = InvitationExchange(code, False, os.urandom)
            await mailbox.post(exchange.half)
            half, sealed = splitFirst(await self._soon(mailbox))
            exchange.receiveHalf(half)
            greeting = exchange.open(sealed)
            if greeting.peerID == self.greeting.peerID:
                raise InvitationFailed(
                    "this is your own invitation: give each program an identity of its own"
                )
            await mailbox.post(exchange.seal(self.greeting))
        except HolepunchError as error:
            await self._closed(mailbox, error)
            raise
        except BaseException:
            mailbox.close("the other side gave up")
            raise
        return self._meet(greeting)

    async def _closed(self, mailbox: Mailbox, error: HolepunchError) -> None:
        """
        Close the mailbox, and let that be known before the program ends, as it may with the error.
        """
        told = str(error) if isinstance(error, InvitationFailed) else "the other side gave up"
        closed = mailbox.close(told)
        with contextlib.suppress(CancelledError, TimeoutError):
            await closed.addTimeout(_CLOSE_TIMEOUT, self.clock)

    def _soon(self, mailbox: Mailbox) -> Deferred[bytes]:
        def tooLate(result: object, seconds: float) -> bytes:
            raise InvitationFailed(f"the other side did not answer for {seconds:g} seconds")

        return mailbox.receive().addTimeout(ANSWER_TIMEOUT, self.clock, tooLate)

    def _meet(self, greeting: Greeting) -> Acquaintance:
        name = self._nameFor(greeting)
        self.known.pin(name, greeting.peerID, INVITED)
        peer = KnownPeer(name=name, peerID=greeting.peerID, origin=INVITED)
        isConnecting = greeting.isConnecting and self.greeting.isConnecting
        return Acquaintance(peer=peer, isConnecting=isConnecting)

    def _nameFor(self, greeting: Greeting) -> str:
        """
        What the other side is called from now on. What it suggests takes nobody's name away.
        """
        if self.name is not None:
            return self.name
        present: str | None = self.known.nameOf(greeting.peerID)
        if present is not None:
            return present
        short = greeting.peerID.short
        suggested = greeting.name or f"peer-{short}"
        known = self.known.find(suggested)
        return suggested if known is None else f"{suggested[:50]}-{short}"
