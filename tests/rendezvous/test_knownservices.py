"""
Tests for L{holepunch.rendezvous.knownservices} and L{holepunch.rendezvous.location}.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.errors import BadAddress, BadPeerID, RendezvousError, ServiceIdentityChanged
from holepunch.identity import Identity
from holepunch.interfaces import IKnownServices
from holepunch.rendezvous import KnownServices, KnownServicesFile, ServiceLocation

ONE = Identity.generate().peerID
OTHER = Identity.generate().peerID


class KnownServicesFileTests(SynchronousTestCase):
    """
    L{KnownServicesFile} and L{KnownServices}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "below" / "known"
        self.known = KnownServicesFile(self.path)

    def test_interface(self) -> None:
        """
        Both are memories of known services.
        """
        self.assertTrue(verifyObject(IKnownServices, self.known))
        self.assertTrue(verifyObject(IKnownServices, KnownServices()))

    def test_remembers(self) -> None:
        """
        What was remembered is recalled, by host and port, also by another program.
        """
        first, second = ServiceLocation("a.example"), ServiceLocation("2001:db8::1", 99)
        for known in (self.known, KnownServices()):
            known.remember(first, ONE)
            known.remember(second, OTHER)
            self.assertEqual((known.recall(first), known.recall(second)), (ONE, OTHER))
            self.assertIsNone(known.recall(ServiceLocation("a.example", 99)))
        self.assertEqual(KnownServicesFile(self.path).recall(second), OTHER)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.path.parent), ["known"])

    def test_edited(self) -> None:
        """
        A person may edit the file: other lines are kept as they are.
        """
        self.path.parent.mkdir(parents=True)
        self.path.write_text(f"# mine\n\n  a.example:4460   {ONE}  # at home\nnonsense\n")
        self.assertEqual(self.known.recall(ServiceLocation("a.example")), ONE)
        self.known.remember(ServiceLocation("b.example"), OTHER)
        lines = self.path.read_text().splitlines()
        self.assertEqual(lines[0], "# mine")
        self.assertEqual(lines[3:], ["nonsense", f"b.example:4460 {OTHER}"])

    def test_broken(self) -> None:
        """
        A line that makes no sense is not taken for "never seen".
        """
        self.path.parent.mkdir(parents=True)
        self.path.write_text("a.example:4460 scribble\n")
        location = ServiceLocation("a.example")
        self.assertRaises(ServiceIdentityChanged, self.known.recall, location)

    def test_unusable(self) -> None:
        """
        A file that cannot be read or written is an error, not an empty one.
        """
        self.path.mkdir(parents=True)
        location = ServiceLocation("a.example")
        self.assertRaises(RendezvousError, self.known.recall, location)
        below = KnownServicesFile("/dev/null/known")
        self.assertRaises(RendezvousError, below.remember, location, ONE)


class ServiceLocationTests(SynchronousTestCase):
    """
    L{ServiceLocation}.
    """

    def test_parse(self) -> None:
        """
        Host, port and peer ID are read and written.
        """
        for text, location in (
            ("a.example", ServiceLocation("a.example")),
            ("a.example:99", ServiceLocation("a.example", 99)),
            (f"{ONE}@10.0.0.1", ServiceLocation("10.0.0.1", 4460, ONE)),
            (f"{ONE}@[2001:db8::1]:5", ServiceLocation("2001:db8::1", 5, ONE)),
        ):
            self.assertEqual(ServiceLocation.parse(text), location)
            self.assertEqual(ServiceLocation.parse(str(location)), location)

    def test_bad(self) -> None:
        """
        Anything else is refused.
        """
        self.assertRaises(BadPeerID, ServiceLocation.parse, "alice@a.example")
        for text in ("", f"{ONE}@", "a.example:x", "a.example:70000", ":5"):
            self.assertRaises(BadAddress, ServiceLocation.parse, text)
