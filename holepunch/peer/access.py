"""
Who may connect: whom we mean by a name when we ask, and whom we let in when others ask.

Owns: the authorisers, the comparison of a name with the key that is known, and when a name is
pinned.
Knows nothing of: how a session is punched; where known names are kept.
Driven by: L{holepunch.peer.sessions}, before any address of ours is told to anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from holepunch.errors import (
    CannotWrite,
    HolepunchError,
    KnownAlready,
    PeerIdentityChanged,
    SessionRefused,
    UnknownName,
    WrongPeer,
)
from holepunch.identity import PeerID
from holepunch.interfaces import IAuthoriser, IKnownPeers
from holepunch.peer.knownpeers import FIRST_USE, KnownPeers
from holepunch.punch import Candidate
from holepunch.rendezvous.introduction import SessionEnd

_CANDIDATES = 256
# Of one peer: each stream that it opens may be one.
_UNDECIDED = 64

NOT_LET_IN = "the peer does not let you in"
"""
What a refusal begins with that the peer's user has decided on.
"""


@attrs.frozen(kw_only=True)
class AccessRequest:
    """
    Somebody wants to connect.

    @ivar remote: Who it is. Whoever cannot prove that key gets no connection in the end.
    @ivar remoteName: The name that it is registered under. Only the service says so.
    @ivar knownName: The name that we know this very key by, if we do.
    @ivar application: What it wants a stream for, if it said so; then it is held to that.
    """

    remote: PeerID
    remoteName: str | None = None
    knownName: str | None = None
    application: str | None = None


@implementer(IAuthoriser)
class Everyone:
    """
    Lets everybody in.
    """

    isOpen = True

    def authorise(self, request: AccessRequest) -> bool:
        """
        Yes.
        """
        return True


@implementer(IAuthoriser)
class AccessList:
    """
    Lets in who is on a list, or who is not on another one.

    @ivar allowed: Peer IDs, and names by which peers are known; C{None} is everybody.
    @ivar denied: The same; who is here is not let in, even if allowed.
    """

    def __init__(
        self,
        known: IKnownPeers,
        allowed: Iterable[str] | None = None,
        denied: Iterable[str] = (),
    ) -> None:
        """
        @raise UnknownName: No peer is known by a name of the lists: to overlook that would let
            somebody in, or keep somebody out, unnoticed.
        """
        self._known = known
        self.allowed = None if allowed is None else frozenset(allowed)
        self.denied = frozenset(denied)
        for each in (self.allowed or frozenset()) | self.denied:
            self._identify(each)

    @property
    def isOpen(self) -> bool:
        """
        Do both lists say nothing?
        """
        return self.allowed is None and not self.denied

    def authorise(self, request: AccessRequest) -> bool:
        """
        What the lists say. Names are looked up now: they may mean other peers than before.
        """
        if request.remote in {self._identify(each) for each in self.denied}:
            return False
        if self.allowed is None:
            return True
        return request.remote in {self._identify(each) for each in self.allowed}

    def _identify(self, nameOrID: str) -> PeerID:
        if PeerID.looksLike(nameOrID):
            return PeerID(nameOrID)
        known = self._known.find(nameOrID)
        if known is None:
            raise UnknownName(
                f"no peer is known by the name {nameOrID[:80]}: give its ID, or make it known with"
                f" holepunch peers add {nameOrID[:80]} ID"
            )
        peerID: PeerID = known.peerID
        return peerID


@implementer(IAuthoriser)
class Ask:
    """
    Lets the program decide, or the person in front of it.
    """

    isOpen = False

    def __init__(self, decide: Callable[[AccessRequest], bool | Deferred[bool]]) -> None:
        """
        @param decide: Called with each request.
        """
        self._decide = decide

    def authorise(self, request: AccessRequest) -> bool | Deferred[bool]:
        """
        Ask.
        """
        return self._decide(request)


class Access:
    """
    Both directions for one peer.

    @ivar known: Whom it knows.
    @ivar authoriser: Whom it lets in.
    """

    _log = Logger()

    def __init__(
        self, known: IKnownPeers | None = None, authoriser: IAuthoriser | None = None
    ) -> None:
        self.known: IKnownPeers = known if known is not None else KnownPeers()
        self.authoriser: IAuthoriser = authoriser if authoriser is not None else Everyone()
        self._undecided: Counter[PeerID] = Counter()

    # --- asking ---------------------------------------------------------------------------------

    def expected(self, target: str) -> PeerID | None:
        """
        Who is meant by a name or ID; C{None} where a name is new to us.
        """
        if PeerID.looksLike(target):
            return PeerID(target)
        known = self.known.find(target)
        return None if known is None else known.peerID

    def mustBeMeant(self, target: str, expected: PeerID | None, remote: PeerID) -> None:
        """
        The service introduced C{remote} as C{target}.

        @param expected: Who was meant when it was asked.
        @raise WrongPeer: That is another one than was asked for by its ID.
        @raise PeerIdentityChanged: It is another one than is known by that name.
        """
        if expected is None or remote == expected:
            return
        if PeerID.looksLike(target):
            raise WrongPeer(f"the rendezvous service introduced {remote} instead of {target}")
        raise self.changed(target, str(remote))

    def changed(self, target: str, shown: str) -> PeerIdentityChanged:
        """
        The error for a name to which another key answers.

        @param shown: That key, or what the service says about it.
        """
        known = self.known.find(target)
        return PeerIdentityChanged(shown if known is None else known.changed(shown))

    def proven(self, target: str, remote: PeerID) -> None:
        """
        C{remote} has proven its key to us, who asked for C{target}: from now on that name is its.

        @raise PeerIdentityChanged: The name became known as another's in the meantime.
        """
        if PeerID.looksLike(target):
            return
        try:
            self.known.pin(target, remote, FIRST_USE)
        except KnownAlready:
            raise self.changed(target, str(remote)) from None
        except CannotWrite as error:
            # The connection is as good as it was; the next one will be a first one again.
            self._log.warn(
                "the key of {target} is not remembered: {reason}", target=target, reason=str(error)
            )

    # --- being asked ----------------------------------------------------------------------------

    async def admit(
        self, remote: PeerID, remoteName: str | None, application: str | None = None
    ) -> None:
        """
        Come back if C{remote} may connect.

        @raise SessionRefused: It may not; the sentence is for its user.
        """
        if self._undecided[remote] >= _UNDECIDED:
            raise SessionRefused("too many of your requests wait for the peer's decision")
        self._undecided[remote] += 1
        try:
            request = AccessRequest(
                remote=remote,
                remoteName=remoteName,
                knownName=self.known.nameOf(remote),
                application=application,
            )
            isAllowed = await maybeDeferred(self.authoriser.authorise, request)
        except SessionRefused:
            raise
        except HolepunchError as error:
            self._log.warn("nobody is let in: {reason}", reason=str(error))
            raise SessionRefused("the peer cannot tell whom it lets in: tell its user") from None
        except Exception:
            self._log.failure("the authoriser failed, so nobody is let in")
            raise SessionRefused("the peer cannot tell whom it lets in: tell its user") from None
        finally:
            self._undecided[remote] -= 1
            # Of those who want nothing any more, nothing is kept.
            self._undecided += Counter()
        if isAllowed is not True:
            raise SessionRefused(f"{NOT_LET_IN}: its user can allow your ID, {remote}")


@attrs.define
class Undecided:
    """
    A session that was offered, while it is being decided on.

    @ivar candidates: Where the requester can be reached, as far as it came in since.
    @ivar end: How the session has ended, if it has.
    """

    candidates: tuple[Candidate, ...] = ()
    end: SessionEnd | None = None

    def candidatesReceived(self, candidates: Sequence[Candidate]) -> None:
        """
        Keep some for later.
        """
        self.candidates = (*self.candidates, *candidates)[:_CANDIDATES]

    def mustBeWanted(self) -> None:
        """
        Go on only if the requester still waits.

        @raise SessionRefused: It does not.
        """
        if self.end is not None:
            raise SessionRefused("the session was over before it was decided on")
