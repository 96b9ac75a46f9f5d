"""
What one peer recorded of its sessions: a trace, as a value.

Owns: the value, and how the command ended that wrote it.
Knows nothing of: files.
Driven by: L{holepunch.cli.trace}, which writes and reads traces; read by L{holepunch.explain}.
"""

from __future__ import annotations

import attrs

from holepunch.identity import PeerID
from holepunch.peer.events import PeerEvent


@attrs.frozen(kw_only=True)
class Ended:
    """
    The command that wrote the trace came to its end.

    @ivar error: The class of the error that ended it, such as C{"UnknownPeer"}; C{None} where all
        went well.
    @ivar reason: The error's sentence.
    """

    at: float
    error: str | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class Trace:
    """
    What one peer saw, in order.

    @ivar peer: Whose trace it is.
    @ivar ended: How the command ended; C{None} where the trace was cut short before.
    """

    peer: PeerID
    name: str | None
    events: tuple[PeerEvent, ...]
    ended: Ended | None = None

    @property
    def label(self) -> str:
        """
        What to call the peer.
        """
        return self.name or self.peer.short
