"""
One session of a matrix: reaching the other peer in one flow, and letting go again.

Owns: what a flow means for the peer that asks.
Knows nothing of: networks, and what is measured.
Driven by: L{holepunch.lab.matrixsimulation}, L{holepunch.lab.matrixworker}.
"""

from __future__ import annotations

from holepunch.address import Transport
from holepunch.lab.matrixkind import Flow
from holepunch.peer import Peer, SessionOptions
from holepunch.punch import TCPFlow


def optionsOf(flow: Flow, timeout: float) -> SessionOptions:
    """
    How a session is punched in a flow.
    """
    isDatagram = flow is Flow.UDP
    isSequential = flow is Flow.TCP_SEQUENTIAL
    return SessionOptions(
        transports=frozenset({Transport.UDP if isDatagram else Transport.TCP}),
        tcpFlow=TCPFlow.SEQUENTIAL if isSequential else TCPFlow.SIMULTANEOUS,
        timeout=timeout,
    )


async def connectBy(peer: Peer, target: str, flow: Flow, timeout: float) -> None:
    """
    Make a path to C{target}, and close it; the peer's observer hears what it was.

    @raise HolepunchError: There is none.
    """
    options = optionsOf(flow, timeout)
    if flow is Flow.UDP:
        path = await peer.openDatagrams(target, options)
        path.close()
    else:
        stream = await peer.openStream(target, options)
        stream.abortConnection()
