"""
The core of a session, without I/O: candidates, pairs, checks, nomination, consent.
"""

from holepunch.punch.candidate import Candidate, CandidateType, TCPType
from holepunch.punch.config import SessionConfig, TCPFlow
from holepunch.punch.credentials import Credentials
from holepunch.punch.effects import (
    CloseConnection,
    DatagramReceived,
    Effect,
    EventKind,
    OpenConnection,
    OpenWaitingPort,
    Path,
    PathLost,
    PathSelected,
    ProbeAnswered,
    PunchEvent,
    SayReady,
    SendDatagram,
    SendStream,
    SessionFailed,
    StartStream,
    StreamData,
    Trace,
)
from holepunch.punch.fate import ConnectFailure, Fate
from holepunch.punch.nomination import (
    Choice,
    Contender,
    FirstValid,
    HeadStart,
    NominationStrategy,
    Pending,
)
from holepunch.punch.pair import CandidatePair, PairState
from holepunch.punch.priority import gatheredCandidate
from holepunch.punch.session import PunchSession
from holepunch.punch.sessionstate import SessionState

__all__ = [
    "Candidate",
    "CandidatePair",
    "CandidateType",
    "Choice",
    "CloseConnection",
    "ConnectFailure",
    "Contender",
    "Credentials",
    "DatagramReceived",
    "Effect",
    "EventKind",
    "Fate",
    "FirstValid",
    "HeadStart",
    "NominationStrategy",
    "OpenConnection",
    "OpenWaitingPort",
    "PairState",
    "Path",
    "PathLost",
    "PathSelected",
    "Pending",
    "ProbeAnswered",
    "PunchEvent",
    "PunchSession",
    "SayReady",
    "SendDatagram",
    "SendStream",
    "SessionConfig",
    "SessionFailed",
    "SessionState",
    "StartStream",
    "StreamData",
    "TCPFlow",
    "TCPType",
    "Trace",
    "gatheredCandidate",
]
