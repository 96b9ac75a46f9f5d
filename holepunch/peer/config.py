"""
What a program may set about its peer and its sessions.

Owns: the values and their limits.
Knows nothing of: who uses them.
Driven by: L{holepunch.peer.peer.Peer} and the command line.
"""

from __future__ import annotations

import attrs

from holepunch.address import Transport
from holepunch.interfaces import IPathChooser
from holepunch.peer.pathchooser import BestKindFirst
from holepunch.punch import TCPFlow
from holepunch.punch.nomination import NominationStrategy
from holepunch.rendezvous.introduction import RelayPolicy, Use


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0, not {value}")


# Seconds.
_LONGEST_KEEPALIVE = 15.0
_LONGEST_WARM = 25.0
_SHORTEST_INTERVAL = 1.0
_SHORTEST_NAT = 20.0


def _often(natLifetime: float | None, longest: float, *, unknown: float) -> float:
    if natLifetime is None:
        return unknown
    return min(longest, max(_SHORTEST_INTERVAL, natLifetime / 3))


@attrs.frozen(kw_only=True)
class SessionOptions:
    """
    How one session is to be punched.

    @ivar transports: What to punch with. With both, TCP is preferred within a short head start;
        but where the path may be moved to a relay and back, UDP is.
    @ivar tcpFlow: Do both sides connect at once, or one after the other?
    @ivar timeout: Seconds from the request to the path.
    @ivar relay: May a relay carry the data, if the service offers one? With C{ONLY} the two peers
        learn no address of each other.
    @ivar use: What a path for datagrams is for: streams, or datagrams of the program.
    """

    transports: frozenset[Transport] = frozenset({Transport.TCP})
    tcpFlow: TCPFlow = TCPFlow.SIMULTANEOUS
    timeout: float = attrs.field(default=30.0, validator=_positive)
    relay: RelayPolicy = RelayPolicy.AUTO
    use: Use = Use.STREAMS


@attrs.frozen(kw_only=True)
class PeerConfig:
    """
    How a peer behaves.

    @ivar retryDelay: Seconds before a refused or reset connect is tried again.
    @ivar connectTries: How often one pair is tried by TCP.
    @ivar natLifetime: Seconds of silence after which the NAT is known to forget a UDP mapping, as
        C{holepunch check --lifetime} measures them. The next two follow from it, so that two
        packets in a row may be lost: seconds where it must be, and as long as the rest allows where
        it may be.
    @ivar keepaliveInterval: Seconds between checks on a UDP path; at most 15, because some NATs
        forget after 20, and because a peer that is gone is to be noticed within 30.
    @ivar warmInterval: Seconds between requests that keep the warm UDP mapping; below 20 likewise
        where the lifetime is not known, and at most 25, because the service forgets what it
        observed after 60.
    @ivar headStart: Seconds for which a better pair in progress is waited for.
    @ivar nomination: Decides which proven pair the requester's side takes, and when; by default,
        L{HeadStart<holepunch.punch.nomination.HeadStart>} with C{headStart}.
    @ivar pathChooser: Decides which of several paths to a peer is used.
    @ivar checkPacing: Seconds between two checks, and between two connects, but for the first few.
    @ivar sessionLimit: How many sessions may be under way at once.
    @ivar initialReconnectDelay: Seconds before the first try to register again.
    @ivar maxReconnectDelay: Seconds to which that delay grows.
    @ivar relay: May a relay carry what others ask us for? With C{ONLY}, they are refused who would
        learn our addresses.
    @ivar pathGrace: Seconds for which a connection outlives its last path.
    @ivar relayStandby: Seconds for which a better path has to work before the others are dropped.
    @ivar upgradeInterval: Seconds after which a direct path is looked for again while only the
        relay works; the time doubles up to C{longestUpgradeInterval}. 0 for never.
    @ivar longestRepairDelay: Seconds between two attempts to find a path, at most.
    @ivar linkIdleTimeout: Seconds after which a connection without any stream is closed.
    @ivar mappingLifetime: Seconds after which a NAT on the way is known to end every UDP mapping,
        used or not; paths are replaced before that. Without it, that is learned from losses.
    @ivar interfaceInterval: Seconds between two looks at this machine's addresses; it registers
        anew when they have changed.
    """

    retryDelay: float = attrs.field(default=1.0, validator=_positive)
    connectTries: int = 10
    natLifetime: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    keepaliveInterval: float = attrs.field(
        validator=[_positive, attrs.validators.le(_LONGEST_KEEPALIVE)]
    )
    warmInterval: float = attrs.field(validator=_positive)
    headStart: float = 0.05
    nomination: NominationStrategy | None = None
    pathChooser: IPathChooser = attrs.field(factory=BestKindFirst)
    checkPacing: float = attrs.field(default=0.02, validator=attrs.validators.ge(0.005))
    sessionLimit: int = 64
    initialReconnectDelay: float = 0.5
    maxReconnectDelay: float = 30.0
    relay: RelayPolicy = RelayPolicy.AUTO
    pathGrace: float = attrs.field(default=60.0, validator=_positive)
    relayStandby: float = attrs.field(default=30.0, validator=_positive)
    upgradeInterval: float = attrs.field(default=60.0, validator=attrs.validators.ge(0))
    longestUpgradeInterval: float = attrs.field(default=600.0, validator=_positive)
    longestRepairDelay: float = attrs.field(default=10.0, validator=_positive)
    linkIdleTimeout: float = attrs.field(default=10.0, validator=_positive)
    mappingLifetime: float | None = None
    interfaceInterval: float = attrs.field(default=5.0, validator=_positive)

    @keepaliveInterval.default
    def _checkOften(self) -> float:
        return _often(self.natLifetime, _LONGEST_KEEPALIVE, unknown=5.0)

    @warmInterval.default
    def _warmOften(self) -> float:
        return _often(self.natLifetime, _LONGEST_WARM, unknown=12.0)

    @warmInterval.validator
    def _checkWarm(self, attribute: attrs.Attribute[float], value: float) -> None:
        isLong = value > _LONGEST_WARM if self.natLifetime is not None else value >= _SHORTEST_NAT
        if isLong:
            raise ValueError(f"{value:g} s is too long for warmInterval: NATs forget sooner")
