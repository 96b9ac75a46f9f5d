"""
The tests that docs/security.md names are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

DOCUMENT = Path(__file__).parents[1] / "docs" / "security.md"


def named(text: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """
    Each name of a test in the text, and where it is to be found: short ones belong to the last
    module that was named in full.
    """
    module: tuple[Any, ...] = ()
    for name in re.findall(r"`((?:\w+\.)*(?:test_\w+|\w+Tests))`", text):
        if name.startswith("tests."):
            found = namedAny(re.sub(r"\.[A-Z].*", "", name))
            module = (found, *(each for each in vars(found).values() if isinstance(each, type)))
            yield name.removeprefix(found.__name__).lstrip("."), module
        else:
            yield name, module


class SecurityDocument(SynchronousTestCase):
    """
    Who looks for the proof of a claim finds it.
    """

    def test_names(self) -> None:
        """
        Every test that the page names exists.
        """
        names = list(named(DOCUMENT.read_text("utf-8")))
        self.assertGreater(len(names), 30)
        for name, places in names:
            first, _, rest = name.partition(".")
            found = [getattr(each, first, None) for each in places]
            hits = [each for each in found if each is not None]
            self.assertTrue(not name or hits, name)
            if rest:
                self.assertTrue(any(hasattr(each, rest) for each in hits), name)
