"""
Who may use the service: users and their passwords, by any checkers of C{twisted.cred}.

Nobody learns here whether a user exists. A challenge for a user that there is not looks like every
other one, and is the same each time. Whatever is wrong is refused with the same words, in the same
time, after the same work.

Owns: challenges, what a checker gets to see, and how often somebody may fail.
Knows nothing of: AMP (L{holepunch.rendezvous.authenticationline}).
Driven by: the service's end of a main connection.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from holepunch.errors import CannotRead, LoginFailed, TooManyRequests, UsageError
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IPasswordProof, IStoredPasswords
from holepunch.rendezvous.attempts import Attempts
from holepunch.rendezvous.limits import addressKey
from holepunch.rendezvous.scram import (
    SALT_SIZE,
    Cost,
    LoginExchange,
    StoredPassword,
    encode,
    saltPassword,
)

_ADDRESS_BURST, _ADDRESS_INTERVAL = 20, 10.0
_USER_BURST, _USER_INTERVAL = 10, 60.0
_TRACKED = 65536
_REMEMBERED = 10_000
_PURPOSE = b"holepunch: salts of users that there are not"

SUPPORTED = (IPasswordProof, IUsernameHashedPassword)
"""
The credentials that a login can be; a checker must take one of them.
"""


@implementer(IPasswordProof, IUsernameHashedPassword)
class LoginProof:
    """
    What a checker gets to see of a login.

    @ivar username: Text for L{checkStored}; a checker that keeps passwords as bytes gets bytes.
    @ivar signature: The service's own proof, once the password was found right.
    @ivar hasDerived: Was the work of a derivation done?
    """

    def __init__(
        self,
        exchange: LoginExchange,
        proof: bytes,
        work: Callable[[str, bytes, Cost], Deferred[bytes]],
        username: str | bytes,
    ) -> None:
        self.username = username
        self.signature: bytes | None = None
        self.hasDerived = False
        self._exchange = exchange
        self._proof = proof
        self._work = work

    def checkStored(self, stored: StoredPassword) -> bool:
        """
        Does the proof fit what is stored of the password?
        """
        if not stored.accepts(self._proof, self._exchange.message):
            return False
        self.signature = stored.sign(self._exchange.message)
        return True

    def checkPassword(self, password: str | bytes) -> Deferred[bool]:
        """
        Does the proof fit this password? The checker has it as it is, and keeps it.
        """
        return Deferred.fromCoroutine(self._checkPassword(password))

    async def _checkPassword(self, password: str | bytes) -> bool:
        if isinstance(password, bytes):
            password = password.decode("utf-8", "surrogateescape")
        self.hasDerived = True
        salt, cost = self._exchange.salt, self._exchange.cost
        salted = await self._work(password, salt, cost)
        return self.checkStored(StoredPassword.derive(salted, salt, cost))


class Authority:
    """
    Decides who is a user.

    @ivar attempts: Failures by address and by user.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        checkers: Sequence[ICredentialsChecker],
        identity: Identity,
        *,
        cost: Cost | None = None,
        randomBytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        @param reactor: Provides C{twisted.internet.interfaces.IReactorThreads}, or else a password
            that a checker knows is salted in the reactor's own thread.
        @param checkers: Asked in this order.
        @param identity: The service's. Challenges for users that there are not come from its key,
            so that they are the same after a restart, and nobody else can tell them.
        @raise UsageError: A checker cannot check a login.
        """
        self._reactor = reactor
        self._checkers = tuple(checkers)
        self._cost = cost if cost is not None else Cost()
        self._randomBytes = randomBytes
        self._secret = _secretOf(identity.privateKey)
        self._addresses = Attempts(_ADDRESS_BURST, _ADDRESS_INTERVAL, _TRACKED)
        self._users = Attempts(_USER_BURST, _USER_INTERVAL, _TRACKED)
        self._seen: OrderedDict[tuple[str, PeerID], None] = OrderedDict()
        for checker in self._checkers:
            _mustBeUsable(checker)
        self._needsWork = not all(IStoredPasswords.providedBy(each) for each in self._checkers)

    def challenge(self, user: str, clientNonce: str, binding: bytes) -> LoginExchange:
        """
        Begin a login.

        @param binding: What ties it to the TLS connection.
        """
        stored = None
        for checker in self._checkers:
            if IStoredPasswords.providedBy(checker):
                # All of them are asked: who is in the first file must not be answered sooner.
                found = self._storedIn(checker, user)
                stored = stored or found
        digest = hmac.digest(self._secret, user.encode("utf-8"), "sha256")
        return LoginExchange(
            user=user,
            clientNonce=clientNonce,
            nonce=clientNonce + encode(self._randomBytes(18)),
            salt=digest[:SALT_SIZE] if stored is None else stored.salt,
            cost=self._cost if stored is None else stored.cost,
            binding=binding,
        )

    def login(
        self, exchange: LoginExchange, proof: bytes, peerID: PeerID, host: str, now: float
    ) -> Deferred[bytes]:
        """
        Finish a login.

        @param peerID: Who wants to log in; who once could is not kept out by others' failures.
        @param host: From where.
        @raise TooManyRequests: There were too many failures.
        @raise LoginFailed: There is no such user, or the password is wrong.
        @return: Fires with the service's own proof.
        """
        return Deferred.fromCoroutine(self._login(exchange, proof, peerID, host, now))

    async def _login(
        self, exchange: LoginExchange, proof: bytes, peerID: PeerID, host: str, now: float
    ) -> bytes:
        address = addressKey(host)
        isKnown = (exchange.user, peerID) in self._seen
        wait = self._addresses.wait(address, now)
        if not isKnown:
            wait = max(wait, self._users.wait(exchange.user, now))
        if wait > 0:
            raise TooManyRequests(
                f"too many logins have failed: try again in {max(1, round(wait))} seconds"
            )
        self._addresses.begin(address, now)
        self._users.begin(exchange.user, now)
        signature = await self._check(exchange, proof)
        if signature is None:
            raise LoginFailed
        self._addresses.succeed(address)
        self._users.succeed(exchange.user)
        self._remember(exchange.user, peerID)
        return signature

    async def _check(self, exchange: LoginExchange, proof: bytes) -> bytes | None:
        signature = None
        hasDerived = False
        for checker in self._checkers:
            for username in _formsOf(exchange.user, checker):
                credentials = LoginProof(exchange, proof, self._derive, username)
                try:
                    await maybeDeferred(checker.requestAvatarId, credentials)
                except UnauthorizedLogin:
                    pass
                except CannotRead as error:
                    self._log.error("nobody can log in: {reason}", reason=str(error))
                except Exception:
                    self._log.failure("a checker of passwords failed")
                else:
                    # A checker that let somebody in without looking at the proof has not seen one.
                    signature = signature or credentials.signature
                hasDerived = hasDerived or credentials.hasDerived
        if self._needsWork and not hasDerived:
            await self._derive("", exchange.salt, exchange.cost)
        return signature

    def _derive(self, password: str, salt: bytes, cost: Cost) -> Deferred[bytes]:
        if not IReactorThreads.providedBy(self._reactor):
            return maybeDeferred(saltPassword, password, salt, cost)
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, saltPassword, password, salt, cost)

    def _storedIn(self, checker: IStoredPasswords, user: str) -> StoredPassword | None:
        try:
            stored: StoredPassword | None = checker.storedPassword(user)
        except CannotRead as error:
            self._log.error("nobody can log in: {reason}", reason=str(error))
            return None
        return stored

    def _remember(self, user: str, peerID: PeerID) -> None:
        self._seen[user, peerID] = None
        self._seen.move_to_end((user, peerID))
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def _formsOf(user: str, checker: ICredentialsChecker) -> tuple[str | bytes, ...]:
    """
    Twisted's own checkers know users as bytes, where they come from a file, and as text, where they
    come from the command line.
    """
    if IStoredPasswords.providedBy(checker):
        return (user,)
    return (user.encode("utf-8"), user)


def _mustBeUsable(checker: ICredentialsChecker) -> None:
    if not set(checker.credentialInterfaces) & set(SUPPORTED):
        raise UsageError(
            "this kind of checker needs the password itself, which never leaves the peer: use"
            " scram:FILE, with what holepunch passwd writes"
        )
    if isinstance(checker, FilePasswordDB):
        try:
            with open(checker.filename, "rb") as opened:
                passwords = [line.rstrip().split(b":")[1:2] for line in opened]
        except OSError as error:
            raise UsageError(f"cannot read {checker.filename}: {error.strerror}") from None
        if any(each and _looksHashed(each[0]) for each in passwords):
            raise UsageError(
                f"{checker.filename} holds hashed passwords, by which no login can be checked"
                " without the password on the wire: use scram:FILE, with what holepunch passwd"
                " writes"
            )


def _looksHashed(password: bytes) -> bool:
    isCrypt = password.startswith(b"$") and password.count(b"$") >= 2
    return isCrypt or password.startswith((b"{SHA", b"{SSHA", b"scrypt$"))


def _secretOf(key: Ed25519PrivateKey) -> bytes:
    return hmac.digest(key.private_bytes_raw(), _PURPOSE, "sha256")
