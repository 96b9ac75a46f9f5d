"""
C{holepunch id}: who am I?

Owns: the command.
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holepunch.cli.options import identityOption, jsonOption, loadIdentity
from holepunch.cli.output import jsonLine, makeOutput
from holepunch.errors import BadIdentity


@click.command("id")
@identityOption
@jsonOption
def identity(identity: Path, isJSON: bool) -> None:
    """
    Print this peer's ID.

    Other peers can connect to it by this ID, wherever it is. It is the public key of the identity
    file, which is made when it is missing.
    """
    output = makeOutput(sys.stderr, isJSON)
    try:
        peerID = loadIdentity(identity, output).peerID
    except BadIdentity as error:
        output.fail(error)
        sys.exit(2)
    click.echo(jsonLine({"peer": peerID, "file": identity}) if isJSON else f"{peerID}\n", nl=False)
