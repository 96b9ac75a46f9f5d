"""
Which peer is meant by a name: the names that a person, or a program, knows peers by.

A name that is known means one key, whoever is registered under it. As with SSH's C{known_hosts}, it
becomes known when a peer is first reached by it and has proven its key, by an invitation, or by
hand.

Owns: the two memories, the form of the file, and the sentence about a changed key.
Knows nothing of: connections; how a file is written (L{holepunch.linefile}).
Driven by: L{holepunch.peer.access}, and C{holepunch peers}.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import attrs
from zope.interface import implementer

from holepunch.errors import BadName, BadPeerID, CannotRead, KnownAlready, UnknownName
from holepunch.identity import PeerID
from holepunch.interfaces import IKnownPeers
from holepunch.linefile import LineFile
from holepunch.rendezvous.registry import checkName

FIRST_USE = "pinned at first use"
INVITED = "pinned by an invitation"
ADDED = "added by hand"
IMPORTED = "imported"


@attrs.frozen(kw_only=True)
class KnownPeer:
    """
    A peer that is known by a name.

    @ivar origin: How it became known, in a few words.
    @ivar place: Where that is written, for people; empty where it is only remembered.
    """

    name: str
    peerID: PeerID
    origin: str = ""
    place: str = attrs.field(default="", eq=False)

    def changed(self, shown: str) -> str:
        """
        The sentence that refuses another key.

        @param shown: The peer ID that answers to the name now.
        """
        written = ", ".join(each for each in (self.origin, self.place) if each)
        known = f"{self.peerID} ({written})" if written else str(self.peerID)
        return (
            f"{self.name} is known as {known}, but here it is {shown}: somebody may be posing as"
            f" {self.name}. Only if you know that its key has changed, forget the old one:"
            f" holepunch peers remove {self.name}"
        )


@implementer(IKnownPeers)
class KnownPeers:
    """
    Knows peers for as long as the program runs.

    Upper and lower case make no difference between names.
    """

    def __init__(self, known: Iterable[KnownPeer] = ()) -> None:
        self._known = {each.name.lower(): each for each in known}

    def peers(self) -> tuple[KnownPeer, ...]:
        """
        All of them, in the order in which they became known.
        """
        return tuple(self._known.values())

    def find(self, name: str) -> KnownPeer | None:
        """
        Who is meant by a name?
        """
        return self._known.get(name.lower())

    def nameOf(self, peerID: PeerID) -> str | None:
        """
        The first name that a peer is known by.
        """
        return next((each.name for each in self._known.values() if each.peerID == peerID), None)

    def pin(self, name: str, peerID: PeerID, origin: str = ADDED) -> None:
        """
        From now on, C{name} means this peer.

        @raise BadName: It is no name.
        @raise KnownAlready: It means another peer.
        """
        if not _isNews(self.find(checkName(name)), peerID):
            return
        self._known[name.lower()] = KnownPeer(name=name, peerID=peerID, origin=origin)

    def remove(self, name: str) -> KnownPeer:
        """
        Forget a name.

        @raise UnknownName: It is not known.
        @return: Whom it meant.
        """
        try:
            return self._known.pop(name.lower())
        except KeyError:
            raise _unknown(name) from None


@implementer(IKnownPeers)
class KnownPeersFile:
    """
    Knows peers by a file that a person can read and edit: a line each, C{NAME PEER-ID}, and after a
    C{#} what one likes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = LineFile(path)

    def peers(self) -> tuple[KnownPeer, ...]:
        """
        All of them, in the order of the file.

        @raise CannotRead: The file cannot be read, or a line of it makes no sense.
        """
        return tuple(self._parse(self._file.read()))

    def find(self, name: str) -> KnownPeer | None:
        """
        Who is meant by a name?

        @raise CannotRead: The file cannot be read, or a line of it makes no sense.
        """
        return _named(self.peers(), name)

    def nameOf(self, peerID: PeerID) -> str | None:
        """
        The first name that a peer is known by.

        @raise CannotRead: The file cannot be read, or a line of it makes no sense.
        """
        return next((each.name for each in self.peers() if each.peerID == peerID), None)

    def pin(self, name: str, peerID: PeerID, origin: str = ADDED) -> None:
        """
        From now on, C{name} means this peer: add a line, whole or not at all.

        @raise BadName: It is no name.
        @raise KnownAlready: It means another peer.
        @raise CannotRead: The file cannot be read.
        @raise CannotWrite: It cannot be written; it stays as it is.
        """
        self.pinAll([KnownPeer(name=checkName(name), peerID=peerID, origin=origin)])

    def pinAll(self, peers: Sequence[KnownPeer]) -> int:
        """
        Make several peers known, or none of them.

        @return: How many were not known before.
        @raise KnownAlready: A name means another peer.
        @raise CannotRead: The file cannot be read.
        @raise CannotWrite: It cannot be written; it stays as it is.
        """
        added: list[KnownPeer] = []

        def edit(lines: list[str]) -> list[str] | None:
            known = list(self._parse(lines))
            for each in peers:
                if _isNews(_named([*known, *added], each.name), each.peerID):
                    added.append(each)
            if not added:
                return None
            return [*lines, *(f"{each.name} {each.peerID}  # {each.origin}" for each in added)]

        self._file.change(edit)
        return len(added)

    def remove(self, name: str) -> KnownPeer:
        """
        Forget a name: take its lines out of the file.

        @raise UnknownName: It is not known.
        @raise CannotRead: The file cannot be read.
        @raise CannotWrite: It cannot be written; it stays as it is.
        @return: Whom it meant.
        """
        removed: list[KnownPeer] = []

        def edit(lines: list[str]) -> list[str] | None:
            known = _named(self._parse(lines), name)
            if known is None:
                raise _unknown(name)
            removed.append(known)
            return [line for line in lines if not _isLineOf(line, name)]

        self._file.change(edit)
        return removed[0]

    def _parse(self, lines: Iterable[str]) -> Iterator[KnownPeer]:
        return parseKnownPeers(lines, str(self._file.path))


def parseKnownPeers(lines: Iterable[str], place: str) -> Iterator[KnownPeer]:
    """
    Read lines of known peers.

    @param place: Where they stand.
    @raise CannotRead: A line makes no sense. Were it skipped, its name would count as not known,
        and anybody could take it.
    """
    for number, line in enumerate(lines, 1):
        text, _, comment = line.partition("#")
        words = text.split()
        if not words:
            continue
        try:
            name, peerID = words
            yield KnownPeer(
                name=checkName(name),
                peerID=PeerID(peerID),
                origin=" ".join(comment.split()),
                place=f"{place}, line {number}",
            )
        except (ValueError, BadName, BadPeerID):
            raise CannotRead(
                f"{place}, line {number} makes no sense: a line is a name and a peer ID"
            ) from None


def _isLineOf(line: str, name: str) -> bool:
    words = line.partition("#")[0].split()
    return bool(words) and words[0].lower() == name.lower()


def _named(peers: Iterable[KnownPeer], name: str) -> KnownPeer | None:
    return next((each for each in peers if each.name.lower() == name.lower()), None)


def _isNews(known: KnownPeer | None, peerID: PeerID) -> bool:
    if known is None:
        return True
    if known.peerID != peerID:
        raise KnownAlready(
            f"{known.name} is known already, as {known.peerID}: choose another name, or forget"
            f" that one with holepunch peers remove {known.name}"
        )
    return False


def _unknown(name: str) -> UnknownName:
    return UnknownName(f"no peer is known by the name {name[:80]}")
