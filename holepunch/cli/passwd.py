"""
C{holepunch passwd}: the users of a rendezvous service.

Owns: the command.
Knows nothing of: what is stored (L{holepunch.rendezvous.passwords}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from holepunch.cli.login import askPassword, readPasswordOf
from holepunch.cli.options import jsonOption
from holepunch.cli.output import jsonLine, makeOutput
from holepunch.cli.running import statusOf
from holepunch.errors import BadCredentials, HolepunchError
from holepunch.rendezvous.authenticationclient import LoginCredentials
from holepunch.rendezvous.passwords import PasswordFile
from holepunch.rendezvous.scram import StoredPassword


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("user")
@click.option("--remove", is_flag=True, help="Take USER out of the file instead.")
@click.option(
    "--password-file",
    "passwordFile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read the password from the first line of this file; - is standard input.",
)
@jsonOption
def passwd(file: Path, user: str, remove: bool, passwordFile: Path | None, isJSON: bool) -> None:
    """
    Set the password of a user of a rendezvous service.

    FILE is what twistd holepunch --auth scram:FILE reads; it is made if missing. The password is
    asked for, unless a file has it. What is stored of it is made by scrypt: neither the password
    nor a way to log in can be read from the file.
    """
    output = makeOutput(sys.stderr, isJSON)
    users = PasswordFile(file)
    try:
        if remove:
            if not users.remove(user):
                raise BadCredentials(f"there is no user {user} in {file}")
            done = "removed"
        else:
            password = (
                askPassword(f"Password for {user}", isNew=True)
                if passwordFile is None
                else readPasswordOf(passwordFile)
            )
            made = LoginCredentials(user, password)
            stored = StoredPassword.make(made.password, os.urandom)
            done = "added" if users.setPassword(made.user, stored) else "changed"
    except HolepunchError as error:
        output.fail(error)
        sys.exit(statusOf(error))
    click.echo(jsonLine({"user": user, "done": done}) if isJSON else f"{user} {done}\n", nl=False)
