"""
Tests of L{holepunch.punch.nomination}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.punch import Choice, Contender, FirstValid, HeadStart, Pending


def contender(priority: int, rtt: float = 0.1, host: str = "a", since: float = 10.1) -> Contender:
    """
    Something that can be nominated.
    """
    return Contender(key=priority, priority=priority, remoteHost=host, since=since, rtt=rtt)


def pending(priority: int, startedAt: float = 10.0, host: str = "b") -> Pending:
    """
    Something in progress.
    """
    return Pending(priority=priority, startedAt=startedAt, remoteHost=host)


class HeadStartTests(SynchronousTestCase):
    """
    The strategy that waits a moment.
    """

    def test_nothing(self) -> None:
        """
        Where nothing can be nominated, nothing is, and nothing is waited for.
        """
        self.assertEqual(HeadStart().choose([], [pending(1)], 10.0), Choice())

    def test_best(self) -> None:
        """
        The best contender wins, at once where nothing better is in progress.
        """
        best = contender(3)
        choice = HeadStart().choose([contender(2), best], [pending(1)], 10.0)
        self.assertEqual(choice, Choice(contender=best))

    def test_waits(self) -> None:
        """
        A better pair has its head start from its own first check on, and no longer.
        """
        strategy, quick = HeadStart(0.05), contender(2, rtt=0.01)
        better = [pending(3, startedAt=10.0)]
        self.assertEqual(strategy.choose([quick], better, 10.01), Choice(wakeAt=10.05))
        self.assertEqual(strategy.choose([quick], better, 10.05), Choice(contender=quick))

    def test_manyBetter(self) -> None:
        """
        Better pairs that are begun later, one after the other, hold a contender up no longer than
        one head start.
        """
        first = contender(2, rtt=0.01, since=10.0)
        better = [pending(3, startedAt=10.0 + number * 0.02) for number in range(40)]
        choice = HeadStart(0.05).choose([first], better[:2], 10.03)
        self.assertEqual(choice, Choice(wakeAt=10.05))
        self.assertEqual(HeadStart(0.05).choose([first], better, 10.05), Choice(contender=first))

    def test_roundTrip(self) -> None:
        """
        Where the round trip is longer than the head start, it counts instead.
        """
        slow = contender(2, rtt=0.2)
        choice = HeadStart(0.05).choose([slow], [pending(3, startedAt=10.0)], 10.1)
        self.assertEqual(choice, Choice(wakeAt=10.2))

    def test_together(self) -> None:
        """
        When all first checks left together, the first valid pair is nominated when it is valid.
        """
        first = contender(2, rtt=0.1)
        choice = HeadStart(0.05).choose([first], [pending(3, 10.0), pending(4, 10.0)], 10.1)
        self.assertEqual(choice, Choice(contender=first))

    def test_sameHost(self) -> None:
        """
        A better pair to the same host, over the other transport, gets a quarter round trip more.
        """
        first = contender(2, rtt=0.125, since=10.5)
        better = [pending(3, startedAt=10.0, host="a")]
        self.assertEqual(HeadStart(0.05).choose([first], better, 10.5), Choice(wakeAt=10.53125))
        self.assertEqual(HeadStart(0.05).choose([first], better, 10.54), Choice(contender=first))


class FirstValidTests(SynchronousTestCase):
    """
    The strategy that does not wait.
    """

    def test_choose(self) -> None:
        """
        The best contender is chosen, whatever is in progress.
        """
        best = contender(2, rtt=0.01)
        choice = FirstValid().choose([contender(1), best], [pending(9)], 10.0)
        self.assertEqual(choice, Choice(contender=best))
        self.assertEqual(FirstValid().choose([], [], 10.0), Choice())
