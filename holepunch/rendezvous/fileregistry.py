"""
A registry whose names survive a restart: each belongs to the key that registered it first.

Owns: the file, a database of SQLite with one table, C{names(name, peer, used)}.
Knows nothing of: who is online, which it leaves to L{MemoryRegistry}; users, whose names
L{holepunch.rendezvous.nameowners} keeps.
Driven by: L{MainConnection}; C{twistd holepunch --registry file:PATH} makes it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from holepunch.errors import CannotRead, NameTaken, RendezvousError
from holepunch.identity import PeerID
from holepunch.interfaces import INameOwners, IRegistry
from holepunch.rendezvous.registry import MemoryRegistry, Registration

_NAMES = 16
_DAY = 86400.0
_PATIENCE = 2.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS names"
    " (name TEXT PRIMARY KEY, peer TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
)


@implementer(IRegistry)
class FileRegistry(MemoryRegistry):
    """
    The peers of one service, and a file of names and the keys that they belong to.

    The file is opened for the moment in which it is needed, so a service may become a daemon, or
    another user, and its operator may change the file while it runs.
    """

    _log = Logger()

    def __init__(
        self,
        path: str | os.PathLike[str],
        owners: INameOwners | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param path: Where the names are kept; the file is made when there is a first one.
        @param owners: Which names belong to which users; these are theirs, whatever key they use.
        @param now: The time of day in seconds: it has to mean the same after a restart.
        @raise CannotRead: There is a file, but not one of ours, or there cannot be one.
        """
        super().__init__(owners)
        self._path = Path(path)
        self._now = now
        if self._path.exists():
            try:
                with self._open() as names:
                    names.execute("SELECT name, peer, used FROM names LIMIT 1").fetchall()
            except sqlite3.Error as error:
                raise CannotRead(f"cannot read the names in {self._path}: {error}") from None
        elif not self._path.parent.is_dir():
            raise CannotRead(f"cannot keep names in {self._path}: there is no such folder")

    def ownerOf(self, name: str) -> PeerID | None:
        """
        The key to which a name belongs, online or not. Upper and lower case make no difference.

        @raise RendezvousError: The file cannot be read.
        """
        found = self._find(name)
        return None if found is None else PeerID(found[0])

    def _mustBeFree(self, name: str, registration: Registration) -> bool:
        isNew = super()._mustBeFree(name, registration)
        if registration.owner is not None or not isNew:
            return isNew
        found = self._find(name)
        if found is None:
            return True
        peer, used = found
        if peer != registration.peerID.text:
            raise NameTaken(f"the name {name} belongs to another peer: choose another name")
        # When it was last used is for the operator, who needs it to the day only.
        return self._now() - used > _DAY

    def _claim(self, name: str, registration: Registration) -> None:
        super()._claim(name, registration)
        if registration.owner is not None:
            return
        row = (name.lower(), registration.peerID.text, self._now())
        with self._mending(), self._open() as names:
            names.execute(_TABLE)
            names.execute("BEGIN IMMEDIATE")
            count = "SELECT count(*) FROM names WHERE peer = ? AND name != ?"
            [(others,)] = names.execute(count, (row[1], row[0]))
            if others >= _NAMES:
                raise NameTaken(f"this peer has {_NAMES} names already: take one of those")
            # Another service may have been faster.
            names.execute(
                "INSERT INTO names VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET used = excluded.used WHERE peer = excluded.peer",
                row,
            )
            [(peer,)] = names.execute("SELECT peer FROM names WHERE name = ?", row[:1])
            if peer != row[1]:
                raise NameTaken(f"the name {name} belongs to another peer: choose another name")
            names.execute("COMMIT")

    def _find(self, name: str) -> tuple[str, float] | None:
        if not self._path.exists():
            return None
        with self._mending(), self._open() as names:
            names.execute(_TABLE)
            wanted = "SELECT peer, used FROM names WHERE name = ?"
            found: tuple[str, float] | None = names.execute(wanted, (name.lower(),)).fetchone()
            return found

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """
        Open the file. What was begun and not committed comes to nothing.
        """
        opened = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        with contextlib.closing(opened):
            opened.execute("PRAGMA synchronous = FULL")
            yield opened

    @contextlib.contextmanager
    def _mending(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._log.error(
                "cannot use the names in {path}: {reason}", path=self._path, reason=str(error)
            )
            # The operator's paths are nothing for users to know.
            text = "the service cannot keep its list of names: tell its operator"
            raise RendezvousError(text) from None
