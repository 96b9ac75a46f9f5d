"""
What a session is told at its start, and its limits.

Owns: the values, their defaults and the bounds within which they make sense.
Knows nothing of: what the session does with them.
Driven by: the peer's driver, which makes one for each session.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from holepunch.address import Transport
from holepunch.punch.credentials import Credentials
from holepunch.punch.nomination import HeadStart, NominationStrategy


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value}")


def _transports(values: Iterable[Transport]) -> frozenset[Transport]:
    return frozenset(values)


class TCPFlow(enum.Enum):
    """
    In which order the two sides connect; the value is that of C{--tcp-flow}.
    """

    SIMULTANEOUS = "simultaneous"
    SEQUENTIAL = "sequential"


@attrs.frozen(kw_only=True)
class SessionConfig:
    """
    The fixed parameters of one session; times are in seconds.

    @ivar tieBreaker: 64 random bits (RFC 8445 section 16.1); drawn from C{randomBytes} if C{None}.
    @ivar remoteCredentials: C{None} until they are known: see L{PunchSession.setRemoteCredentials}.
    @ivar transports: What the session may use; pairs of any other transport are not formed.
    @ivar preferredTransport: Which transport wins between paths of one kind.
    @ivar isRequester: This side asked for the session. In the sequential flow it connects last.
    @ivar checkPacing: Ta of RFC 8445 section 14.2: no two checks leave closer than this, and no two
        connects, but for the first C{checkBurst}.
    @ivar checkBurst: How many checks, and how many connects, may leave at once at the beginning.
    @ivar retryDelay: After how long a failed check or connect is tried again.
    @ivar connectTries: How often one pair is connected in all.
    @ivar quickRetries: How many connects after the first that was refused or reset follow at once:
        where NATs answer RST, two sides whose SYNs did not cross meet within a few round trips.
    @ivar lastTTLs: Of the first SYN in the requester's last connects: it opens our own NAT, and
        comes back before it is refused at the other one. The smallest one goes last.
    @ivar connectTimeout: How long one connect may take.
    @ivar proofTimeout: How long a connection may stay open without proof of the credential; twice
        as long if it is we who connected.
    @ivar waitingPortDelay: After how long without a path a second port is opened, on which this
        side waits to be called first; at once where the NAT is seen to map by destination. When it
        has waited three times as long, it calls from there.
    @ivar punchTime: In the sequential flow, how long a connect that only opens the hole is kept.
    @ivar keepaliveInterval: Of consent checks; some NATs forget after 20 s.
    @ivar maximalUnproven: How many accepted connections may wait for their first valid check.
    """

    isControlling: bool
    localCredentials: Credentials
    remoteCredentials: Credentials | None = None
    randomBytes: Callable[[int], bytes] = attrs.field(repr=False)
    tieBreaker: int | None = attrs.field(default=None, repr=False)
    transports: frozenset[Transport] = attrs.field(
        default=frozenset(Transport), converter=_transports, validator=attrs.validators.min_len(1)
    )
    preferredTransport: Transport = Transport.TCP
    tcpFlow: TCPFlow = TCPFlow.SIMULTANEOUS
    isRequester: bool = False
    nomination: NominationStrategy = attrs.field(factory=HeadStart)
    checkPacing: float = attrs.field(default=0.02, validator=attrs.validators.ge(0.005))
    checkBurst: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    retryDelay: float = attrs.field(default=1.0, validator=_positive)
    connectTries: int = attrs.field(default=10, validator=attrs.validators.ge(1))
    quickRetries: int = attrs.field(default=4, validator=attrs.validators.ge(0))
    lastTTLs: tuple[int, ...] = (8, 5, 3)
    connectTimeout: float = attrs.field(default=5.0, validator=_positive)
    proofTimeout: float = attrs.field(default=10.0, validator=_positive)
    waitingPortDelay: float = attrs.field(default=2.0, validator=_positive)
    punchTime: float = attrs.field(default=0.15, validator=_positive)
    timeout: float = attrs.field(default=30.0, validator=_positive)
    keepaliveInterval: float = attrs.field(
        default=5.0, validator=(_positive, attrs.validators.le(15.0))
    )
    consentTimeout: float = attrs.field(default=30.0, validator=_positive)
    maximalCandidates: int = attrs.field(default=32, validator=_positive)
    maximalPairs: int = attrs.field(default=100, validator=_positive)
    maximalUnproven: int = attrs.field(default=16, validator=_positive)
