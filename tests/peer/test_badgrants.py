"""
Leave to use a relay that is of no use, as a service may give it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from holepunch.rendezvous.relay import RelayService
from holepunch.rendezvous.relaygrant import RelayGrant
from tests.peer.test_links import AUTO
from tests.peer.test_staying import StayingTestCase

BAD: tuple[dict[str, Any], ...] = (
    {"password": "another one"},
    {"realm": "another.example.org"},
    {"nonce": "another"},
    {"servers": ("nonsense", "turn:203.0.113.77:0", "turn:no.such.host")},
    {"servers": ("turn:203.0.113.77",)},
    {"lifetime": 1e-9},
)


def spoiling(grantFor: Callable[..., RelayGrant], changes: dict[str, Any]) -> Any:
    """
    A method that gives leave which is changed in some way.
    """

    def grant(service: RelayService, *arguments: str) -> RelayGrant:
        return attrs.evolve(grantFor(service, *arguments), **changes)

    return grant


class BadGrantTests(StayingTestCase):
    """
    Peers that can do without a relay.
    """

    def test_direct(self) -> None:
        """
        They connect directly, and nothing is left behind.
        """
        for changes in BAD:
            with self.subTest(changes):
                self.patch(RelayService, "grantFor", spoiling(RelayService.grantFor, changes))
                heart = self.settle("port-restricted/port-restricted", AUTO, relay=(3480,))
                heart.beat(5)
                heart.check(self)
                self.doCleanups()
