"""
Logging in over the main connection: the service's end.

Owns: the two commands of a login, the order in which they come, and when a refusal is told.
Knows nothing of: passwords (L{holepunch.rendezvous.authentication}); registrations.
Driven by: the peer; L{MainConnection<holepunch.rendezvous.server.MainConnection>} is the rest.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from holepunch.errors import (
    BadCredentials,
    LoginFailed,
    LoginRequired,
    LoginUnsupported,
    MalformedMessage,
    NotRegistered,
    TooManyRequests,
)
from holepunch.rendezvous.commands import BeginLogin, FinishLogin
from holepunch.rendezvous.guardedline import GuardedLine
from holepunch.rendezvous.scram import LoginExchange, checkUser, isNonce
from holepunch.tls import channelBinding

REFUSAL_DELAY = 1.0
"""
Seconds from a proof to its refusal, however long it took to find out.
"""

_FAILURES = 3


class LoginLine(GuardedLine):
    """
    A main connection over which users log in, if the service has users.

    @ivar user: Who has logged in.
    """

    user: str | None = None
    # Set while they are of use, and not in each connection: see GuardedLine.exchange.
    _login: LoginExchange | None = None
    _failedLogins = 0

    def loggedIn(self, user: str) -> None:
        """
        A user has logged in. A hook for subclasses.
        """

    def mustBeLoggedIn(self) -> None:
        """
        Go on only with a user, where the service has users.

        @raise LoginRequired: There is none.
        """
        if self.exchange.authority is not None and self.user is None:
            raise LoginRequired

    @BeginLogin.responder
    def _loginBegun(self, user: str, nonce: str) -> dict[str, Any]:
        authority = self.exchange.authority
        if authority is None:
            raise LoginUnsupported
        if self.peerID is None:
            raise NotRegistered
        if not isNonce(nonce):
            raise MalformedMessage("a nonce that is none")
        try:
            user = checkUser(user)
        except BadCredentials:
            raise MalformedMessage("a user name that nobody can have") from None
        login = self._login = authority.challenge(user, nonce, channelBinding(self.transport))
        return {
            "nonce": login.nonce,
            "salt": login.salt,
            "logN": login.cost.logN,
            "r": login.cost.r,
            "p": login.cost.p,
        }

    @FinishLogin.responder
    def _loginFinished(self, proof: bytes) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self._finishLogin(proof))

    async def _finishLogin(self, proof: bytes) -> dict[str, Any]:
        login, authority = self._login, self.exchange.authority
        if login is None or authority is None or self.peerID is None:
            raise MalformedMessage("a login that was not begun")
        # A challenge is good for one proof.
        del self._login
        receivedAt = self.clock.seconds()
        try:
            signature = await authority.login(
                login, proof, self.peerID, self.observed.host, receivedAt
            )
        except (LoginFailed, TooManyRequests):
            await self._refuseLogin(receivedAt)
            raise
        self.user = login.user
        self.log.info(
            "user {user} logged in as peer {peerID} from {observed}",
            user=login.user,
            peerID=self.peerID.text,
            observed=str(self.observed),
        )
        self.loggedIn(login.user)
        return {"signature": signature}

    async def _refuseLogin(self, receivedAt: float) -> None:
        # Whose login is not said: people type passwords where names belong.
        self.exchange.complaints.complain(self.observed, "a login failed")
        self._failedLogins += 1
        left = receivedAt + REFUSAL_DELAY - self.clock.seconds()
        await deferLater(self.clock, max(0.0, left), lambda: None)
        if self._failedLogins >= _FAILURES:
            # After the refusal, which is about to be sent.
            self.clock.callLater(0, self.hangUp, "too many logins failed")
