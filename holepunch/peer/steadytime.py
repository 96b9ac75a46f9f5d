"""
A reactor whose time goes on evenly when the system's clock is set.

Twisted's reactors go by the system's clock. When that is set forward by an hour, all timers of the
hour fire at once: consent to send is lost on every UDP path, and sessions under way time out. When
it is set back, no timer fires for an hour, and NATs forget their mappings.

Owns: the other clock.
Knows nothing of: who needs it.
Driven by: programs whose reactor is their own, as the commands of C{holepunch} are. A program that
shows the reactor's seconds as the time of day sees them go wrong by as much as the clock is set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Seconds = Callable[[], float]


def keepSteady(
    reactor: Any, wall: Seconds = time.time, monotonic: Seconds = time.monotonic
) -> None:
    """
    Let a reactor count by the monotonic clock from now on; its seconds begin at the time of day.

    @param reactor: One of Twisted's. Timers that it has already stay as they are.
    """
    offset = wall() - monotonic()
    reactor.seconds = lambda: monotonic() + offset
