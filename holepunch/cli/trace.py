"""
The trace of a peer: every event, one JSON object a line, in a file that can be read back.

The first line is the header::

    {"format": "holepunch-trace", "version": 2, "peer": PEER-ID, "name": NAME or null}

Each further line is one event: C{"type"} is the class in L{holepunch.peer.events}, and the other
keys are its fields. Addresses are C{"HOST:PORT"}, peer IDs and enumerations their text, and times
seconds by the clock of that machine. The last line has the type C{Ended}: how the command ended.
Where it is missing, the trace was cut short.

Version 2 knows more events and fields than version 1, and nothing else is different: both are read.

A trace to be read may come from a stranger. It is bounded, and what is no trace is refused.

Owns: that format, both ways.
Knows nothing of: what the events mean.
Driven by: C{--trace FILE} writes; diagrams and reports read.
"""

from __future__ import annotations

import enum
import functools
import io
import json
import os
import types
import typing
from collections.abc import Iterable
from typing import Any, TextIO

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import BadTrace, HolepunchError
from holepunch.explain.record import Ended, Trace
from holepunch.identity import PeerID
from holepunch.peer.events import PeerEvent, Punched
from holepunch.punch import EventKind, PunchEvent
from holepunch.rendezvous.registry import checkName

FORMAT = "holepunch-trace"
VERSION = 2
_KNOWN = (1, 2)
_LARGEST = 32 * 1024 * 1024
_LATEST = 1e11

_EVENTS: dict[str, Any] = {each.__name__: each for each in (*typing.get_args(PeerEvent), Ended)}
# What happens to a pair has both addresses.
_OF_PAIRS = {
    EventKind.PAIR_FORMED,
    EventKind.CHECK_SENT,
    EventKind.CHECK_REPEATED,
    EventKind.CHECK_RECEIVED,
    EventKind.CHECK_ANSWERED,
    EventKind.CHECK_FAILED,
    EventKind.CONNECT_STARTED,
    EventKind.CONNECTED,
    EventKind.CONNECT_FAILED,
    EventKind.ACCEPTED,
    EventKind.CONNECTION_CLOSED,
    EventKind.NOMINATED,
    EventKind.SELECTED,
}


# --- events and JSON ----------------------------------------------------------------------------


def encodeEvent(event: PeerEvent | Ended) -> dict[str, Any]:
    """
    Turn an event into what L{json.dumps} takes.
    """
    return {"type": type(event).__name__, **_encode(event)}


def _encode(value: Any) -> Any:
    if isinstance(value, TransportAddress | PeerID):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if attrs.has(type(value)):
        return {
            field.name: _encode(getattr(value, field.name)) for field in attrs.fields(type(value))
        }
    if isinstance(value, tuple):
        return [_encode(each) for each in value]
    return value


