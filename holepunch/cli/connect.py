"""
C{holepunch connect}: standard input and output joined to a peer.

Owns: the command.
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import click
from twisted.internet.protocol import Factory

from holepunch.cli.connection import ConnectionProtocol
from holepunch.cli.join import Join
from holepunch.cli.options import PeerOptions, peerArgument, peerOptions
from holepunch.cli.output import Output, makeOutput
from holepunch.cli.peering import withPeer
from holepunch.cli.running import run
from holepunch.cli.standardstreams import StandardInput, StandardOutput, takeStandardOutput
from holepunch.peer import Peer, PunchedAddress, SessionOptions


@click.command()
@peerArgument
@peerOptions
def connect(options: PeerOptions, peer: str) -> None:
    """
    Connect standard input and output to a peer.

    PEER is a name or a peer ID. The end of standard input closes our direction of the connection;
    the command ends when the peer has closed its direction, too.
    """
    session = options.streamOptions()
    output = makeOutput(sys.stderr, options.isJSON, options.verbosity)

    async def main(reactor: Any) -> None:
        join = Join(StandardInput(reactor), StandardOutput(reactor, takeStandardOutput()))
        await withPeer(
            reactor, options, output, lambda made: connectTo(made, peer, session, join, output)
        )

    run(main, output)


async def connectTo(
    peer: Peer, target: str, session: SessionOptions, protocol: ConnectionProtocol, output: Output
) -> None:
    """
    Connect, and stay until the connection has ended.
    """
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    await peer.connectEndpoint(target, session).connect(factory)
    remote = cast(PunchedAddress, protocol.connection.getPeer())
    await protocol.finished
    output.note("closed", f"the connection to {target} is closed", peer=remote.peerID)
