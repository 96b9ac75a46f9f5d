"""
Waiting for several things at once.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from holepunch.peer.together import together


class TogetherTests(SynchronousTestCase):
    """
    L{together}.
    """

    def setUp(self) -> None:
        self.cancelled: list[int] = []
        self.parts: list[Deferred[str]] = [
            Deferred(lambda _, number=number: self.cancelled.append(number))  # type: ignore[misc]
            for number in range(3)
        ]

    def test_results(self) -> None:
        """
        The results come in the order of the parts, however they came in.
        """
        result = together(*self.parts)
        for number in (2, 0, 1):
            self.assertNoResult(result)
            self.parts[number].callback(f"{number}")
        self.assertEqual(self.successResultOf(result), ["0", "1", "2"])

    def test_nothing(self) -> None:
        """
        Nothing to wait for is there at once.
        """
        self.assertEqual(self.successResultOf(together()), [])

    def test_failure(self) -> None:
        """
        The first failure comes as it was, and ends the others.
        """
        result = together(*self.parts)
        self.parts[1].errback(ValueError("first"))
        self.failureResultOf(result, ValueError)
        self.assertEqual(self.cancelled, [0, 2])

    def test_cancelled(self) -> None:
        """
        Cancelling ends them all.
        """
        result = together(*self.parts)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.cancelled, [0, 1, 2])
