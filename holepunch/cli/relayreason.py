"""
Why a connection goes through the relay, in one sentence while it does.

Owns: when that is looked at, and the words.
Knows nothing of: how the cause is found (L{holepunch.explain}).
Driven by: L{holepunch.cli.peering}, which hands on the peer's events.
"""

from __future__ import annotations

from holepunch.cli.notice import Notice
from holepunch.cli.output import Output
from holepunch.identity import PeerID
from holepunch.peer.events import Connected, Moved, PeerEvent, Punched, Registered, Requested
from holepunch.punch import EventKind
from holepunch.rendezvous.introduction import RelayPolicy

# So long after the relay, the usual direct path would be there, and how the NATs map is known.
_PATIENCE = 1.0
_MOST_EVENTS = 5000
_SHORT = {
    "both-map-by-destination": "both NATs are symmetric",
    "mapping-meets-filter": "one NAT is symmetric, and the other side filters by port",
    "udp-blocked": "UDP is blocked",
}
_POINTER = "holepunch explain tells more, from a file that --trace writes"


class RelayReason:
    """
    Watches what this peer asked for; what others ask for is theirs to wonder about.
    """

    def __init__(self, output: Output, peer: PeerID, name: str | None) -> None:
        self._output = output
        self._peer = peer
        self._name = name
        self._registered: Registered | None = None
        self._events: list[PeerEvent] = []
        self._relayed: Connected | None = None

    def observe(self, event: PeerEvent) -> None:
        """
        Take an event of the peer.
        """
        if isinstance(event, Registered):
            self._registered = event
        elif isinstance(event, Requested):
            self._begin(event)
        elif self._events and len(self._events) < _MOST_EVENTS:
            self._events.append(event)
            self._look(event)

    def _begin(self, request: Requested) -> None:
        self._relayed = None
        self._events = []
        # Who wants nothing but the relay knows why.
        if self._registered is not None and request.relay is not RelayPolicy.ONLY:
            self._events = [self._registered, request]

    def _look(self, event: PeerEvent) -> None:
        if isinstance(event, Connected) and self._relayed is None:
            self._relayed = event if event.path == "relay" else None
            if self._relayed is None:
                self._events = []
        elif isinstance(event, Moved):
            self._events = []
        elif self._relayed is not None and isinstance(event, Punched):
            isOver = event.event.kind is EventKind.FAILED
            if isOver or event.at - self._relayed.at >= _PATIENCE:
                self._tell(self._relayed, isOver)

    def _tell(self, relayed: Connected, isOver: bool) -> None:
        from holepunch.explain import Trace, whyRelayed

        cause = whyRelayed(Trace(peer=self._peer, name=self._name, events=tuple(self._events)))
        if cause is None and not isOver:
            return
        self._events = []
        meaning = "no direct path came through" if cause is None else cause.meaning.rstrip(".")
        words = meaning if cause is None else _SHORT.get(cause.value, meaning)
        self._output.tell(
            Notice(
                event="relayed",
                text=f"relayed: {words} ({_POINTER})",
                fields={"peer": relayed.remotePeer, "cause": cause},
            )
        )
