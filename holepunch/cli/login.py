"""
Logging in at a service that has users: C{--user} and C{--password-file}.

Owns: the options, and where the password comes from: a file, the environment, or the person.
Knows nothing of: how a login goes.
Driven by: L{holepunch.cli.options} and C{holepunch passwd}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from holepunch.errors import BadCredentials, UsageError
from holepunch.rendezvous.authenticationclient import LoginCredentials, readPassword

_Command = TypeVar("_Command", bound=Callable[..., Any])

userOption = click.option(
    "--user",
    metavar="NAME",
    envvar="HOLEPUNCH_USER",
    show_envvar=True,
    help="Log in as this user, where the rendezvous service has users.",
)

passwordFileOption = click.option(
    "--password-file",
    "passwordFile",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HOLEPUNCH_PASSWORD_FILE",
    show_envvar=True,
    help="The file with the password, in its first line. Otherwise HOLEPUNCH_PASSWORD counts, or it"
    " is asked for.",
)


def credentialsOf(user: str | None, passwordFile: Path | None) -> LoginCredentials | None:
    """
    What the options and the environment say; asks the person where the password is missing.

    @raise UsageError: There is no password, or it cannot be used.
    """
    if user is None:
        if passwordFile is not None:
            raise UsageError("--password-file makes no sense without --user")
        return None
    try:
        if passwordFile is not None:
            return LoginCredentials(user, readPasswordOf(passwordFile))
        password = os.environ.get("HOLEPUNCH_PASSWORD")
        return LoginCredentials(user, password or askPassword(f"Password of {user}"))
    except BadCredentials as error:
        raise UsageError(f"--user: {error}") from None


def readPasswordOf(file: Path) -> str:
    """
    Read a password from the first line of a file, or of standard input where it is C{-}.

    @raise BadCredentials: There is none.
    """
    if str(file) != "-":
        return readPassword(file)
    try:
        return sys.stdin.buffer.readline().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadCredentials("the password is no text in UTF-8") from None


def askPassword(question: str, isNew: bool = False) -> str:
    """
    Ask the person at the terminal, which does not show what is typed.

    Standard input and output may belong to the data: the question goes to the terminal itself.

    @param isNew: Ask twice.
    @raise BadCredentials: There is no terminal, or the person typed nothing.
    """
    nobody = "there is nobody to ask for the password: give --password-file"
    if not hasTerminal():
        raise BadCredentials(nobody)
    try:
        password: str = click.prompt(question, hide_input=True, confirmation_prompt=isNew, err=True)
    except click.Abort:
        raise BadCredentials(nobody) from None
    return password


def hasTerminal() -> bool:
    """
    Is there a person to be asked? Without a terminal of its own, the question would be put to
    standard input.
    """
    if os.name == "nt":
        return sys.stdin.isatty()
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
