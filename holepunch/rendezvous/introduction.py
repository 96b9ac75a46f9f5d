"""
What the two ends of a main connection tell each other about a session, as values.

Owns: introductions, answers, how sessions end, tickets, and what a registration gave.
Knows nothing of: the wire form, which L{holepunch.rendezvous.commands} gives them; connections.
Driven by: the service, which mints them, and the client, which hands them to the peer.
"""

from __future__ import annotations

import enum

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import (
    HolepunchError,
    NoPathFound,
    PeerVanished,
    RendezvousError,
    SessionRefused,
    SessionTimedOut,
)
from holepunch.identity import PeerID
from holepunch.punch.candidate import Candidate
from holepunch.punch.config import TCPFlow
from holepunch.punch.credentials import Credentials
from holepunch.rendezvous.relaygrant import RelayGrant

VERSION = 1


class IntroductionPolicy(enum.Enum):
    """
    When the requester of a session learns the endpoints of the peer that it asks for.
    """

    AT_ONCE = "at-once"
    ASK = "ask"


class Use(enum.Enum):
    """
    What a path for datagrams is used for: streams, by QUIC, or datagrams as they are.

    A session without a relay whose path is a TCP connection carries one stream in any case.
    """

    STREAMS = "streams"
    DATAGRAMS = "datagrams"


class RelayPolicy(enum.Enum):
    """
    May a relay carry the data? The value is that of C{--relay}.

    With C{ONLY} neither side is told an address of the other one.
    """

    AUTO = "auto"
    NEVER = "never"
    ONLY = "only"


class EndReason(enum.Enum):
    """
    Why a session ended.
    """

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    VANISHED = "vanished"
    EXPIRED = "expired"


@attrs.frozen
class SessionEnd:
    """
    How a session ended: the reason, and a sentence for people where there is one.
    """

    reason: EndReason
    text: str = ""

    def asError(self) -> HolepunchError:
        """
        The error that a program sees whose session ended in this way.
        """
        kinds: dict[EndReason, type[HolepunchError]] = {
            EndReason.FAILED: NoPathFound,
            EndReason.REFUSED: SessionRefused,
            EndReason.VANISHED: PeerVanished,
            EndReason.EXPIRED: SessionTimedOut,
        }
        kind = kinds.get(self.reason, RendezvousError)
        if self.text:
            return kind(self.text)
        if kind is RendezvousError:
            return RendezvousError(f"the other side ended the session: {self.reason.value}")
        return kind()


@attrs.frozen(kw_only=True)
class Ticket:
    """
    Lets a peer's assist requests be told from everybody else's: a short-term credential (RFC 8489
    section 9.1) for one peer and one purpose.

    @ivar name: What USERNAME begins with; see L{username}.
    @ivar key: The password, and so the MESSAGE-INTEGRITY key; printable ASCII.
    @ivar lifetime: Seconds that the ticket is good for; 0 for as long as the registration.
    """

    name: str
    key: bytes = attrs.field(repr=False)
    lifetime: float = 0.0

    def username(self, label: str) -> str:
        """
        The USERNAME of a request that is made from one local socket.

        @param label: Tells this socket from the peer's other ones, such as its port: up to 32
            letters, digits and dashes.
        """
        return f"{self.name}.{label}"


@attrs.frozen(kw_only=True)
class Registered:
    """
    What the service answers to a registration.

    @ivar peerID: The peer itself, as the service knows it.
    @ivar name: The name that it is registered under, if any.
    @ivar observed: The endpoint that the service sees the main connection come from.
    @ivar isBehindNAT: Does that differ from the peer's own view?
    @ivar ticket: For assist requests ahead of any session.
    @ivar assist: The assist listeners, the primary one first.
    @ivar keepaliveInterval: Seconds of silence after which each side pings.
    @ivar version: The software of the service, for people.
    @ivar relay: The relay that this peer may use, if the service has one.
    """

    peerID: PeerID
    name: str | None
    observed: TransportAddress
    isBehindNAT: bool
    ticket: Ticket
    assist: tuple[TransportAddress, ...]
    keepaliveInterval: float
    version: str
    relay: RelayGrant | None = None


@attrs.frozen(kw_only=True)
class Introduction:
    """
    What one side of a session is told about it.

    @ivar sessionID: Names the session on both main connections.
    @ivar remote: The other peer, to be pinned.
    @ivar remoteName: The name that the other peer is registered under, if any.
    @ivar isRequester: Did this side ask for the session?
    @ivar isControlling: The ICE role; the requester is the controlling side.
    @ivar isRemoteBehindNAT: Is the other peer's main connection translated on its way?
    @ivar transports: What the session may be made of, the preferred one first.
    @ivar flow: The order of the TCP connects.
    @ivar local: This side's credentials for connectivity checks.
    @ivar remoteCredentials: The other side's.
    @ivar remoteCandidates: Everything that the service may tell of the other side so far.
    @ivar ticket: For assist requests of this session: the service passes on what it observes.
    @ivar use: What a path for datagrams is used for.
    @ivar relay: May a relay carry the data? C{NEVER} where the service has none.
    @ivar relayLocal: This side's credentials for checks through the relay.
    @ivar relayRemote: The other side's.
    @ivar continues: The session whose streams are to go on over the path of this one.
    @ivar application: What the requester wants a stream for, if it said so.
    """

    sessionID: str
    remote: PeerID
    remoteName: str | None
    isRequester: bool
    isControlling: bool
    isRemoteBehindNAT: bool
    transports: tuple[Transport, ...]
    flow: TCPFlow
    local: Credentials
    remoteCredentials: Credentials = attrs.field(repr=False)
    remoteCandidates: tuple[Candidate, ...]
    ticket: Ticket
    use: Use = Use.STREAMS
    relay: RelayPolicy = RelayPolicy.NEVER
    relayLocal: Credentials | None = None
    relayRemote: Credentials | None = attrs.field(default=None, repr=False)
    continues: str | None = None
    application: str | None = None

    @property
    def isMovable(self) -> bool:
        """
        Does every path of the session carry datagrams, so that it can be moved to a better one?
        """
        return self.relay is not RelayPolicy.NEVER


@attrs.frozen
class Answer:
    """
    What the other peer says to an offered session.

    @ivar isAccepted: Will it take part?
    @ivar candidates: What it knows of itself already; more may follow.
    @ivar text: Why not.
    """

    isAccepted: bool
    candidates: tuple[Candidate, ...] = ()
    text: str = ""