def decodeEvent(encoded: Any) -> PeerEvent | Ended:
    """
    The way back from L{encodeEvent}.

    @raise BadTrace: C{encoded} is no event that this version knows.
    """
    try:
        fields = dict(encoded)
        kind = _EVENTS[fields.pop("type")]
        event: PeerEvent | Ended = _decode(kind, fields)
    except (HolepunchError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadTrace(f"an event cannot be understood: {ascii(error)[:200]}") from None
    if isinstance(event, Punched):
        _checkStep(event.event)
    return event


def _checkStep(step: PunchEvent) -> None:
    if step.kind in _OF_PAIRS and None in (step.transport, step.local, step.remote):
        raise BadTrace(f"an event cannot be understood: {step.kind.value} without addresses")


def _decode(kind: Any, encoded: Any) -> Any:
    """
    Build a value of the type that an annotation names.
    """
    if type(encoded) is kind and kind is not float:
        return encoded
    if kind is float:
        return _decodeSeconds(encoded)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if encoded is None:
            return None
        (kind,) = (each for each in arguments if each is not type(None))
        return _decode(kind, encoded)
    if origin is tuple:
        return tuple(_decode(arguments[0], each) for each in encoded)
    if kind is TransportAddress:
        return TransportAddress.parse(encoded)
    if attrs.has(kind) and isinstance(encoded, dict):
        hints = _hints(kind)
        return kind(**{name: _decode(hints[name], value) for name, value in encoded.items()})
    if isinstance(kind, type) and (issubclass(kind, enum.Enum) or kind is PeerID):
        return kind(encoded)
    raise TypeError(f"{encoded!r} is no {kind}")


# To find them out takes longer than all the rest.
_hints = functools.cache(typing.get_type_hints)


def _decodeSeconds(encoded: Any) -> float:
    isNumber = isinstance(encoded, int | float) and not isinstance(encoded, bool)
    # An integer may be too large for any other question than this one.
    if not isNumber or not -_LATEST <= encoded <= _LATEST:
        raise TypeError("this is no time")
    return float(encoded)


# --- files --------------------------------------------------------------------------------------


class TraceWriter:
    """
    Writes the trace of one peer, each event at once.
    """

    def __init__(self, file: TextIO, peer: PeerID, name: str | None) -> None:
        self._file = file
        self._write({"format": FORMAT, "version": VERSION, "peer": str(peer), "name": name})

    @classmethod
    def create(cls, path: str | os.PathLike[str], peer: PeerID, name: str | None) -> TraceWriter:
        """
        Write to a new file, or over an old one.

        @raise BadTrace: The file cannot be written.
        """
        try:
            return cls(open(path, "w", encoding="utf-8"), peer, name)
        except OSError as error:
            raise BadTrace(f"cannot write the trace file {path}: {error.strerror}") from None

    def observe(self, event: PeerEvent) -> None:
        """
        Write one event. What comes after the end is left out.
        """
        if not self._file.closed:
            self._write(encodeEvent(event))

    def end(self, at: float, error: Exception | None) -> None:
        """
        Write how the command ended, and close the file.
        """
        kind, reason = (None, "") if error is None else (type(error).__name__, str(error))
        self._write(encodeEvent(Ended(at=at, error=kind, reason=reason)))
        self.close()

    def _write(self, line: dict[str, Any]) -> None:
        # Each line at once: a trace is wanted most of all when the program ended badly.
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """
        Close the file.
        """
        self._file.close()


def readTrace(path: str | os.PathLike[str]) -> Trace:
    """
    Read a trace file.

    @raise BadTrace: The file cannot be read, or is no trace; the sentence names it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadTrace(f"cannot read the trace file {path}: {reason}") from None
    if len(data) > _LARGEST:
        raise BadTrace(f"cannot read the trace file {path}: it is larger than 32 MiB")
    # A character that was cut in two belongs to a line that was cut short.
    whole = data[: data.rfind(b"\n") + 1]
    try:
        return parseTrace(io.StringIO(whole.decode("utf-8"), newline="\n"))
    except UnicodeDecodeError:
        raise BadTrace(f"cannot read the trace file {path}: it is no text") from None
    except BadTrace as error:
        raise BadTrace(f"cannot use the trace file {path}: {error}") from None


def parseTrace(lines: Iterable[str]) -> Trace:
    """
    Read a trace; a last line that was cut short is left out.

    @raise BadTrace: The lines are no trace.
    """
    # A line without its end was cut short when the program was killed.
    rows = [_parseLine(line) for line in lines if line.endswith("\n")]
    header = rows[0] if rows else None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BadTrace("this is no trace of holepunch")
    if header.get("version") not in _KNOWN:
        found = ascii(header.get("version"))[:20]
        raise BadTrace(f"this trace has version {found}; the versions 1 to {VERSION} are known")
    name = header.get("name")
    try:
        peer = PeerID(str(header.get("peer")))
        if name is not None:
            checkName(str(name))
    except HolepunchError:
        raise BadTrace("its header does not say properly whose trace it is") from None
    events: list[PeerEvent] = []
    ended = None
    for event in map(decodeEvent, rows[1:]):
        if isinstance(event, Ended):
            ended = event
        else:
            events.append(event)
    return Trace(peer=peer, name=name, events=tuple(events), ended=ended)


def _parseLine(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise BadTrace("a line of the trace is no JSON") from None
