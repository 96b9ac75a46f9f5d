"""
What a NAT remembers of the traffic through it: mappings and their sessions.

Owns: the records, and how a mapping is shown to others.
Knows nothing of: indexes, behaviours, packets.
Driven by: L{holepunch.nat.sessiontable} and L{holepunch.nat.admission}.

A I{session} is a pair of an internal and a remote endpoint (RFC 2663 section 2.3).
"""

from __future__ import annotations

import math
from collections import Counter

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.packet import Protocol
from holepunch.nat.tcpstate import TCPState

# The part of a remote endpoint on which a mapping depends: nothing, its host, or its host and port.
Domain = tuple[()] | tuple[str] | tuple[str, int]


@attrs.define(eq=False, kw_only=True)
class MappingRecord:
    """
    One mapping: an internal endpoint, an external one, and the remote endpoints it is valid for.

    @ivar endsAt: When the mapping ends in any case.
    @ivar contactedHosts: How many sessions the inside has used, for each remote host.
    """

    protocol: Protocol
    internal: TransportAddress
    external: TransportAddress
    domain: Domain
    endsAt: float = math.inf
    sessions: dict[Session, None] = attrs.Factory(dict)
    contactedHosts: Counter[str] = attrs.Factory(Counter)

    @property
    def expiresAt(self) -> float:
        """
        The latest of the sessions' ends.

        Looked for when asked: every packet moves the end of a session, and few ask.
        """
        return max(session.expiresAt for session in self.sessions)


@attrs.define(eq=False, kw_only=True)
class Session:
    """
    The traffic of one mapping with one remote endpoint.

    @ivar internal: That of the mapping; so is C{external}. Here, too, for speed.
    @ivar timeout: How long the session lives after a packet that refreshes it.
    @ivar queuedAt: When the table will look whether it has expired.
    @ivar isContacted: Has the inside sent to the remote endpoint?
    @ivar isHairpin: Is the remote endpoint one of the device's own mapped addresses?
    @ivar madeMapping: Is it the session for which the mapping was made?
    @ivar state: With TCP: how far the connection has come.
    @ivar synSequence: The sequence number of the last SYN from inside; C{None} before the first.
    """

    mapping: MappingRecord
    internal: TransportAddress
    external: TransportAddress
    remote: TransportAddress
    timeout: float
    expiresAt: float
    isHairpin: bool
    madeMapping: bool
    state: TCPState | None
    queuedAt: float = -math.inf
    isContacted: bool = False
    synSequence: int | None = None

    def contact(self) -> None:
        """
        Note that the inside has sent to the remote endpoint, for the first time.
        """
        self.isContacted = True
        self.mapping.contactedHosts[self.remote.host] += 1


@attrs.frozen(kw_only=True)
class MappingView:
    """
    One mapping, as it is at a moment.

    @ivar remotes: The remote endpoints of its sessions.
    @ivar expiresAt: When it ends, if no packet comes.
    """

    protocol: Protocol
    internal: TransportAddress
    external: TransportAddress
    remotes: tuple[TransportAddress, ...]
    expiresAt: float
