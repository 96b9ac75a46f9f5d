"""
Which peer is registered where, under which name.

Owns: registrations, names, and who gives way to whom.
Knows nothing of: connections, which it knows by number; clocks; whether a peer may register.
Driven by: L{MainConnection}; it is the simplest L{IRegistry<holepunch.interfaces.IRegistry>}.
"""

from __future__ import annotations

import re

import attrs
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.errors import BadName, NameTaken
from holepunch.identity import PeerID
from holepunch.interfaces import INameOwners, IRegistry
from holepunch.punch.candidate import Candidate
from holepunch.rendezvous.introduction import IntroductionPolicy
from holepunch.rendezvous.nameowners import NameOwners

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}\Z")


@attrs.frozen
class Observation:
    """
    A mapped address that the service itself saw.
    """

    transport: Transport
    address: TransportAddress
    at: float


@attrs.frozen(kw_only=True)
class Registration:
    """
    A peer that is online.

    @ivar connection: The number of its main connection.
    @ivar accepts: May others ask for it?
    @ivar local: The main connection's endpoint in the peer's own view, its private endpoint.
    @ivar observed: The same in the service's view, its public endpoint.
    @ivar candidates: Where the peer claims to be reachable.
    @ivar owner: The user who registered it, where the service has users.
    @ivar observations: What assist requests with the registration's ticket showed.
    """

    peerID: PeerID
    connection: int
    name: str | None
    accepts: bool
    policy: IntroductionPolicy
    local: TransportAddress
    observed: TransportAddress
    candidates: tuple[Candidate, ...] = ()
    owner: str | None = None
    observations: tuple[Observation, ...] = ()

    @property
    def isBehindNAT(self) -> bool:
        """
        Do the two views of the main connection differ?
        """
        return self.local != self.observed

    @property
    def isMainPunchable(self) -> bool:
        """
        Was the main connection made from the port on which the peer accepts TCP connections?

        Then the endpoint that the service sees is the peer's server-reflexive candidate for TCP.
        """
        return any(
            candidate.transport is Transport.TCP and candidate.address == self.local
            for candidate in self.candidates
        )


def checkName(name: str) -> str:
    """
    Make sure that C{name} can be a peer's name.

    @raise BadName: It cannot.
    """
    if not _NAME.match(name) or PeerID.looksLike(name.lower()):
        raise BadName
    return name


@implementer(IRegistry)
class MemoryRegistry:
    """
    The peers of one service, for as long as it runs.

    Upper and lower case make no difference between names.
    """

    def __init__(self, owners: INameOwners | None = None) -> None:
        """
        @param owners: Which names belong to which users.
        """
        self._owners: INameOwners = owners if owners is not None else NameOwners()
        self._byID: dict[PeerID, Registration] = {}
        self._byName: dict[str, PeerID] = {}

    def __len__(self) -> int:
        return len(self._byID)

    def register(self, registration: Registration) -> Registration | None:
        """
        Enter a peer. It takes the place of its own earlier registration, and of nobody else's.

        @raise NameTaken: Another peer is registered under the name, or it belongs to another user.
        """
        name = registration.name
        if name is not None:
            isNew = self._mustBeFree(name, registration)
            holder = self._byName.get(name.lower())
            if holder is not None and holder != registration.peerID:
                raise NameTaken(f"another peer is registered as {name}: choose another name")
            if isNew:
                self._claim(name, registration)
        replaced = self._byID.get(registration.peerID)
        if replaced is not None:
            self._forget(replaced)
        self._byID[registration.peerID] = registration
        if name is not None:
            self._byName[name.lower()] = registration.peerID
        return replaced

    def update(self, registration: Registration) -> None:
        """
        Replace the values of a registration, unless another connection has taken its place.
        """
        if self._isCurrent(registration):
            self._byID[registration.peerID] = registration

    def unregister(self, registration: Registration) -> None:
        """
        Remove a registration, unless another connection has taken its place.
        """
        if self._isCurrent(registration):
            self._forget(self._byID[registration.peerID])

    def find(self, target: str) -> Registration | None:
        """
        Look a peer up by name or ID.
        """
        if PeerID.looksLike(target):
            return self._byID.get(PeerID(target))
        owner = self._byName.get(target.lower())
        return self._byID[owner] if owner is not None else None

    def _mustBeFree(self, name: str, registration: Registration) -> bool:
        """
        May the peer have the name, whoever is online? Is that to be kept from now on?

        @raise NameTaken: It belongs to somebody else.
        """
        owner = self._owners.ownerOf(name)
        if owner is not None and owner != registration.owner:
            raise NameTaken(f"the name {name} belongs to another user: choose another name")
        return owner is None

    def _claim(self, name: str, registration: Registration) -> None:
        """
        Keep to whom the name belongs now.
        """
        if registration.owner is not None:
            self._owners.claim(name, registration.owner)

    def _isCurrent(self, registration: Registration) -> bool:
        current = self._byID.get(registration.peerID)
        return current is not None and current.connection == registration.connection

    def _forget(self, registration: Registration) -> None:
        del self._byID[registration.peerID]
        if registration.name is not None:
            del self._byName[registration.name.lower()]
