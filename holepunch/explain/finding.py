"""
What a rule finds: a cause, the sentences that say it of this session, and what shows it.

Owns: the value.
Knows nothing of: the rules.
Driven by: L{holepunch.explain.requests}, L{holepunch.explain.paths}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from holepunch.explain.case import Case, Evidence
from holepunch.explain.cause import Cause


@attrs.frozen(kw_only=True)
class Finding:
    """
    Why the session went as it did.

    @ivar remedy: What to do in this very case, before what is to be done about the cause.
    """

    cause: Cause
    sentences: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()
    remedy: str = ""


Rule: TypeAlias = Callable[[Case], Finding | None]
"""
Looks for one cause; C{None} where it was another.
"""
