"""
The list of causes.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from holepunch.explain import Cause

PAGE = Path(__file__).parents[2] / "docs" / "explain.md"


class CauseTests(SynchronousTestCase):
    """
    The enumeration and its page.
    """

    def test_documented(self) -> None:
        """
        The page lists every cause, with its meaning and remedy, and no other.
        """
        rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
        self.assertEqual(
            rows,
            [(cause.value, cause.meaning, cause.remedy or "-") for cause in Cause],
        )

    def test_words(self) -> None:
        """
        Each meaning is a sentence, and so is each remedy.
        """
        for cause in Cause:
            self.assertTrue(cause.meaning.endswith("."), cause)
            self.assertTrue(cause.remedy == "" or cause.remedy.endswith("."), cause)

    def test_everyCause(self) -> None:
        """
        No cause is without a test that brings it about.
        """
        files = Path(__file__).parent.glob("test_*.py")
        source = "".join(file.read_text() for file in files)
        for cause in Cause:
            self.assertTrue(f"Cause.{cause.name}" in source, cause)
