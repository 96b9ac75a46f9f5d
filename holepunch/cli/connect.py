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
from holepunch.cli.examples import examples
from holepunch.cli.join import Join
from holepunch.cli.notice import describeClosed
from holepunch.cli.options import PeerOptions, peerArgument, peerOptions
from holepunch.cli.output import makeOutput
from holepunch.cli.peering import withPeer
from holepunch.cli.running import run
from holepunch.cli.standardstreams import StandardInput, StandardOutput, takeStandardOutput
from holepunch.cli.waiting import Patience, waitOption
from holepunch.errors import HolepunchError
from holepunch.peer import Peer, PunchedAddress, SessionOptions


@click.command(
    epilog=examples(
        "holepunch connect alice < original",
        "holepunch connect alice --rendezvous rendezvous.example.org --identity bob.pem",
    )
)
@peerArgument
@waitOption
@peerOptions
def connect(options: PeerOptions, peer: str, wait: float | None) -> None:
    """
    Connect standard input and output to a peer.

    PEER is a name or a peer ID. The end of standard input closes our direction of the connection;
    the command ends when the peer has closed its direction, too.
    """
    session = options.streamOptions()
    output = makeOutput(sys.stderr, options.isJSON, options.verbosity)

    async def main(reactor: Any) -> None:
        join = Join(StandardInput(reactor), StandardOutput(reactor, takeStandardOutput()))
        patience = Patience.of(reactor, output, wait, options.timeout)
        await withPeer(
            reactor, options, output, lambda made: connectTo(made, peer, session, join, patience)
        )

    run(main, output)


async def connectTo(
    peer: Peer,
    target: str,
    session: SessionOptions,
    protocol: ConnectionProtocol,
    patience: Patience,
) -> None:
    """
    Connect, and stay until the connection has ended.
    """
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    endpoint = peer.connectEndpoint(target, session)
    await patience.ask(target, lambda: endpoint.connect(factory))
    remote = cast(PunchedAddress, protocol.connection.getPeer())
    who = f"the connection to {target}"
    try:
        await protocol.finished
    except HolepunchError as error:
        patience.output.tell(describeClosed(who, remote.peerID, error))
        raise
    patience.output.tell(describeClosed(who, remote.peerID))
