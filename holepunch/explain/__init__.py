"""
What happened in a session, and why: read out of what one peer, or both, recorded.
"""

from holepunch.explain.case import Evidence
from holepunch.explain.cause import Cause
from holepunch.explain.explanation import Explanation, explain
from holepunch.explain.record import Ended, Trace
from holepunch.explain.relay import whyRelayed

__all__ = ["Cause", "Ended", "Evidence", "Explanation", "Trace", "explain", "whyRelayed"]
