"""
The password file of a service: users, and what is stored of their passwords.

A line each, C{USER:scrypt$…}; C{holepunch passwd} writes them. Lines that begin with C{#} are
comments.

Owns: the form of the file, and the checker for C{--auth scram:FILE}.
Knows nothing of: connections; how a proof is checked (L{holepunch.rendezvous.scram}).
Driven by: L{holepunch.rendezvous.authentication} and C{holepunch passwd}.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from holepunch.errors import BadCredentials, CannotRead
from holepunch.interfaces import IPasswordProof, IStoredPasswords
from holepunch.linefile import LineFile
from holepunch.rendezvous.scram import StoredPassword, checkUser


@implementer(ICredentialsChecker, IStoredPasswords)
class PasswordFile:
    """
    A password file. It is read anew for each login, so changes count at once.
    """

    credentialInterfaces = (IPasswordProof,)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = LineFile(path)

    def users(self) -> tuple[str, ...]:
        """
        Everybody who is in the file.

        @raise CannotRead: It cannot be read, or a line makes no sense.
        """
        return tuple(user for user, _ in self._entries())

    def storedPassword(self, user: str) -> StoredPassword | None:
        """
        What is stored of a user's password, if there is such a user.

        @raise CannotRead: The file cannot be read, or a line makes no sense.
        """
        found = None
        # To the last line, whoever it is.
        for each, stored in self._entries():
            if each == user and found is None:
                found = stored
        return found

    def requestAvatarId(self, credentials: IPasswordProof) -> Deferred[bytes | tuple[()]]:
        """
        Check a proof.

        @return: Fires with the user's name; fails with C{twisted.cred.error.UnauthorizedLogin}.
        """
        try:
            stored = self.storedPassword(credentials.username)
        except CannotRead:
            return fail()
        if stored is not None and credentials.checkStored(stored):
            return succeed(credentials.username.encode("utf-8"))
        return fail(UnauthorizedLogin())

    def setPassword(self, user: str, stored: StoredPassword) -> bool:
        """
        Add a user, or change a user's password; the file changes whole or not at all.

        @return: Is the user a new one?
        @raise BadCredentials: That can be no user name.
        @raise CannotRead: The file cannot be read, or a line makes no sense.
        @raise CannotWrite: It cannot be written.
        """
        user = checkUser(user)
        isNew = True

        def edit(lines: list[str]) -> list[str]:
            nonlocal isNew
            entry = f"{user}:{stored.format()}"
            changed = [entry if _userIn(line) == user else line for line in self._checked(lines)]
            isNew = user not in map(_userIn, lines)
            return [*changed, entry] if isNew else changed

        self._file.change(edit)
        return isNew

    def remove(self, user: str) -> bool:
        """
        Take a user out of the file.

        @return: Was there such a user?
        @raise CannotRead: The file cannot be read, or a line makes no sense.
        @raise CannotWrite: It cannot be written.
        """
        wasThere = False

        def edit(lines: list[str]) -> list[str] | None:
            nonlocal wasThere
            left = [line for line in self._checked(lines) if _userIn(line) != user]
            wasThere = left != lines
            return left if wasThere else None

        self._file.change(edit)
        return wasThere

    def _entries(self) -> Iterator[tuple[str, StoredPassword]]:
        return parsePasswords(self._file.read(), str(self._file.path))

    def _checked(self, lines: list[str]) -> list[str]:
        # A file of another kind is not to be written to.
        list(parsePasswords(lines, str(self._file.path)))
        return lines


def parsePasswords(lines: Iterable[str], place: str) -> Iterator[tuple[str, StoredPassword]]:
    """
    Read lines of a password file.

    @param place: Where they stand.
    @raise CannotRead: One makes no sense; it is not repeated, for it may hold a password.
    """
    for number, line in enumerate(lines, 1):
        user = _userIn(line)
        if user is None:
            continue
        try:
            yield checkUser(user), StoredPassword.parse(line.partition(":")[2].strip())
        except (ValueError, BadCredentials):
            raise CannotRead(f"{place}, line {number} was not made by holepunch passwd") from None


def _userIn(line: str) -> str | None:
    text = line.strip()
    return None if not text or text.startswith("#") else text.partition(":")[0].strip()
