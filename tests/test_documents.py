"""
What README.md and the pages in docs/ link to is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "README.md"

_CODE = re.compile(r"^```.*?^```$|^(?: {4}|\t)[^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"\]\(\s*<?([^)\s>]+)|<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def pages() -> list[Path]:
    """
    README.md and all pages in docs/.
    """
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def targets(page: Path) -> Iterator[str]:
    """
    What a page links to or shows inside this repository, without C{#section}.
    """
    for match in _TARGET.finditer(_CODE.sub("", page.read_text("utf-8"))):
        target = (match[1] or match[2]).partition("#")[0]
        if target and not _ELSEWHERE.match(target):
            yield target


class Documents(SynchronousTestCase):
    """
    Nobody who follows the documents ends nowhere.
    """

    def test_targets(self) -> None:
        """
        Every relative link and every picture leads to something that exists.
        """
        found = [(page, target) for page in pages() for target in targets(page)]
        self.assertIn((ROOT / "README.md", "docs/pictures/session.svg"), found)
        missing = [
            f"{page.name}: {target}"
            for page, target in found
            if not (page.parent / target).exists()
        ]
        self.assertEqual(missing, [])

    def test_index(self) -> None:
        """
        Every page in docs/ is linked from docs/README.md.
        """
        names = {page.name for page in INDEX.parent.glob("*.md")} - {INDEX.name}
        self.assertEqual(names - set(targets(INDEX)), set())
