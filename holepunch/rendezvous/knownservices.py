"""
Which keys the rendezvous services showed before, remembered the way SSH does.

Owns: the file of known services: a line each, C{HOST:PORT PEER-ID}.
Knows nothing of: connections; how a file is written (L{holepunch.linefile}).
Driven by: L{holepunch.rendezvous.client}, once a connection, before anything is sent on it.
"""

from __future__ import annotations

import os

from zope.interface import implementer

from holepunch.errors import (
    BadPeerID,
    CannotRead,
    CannotWrite,
    RendezvousError,
    ServiceIdentityChanged,
)
from holepunch.identity import PeerID
from holepunch.interfaces import IKnownServices
from holepunch.linefile import LineFile
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
        self._file = LineFile(path)

    def recall(self, location: ServiceLocation) -> PeerID | None:
        """
        The key that the service showed the first time, if there was one.

        @raise RendezvousError: The file cannot be read.
        """
        try:
            lines = self._file.read()
        except CannotRead as error:
            raise RendezvousError(str(error)) from None
        for line in lines:
            words = line.split()
            if len(words) >= 2 and words[0] == location.address:
                try:
                    return PeerID(words[1])
                except BadPeerID:
                    raise ServiceIdentityChanged(
                        f"{self._file.path} has a line for {location.address} that makes no sense"
                    ) from None
        return None

    def remember(self, location: ServiceLocation, peerID: PeerID) -> None:
        """
        Add a line to the file, whole or not at all.

        @raise RendezvousError: The file cannot be written.
        """
        try:
            self._file.change(lambda lines: [*lines, f"{location.address} {peerID}"])
        except (CannotRead, CannotWrite) as error:
            raise RendezvousError(str(error)) from None
