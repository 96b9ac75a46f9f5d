"""
C{holepunch invite} and C{holepunch accept}: two people connect without exchanging keys.

Owns: the commands; what follows when the two peers know each other.
Knows nothing of: how an invitation goes (L{holepunch.peer.invitation}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import click
from twisted.internet.defer import maybeDeferred

from holepunch.cli.connect import connectTo
from holepunch.cli.connection import ConnectionProtocol
from holepunch.cli.join import Join
from holepunch.cli.listen import TakingFactory
from holepunch.cli.notice import Notice
from holepunch.cli.options import PeerOptions, peerName, peerOptions
from holepunch.cli.output import Output, makeOutput
from holepunch.cli.peering import withPeer
from holepunch.cli.running import run
from holepunch.cli.standardstreams import StandardInput, StandardOutput, takeStandardOutput
from holepunch.cli.waiting import Patience
from holepunch.errors import InvitationFailed, UsageError
from holepunch.identity import PeerID
from holepunch.interfaces import IKnownPeers
from holepunch.peer import Ask, Peer, SessionOptions
from holepunch.peer.invitation import Acquaintance
from holepunch.rendezvous.invitation import InvitationCode

_Command = TypeVar("_Command", bound=Callable[..., Any])


@attrs.frozen(kw_only=True)
class Names:
    """
    What the two sides are to be called.

    @ivar here: The other side, on this one; C{None} is as it suggests.
    @ivar there: This side, on the other one; C{None} leaves it to that one.
    """

    here: str | None = None
    there: str | None = None

    def check(self, known: IKnownPeers) -> None:
        """
        Make sure that the name is free before a code is spent.

        @raise UsageError: It is not.
        """
        present = None if self.here is None else known.find(self.here)
        if present is not None:
            raise UsageError(
                f"--as: {present.name} is known already, as {present.peerID}: choose another name"
            )


def _invitationOptions(command: _Command) -> _Command:
    for option in (
        click.option(
            "--no-connect",
            "isConnecting",
            is_flag=True,
            flag_value=False,
            default=True,
            help="Only make the two peers known to each other.",
        ),
        click.option(
            "--as", "here", type=peerName, metavar="NAME", help="What to call the other side here."
        ),
        click.option(
            "--name", "there", type=peerName, metavar="NAME", help="What to be called there."
        ),
    ):
        command = option(command)
    return command


@click.command()
@_invitationOptions
@peerOptions
def invite(options: PeerOptions, there: str | None, here: str | None, isConnecting: bool) -> None:
    """
    Invite somebody by a short code, and connect when it is accepted.

    Tell the code to one person, who gives it to holepunch accept. Then each side knows the other
    one's key, by a name in its known_peers, and standard input and output are joined to the other
    side. A code is good for ten minutes, and for one try.
    """
    session = options.streamOptions()
    names = Names(here=here, there=there)
    names.check(options.knownPeers)
    output = makeOutput(sys.stderr, options.isJSON, options.verbosity)
    admitted: set[PeerID] = set()

    async def main(reactor: Any) -> None:
        factory = TakingFactory(
            lambda: Join(StandardInput(reactor), StandardOutput(reactor, takeStandardOutput())),
            output,
            isSingle=True,
        )
        await withPeer(
            reactor,
            options,
            output,
            lambda peer: serveInvited(
                reactor, peer, names, isConnecting, factory, admitted, session.timeout, output
            ),
            authoriser=Ask(lambda request: request.remote in admitted),
            replaced=factory.endWith,
        )

    run(main, output)


async def serveInvited(
    reactor: Any,
    peer: Peer,
    names: Names,
    isConnecting: bool,
    factory: TakingFactory,
    admitted: set[PeerID],
    timeout: float,
    output: Output,
) -> None:
    """
    Invite somebody, and take the connection of exactly that peer.

    @param admitted: Who is let in.
    @param timeout: Seconds for the other side to connect.
    """
    # Already now, so that whoever accepts can connect at once.
    port = await peer.listenEndpoint().listen(factory)

    def tell(code: InvitationCode, seconds: float) -> None:
        output.tell(
            Notice(
                event="invitation",
                text=f"the other side types: holepunch accept {code}\n"
                f"Good for {seconds / 60:g} minutes and one try.",
                fields={"code": str(code), "seconds": seconds},
                step="waiting for the invitation to be accepted",
            )
        )

    def tooLate(result: object, seconds: float) -> None:
        raise InvitationFailed(f"the other side did not connect within {seconds:g} seconds")

    acquaintance = await peer.invite(
        tell, calledHere=names.here, calledThere=names.there, isConnecting=isConnecting
    )
    admitted.add(acquaintance.peer.peerID)
    tellOf(acquaintance, output)
    if not acquaintance.isConnecting:
        return
    await factory.taken.addTimeout(timeout, reactor, tooLate)
    # Not waited for: the connection must not wait for the service.
    maybeDeferred(port.stopListening).addErrback(lambda failure: None)
    await factory.finished


@click.command()
@click.argument("code", nargs=-1, required=True)
@_invitationOptions
@peerOptions
def accept(
    options: PeerOptions,
    code: tuple[str, ...],
    there: str | None,
    here: str | None,
    isConnecting: bool,
) -> None:
    """
    Accept an invitation by its code, and connect.

    CODE is what holepunch invite printed on the other side, such as 7-crossword-atlas. Then each
    side knows the other one's key, by a name in its known_peers, and standard input and output are
    joined to the other side.
    """
    session = options.streamOptions()
    names = Names(here=here, there=there)
    names.check(options.knownPeers)
    try:
        parsed = InvitationCode.parse(" ".join(code))
    except InvitationFailed as error:
        raise UsageError(str(error)) from None
    output = makeOutput(sys.stderr, options.isJSON, options.verbosity)

    async def main(reactor: Any) -> None:
        join = Join(StandardInput(reactor), StandardOutput(reactor, takeStandardOutput()))
        patience = Patience.of(reactor, output, None, options.timeout)
        await withPeer(
            reactor,
            options,
            output,
            lambda peer: acceptAndConnect(
                peer, parsed, names, isConnecting, session, join, patience
            ),
        )

    run(main, output)


async def acceptAndConnect(
    peer: Peer,
    code: InvitationCode,
    names: Names,
    isConnecting: bool,
    session: SessionOptions,
    join: ConnectionProtocol,
    patience: Patience,
) -> None:
    """
    Accept an invitation, and connect to whoever made it.
    """
    acquaintance = await peer.acceptInvitation(
        str(code), calledHere=names.here, calledThere=names.there, isConnecting=isConnecting
    )
    tellOf(acquaintance, patience.output)
    if acquaintance.isConnecting:
        await connectTo(peer, acquaintance.peer.peerID.text, session, join, patience)


def tellOf(acquaintance: Acquaintance, output: Output) -> None:
    """
    Tell who was made known.
    """
    peer = acquaintance.peer
    output.tell(
        Notice(
            event="known",
            text=f"{peer.name} is {peer.peerID}, from now on",
            fields={"name": peer.name, "peer": peer.peerID},
        )
    )
