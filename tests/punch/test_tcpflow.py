"""
Tests of L{holepunch.punch.tcpflow}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.punch import Fate, TCPFlow
from holepunch.punch.tcpflow import flowOf
from tests.punch.test_pair import pair
from tests.punch.test_session import config


class FlowTests(SynchronousTestCase):
    """
    When a pair is connected again.
    """

    def test_simultaneous(self) -> None:
        """
        The first refusals are answered at once, the next after about the delay, and the tries end.
        """
        flow = flowOf(config(connectTries=8, quickRetries=4))
        tried = pair()
        delays = []
        for _ in range(8):
            tried.start(0.9)
            tried.fail(Fate.REFUSED, None)
            at = flow.retryAt(tried, Fate.REFUSED, 0.9, 1.0)
            delays.append(None if at is None else at - 1.0)
        quick, slow, last = delays[:4], delays[4:7], delays[7]
        for delay in quick:
            self.assertTrue(delay is not None and delay < 0.1)
        for delay in slow:
            self.assertTrue(delay is not None and 0.75 <= delay <= 1.25)
        self.assertEqual(len(set(slow)), 3)
        self.assertIsNone(last)

    def test_withoutGap(self) -> None:
        """
        Where the way is long, a refusal is answered in the same moment, so that one SYN is always
        under way; where it is short, the next one waits for its place among the checks.
        """
        settings = config()
        for tcpFlow in TCPFlow:
            flow = flowOf(config(tcpFlow=tcpFlow))
            for fate in (Fate.REFUSED, Fate.RESET, Fate.UNREACHABLE):
                tried = pair()
                tried.start(0.9)
                tried.fail(fate, None)
                self.assertEqual(flow.retryAt(tried, fate, 0.9, 1.0), 1.0)
                soon = flow.retryAt(tried, fate, 0.999, 1.0)
                assert soon is not None
                self.assertAlmostEqual(soon, 0.999 + settings.checkPacing)

    def test_lastTTLs(self) -> None:
        """
        The requester's last SYNs are not to arrive; the other side's are, and so are all in the
        sequential flow.
        """
        for isRequester, tcpFlow, expected in (
            (True, TCPFlow.SIMULTANEOUS, [None, None, 7, 3]),
            (False, TCPFlow.SIMULTANEOUS, [None] * 4),
            (True, TCPFlow.SEQUENTIAL, [None] * 4),
            (False, TCPFlow.SEQUENTIAL, [None] * 4),
        ):
            flow = flowOf(
                config(isRequester=isRequester, tcpFlow=tcpFlow, connectTries=4, lastTTLs=(7, 3))
            )
            tried, found = pair(), []
            for _ in range(4):
                found.append(flow.ttl(tried))
                tried.start(1.0)
                tried.fail(Fate.REFUSED, 2.0)
            self.assertEqual(found, expected)

    def test_stranger(self) -> None:
        """
        Whoever does not know the credential is not asked again, in any flow.
        """
        for tcpFlow in TCPFlow:
            for isRequester in (True, False):
                flow = flowOf(config(tcpFlow=tcpFlow, isRequester=isRequester))
                self.assertIsNone(flow.retryAt(pair(), Fate.STRANGER, 0.9, 1.0))

    def test_requester(self) -> None:
        """
        In the sequential flow, the requester connects only when the other side is ready.
        """
        flow = flowOf(config(tcpFlow=TCPFlow.SEQUENTIAL, isRequester=True))
        self.assertFalse(flow.mayConnect)
        flow.remoteReady([], 1.0)
        self.assertTrue(flow.mayConnect)
        self.assertFalse(flow.saysReady(pair()))

    def test_responder(self) -> None:
        """
        In the sequential flow, the other side connects at once, says so, and never gives up.
        """
        flow = flowOf(config(tcpFlow=TCPFlow.SEQUENTIAL, isRequester=False))
        self.assertTrue(flow.mayConnect and flow.saysReady(pair()))
        tried = pair()
        for _ in range(50):
            tried.start(1.0)
            tried.fail(Fate.CONNECT_TIMED_OUT, None)
            self.assertIsNotNone(flow.retryAt(tried, Fate.CONNECT_TIMED_OUT, 0.9, 1.0))

    def test_turns(self) -> None:
        """
        The responder's turns alternate; a refusal answered at once leaves its turn as it is.
        """
        settings = config(tcpFlow=TCPFlow.SEQUENTIAL, isRequester=False, quickRetries=2)
        flow, tried = flowOf(settings), pair()
        seen = []
        for fate in (Fate.REFUSED,) * 3 + (Fate.REFUSED, Fate.CONNECT_TIMED_OUT, Fate.REFUSED):
            isPunch = flow.isPunch(tried)
            tried.start(0.9)
            tried.fail(fate, None)
            at = flow.retryAt(tried, fate, 0.9, 1.0)
            assert at is not None
            seen.append((isPunch, at - 1.0))
        self.assertEqual(
            seen,
            [(False, 0.0), (False, 0.0), (False, 1.0), (True, 1.0), (False, 0.0), (True, 1.0)],
        )
