"""
Values that are cheap to create.

Owns: C{fastFrozen}, for the values that a router creates for every packet. A frozen attrs class
costs twice as much to create as one that is not; so these are frozen for the type checker, and by
agreement at run time.
Knows nothing of: what the values mean.
Driven by: L{holepunch.nat.packet} and L{holepunch.nat.effects}.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from attrs import frozen as fastFrozen
else:
    fastFrozen = partial(attrs.define, unsafe_hash=True)

__all__ = ["fastFrozen"]
