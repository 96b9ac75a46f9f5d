"""
Tests for L{holepunch.peer.pathswitch} and L{holepunch.peer.pathwatch}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.errors import PathLost, PeerClosed
from holepunch.interfaces import IDatagramPath, IPathChooser
from holepunch.peer.pathchooser import BestKindFirst, LowestRoundTrip, PathKind
from holepunch.peer.pathswitch import Member, PathSwitch
from tests.peer.paths import BatchPath, WirePath, punched


class Switch:
    """
    A switch, and what it told.
    """

    def __init__(self, clock: Clock, chooser: IPathChooser | None = None) -> None:
        self.moves: list[PathKind | None] = []
        self.doubts = 0
        self.sleeps = 0
        self.received: list[bytes] = []
        self.switch = PathSwitch(
            clock,
            (punched(1), punched(2)),
            interval=5.0,
            grace=10.0,
            chooser=chooser,
            moved=self._moved,
            doubted=self._doubted,
            overslept=self._overslept,
        )
        self.switch.setReceiver(self.received.append)

    def _moved(self, member: Member | None) -> None:
        self.moves.append(None if member is None else member.kind)

    def _doubted(self) -> None:
        self.doubts += 1

    def _overslept(self) -> None:
        self.sleeps += 1


class SwitchTestCase(SynchronousTestCase):
    """
    Two switches, and paths between them.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.near, self.far = Switch(self.clock), Switch(self.clock)

    def add(
        self, kind: PathKind, latency: float = 0.05, port: int = 1
    ) -> tuple[WirePath, WirePath]:
        pair = WirePath.pair(self.clock, latency, port)
        for end, path in zip((self.near, self.far), pair, strict=True):
            end.switch.addPath(path, kind)
        return pair

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))


class LowestRoundTripTests(SwitchTestCase):
    """
    A switch that goes by round trips.
    """

    def setUp(self) -> None:
        super().setUp()
        self.near = Switch(self.clock, LowestRoundTrip())

    def test_interface(self) -> None:
        """
        Both choosers are choosers.
        """
        for chooser in (BestKindFirst(), LowestRoundTrip()):
            self.assertTrue(verifyObject(IPathChooser, chooser))

    def test_shortest(self) -> None:
        """
        Before anything is measured the kind decides, and then the shortest round trip does.
        """
        self.add(PathKind.RELAYED, latency=0.02)
        self.add(PathKind.DIRECT_UDP, latency=0.2)
        self.advance(10)
        self.add(PathKind.DIRECT_TCP, latency=0.001)
        self.advance(10)
        self.assertEqual(
            self.near.moves,
            [
                PathKind.RELAYED,
                PathKind.DIRECT_UDP,
                PathKind.RELAYED,
                PathKind.DIRECT_TCP,
            ],
        )
        self.assertEqual(self.near.doubts, 0)

    def test_flapping(self) -> None:
        """
        A path that is a little shorter takes nothing over; one that is suspect is left.
        """
        self.add(PathKind.DIRECT_UDP, latency=0.1)
        self.advance(10)
        self.add(PathKind.RELAYED, latency=0.09)
        self.advance(30)
        self.assertEqual(self.near.moves, [PathKind.DIRECT_UDP])
        used = self.near.switch.best
        assert used is not None and isinstance(used.path, WirePath)
        used.path.isCut = used.path.other.isCut = True
        self.advance(20)
        self.assertEqual(self.near.moves, [PathKind.DIRECT_UDP, PathKind.RELAYED])


