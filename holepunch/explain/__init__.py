"""
What happened in a session, and why: read out of what one peer, or both, recorded.
"""

from holepunch.explain.record import Ended, Trace

__all__ = ["Ended", "Trace"]
