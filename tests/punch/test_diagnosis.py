"""
Tests of L{holepunch.punch.diagnosis}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.punch import Fate
from holepunch.punch.diagnosis import explainFailure
from tests.punch.station import BOTH
from tests.punch.test_pair import pair


class ExplainTests(SynchronousTestCase):
    """
    The sentence that a person reads when there is no path.
    """

    def explain(
        self,
        *fates: Fate,
        hasLocal: bool = True,
        hasRemote: bool = True,
        hasCredentials: bool = True,
    ) -> str:
        """
        The sentence for pairs with these fates.
        """
        pairs = [pair() for _ in fates]
        for failed, fate in zip(pairs, fates, strict=True):
            failed.start(1.0)
            failed.fail(fate, None)
        error = explainFailure(pairs, BOTH, hasLocal, hasRemote, hasCredentials)
        self.assertEqual(len(error.fates), len(fates))
        return str(error)

    def test_missing(self) -> None:
        """
        What was missing from the beginning is named first.
        """
        self.assertIn("no address to be reached", self.explain(hasLocal=False))
        self.assertIn("did not answer", self.explain(hasCredentials=False))
        self.assertIn("no address for TCP or UDP", self.explain(hasRemote=False))
        self.assertIn("same kind", self.explain())

    def test_fates(self) -> None:
        """
        Every fate leads to a sentence, and the most telling one decides.
        """
        for fate in Fate:
            self.assertTrue(self.explain(fate).endswith("."))
        self.assertIn("choose ports", self.explain(Fate.REFUSED, Fate.UNANSWERED))
        self.assertIn("refused", self.explain(Fate.CONNECT_TIMED_OUT, Fate.REFUSED))
        self.assertIn("not the peer", self.explain(Fate.STRANGER, Fate.REFUSED))
        self.assertIn("no route", self.explain(Fate.UNREACHABLE, Fate.CONNECT_FAILED))
