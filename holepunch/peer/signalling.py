"""
What the two sides of a session tell each other while they look for a path, and two ways to carry
it: by the rendezvous service, and as lines of text over any channel.

Owns: the messages as values, their text, and which text is for us.
Knows nothing of: what a session makes of them; how a channel works.
Driven by: L{Session<holepunch.peer.session.Session>}, which sends and hears; the main connection;
programs, which have a channel.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport
from holepunch.errors import HolepunchError, MalformedMessage
from holepunch.identity import PeerID
from holepunch.interfaces import ISignalling
from holepunch.punch import Candidate, Credentials, TCPFlow
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.introduction import EndReason, SessionEnd

VERSION = 1
LONGEST_TEXT = 16_384
MOST_CANDIDATES = 32
_LONGEST_REASON = 1000
_WAITING = 64


@attrs.frozen(kw_only=True)
class Description:
    """
    Everything that one side has to know of the other to begin. Where a rendezvous service
    introduces the two, it is not needed.

    @ivar peerID: Whose it is.
    @ivar credentials: For checks of its session.
    @ivar transports: What it can use, the preferred one first.
    @ivar flow: In which order it wants to connect over TCP.
    @ivar candidates: Where it can be reached, as far as it knows.
    """

    peerID: PeerID
    credentials: Credentials
    transports: tuple[Transport, ...]
    flow: TCPFlow = TCPFlow.SIMULTANEOUS
    candidates: tuple[Candidate, ...] = ()


@attrs.frozen
class MoreCandidates:
    """
    The sender can be reached there, too.
    """

    candidates: tuple[Candidate, ...]


@attrs.frozen
class Ready:
    """
    The sender has opened its hole and listens (sequential flow).
    """


SignallingMessage: TypeAlias = Description | MoreCandidates | Ready | SessionEnd
Receiver: TypeAlias = Callable[[SignallingMessage], None]


class _Hearing:
    """
    Keeps what comes until somebody wants to hear it.
    """

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._early: deque[SignallingMessage] = deque(maxlen=_WAITING)

    def setReceiver(self, receiver: Receiver) -> None:
        """
        Call C{receiver} with each message of the other side, those that came before included.
        """
        self._receiver = receiver
        while self._early:
            receiver(self._early.popleft())

    def deliver(self, message: SignallingMessage) -> None:
        """
        The other side says something.
        """
        if self._receiver is not None:
            self._receiver(message)
        else:
            self._early.append(message)


@implementer(ISignalling)
class ServiceSignalling(_Hearing):
    """
    By the rendezvous service, which has introduced the two sides: no descriptions are needed.
    """

    def __init__(self, client: RendezvousClient, sessionID: str) -> None:
        """
        @param client: The main connection.
        @param sessionID: What the service calls the session.
        """
        super().__init__()
        self._client = client
        self._sessionID = sessionID

    def send(self, message: SignallingMessage) -> None:
        """
        Tell the service, which tells the other side.
        """
        if isinstance(message, MoreCandidates):
            sent = self._client.sendCandidates(self._sessionID, message.candidates)
        elif isinstance(message, Ready):
            sent = self._client.sendReady(self._sessionID)
        elif isinstance(message, SessionEnd):
            sent = self._client.endSession(self._sessionID, message)
        else:
            return
        sent.addErrback(self._lost)

    def _lost(self, failure: Failure) -> None:
        """
        The main connection is gone: what was to be said over it matters no longer.
        """
        failure.trap(HolepunchError)


@implementer(ISignalling)
class TextSignalling(_Hearing):
    """
    As lines of text, over any channel that takes them there: a chat, a file, a sheet of paper.

    The channel may lose, repeat and mix up lines, and carry others, those of other pairs included.
    It may be read by everybody.
    """

    _log = Logger()

    def __init__(self, local: PeerID, remote: PeerID, write: Callable[[str], object]) -> None:
        """
        @param write: Called with each line for the other side, without an end of line; must not
            raise.
        """
        super().__init__()
        self._local = local
        self._remote = remote
        self._write = write
        self._localSession = ""
        self._remoteSession: str | None = None

    def send(self, message: SignallingMessage) -> None:
        """
        Write a line.
        """
        if isinstance(message, Description):
            self._localSession = message.credentials.ufrag
        fields = {
            "holepunch": VERSION,
            "from": self._local.text,
            "to": self._remote.text,
            "session": self._localSession,
            **_fieldsOf(message),
        }
        self._write(json.dumps(fields, separators=(",", ":")))

    def received(self, text: str) -> None:
        """
        Something came in: one line or more. What is not for us, or makes no sense, is passed over.
        """
        for line in text.splitlines():
            if line.lstrip().startswith("{"):
                self._lineReceived(line)

    def _lineReceived(self, line: str) -> None:
        try:
            fields = _parse(line)
            if (fields.get("from"), fields.get("to")) != (self._remote.text, self._local.text):
                return
            message = _messageOf(fields, self._remote)
        except HolepunchError as error:
            self._log.debug("a line is passed over: {reason}", reason=str(error))
            return
        if isinstance(message, Description):
            self._remoteSession = message.credentials.ufrag
        elif fields.get("session") != self._remoteSession:
            # Of an earlier session, or one whose description was lost.
            return
        self.deliver(message)


# --- the text -------------------------------------------------------------------------------------


def _fieldsOf(message: SignallingMessage) -> dict[str, Any]:
    if isinstance(message, Description):
        return {
            "kind": "description",
            "password": message.credentials.password,
            "transports": [each.value for each in message.transports],
            "flow": message.flow.value,
            "candidates": [each.format() for each in message.candidates],
        }
    if isinstance(message, MoreCandidates):
        return {"kind": "candidates", "candidates": [each.format() for each in message.candidates]}
    if isinstance(message, SessionEnd):
        return {"kind": "end", "reason": message.reason.value, "text": message.text}
    return {"kind": "ready"}


def _parse(line: str) -> dict[str, Any]:
    if len(line) > LONGEST_TEXT:
        raise MalformedMessage("the line is too long")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedMessage("the line is no JSON") from None
    if not isinstance(fields, dict) or fields.get("holepunch") != VERSION:
        raise MalformedMessage("the line is none of ours, or of another version")
    return fields


def _messageOf(fields: dict[str, Any], sender: PeerID) -> SignallingMessage:
    kind = fields.get("kind")
    try:
        if kind == "description":
            return Description(
                peerID=sender,
                credentials=Credentials(fields["session"], fields["password"]),
                transports=tuple(Transport(each) for each in _list(fields, "transports")[:2]),
                flow=TCPFlow(fields.get("flow", "simultaneous")),
                candidates=_candidates(fields),
            )
        if kind == "candidates":
            return MoreCandidates(_candidates(fields))
        if kind == "ready":
            return Ready()
        if kind == "end":
            text = "".join(each for each in str(fields.get("text", "")) if each.isprintable())
            return SessionEnd(EndReason(fields["reason"]), text[:_LONGEST_REASON])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedMessage(f"a {kind} makes no sense: {error}") from None
    raise MalformedMessage("the line is of an unknown kind")


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    values = fields[name]
    if not isinstance(values, list):
        raise MalformedMessage(f"{name} is no list")
    return values


def _candidates(fields: dict[str, Any]) -> tuple[Candidate, ...]:
    parsed = []
    for each in _list(fields, "candidates")[:MOST_CANDIDATES]:
        if not isinstance(each, str):
            raise MalformedMessage("a candidate is no text")
        try:
            parsed.append(Candidate.parse(each))
        except HolepunchError:
            # Of a kind that came later than we did.
            continue
    return tuple(parsed)
