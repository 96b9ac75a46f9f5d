"""
Logging in over the main connection: the peer's end.

The password does not leave this module. What does can be of use to nobody else: it is bound to this
TLS connection, and good once.

Owns: credentials, the two commands as one method, and whether the service knew the password, too.
Knows nothing of: when a login is needed.
Driven by: L{holepunch.peer.registration}.
"""

from __future__ import annotations

import os

import attrs
from twisted.internet.defer import Deferred

from holepunch.errors import BadCredentials, ServiceNotProven
from holepunch.rendezvous.commands import BeginLogin, FinishLogin
from holepunch.rendezvous.requestline import RequestLine
from holepunch.rendezvous.scram import (
    Cost,
    LoginExchange,
    checkUser,
    encode,
    isNonce,
    saltPassword,
)
from holepunch.tls import channelBinding

_LONGEST = 4096


def _checkPassword(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not 1 <= len(value) <= 1000:
        raise BadCredentials("a password has 1 to 1000 characters")


@attrs.define
class LoginCredentials:
    """
    A user name and a password.

    @raise BadCredentials: That can be no user name, or no password.
    """

    user: str = attrs.field(converter=checkUser)
    password: str = attrs.field(repr=False, validator=_checkPassword)
    _salted: dict[tuple[bytes, Cost], bytes] = attrs.field(init=False, factory=dict, repr=False)

    def salted(self, salt: bytes, cost: Cost) -> bytes:
        """
        The salted password. It takes its time once: a service salts alike at each login.

        @raise ServiceNotProven: To try passwords would be cheap, or the work is too much.
        """
        if not cost.isBearable or not 8 <= len(salt) <= 64:
            raise ServiceNotProven(
                "the rendezvous service asks for a login that would be easy to guess from, or too"
                " much work: do not log in there"
            )
        if (salt, cost) not in self._salted:
            self._salted = {(salt, cost): saltPassword(self.password, salt, cost)}
        return self._salted[salt, cost]


def readPassword(file: str | os.PathLike[str]) -> str:
    """
    Read a password from the first line of a file.

    @raise BadCredentials: There is none.
    """
    try:
        with open(file, "rb") as opened:
            return opened.readline(_LONGEST).decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise BadCredentials(f"cannot read the password in {file}: {error.strerror}") from None
    except ValueError:
        raise BadCredentials(f"the password in {file} is no text in UTF-8") from None


class LoginClient(RequestLine):
    """
    A main connection over which a user can log in.
    """

    def login(self, credentials: LoginCredentials) -> Deferred[None]:
        """
        Log in; before registering.

        @raise LoginFailed: The user name or the password is wrong.
        @raise LoginUnsupported: The service has no users.
        @raise TooManyRequests: There were too many failures; the sentence says how long to wait.
        @raise ServiceNotProven: The service does not know the password itself.
        """
        return Deferred.fromCoroutine(self._login(credentials))

    async def _login(self, credentials: LoginCredentials) -> None:
        nonce = encode(os.urandom(18))
        begun = await self.request(BeginLogin, user=credentials.user, nonce=nonce)
        if not begun["nonce"].startswith(nonce) or not isNonce(begun["nonce"]):
            raise ServiceNotProven("the rendezvous service answered another login than this one")
        exchange = LoginExchange(
            user=credentials.user,
            clientNonce=nonce,
            nonce=begun["nonce"],
            salt=begun["salt"],
            cost=Cost(logN=begun["logN"], r=begun["r"], p=begun["p"]),
            binding=channelBinding(self.transport),
        )
        salted = credentials.salted(exchange.salt, exchange.cost)
        finished = await self.request(FinishLogin, proof=exchange.prove(salted))
        if not exchange.isSigned(salted, finished["signature"]):
            raise ServiceNotProven
