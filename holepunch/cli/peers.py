"""
C{holepunch peers}: whom this peer knows by which name.

Owns: the commands.
Knows nothing of: the file (L{holepunch.peer.knownpeers}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from holepunch.cli.options import identityOption, jsonOption, peerName
from holepunch.cli.output import Output, jsonLine, makeOutput
from holepunch.cli.running import statusOf
from holepunch.errors import BadPeerID, HolepunchError
from holepunch.identity import PeerID
from holepunch.linefile import LineFile
from holepunch.peer.knownpeers import ADDED, IMPORTED, KnownPeer, KnownPeersFile, parseKnownPeers

_Command = TypeVar("_Command", bound=Callable[..., Any])


def peerID(text: str) -> PeerID:
    """
    Read a peer ID.
    """
    try:
        return PeerID(text)
    except BadPeerID as error:
        raise click.BadParameter(f"{error}.") from None


def _knownOptions(command: _Command) -> Any:
    """
    Give the command the file of known peers, and where it tells what; turn errors into sentences.
    """

    @functools.wraps(command)
    def withFile(identity: Path, isJSON: bool, **values: Any) -> None:
        output = makeOutput(sys.stderr, isJSON)
        known = KnownPeersFile(identity.with_name("known_peers"))
        try:
            command(known=known, output=output, isJSON=isJSON, **values)
        except HolepunchError as error:
            output.fail(error)
            sys.exit(statusOf(error))

    return identityOption(jsonOption(withFile))


@click.group()
def peers() -> None:
    """
    List, add and remove known peers: whom names mean.

    A name becomes known when a peer is first reached by it, by an invitation, or by hand. From then
    on it means that one key: if another answers to it, no connection is made. The file known_peers
    is beside the identity.
    """


@peers.command("list")
@_knownOptions
def listPeers(known: KnownPeersFile, output: Output, isJSON: bool) -> None:
    """
    Print every name with its peer ID.
    """
    found = known.peers()
    if isJSON:
        for each in found:
            fields = {"name": each.name, "peer": each.peerID, "origin": each.origin}
            click.echo(jsonLine(fields), nl=False)
        return
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        click.echo(f"{each.name:{width}} {each.peerID}  {each.origin}".rstrip())


@peers.command()
@click.argument("name", type=peerName)
@click.argument("identifier", metavar="ID", type=peerID)
@_knownOptions
def add(known: KnownPeersFile, output: Output, isJSON: bool, name: str, identifier: PeerID) -> None:
    """
    Let NAME mean the peer with this ID.
    """
    known.pin(name, identifier, ADDED)
    output.note("known", f"{name} is {identifier}", name=name, peer=identifier)


@peers.command()
@click.argument("name", type=peerName)
@_knownOptions
def remove(known: KnownPeersFile, output: Output, isJSON: bool, name: str) -> None:
    """
    Forget NAME: the next peer that is reached by it is pinned anew.
    """
    removed = known.remove(name)
    output.note("forgotten", f"{removed.name} was {removed.peerID}", name=name, peer=removed.peerID)


@peers.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_knownOptions
def importPeers(known: KnownPeersFile, output: Output, isJSON: bool, file: Path) -> None:
    """
    Make the peers of another such FILE known, or none of them.

    A line is a name and a peer ID.
    """
    found = parseKnownPeers(LineFile(file).read(), str(file))
    imported = [KnownPeer(name=each.name, peerID=each.peerID, origin=IMPORTED) for each in found]
    added = known.pinAll(imported)
    click.echo(jsonLine({"added": added}) if isJSON else f"{added} added\n", nl=False)
