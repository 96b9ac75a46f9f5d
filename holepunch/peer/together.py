"""
Waiting for several things at once.

Owns: that none goes on when one has failed, or when nobody waits any more.
Knows nothing of: what is waited for.
Driven by: L{holepunch.peer.discovery} and its parts.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

_T = TypeVar("_T")


def together(*parts: Deferred[_T]) -> Deferred[list[_T]]:
    """
    Wait for all; the first failure, or being cancelled, ends them all.

    @return: Fires with the results in order, or with the first failure as it was.
    """

    def failed(failure: Failure) -> Failure:
        for part in parts:
            part.cancel()
        first = failure.value
        return first.subFailure if isinstance(first, FirstError) else failure

    return gatherResults(parts, consumeErrors=True).addErrback(failed)
