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
            tried.start(1.0)
            tried.fail(Fate.REFUSED, None)
            at = flow.retryAt(tried, Fate.REFUSED, 1.0)
            delays.append(None if at is None else at - 1.0)
        quick, slow, last = delays[:4], delays[4:7], delays[7]
        for delay in quick:
            self.assertTrue(delay is not None and delay < 0.1)
        for delay in slow:
            self.assertTrue(delay is not None and 0.75 <= delay <= 1.25)
        self.assertEqual(len(set(slow)), 3)
        self.assertIsNone(last)

    def test_stranger(self) -> None:
        """
        Whoever does not know the credential is not asked again, in any flow.
        """
        for tcpFlow in TCPFlow:
            for isRequester in (True, False):
                flow = flowOf(config(tcpFlow=tcpFlow, isRequester=isRequester))
                self.assertIsNone(flow.retryAt(pair(), Fate.STRANGER, 1.0))

    def test_requester(self) -> None:
        """
        In the sequential flow, the requester connects only when the other side is ready.
        """
        flow = flowOf(config(tcpFlow=TCPFlow.SEQUENTIAL, isRequester=True))
        self.assertFalse(flow.mayConnect)
        flow.remoteReady()
        self.assertTrue(flow.mayConnect)
        self.assertFalse(flow.saysReady)

    def test_responder(self) -> None:
        """
        In the sequential flow, the other side connects at once, says so, and never gives up.
        """
        flow = flowOf(config(tcpFlow=TCPFlow.SEQUENTIAL, isRequester=False))
        self.assertTrue(flow.mayConnect and flow.saysReady)
        tried = pair()
        for _ in range(50):
            tried.start(1.0)
            tried.fail(Fate.CONNECT_TIMED_OUT, None)
            self.assertIsNotNone(flow.retryAt(tried, Fate.CONNECT_TIMED_OUT, 1.0))
