"""
What a session asks its driver to do, and what it tells: the values that C{takeEffects} returns.

Owns: the effects, the path, and the trace event.
Knows nothing of: how an effect is carried out.
Driven by: L{PunchSession}; read by the peer's driver, the simulator and the tests.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import NoPathFound
from holepunch.punch.candidate import Candidate, CandidateType


@attrs.frozen(kw_only=True)
class Path:
    """
    A nominated pair in use.

    @ivar local: The local address that the path sends from (the base).
    @ivar remote: The address that it sends to.
    @ivar localCandidate: This side's candidate, as far as known the one that the other side sees.
    @ivar connection: The TCP connection; C{None} over UDP.
    @ivar rtt: The round trip in seconds, where it was measured.
    """

    transport: Transport
    local: TransportAddress
    remote: TransportAddress
    localCandidate: Candidate
    remoteCandidate: Candidate
    connection: int | None = None
    rtt: float | None = None

    @property
    def isRelayed(self) -> bool:
        """
        Does the path lead through a relay?
        """
        return CandidateType.RELAYED in (self.localCandidate.type, self.remoteCandidate.type)


# --- to carry out -------------------------------------------------------------------------------


@attrs.frozen
class SendDatagram:
    """
    Send C{data} from the UDP socket bound to C{local}.

    @ivar isAnswer: It answers a check: nothing is to be expected from C{remote} for it.
    """

    local: TransportAddress
    remote: TransportAddress
    data: bytes
    isAnswer: bool = False


@attrs.frozen
class OpenConnection:
    """
    Connect from the punching port C{local}, and report C{connectionMade} or C{connectFailed}.

    @ivar ttl: Of the first SYN, if the system lets a program set it: it is meant to pass our own
        NAT and to go no further. What follows it goes as far as any other packet.
    """

    connection: int
    local: TransportAddress
    remote: TransportAddress
    ttl: int | None = None


@attrs.frozen
class SendStream:
    """
    Write C{data} to an established connection.
    """

    connection: int
    data: bytes


@attrs.frozen
class CloseConnection:
    """
    Close the connection, or give up the attempt; nothing more about it is to be reported.
    """

    connection: int


@attrs.frozen
class OpenWaitingPort:
    """
    Open a second port, ask one assist listener from it, and add its candidates, as waiting ones
    (C{Candidate.isWaiting}; over TCP, passive).
    """


@attrs.frozen
class SayReady:
    """
    Tell the other peer that it may connect now: in the sequential flow because the hole is open, in
    the simultaneous one because we shall connect in the moment in which it hears this.
    """


@attrs.frozen
class StartStream:
    """
    A nominating check was just sent on this connection: begin the stream now, as TLS client.

    The connection is not selected yet. Bytes that arrive still go to C{receiveStream}; those of the
    stream come back as L{StreamData} after L{PathSelected}. Several connections may be started; at
    most one is selected, and the others are closed by L{CloseConnection}.
    """

    connection: int


# --- to be told ---------------------------------------------------------------------------------


@attrs.frozen
class PathSelected:
    """
    The path is there. Over TCP, its connection now belongs to the driver.

    Comes a second time, over UDP only, when a foreign controlling agent nominates a better pair.
    """

    path: Path


@attrs.frozen
class StreamData:
    """
    Bytes of the stream that arrived on the selected connection behind the last check.
    """

    connection: int
    data: bytes


@attrs.frozen
class DatagramReceived:
    """
    Application data of the other peer.
    """

    data: bytes
    remote: TransportAddress


@attrs.frozen
class ProbeAnswered:
    """
    A check that L{PunchSession.probe} sent was answered after so many seconds.
    """

    seconds: float


@attrs.frozen
class PathLost:
    """
    The selected path works no longer. The session has ended.
    """

    reason: str


@attrs.frozen
class SessionFailed:
    """
    No path was found. The session has ended.
    """

    reason: NoPathFound


# --- to be looked at ----------------------------------------------------------------------------


class EventKind(enum.Enum):
    """
    What a trace event tells of.
    """

    LOCAL_CANDIDATE = "local candidate"
    REMOTE_CANDIDATE = "remote candidate"
    CANDIDATE_IGNORED = "candidate ignored"
    PAIR_FORMED = "pair formed"
    CHECK_SENT = "check sent"
    CHECK_REPEATED = "check sent again"
    CHECK_RECEIVED = "check received"
    CHECK_ANSWERED = "check answered"
    CHECK_FAILED = "check failed"
    CONNECT_STARTED = "connect started"
    CONNECTED = "connected"
    CONNECT_FAILED = "connect failed"
    ACCEPTED = "accepted"
    CONNECTION_CLOSED = "connection closed"
    ROLE_SWITCHED = "role switched"
    READY_SENT = "ready sent"
    READY_RECEIVED = "ready received"
    NOMINATED = "nominated"
    SELECTED = "selected"
    LOST = "path lost"
    FAILED = "session failed"
    CLOSED = "session closed"


@attrs.frozen(kw_only=True)
class PunchEvent:
    """
    One step of a session, for reports and sequence diagrams.

    @ivar at: Monotonic seconds, as given to the session.
    @ivar connection: For what happens on a TCP connection.
    @ivar detail: A few words: the candidate, the reason.
    """

    at: float
    kind: EventKind
    transport: Transport | None = None
    local: TransportAddress | None = None
    remote: TransportAddress | None = None
    connection: int | None = None
    detail: str = ""


@attrs.frozen
class Trace:
    """
    Something happened that is worth telling a person who asks why.
    """

    event: PunchEvent


Effect: TypeAlias = (
    SendDatagram
    | OpenConnection
    | SendStream
    | CloseConnection
    | OpenWaitingPort
    | SayReady
    | StartStream
    | PathSelected
    | StreamData
    | DatagramReceived
    | ProbeAnswered
    | PathLost
    | SessionFailed
    | Trace
)
