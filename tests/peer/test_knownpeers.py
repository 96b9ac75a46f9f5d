"""
Tests for L{holepunch.peer.knownpeers}.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.errors import BadName, CannotRead, CannotWrite, KnownAlready, UnknownName
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IKnownPeers
from holepunch.peer.knownpeers import (
    FIRST_USE,
    KnownPeer,
    KnownPeers,
    KnownPeersFile,
    parseKnownPeers,
)

ONE = Identity.generate().peerID
OTHER = Identity.generate().peerID
NAMES = st.from_regex(r"[a-z0-9._-]{1,12}", fullmatch=True)


class KnownPeersTests(SynchronousTestCase):
    """
    What both memories promise.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.file = KnownPeersFile(self.path)
        self.both: tuple[KnownPeers | KnownPeersFile, ...] = (KnownPeers(), self.file)

    def test_interface(self) -> None:
        """
        Both are memories of known peers.
        """
        for known in self.both:
            self.assertTrue(verifyObject(IKnownPeers, known))

    def test_pinned(self) -> None:
        """
        A name that was pinned is found, in upper and lower case, and so is the name of the key.
        """
        for known in self.both:
            self.assertIsNone(known.find("alice"))
            known.pin("alice", ONE, FIRST_USE)
            known.pin("Bob", OTHER)
            known.pin("ALICE", ONE)
            found = known.find("Alice")
            assert found is not None
            self.assertEqual((found.name, found.peerID, found.origin), ("alice", ONE, FIRST_USE))
            self.assertEqual(known.nameOf(OTHER), "Bob")
            self.assertIsNone(known.nameOf(Identity.generate().peerID))
            self.assertEqual([each.name for each in known.peers()], ["alice", "Bob"])

    def test_otherKey(self) -> None:
        """
        A name that is known is not given to another key.
        """
        for known in self.both:
            known.pin("alice", ONE)
            error = self.assertRaises(KnownAlready, known.pin, "Alice", OTHER)
            self.assertIn(str(ONE), str(error))
            found = known.find("alice")
            assert found is not None
            self.assertEqual(found.peerID, ONE)

    def test_removed(self) -> None:
        """
        A name that was forgotten can be pinned anew.
        """
        for known in self.both:
            known.pin("alice", ONE)
            self.assertEqual(known.remove("Alice").peerID, ONE)
            self.assertRaises(UnknownName, known.remove, "alice")
            known.pin("alice", OTHER)

    def test_badNames(self) -> None:
        """
        What is no name cannot be pinned: nothing gets into the file that would not come out again.
        """
        for known in self.both:
            for name in ("", "a b", "a#b", "a\nb", "\x1b", ONE.text):
                self.assertRaises(BadName, known.pin, name, ONE)
            self.assertEqual(known.peers(), ())


class KnownPeersFileTests(SynchronousTestCase):
    """
    L{KnownPeersFile}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.known = KnownPeersFile(self.path)

    def test_edited(self) -> None:
        """
        A person may edit the file: what else is in it stays, when names come and go.
        """
        self.path.write_text(f"# friends\n\n  Alice   {ONE}   #  from   the phone\n")
        found = self.known.find("alice")
        assert found is not None
        self.assertEqual((found.peerID, found.origin), (ONE, "from the phone"))
        self.assertEqual(found.place, f"{self.path}, line 3")
        self.known.pin("bob", OTHER, FIRST_USE)
        self.known.remove("alice")
        expected = f"# friends\n\nbob {OTHER}  # {FIRST_USE}\n"
        self.assertEqual(self.path.read_text(), expected)

    def test_broken(self) -> None:
        """
        A line that makes no sense is not taken for a name that is not known.
        """
        for line in ("alice", "alice scribble", f"alice {ONE} more", f"al/ice {ONE}", "<<<<<<<"):
            self.path.write_text(f"bob {OTHER}\n{line}\n")
            error = self.assertRaises(CannotRead, self.known.find, "alice")
            self.assertIn(f"{self.path}, line 2", str(error))
            self.assertRaises(CannotRead, self.known.pin, "alice", OTHER)

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """
        Any text is read as known peers, or refused by one sentence.
        """
        try:
            list(parseKnownPeers(text.split("\n"), "here"))
        except CannotRead as error:
            self.assertIn("here, line", str(error))

    @settings(max_examples=30, deadline=None)
    @given(st.dictionaries(NAMES, st.sampled_from([ONE, OTHER]), max_size=6))
    def test_whatWasPinned(self, names: dict[str, PeerID]) -> None:
        """
        Whatever was pinned is what is read.
        """
        with tempfile.TemporaryDirectory() as folder:
            known = KnownPeersFile(Path(folder, "known"))
            for name, peerID in names.items():
                known.pin(name, peerID)
            read = {
                each.name: each.peerID for each in KnownPeersFile(Path(folder, "known")).peers()
            }
            self.assertEqual(read, names)

    def test_allOrNone(self) -> None:
        """
        Of several, all become known or none does; those that were known are not counted.
        """
        self.known.pin("alice", ONE)
        new = KnownPeer(name="bob", peerID=OTHER)
        conflict = KnownPeer(name="alice", peerID=OTHER)
        self.assertRaises(KnownAlready, self.known.pinAll, [new, conflict])
        twice = KnownPeer(name="BOB", peerID=ONE)
        self.assertRaises(KnownAlready, self.known.pinAll, [new, twice])
        self.assertEqual(len(self.known.peers()), 1)
        self.assertEqual(self.known.pinAll([new, KnownPeer(name="alice", peerID=ONE), new]), 1)

    def test_unwritable(self) -> None:
        """
        Where nothing can be written, that is said.
        """
        os.makedirs(self.path)
        self.assertRaises(CannotRead, self.known.peers)
        self.assertRaises(CannotWrite, KnownPeersFile("/dev/null/known").pin, "alice", ONE)


class ChangedKeyTests(SynchronousTestCase):
    """
    L{KnownPeer.changed}.
    """

    def test_sentence(self) -> None:
        """
        It tells both keys, how and where the known one was pinned, and how to forget it.
        """
        place = "/home/alice/known_peers, line 3"
        known = KnownPeer(name="bob", peerID=ONE, origin=FIRST_USE, place=place)
        sentence = known.changed(str(OTHER))
        for part in (str(ONE), str(OTHER), FIRST_USE, place, "holepunch peers remove bob"):
            self.assertIn(part, sentence)
        self.assertNotIn("()", KnownPeer(name="bob", peerID=ONE).changed("x"))
