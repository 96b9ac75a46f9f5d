"""
What the tests of the relay share: addresses, and a client with its credential.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from holepunch.address import TransportAddress
from holepunch.turn import AllocationClient, SendToServer, mintCredential

SECRET = b"the secret of the relay"
REALM = "relay.example.org"
SERVER = TransportAddress("198.51.100.1", 3478)
CLIENT = TransportAddress("203.0.113.5", 40000)
PEER = TransportAddress("203.0.113.9", 50000)
EXPIRES_AT = 2_000_000_000
CREDENTIAL = mintCredential(SECRET, "alice", EXPIRES_AT)


def countingBytes() -> Callable[[int], bytes]:
    """
    Bytes that are never the same, and the same in each run.
    """
    counter = itertools.count(1)
    return lambda size: next(counter).to_bytes(size, "big")


def makeClient(**options: Any) -> AllocationClient:
    """
    A client over UDP, unless told otherwise.
    """
    options.setdefault("isReliable", False)
    options.setdefault("randomBytes", countingBytes())
    return AllocationClient(SERVER, options.pop("credential", CREDENTIAL), **options)


def sent(client: AllocationClient) -> list[bytes]:
    """
    What a client wants to send; its other effects are dropped.
    """
    return [effect.data for effect in client.takeEffects() if isinstance(effect, SendToServer)]
