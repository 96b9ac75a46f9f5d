"""
Words from elsewhere in our sentences.

Owns: making text harmless that a stranger may have written.
Knows nothing of: what the sentences say.
Driven by: every part of L{holepunch.explain}.
"""

from __future__ import annotations

from collections.abc import Iterable

_REPLACEMENT = "\ufffd"
_LONGEST = 300


def plain(text: str, longest: int = _LONGEST) -> str:
    """
    Replace what is no printable character, such as those that steer a terminal or turn the
    direction of writing, and shorten what is too long.
    """
    shown = "".join(each if each.isprintable() else _REPLACEMENT for each in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def listed(words: Iterable[object], last: str = "and") -> str:
    """
    Write an enumeration: C{a, b and c}.
    """
    texts = [str(each) for each in words]
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}"


def times(count: int) -> str:
    """
    Write how often.
    """
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def capitalized(text: str) -> str:
    """
    Begin with a capital letter.
    """
    return text[:1].upper() + text[1:]
