"""
Tests for L{holepunch.rendezvous.fileregistry}.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.errors import CannotRead, NameTaken, RendezvousError
from holepunch.interfaces import IRegistry
from holepunch.rendezvous.fileregistry import FileRegistry
from holepunch.rendezvous.nameowners import NameOwners
from tests.rendezvous.test_registry import PEERS, registration

ALICE, BOB, _ = PEERS


class FileRegistryTests(SynchronousTestCase):
    """
    L{FileRegistry}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.time = 0.0

    def open(self, owners: NameOwners | None = None) -> FileRegistry:
        """
        The registry of a service that has just been started.
        """
        return FileRegistry(self.path, owners, lambda: self.time)

    def lastUse(self) -> float:
        connection = sqlite3.connect(self.path)
        [(used,)] = connection.execute("SELECT used FROM names")
        connection.close()
        assert isinstance(used, float)
        return used

    def test_interface(self) -> None:
        """
        It is a registry, and makes no file before there is a name.
        """
        registry = self.open()
        self.assertTrue(verifyObject(IRegistry, registry))
        registry.register(registration(ALICE))
        self.assertIsNone(registry.ownerOf("alice"))
        self.assertFalse(self.path.exists())

    def test_restart(self) -> None:
        """
        A name belongs to the key that registered it first, also after a restart, while it is
        offline, and whatever its case.
        """
        self.open().register(registration(ALICE, name="Alice"))
        registry = self.open()
        self.assertIsNone(registry.find("alice"))
        self.assertEqual(registry.ownerOf("aLICE"), ALICE)
        error = self.assertRaises(NameTaken, registry.register, registration(BOB, name="ALICE"))
        self.assertIn("belongs to another peer", str(error))
        self.assertIsNone(registry.find(BOB.text))
        registry.register(registration(ALICE, name="alice"))
        self.assertIsNotNone(registry.find("alice"))

    def test_many(self) -> None:
        """
        A key has sixteen names at most.
        """
        registry = self.open()
        for number in range(16):
            registry.register(registration(ALICE, number, f"name-{number}"))
        self.assertRaises(NameTaken, registry.register, registration(ALICE, 16, "one-more"))
        self.assertIsNone(registry.ownerOf("one-more"))
        registry.register(registration(ALICE, 17, "name-3"))

    def test_refused(self) -> None:
        """
        A name that cannot be had now is not kept for later.
        """
        registry = self.open()
        user = attrs.evolve(registration(ALICE, name="alice"), owner="alice")
        registry.register(user)
        self.assertRaises(NameTaken, registry.register, registration(BOB, name="alice"))
        self.assertIsNone(registry.ownerOf("alice"))

    def test_users(self) -> None:
        """
        The name of a user is the user's, with whatever key.
        """
        owners = NameOwners()
        registry = self.open(owners)
        user = attrs.evolve(registration(ALICE, name="alice"), owner="alice")
        registry.register(user)
        registry.unregister(user)
        registry.register(attrs.evolve(user, peerID=BOB, connection=2))
        self.assertEqual(owners.ownerOf("alice"), "alice")

    def test_faster(self) -> None:
        """
        Of two services with one file, one gives the name away.
        """
        registry, other = self.open(), self.open()
        other.register(registration(BOB, name="alice"))
        self.assertRaises(NameTaken, registry.register, registration(ALICE, name="alice"))

    def test_lastUse(self) -> None:
        """
        When a name was used last is kept, to the day.
        """
        for self.time, expected in ((0.0, 0.0), (80_000.0, 0.0), (90_000.0, 90_000.0)):
            self.open().register(registration(ALICE, name="alice"))
            self.assertEqual(self.lastUse(), expected)

    def test_notOurs(self) -> None:
        """
        A file that is something else, or a folder that is not there, is a mistake at once.
        """
        self.path.write_text("nothing of the kind\n" * 100)
        self.assertRaises(CannotRead, self.open)
        self.assertRaises(CannotRead, FileRegistry, self.path / "names")
        self.assertRaises(CannotRead, FileRegistry, os.path.dirname(os.path.abspath(self.path)))

    def test_broken(self) -> None:
        """
        Where the file breaks while the service runs, names cannot be had, and the sentence for
        users tells no path; peers without names go on.
        """
        registry = self.open()
        registry.register(registration(ALICE, name="alice"))
        self.path.write_text("nothing of the kind\n" * 100)
        for name in ("alice", "other"):
            error = self.assertRaises(
                RendezvousError, registry.register, registration(ALICE, 2, name)
            )
            self.assertNotIn(str(self.path), str(error))
        registry.register(registration(BOB))
