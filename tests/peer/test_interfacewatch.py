"""
Tests for L{holepunch.peer.interfacewatch}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import NoLocalPort
from holepunch.peer.interfacewatch import InterfaceWatch


class InterfaceWatchTests(SynchronousTestCase):
    """
    L{InterfaceWatch}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.hosts: tuple[str, ...] | Exception = ("192.0.2.1", "2001:db8::1")
        self.changes: list[tuple[str, ...]] = []
        self.watch = InterfaceWatch(self.clock, 5.0, self.tell, self.changes.append)
        self.watch.start()

    def tell(self) -> tuple[str, ...]:
        if isinstance(self.hosts, Exception):
            raise self.hosts
        return self.hosts

    def test_change(self) -> None:
        """
        A change is told once, at the next look.
        """
        self.watch.look()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [])
        self.hosts = ("192.0.2.2",)
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [("192.0.2.2",)])

    def test_order(self) -> None:
        """
        The same addresses in another order are no change.
        """
        self.watch.look()
        self.hosts = ("2001:db8::1", "192.0.2.1")
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [])

    def test_known(self) -> None:
        """
        Whoever has looked himself is not told what he knows.
        """
        self.watch.look()
        self.hosts = ("192.0.2.2",)
        self.assertEqual(self.watch.look(), ("192.0.2.2",))
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [])

    def test_unknown(self) -> None:
        """
        While the addresses cannot be asked for, nothing is told, and the watch goes on.
        """
        self.watch.look()
        for error in (NoLocalPort("not now"), RuntimeError("a bug of the program's own policy")):
            self.hosts = error
            self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [])
        self.assertNotEqual(self.flushLoggedErrors(RuntimeError), [])
        self.hosts = ()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [()])

    def test_stop(self) -> None:
        """
        A stopped watch leaves nothing behind, and may start again.
        """
        self.watch.look()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.hosts = ("192.0.2.2",)
        self.watch.start()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.changes, [])
