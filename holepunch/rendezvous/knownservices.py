"""
Which keys the rendezvous services showed before, remembered the way SSH does.

Owns: the file of known services: a line each, C{HOST:PORT PEER-ID}.
Knows nothing of: connections.
Driven by: L{holepunch.rendezvous.client}, once a connection, before anything is sent on it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from zope.interface import implementer

from holepunch.errors import BadPeerID, RendezvousError, ServiceIdentityChanged
from holepunch.identity import PeerID
from holepunch.interfaces import IKnownServices
from holepunch.rendezvous.location import ServiceLocation


@implementer(IKnownServices)
class KnownServices:
    """
    Remembers the services' keys for as long as the program runs.
    """

    def __init__(self) -> None:
        self._known: dict[str, PeerID] = {}

    def recall(self, location: ServiceLocation) -> PeerID | None:
        """
        The key that the service showed the first time, if there was one.
        """
        return self._known.get(location.address)

    def remember(self, location: ServiceLocation, peerID: PeerID) -> None:
        """
        Note the key of a service that was not known.
        """
        self._known[location.address] = peerID


@implementer(IKnownServices)
class KnownServicesFile:
    """
    Remembers the services' keys in a file that a person can read and edit.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def recall(self, location: ServiceLocation) -> PeerID | None:
        """
        The key that the service showed the first time, if there was one.

        @raise RendezvousError: The file cannot be read.
        """
        for line in self._lines():
            words = line.split()
            if len(words) >= 2 and words[0] == location.address:
                try:
                    return PeerID(words[1])
                except BadPeerID:
                    raise ServiceIdentityChanged(
                        f"{self._path} has a line for {location.address} that makes no sense"
                    ) from None
        return None

    def remember(self, location: ServiceLocation, peerID: PeerID) -> None:
        """
        Add a line to the file, whole or not at all.

        @raise RendezvousError: The file cannot be written.
        """
        lines = [*self._lines(), f"{location.address} {peerID}"]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".known-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as opened:
                    opened.write("\n".join(lines) + "\n")
                    opened.flush()
                    os.fsync(opened.fileno())
                os.replace(temporary, self._path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        except OSError as error:
            raise RendezvousError(f"cannot write {self._path}: {error.strerror}") from None

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise RendezvousError(f"cannot read {self._path}: {error}") from None
