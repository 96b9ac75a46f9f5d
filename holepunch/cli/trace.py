"""
The trace of a peer: every event, one JSON object a line, in a file that can be read back.

The first line is the header::

    {"format": "holepunch-trace", "version": 1, "peer": PEER-ID, "name": NAME or null}

Each further line is one event: C{"type"} is the class in L{holepunch.peer.events}, and the other
keys are its fields. Addresses are C{"HOST:PORT"}, peer IDs and enumerations their text, and times
seconds by the clock of that machine.

Owns: that format, both ways.
Knows nothing of: what the events mean.
Driven by: C{--trace FILE} writes; diagrams and reports read.
"""

from __future__ import annotations

import enum
import json
import os
import types
import typing
from collections.abc import Iterable
from typing import Any, TextIO

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import BadTrace, HolepunchError
from holepunch.identity import PeerID
from holepunch.peer.events import PeerEvent

FORMAT = "holepunch-trace"
VERSION = 1

_EVENTS: dict[str, Any] = {each.__name__: each for each in typing.get_args(PeerEvent)}


@attrs.frozen(kw_only=True)
class Trace:
    """
    What one peer saw, in order.

    @ivar peer: Whose trace it is.
    """

    peer: PeerID
    name: str | None
    events: tuple[PeerEvent, ...]


# --- events and JSON ----------------------------------------------------------------------------


def encodeEvent(event: PeerEvent) -> dict[str, Any]:
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


def decodeEvent(encoded: Any) -> PeerEvent:
    """
    The way back from L{encodeEvent}.

    @raise BadTrace: C{encoded} is no event that this version knows.
    """
    try:
        fields = dict(encoded)
        kind = _EVENTS[fields.pop("type")]
        event: PeerEvent = _decode(kind, fields)
    except (HolepunchError, KeyError, TypeError, ValueError) as error:
        raise BadTrace(f"an event cannot be understood: {error!r}") from None
    return event


def _decode(kind: Any, encoded: Any) -> Any:
    """
    Build a value of the type that an annotation names.
    """
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
        hints = typing.get_type_hints(kind)
        return kind(**{name: _decode(hints[name], value) for name, value in encoded.items()})
    if isinstance(kind, type) and (issubclass(kind, enum.Enum) or kind is PeerID):
        return kind(encoded)
    if isinstance(encoded, kind) or (kind is float and isinstance(encoded, int)):
        return encoded
    raise TypeError(f"{encoded!r} is no {kind}")


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
        Write one event.
        """
        self._write(encodeEvent(event))

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

    @raise BadTrace: The file cannot be read, or is no trace.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return parseTrace(file)
    except (OSError, UnicodeDecodeError) as error:
        raise BadTrace(f"cannot read the trace file {path}: {error}") from None


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
    if header.get("version") != VERSION:
        raise BadTrace(f"this trace has version {header.get('version')}; version 1 is known")
    try:
        peer = PeerID(str(header.get("peer")))
    except HolepunchError as error:
        raise BadTrace(str(error)) from None
    return Trace(peer=peer, name=header.get("name"), events=tuple(map(decodeEvent, rows[1:])))


def _parseLine(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise BadTrace("a line of the trace is no JSON") from None