class PathSwitchTests(SwitchTestCase):
    """
    Which path is used.
    """

    def test_interface(self) -> None:
        """
        A switch is itself a path.
        """
        self.assertTrue(verifyObject(IDatagramPath, self.near.switch))

    def test_best(self) -> None:
        """
        The best kind sends, the newer of two alike; every path receives.
        """
        relay, _ = self.add(PathKind.RELAYED, port=1)
        self.near.switch.send(b"1")
        udp, _ = self.add(PathKind.DIRECT_UDP, port=2)
        self.near.switch.send(b"2")
        tcp, far = self.add(PathKind.DIRECT_TCP, port=3)
        self.near.switch.send(b"3")
        newer, _ = self.add(PathKind.DIRECT_UDP, port=4)
        self.near.switch.send(b"4")
        self.assertEqual(self.near.switch.getHost(), punched(4))
        self.assertEqual([each.sent for each in (relay, udp, tcp)], [[b"1"], [b"2", b"3"], []])
        self.assertEqual(newer.sent, [b"4"])
        self.advance(0.1)
        self.assertEqual(self.far.received, [b"1", b"2", b"3", b"4"])
        far.send(b"by another way")
        self.advance(0.1)
        self.assertEqual(self.near.received, [b"by another way"])
        self.assertEqual(
            self.near.moves, [PathKind.RELAYED, PathKind.DIRECT_UDP, PathKind.DIRECT_UDP]
        )

    def test_several(self) -> None:
        """
        Several datagrams go to the best path at once if it can do that, or else one by one.
        """
        relay, _ = self.add(PathKind.RELAYED)
        self.near.switch.sendMany([b"1", b"2"])
        self.assertEqual(relay.sent, [b"1", b"2"])
        udp, _ = BatchPath.pair(self.clock)
        assert isinstance(udp, BatchPath)
        self.near.switch.addPath(udp, PathKind.DIRECT_UDP)
        self.near.switch.sendMany([b"3", b"4"])
        self.assertEqual((udp.batches, udp.sent), ([[b"3", b"4"]], []))
        udp.die()
        relay.die()
        self.near.switch.sendMany([b"nowhere"])

    def test_lost(self) -> None:
        """
        Another path takes the place of one that is lost; without any, the switch lives on for a
        while.
        """
        relay, _ = self.add(PathKind.RELAYED)
        udp, _ = self.add(PathKind.DIRECT_UDP)
        udp.die()
        self.near.switch.send(b"1")
        self.assertEqual(relay.sent, [b"1"])
        relay.die()
        self.assertEqual(self.near.doubts, 1)
        self.near.switch.send(b"nowhere")
        self.advance(9)
        self.add(PathKind.DIRECT_TCP)
        self.advance(9)
        self.assertFalse(self.near.switch.isLost)
        self.near.switch.members[0].path.close()
        lost = self.near.switch.whenLost()
        self.assertNoResult(lost)
        self.advance(11)
        self.failureResultOf(lost, PathLost)
        self.assertEqual(self.near.moves[-2:], [PathKind.DIRECT_TCP, None])

    def test_close(self) -> None:
        """
        A switch closes its paths, those that come later included, and leaves no timer.
        """
        relay, far = self.add(PathKind.RELAYED)
        lost = self.near.switch.whenLost()
        self.near.switch.close()
        self.failureResultOf(lost, PeerClosed)
        self.assertTrue(relay.isLost)
        late, _ = WirePath.pair(self.clock)
        self.near.switch.addPath(late, PathKind.DIRECT_UDP)
        self.assertTrue(late.isLost)
        far.close()
        self.far.switch.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(
        st.lists(
            st.one_of(
                st.sampled_from(list(PathKind)),
                st.integers(0, 9),
                st.tuples(st.just("cut"), st.integers(0, 9)),
                st.just("send"),
                st.just("wait"),
            ),
            max_size=40,
        )
    )
    def test_anySequence(self, steps: list[object]) -> None:
        """
        Whatever comes and goes: what leaves by a path that lives arrives, once and in order.
        """
        self.setUp()
        paths: list[WirePath] = []
        expected: list[bytes] = []
        for number, step in enumerate(steps):
            if isinstance(step, PathKind):
                paths.append(self.add(step, latency=0.0, port=number)[0])
            elif step == "send":
                data = str(number).encode()
                best = self.near.switch.best
                self.near.switch.send(data)
                if best is not None and not best.path.isCut:  # type: ignore[attr-defined]
                    expected.append(data)
                self.assertEqual(best is None, all(path.isLost for path in paths))
                self.clock.advance(0)
            elif step == "wait":
                self.advance(4.0)
                if self.near.switch.isLost:
                    break
            elif isinstance(step, tuple) and step[1] < len(paths):
                paths[step[1]].isCut = True
            elif isinstance(step, int) and step < len(paths):
                paths[step].die()
        self.assertEqual(self.far.received, expected)


class PathWatchTests(SwitchTestCase):
    """
    Finding out that a path is dead long before consent is lost.
    """

    def test_suspect(self) -> None:
        """
        A path that answers no checks is left within two seconds of traffic, and comes back into use
        with the first answer.
        """
        self.add(PathKind.RELAYED)
        udp, _ = self.add(PathKind.DIRECT_UDP)
        self.advance(20)
        udp.isCut = True
        for _ in range(20):
            self.near.switch.send(b"data")
            self.advance(0.1)
        self.assertEqual(self.near.moves[-1], PathKind.RELAYED)
        self.assertEqual(self.near.doubts, 0)
        udp.isCut = False
        self.advance(2)
        self.assertEqual(self.near.moves[-1], PathKind.DIRECT_UDP)

    def test_silent(self) -> None:
        """
        Without traffic a dead path is found out by the next check, and being the only one it goes
        on being used, since it may live again.
        """
        udp, _ = self.add(PathKind.DIRECT_UDP)
        udp.isCut = True
        self.advance(8)
        self.assertGreater(self.near.doubts, 0)
        assert self.near.switch.best is not None
        self.assertIs(self.near.switch.best.path, udp)

    def test_quiet(self) -> None:
        """
        A healthy path costs one check in an interval, with traffic or without.
        """
        udp, _ = self.add(PathKind.DIRECT_UDP)
        self.advance(20)
        self.assertIn(udp.probes, (3, 4))
        for _ in range(40):
            self.near.switch.send(b"ping")
            self.far.switch.send(b"pong")
            self.advance(0.5)
        self.assertLess(udp.probes, 12)
        self.assertEqual(self.near.doubts, 0)

    def test_slept(self) -> None:
        """
        A timer that comes far too late says that the machine has slept.
        """
        self.add(PathKind.DIRECT_UDP)
        self.advance(1)
        self.clock.advance(3600)
        self.assertEqual(self.near.sleeps, 1)
