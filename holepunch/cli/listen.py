"""
C{holepunch listen}: wait for peers, and join or answer their connections.

Owns: the command; which connections are taken.
Knows nothing of: what is done with a connection (L{holepunch.cli.join},
L{holepunch.cli.answering}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, cast

import click
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from holepunch.cli.accessoptions import accessOptions, authoriserOf
from holepunch.cli.answering import Echo, Execute
from holepunch.cli.connection import ConnectionProtocol
from holepunch.cli.examples import examples
from holepunch.cli.join import Join
from holepunch.cli.notice import Notice, describeClosed, nameOf
from holepunch.cli.options import PeerOptions, nameOption, peerOptions
from holepunch.cli.output import Output, makeOutput
from holepunch.cli.peering import withPeer
from holepunch.cli.running import run
from holepunch.cli.shell import checkCommand
from holepunch.cli.standardstreams import StandardInput, StandardOutput, takeStandardOutput
from holepunch.errors import HolepunchError, UsageError
from holepunch.identity import PeerID
from holepunch.peer import Peer, PunchedAddress


@click.command(
    epilog=examples(
        "holepunch listen --name alice > copy",
        "holepunch listen --name date --exec date --keep",
    )
)
@nameOption
@click.option("--echo", "isEcho", is_flag=True, help="Send back what comes, and nothing else.")
@click.option("--exec", "command", metavar="CMD", help="Join each connection to a command.")
@click.option("--keep", is_flag=True, help="Go on after the first connection.")
@accessOptions
@peerOptions
def listen(
    options: PeerOptions,
    name: str | None,
    isEcho: bool,
    command: str | None,
    keep: bool,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
) -> None:
    """
    Wait for one connection and join it to standard input and output.

    Instead, each connection may be answered by echo, or by a command of its own. With --keep and
    neither, connections are joined one after the other. Everybody may connect, unless --allow or
    --deny says otherwise.
    """
    options.streamOptions()
    if isEcho and command is not None:
        raise UsageError("--echo and --exec cannot both answer a connection: give one of them")
    authoriser = authoriserOf(options.knownPeers, allow, deny)
    if command is not None:
        try:
            checkCommand(command)
        except UsageError as error:
            raise UsageError(f"--exec: {error}") from None
    output = makeOutput(sys.stderr, options.isJSON, options.verbosity)

    async def main(reactor: Any) -> None:
        make: Callable[[], ConnectionProtocol]
        if isEcho:
            make = Echo
        elif command is not None:
            make = functools.partial(Execute, reactor, command)
        else:
            make = functools.partial(
                Join,
                StandardInput(reactor),
                StandardOutput(reactor, takeStandardOutput()),
                DeferredLock() if keep else None,
            )
        factory = TakingFactory(make, output, isSingle=not keep)
        await withPeer(
            reactor,
            options,
            output,
            lambda peer: serve(peer, factory, output),
            name=name,
            authoriser=authoriser,
            replaced=factory.endWith,
        )

    run(main, output)


async def serve(peer: Peer, factory: TakingFactory, output: Output) -> None:
    """
    Listen until the factory has had enough.
    """
    port = await peer.listenEndpoint().listen(factory)
    output.tell(
        Notice(
            event="listening",
            text=f"listening as {nameOf(peer.peerID, peer.name)}",
            fields={"peer": peer.peerID, "name": peer.name},
            step="waiting for a peer to connect",
        )
    )
    await factory.taken
    if factory.isSingle:
        # Not waited for: the connection must not wait for the service.
        maybeDeferred(port.stopListening).addErrback(lambda failure: None)
    await factory.finished


class TakingFactory(Factory):
    """
    Takes connections: one, or every one.

    @ivar taken: Fires when the first one is there.
    @ivar finished: Fires when the only one has ended; fails if that was before its time, or when
        there can be no further ones.
    """

    noisy = False

    def __init__(
        self, make: Callable[[], ConnectionProtocol], output: Output, isSingle: bool
    ) -> None:
        """
        @param make: Makes the protocol of a connection.
        """
        self._make = make
        self._output = output
        self.isSingle = isSingle
        self.taken: Deferred[None] = Deferred()
        self.finished: Deferred[None] = Deferred()
        self._open = 0
        self._end: HolepunchError | None = None

    def endWith(self, error: HolepunchError) -> None:
        """
        Nobody will connect any more; connections that are there go on.
        """
        self._end = error
        if not self.taken.called:
            self.taken.errback(error)
        elif not self.isSingle and not self._open:
            self.finished.errback(error)

    def buildProtocol(self, address: IAddress | None) -> Protocol | None:
        """
        Take a connection, or decline it.
        """
        if self.isSingle and self.taken.called:
            return None
        protocol = self._make()
        self._open += 1
        protocol.finished.addBoth(self._ended, cast(PunchedAddress, address).peerID)
        if not self.taken.called:
            self.taken.callback(None)
        return protocol

    def _ended(self, result: Failure | None, peerID: PeerID) -> None:
        self._open -= 1
        error = result.value if isinstance(result, Failure) else None
        who = f"the connection of {peerID.short}…"
        self._output.tell(describeClosed(who, peerID, error))
        if self.isSingle:
            self.finished.callback(result)
        elif self._end is not None and not self._open:
            self.finished.errback(self._end)
