"""
One session of a matrix: reaching the other peer in one flow, and letting go again.

Owns: what a flow means for the peer that asks; which way the connection went, and when.
Knows nothing of: networks, and what is measured.
Driven by: L{holepunch.lab.matrixsimulation}, L{holepunch.lab.matrixworker}.

With a relay, a connection may begin there. Then the session goes on until it has moved to a direct
path, or the patience is over.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from holepunch.address import Transport
from holepunch.lab.matrixkind import Flow
from holepunch.peer import Peer, SessionOptions
from holepunch.peer.events import Connected, Moved, PeerEvent
from holepunch.punch import TCPFlow
from holepunch.rendezvous.introduction import RelayPolicy

DIRECT = "direct"


@attrs.frozen(kw_only=True)
class Way:
    """
    What became of a session that found a path.

    @ivar seconds: From the request to the first path.
    @ivar candidate: What kind of remote candidate it uses in the end.
    @ivar path: The way that it goes in the end: C{"direct"} or C{"relay"}.
    @ivar movedAfter: The seconds from the request until it was on a direct path, if it was not from
        the beginning.
    """

    seconds: float
    candidate: str
    path: str
    movedAfter: float | None = None


class Witness:
    """
    Hears of the sessions of one peer, one after the other.
    """

    def __init__(self) -> None:
        self._session: str | None = None
        self._way: Way | None = None
        self._startedAt = 0.0
        self._waiting: Deferred[None] | None = None

    @property
    def way(self) -> Way:
        """
        How the last session went.
        """
        assert self._way is not None
        return self._way

    def observe(self, event: PeerEvent) -> None:
        """
        Something happened.
        """
        if isinstance(event, Connected):
            self._session = event.session
            self._startedAt = event.at - event.seconds
            self._way = Way(seconds=event.seconds, candidate=event.candidate, path=event.path)
        elif isinstance(event, Moved) and event.session == self._session and event.path is not None:
            assert event.candidate is not None
            isFirst = event.path == DIRECT and self.way.path != DIRECT
            self._way = attrs.evolve(
                self.way,
                path=event.path,
                candidate=event.candidate,
                movedAfter=event.at - self._startedAt if isFirst else self.way.movedAfter,
            )
        if self._way is not None and self._way.path == DIRECT and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def whenDirect(self) -> Deferred[None]:
        """
        Fires when the session is on a direct path.
        """
        if self.way.path == DIRECT:
            moved: Deferred[None] = Deferred()
            moved.callback(None)
            return moved
        self._waiting = Deferred(self._forget)
        return self._waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting = None


def optionsOf(flow: Flow, timeout: float, relay: RelayPolicy) -> SessionOptions:
    """
    How a session is punched in a flow.
    """
    isDatagram = flow is Flow.UDP
    isSequential = flow is Flow.TCP_SEQUENTIAL
    return SessionOptions(
        transports=frozenset({Transport.UDP if isDatagram else Transport.TCP}),
        tcpFlow=TCPFlow.SEQUENTIAL if isSequential else TCPFlow.SIMULTANEOUS,
        timeout=timeout,
        relay=relay,
    )


async def connectBy(
    clock: IReactorTime,
    peer: Peer,
    witness: Witness,
    target: str,
    flow: Flow,
    *,
    timeout: float,
    relay: RelayPolicy = RelayPolicy.NEVER,
) -> Way:
    """
    Make a path to C{target}, and close it.

    @param witness: What C{peer} tells.
    @param timeout: Until there is a path, and until that is a direct one.
    @raise HolepunchError: There is none.
    """
    options = optionsOf(flow, timeout, relay)
    if flow is Flow.UDP and relay is RelayPolicy.NEVER:
        path = await peer.openDatagrams(target, options)
        path.close()
        return witness.way
    stream = await peer.openStream(target, options)
    try:
        if relay is RelayPolicy.AUTO:
            # After that it stays where it is.
            await witness.whenDirect().addTimeout(timeout, clock, lambda result, seconds: None)
    finally:
        stream.abortConnection()
    return witness.way
