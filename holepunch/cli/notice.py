"""
What there is to tell a person or a program about each event of a peer.

Owns: the words, and the names and fields of the JSON events.
Knows nothing of: terminals and files.
Driven by: L{holepunch.cli.output}.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from holepunch.errors import HolepunchError, NoPathFound
from holepunch.identity import PeerID
from holepunch.peer.events import (
    Closed,
    Connected,
    Disconnected,
    Failed,
    InterfacesChanged,
    Introduced,
    Mapped,
    Moved,
    PeerEvent,
    Punched,
    Refused,
    Registered,
    RelayNews,
    RelayPair,
    RelayTold,
    Requested,
    Secured,
    Signalled,
    Suspected,
)


class Importance(enum.IntEnum):
    """
    Who is told; C{-v} raises it by one for everybody.
    """

    ALWAYS = 0
    MILESTONE = 1
    DETAIL = 2
    DEBUGGING = 3


@attrs.frozen(kw_only=True)
class Notice:
    """
    One thing to tell.

    @ivar event: Its name for programs.
    @ivar text: The same as a sentence for people.
    @ivar fields: What belongs to the event, for programs.
    @ivar step: What goes on from now, and may take a while; empty where nothing does.
    """

    event: str
    text: str
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    importance: Importance = Importance.ALWAYS
    step: str | None = None


def nameOf(peerID: PeerID, name: str | None) -> str:
    """
    How a peer is called when a person reads it.
    """
    return f"{name} ({peerID.short}…)" if name else str(peerID)


def milliseconds(seconds: float) -> str:
    """
    A duration for people, always in milliseconds: such numbers are compared.
    """
    return f"{seconds * 1000:.3g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def describe(event: PeerEvent) -> Notice:
    """
    What to tell of an event.
    """
    match event:
        case Registered():
            return Notice(
                event="registered",
                text=f"registered as {nameOf(event.peerID, event.name)}"
                + (f", behind a NAT as {event.observed}" if event.isBehindNAT else ""),
                fields={
                    "peer": event.peerID,
                    "name": event.name,
                    "observed": event.observed,
                    "nat": event.isBehindNAT,
                },
                importance=Importance.MILESTONE,
            )
        case Disconnected():
            return Notice(
                event="disconnected",
                text=f"{event.reason}; trying again" if event.isMendable else event.reason,
                fields={"reason": event.reason, "error": event.error},
            )
        case InterfacesChanged():
            return Notice(
                event="interfaces",
                text="this machine has other addresses than before: "
                + (", ".join(event.hosts) or "none"),
                fields={"hosts": event.hosts},
                importance=Importance.MILESTONE,
            )
        case Requested():
            return Notice(
                event="requested",
                text=f"asking for {event.target}",
                fields={"target": event.target},
                importance=Importance.DETAIL,
                step=f"asking for {event.target}",
            )
        case Introduced(continues=str()):
            who = nameOf(event.remotePeer, event.remoteName)
            return Notice(
                event="continuing",
                text=f"looking for another path to {who}",
                fields={
                    "peer": event.remotePeer,
                    "name": event.remoteName,
                    "session": event.continues,
                },
                importance=Importance.DETAIL,
            )
        case Introduced():
            who = nameOf(event.remotePeer, event.remoteName)
            return Notice(
                event="introduced",
                text=f"introduced to {who}",
                fields={
                    "peer": event.remotePeer,
                    "name": event.remoteName,
                    "session": event.session,
                },
                importance=Importance.MILESTONE,
                step=f"punching a path to {who}",
            )
        case Refused():
            remote = str(event.remotePeer)
            return Notice(
                event="refused",
                text="not let in: "
                + (f"{event.remoteName}, {event.remotePeer}" if event.remoteName else remote),
                fields={"peer": event.remotePeer, "name": event.remoteName},
            )
        case Connected():
            return Notice(
                event="connected",
                text=f"connected to {nameOf(event.remotePeer, event.remoteName)}: "
                f"{describePath(event)}, after {milliseconds(event.seconds)}",
                fields={
                    "peer": event.remotePeer,
                    "name": event.remoteName,
                    "path": event.path,
                    "transport": event.transport,
                    "local": event.local,
                    "remote": event.remote,
                    "candidate": event.candidate,
                    "seconds": round(event.seconds, 6),
                },
                step="",
            )
        case Moved():
            return describeMove(event)
        case Failed(continues=str()):
            return Notice(
                event="continuing",
                text=f"no other path was found: {event.reason}",
                fields={"reason": event.reason, "error": event.error, "session": event.continues},
                importance=Importance.DETAIL,
            )
        case Failed():
            return Notice(
                event="failed",
                text=f"no path for a peer that asked for this one: {event.reason}",
                fields={
                    "reason": event.reason,
                    "error": event.error,
                    "fates": event.fates,
                    "session": event.session,
                },
                step="",
            )
    return _describeDetail(event)


def describeMove(event: Moved) -> Notice:
    """
    What to tell when a connection goes another way.
    """
    who = nameOf(event.remotePeer, event.remoteName)
    if event.path is None or event.transport is None:
        text = f"there is no path to {who} any more; looking for another one"
    else:
        ends = f"{event.local} → {event.remote} ({event.candidate})"
        after = f", after {milliseconds(event.gap)} without any" if event.gap else ""
        text = f"moved to a {event.path} {event.transport.value} path, {ends}{after}"
    return Notice(
        event="moved",
        text=text,
        fields={
            "peer": event.remotePeer,
            "name": event.remoteName,
            "path": event.path,
            "transport": event.transport,
            "local": event.local,
            "remote": event.remote,
            "candidate": event.candidate,
            "gap": round(event.gap, 6),
        },
        importance=Importance.MILESTONE,
    )


def describePath(event: Connected) -> str:
    """
    Which path it is, for people.
    """
    return (
        f"{event.path} {event.transport.value} path, "
        f"{event.local} → {event.remote} ({event.candidate})"
    )


def _describeDetail(
    event: Mapped | Signalled | Punched | RelayTold | RelayPair | Secured | Suspected | Closed,
) -> Notice:
    match event:
        case RelayTold():
            name = "relay"
            text = f"relay {event.server}: {event.news.value}"
            if event.news is RelayNews.ALLOCATED:
                text += f" {event.relayed}"
            text += f": {event.reason}" if event.reason else ""
            fields: dict[str, Any] = {
                "news": event.news,
                "server": event.server,
                "relayed": event.relayed,
                "reason": event.reason,
                "error": event.error,
            }
        case RelayPair():
            name = "relayed-pair"
            text = f"relayed pair {event.local or '…'} → {event.remote or '…'}: {event.news.value}"
            text += f": {event.reason}" if event.reason else ""
            fields = {"news": event.news, "local": event.local, "remote": event.remote}
        case Secured():
            name = "secured"
            text = f"both keys are proven, {milliseconds(event.seconds)} after the path"
            fields = {"seconds": round(event.seconds, 6)}
        case Suspected():
            name = "suspected"
            text = f"the {event.path} path to {event.remote} does not answer"
            fields = {"path": event.path, "local": event.local, "remote": event.remote}
        case Closed():
            name = "ended"
            text = f"the connection is over: {event.reason}"
            fields = {"reason": event.reason, "error": event.error}
        case Mapped():
            name = "mapped"
            transport = event.transport.value
            text = f"{event.server} sees {transport} {event.local} as {event.mapped}"
            fields = {
                "transport": event.transport,
                "local": event.local,
                "mapped": event.mapped,
                "server": event.server,
            }
        case Signalled():
            name = "signalled"
            text = f"{'sent' if event.isOutgoing else 'received'} {event.kind}"
            fields = {"kind": event.kind, "outgoing": event.isOutgoing}
        case Punched(event=inner):
            name = "punched"
            ends = f" {inner.local or '…'} → {inner.remote or '…'}"
            where = ends if inner.local or inner.remote else ""
            detail = f": {inner.detail}" if inner.detail else ""
            text = f"{inner.kind.value}{where}{detail}"
            fields = {
                "kind": inner.kind,
                "transport": inner.transport,
                "local": inner.local,
                "remote": inner.remote,
                "detail": inner.detail,
            }
    return Notice(event=name, text=text, fields=fields, importance=Importance.DETAIL)


def describeClosed(who: str, peerID: PeerID, error: BaseException | None = None) -> Notice:
    """
    What to tell of the end of a connection.

    @param who: The connection, as the beginning of a sentence.
    @param error: Why it ended before its time; L{None} where both sides had closed it.
    """
    reason = None if error is None else str(error)
    return Notice(
        event="closed",
        text=f"{who} is closed" + (f": {reason}" if reason else ""),
        fields={
            "peer": peerID,
            "reason": reason,
            "error": None if error is None else type(error).__name__,
        },
        importance=Importance.MILESTONE,
    )


def describeFailure(error: HolepunchError) -> Notice:
    """
    What to tell of the error that ends a command.
    """
    fields: dict[str, Any] = {"reason": str(error), "error": type(error).__name__}
    if isinstance(error, NoPathFound):
        fields["fates"] = error.fates
    return Notice(event="failed", text=str(error), fields=fields)
