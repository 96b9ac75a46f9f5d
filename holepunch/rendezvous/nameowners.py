"""
Which names belong to which users, of a service that has users.

Owns: the two memories, and the form of the file: a line each, C{NAME USER}.
Knows nothing of: who is registered; how a user logs in.
Driven by: L{holepunch.rendezvous.registry}.
"""

from __future__ import annotations

import os

from zope.interface import implementer

from holepunch.errors import CannotRead, CannotWrite, HolepunchError, NameTaken, RendezvousError
from holepunch.interfaces import INameOwners
from holepunch.linefile import LineFile

_NAMES = 16


@implementer(INameOwners)
class NameOwners:
    """
    Remembers the owners for as long as the service runs.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def ownerOf(self, name: str) -> str | None:
        """
        The user to whom a name belongs.
        """
        return self._owners.get(name.lower())

    def claim(self, name: str, user: str) -> None:
        """
        From now on, a name that belongs to nobody is this user's.

        @raise NameTaken: The user has too many.
        """
        _mustHaveRoom(list(self._owners.values()), user)
        self._owners.setdefault(name.lower(), user)


@implementer(INameOwners)
class NameOwnersFile:
    """
    Remembers the owners in a file, which the operator may edit.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = LineFile(path)

    def ownerOf(self, name: str) -> str | None:
        """
        The user to whom a name belongs.

        @raise RendezvousError: The file cannot be read.
        """
        try:
            return next(
                (owner for each, owner in _entries(self._file.read()) if each == name.lower()), None
            )
        except CannotRead as error:
            raise self._failed(error) from None

    def claim(self, name: str, user: str) -> None:
        """
        From now on, a name that belongs to nobody is this user's.

        @raise NameTaken: The user has too many, or another one was faster.
        @raise RendezvousError: The file cannot be written.
        """

        def edit(lines: list[str]) -> list[str]:
            entries = _entries(lines)
            _mustHaveRoom([owner for _, owner in entries], user)
            if any(each == name.lower() for each, _ in entries):
                raise NameTaken(f"the name {name} belongs to another user: choose another name")
            return [*lines, f"{name.lower()} {user}"]

        try:
            self._file.change(edit)
        except (CannotRead, CannotWrite) as error:
            raise self._failed(error) from None

    def _failed(self, error: HolepunchError) -> RendezvousError:
        # The operator's paths are nothing for users to know.
        return RendezvousError("the service cannot keep its list of names: tell its operator")


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    words = (line.partition("#")[0].split() for line in lines)
    return [(each[0].lower(), each[1]) for each in words if len(each) == 2]


def _mustHaveRoom(owners: list[str], user: str) -> None:
    if owners.count(user) >= _NAMES:
        raise NameTaken(f"this user has {_NAMES} names already: take one of those")
