"""
A peer for the length of one command.

Owns: making the peer from the options, waiting until it is registered, stopping it.
Knows nothing of: what the command uses the peer for.
Driven by: C{holepunch listen}, C{connect} and C{ping}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from holepunch.cli.options import PeerOptions, loadIdentity
from holepunch.cli.output import Output
from holepunch.cli.relayreason import RelayReason
from holepunch.cli.trace import TraceWriter
from holepunch.errors import PeerReplaced, RendezvousUnreachable
from holepunch.interfaces import IAuthoriser
from holepunch.peer import Peer
from holepunch.peer.config import PeerConfig
from holepunch.peer.events import Disconnected, PeerEvent, Registered

_T = TypeVar("_T")
_REGISTRATION_TIMEOUT = 10.0


async def withPeer(
    reactor: Any,
    options: PeerOptions,
    output: Output,
    use: Callable[[Peer], Awaitable[_T]],
    *,
    name: str | None = None,
    authoriser: IAuthoriser | None = None,
    replaced: Callable[[PeerReplaced], None] = lambda error: None,
    makePeer: Callable[..., Peer] = Peer,
) -> _T:
    """
    Register, let C{use} do its work, and close everything again.

    @param authoriser: Decides who may connect; by default everybody.
    @param replaced: Called when this peer is registered no longer, nor will be.
    @param makePeer: Makes the peer; takes what L{Peer} takes.
    @raise RendezvousUnreachable: There was no registration within a reasonable time.
    """
    identity = loadIdentity(options.identity, output)
    lastReason = ""
    isRegistered = False
    trace = None
    if options.trace is not None:
        trace = TraceWriter.create(options.trace, identity.peerID, name)

    reason = RelayReason(output, identity.peerID, name)

    def observe(event: PeerEvent) -> None:
        nonlocal lastReason, isRegistered
        isFatal = False
        if isinstance(event, Disconnected):
            lastReason = event.reason
            # The command ends with it.
            isFatal = not (event.isMendable or isRegistered)
        isRegistered = isRegistered or isinstance(event, Registered)
        if peer.running and not isFatal:
            output.observe(event)
            reason.observe(event)
        if trace is not None:
            trace.observe(event)
        if isinstance(event, Disconnected) and event.error == PeerReplaced.__name__:
            replaced(PeerReplaced(event.reason))

    def tooLate(result: object, seconds: float) -> Registered:
        reason = lastReason or f"the rendezvous service {options.rendezvous} does not answer"
        raise RendezvousUnreachable(f"{reason}: does it run, and is this its address?")

    peer = makePeer(
        reactor,
        identity,
        options.rendezvous,
        name=name,
        knownServices=options.knownServices,
        knownPeers=options.knownPeers,
        authoriser=authoriser,
        credentials=options.credentials,
        config=PeerConfig(relay=options.relay),
        observer=observe,
    )
    output.step(f"registering with {options.rendezvous}")
    ended: Exception | None = None
    try:
        peer.startService()
        limit = min(options.timeout, _REGISTRATION_TIMEOUT)
        await peer.whenRegistered().addTimeout(limit, reactor, tooLate)
        return await use(peer)
    except Exception as error:
        ended = error
        raise
    finally:
        await peer.stopService()
        if trace is not None:
            trace.end(reactor.seconds(), ended)
