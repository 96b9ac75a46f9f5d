"""
What a peer tells those who watch it: the command line, a log, a trace.

Owns: the values.
Knows nothing of: how they are shown.
Driven by: L{holepunch.peer.peer.Peer}, which hands each to its observer.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.identity import PeerID
from holepunch.punch import PunchEvent
from holepunch.rendezvous.introduction import RelayPolicy


@attrs.frozen(kw_only=True)
class Registered:
    """
    The service knows this peer now.

    @ivar observed: Our TCP endpoint as the service sees it.
    @ivar isBehindNAT: Does it differ from what we see ourselves?
    @ivar relays: The addresses of the relay that the service offers, as URIs (RFC 7065); C{None}
        where that is not known.
    """

    at: float
    peerID: PeerID
    name: str | None
    observed: TransportAddress
    isBehindNAT: bool
    relays: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class Disconnected:
    """
    The main connection was lost, or could not be made.

    @ivar error: The class of the error, such as C{"NameTaken"}.
    @ivar isMendable: May another attempt succeed with nothing changed? Where the service refused
        us, or we it, that is not to be expected.
    """

    at: float
    reason: str
    error: str = ""
    isMendable: bool = True


@attrs.frozen(kw_only=True)
class InterfacesChanged:
    """
    This machine has other addresses than before; the peer registers anew from them.

    @ivar hosts: All that it has now; none while there is no network.
    """

    at: float
    hosts: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Requested:
    """
    We asked the service for a peer.

    @ivar relay: May a relay be used? C{None} where that is not known.
    """

    at: float
    target: str
    relay: RelayPolicy | None = None


@attrs.frozen(kw_only=True)
class Introduced:
    """
    The service introduced us and a peer.

    @ivar isRequester: Did we ask for it?
    @ivar relay: What both sides may use, by the service's word; C{None} where that is not known.
    @ivar continues: The session whose connection looks for another path by this one.
    """

    at: float
    session: str
    remotePeer: PeerID
    remoteName: str | None
    isRequester: bool
    relay: RelayPolicy | None = None
    continues: str | None = None


@attrs.frozen(kw_only=True)
class Refused:
    """
    A peer wanted to connect, and was not let in.
    """

    at: float
    remotePeer: PeerID
    remoteName: str | None
    reason: str
    session: str | None = None


@attrs.frozen(kw_only=True)
class Mapped:
    """
    An assist listener told us our mapped address.
    """

    at: float
    session: str | None
    transport: Transport
    local: TransportAddress
    mapped: TransportAddress
    server: TransportAddress


@attrs.frozen(kw_only=True)
class Signalled:
    """
    A message of a session went over the main connection.

    @ivar kind: C{"candidates"}, C{"ready"} or C{"end"}.
    @ivar isOutgoing: Did we send it?
    """

    at: float
    session: str
    kind: str
    isOutgoing: bool


@attrs.frozen(kw_only=True)
class Punched:
    """
    Something happened inside a session's punching.
    """

    at: float
    session: str
    event: PunchEvent


class RelayNews(enum.Enum):
    """
    What a relay, or the way to it, told.
    """

    ASKED = "asked"
    ALLOCATED = "allocated"
    FAILED = "failed"
    LOST = "lost"


@attrs.frozen(kw_only=True)
class RelayTold:
    """
    We asked a relay for an address, and this came of it. All sessions share what it gives.

    @ivar server: The relay and the way to it, as a URI (RFC 7065).
    @ivar relayed: The address that it gave.
    @ivar error: The class of the error, such as C{"RelayUnreachable"}.
    """

    at: float
    news: RelayNews
    server: str
    relayed: TransportAddress | None = None
    reason: str = ""
    error: str = ""


class PairNews(enum.Enum):
    """
    What became of a pair of relayed addresses.
    """

    CHECKED = "checked"
    PROVEN = "proven"
    LOST = "lost"


@attrs.frozen(kw_only=True)
class RelayPair:
    """
    Something happened to the pair of a session that leads through the relay.

    @ivar local: Our relayed address, once there is one.
    @ivar remote: The other side's.
    """

    at: float
    session: str
    news: PairNews
    local: TransportAddress | None = None
    remote: TransportAddress | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class Connected:
    """
    A path is up and the peer proven.

    @ivar candidate: What kind of remote candidate it uses, RFC 8839's word: C{"host"}, C{"srflx"}…
    @ivar seconds: From the request, or the introduction, to the nominated path.
    """

    at: float
    session: str
    remotePeer: PeerID
    remoteName: str | None
    path: str
    transport: Transport
    local: TransportAddress
    remote: TransportAddress
    candidate: str
    seconds: float


@attrs.frozen(kw_only=True)
class Secured:
    """
    QUIC's handshake on a path is finished: both sides have proven their keys.

    @ivar seconds: That it took.
    """

    at: float
    session: str
    seconds: float


@attrs.frozen(kw_only=True)
class Suspected:
    """
    The path in use has not answered several times; another one is looked for.

    @ivar session: That with which the connection began.
    """

    at: float
    session: str
    path: str
    transport: Transport
    local: TransportAddress
    remote: TransportAddress


@attrs.frozen(kw_only=True)
class Moved:
    """
    A connection goes another way now; what it carries goes on.

    @ivar session: That with which the connection began.
    @ivar path: C{"direct"}, C{"relay"}, or C{None} while there is no way at all.
    @ivar gap: Seconds for which there was none before.
    """

    at: float
    session: str
    remotePeer: PeerID
    remoteName: str | None
    path: str | None
    transport: Transport | None
    local: TransportAddress | None
    remote: TransportAddress | None
    candidate: str | None
    gap: float = 0.0


@attrs.frozen(kw_only=True)
class Closed:
    """
    A connection that could move is over.

    @ivar session: That with which it began.
    @ivar error: The class of the error; empty where one side closed it.
    """

    at: float
    session: str
    reason: str
    error: str = ""


@attrs.frozen(kw_only=True)
class Failed:
    """
    A session ended without a path, or never began.

    @ivar session: C{None} where there was no introduction.
    @ivar error: The class of the error, such as C{"NoPathFound"}; empty where nothing failed, but
        the session was cancelled.
    @ivar fates: One sentence for each pair that was tried.
    @ivar continues: The session whose connection looked for another path.
    """

    at: float
    session: str | None
    reason: str
    error: str = ""
    fates: tuple[str, ...] = ()
    continues: str | None = None


PeerEvent: TypeAlias = (
    Registered
    | Disconnected
    | InterfacesChanged
    | Requested
    | Introduced
    | Refused
    | Mapped
    | Signalled
    | Punched
    | RelayTold
    | RelayPair
    | Connected
    | Secured
    | Suspected
    | Moved
    | Closed
    | Failed
)
