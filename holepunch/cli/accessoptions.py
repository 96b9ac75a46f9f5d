"""
The options that say who may connect: C{--allow} and C{--deny}.

Owns: their names, and the authoriser that they make.
Knows nothing of: how it is asked.
Driven by: C{holepunch listen} and whatever else lets peers in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from holepunch.cli.options import peerNameOrID
from holepunch.errors import CannotRead, UnknownName, UsageError
from holepunch.interfaces import IAuthoriser
from holepunch.peer.access import AccessList, Everyone
from holepunch.peer.knownpeers import KnownPeersFile

_Command = TypeVar("_Command", bound=Callable[..., Any])


def accessOptions(command: _Command) -> _Command:
    """
    Add them; the command gets C{allow} and C{deny}.
    """
    for name, text in (
        ("deny", "Do not let this peer in. May be repeated."),
        ("allow", "Let in only this peer, known by NAME or ID. May be repeated."),
    ):
        option = click.option(
            f"--{name}", multiple=True, type=peerNameOrID, metavar="NAME|ID", help=text
        )
        command = option(command)
    return command


def authoriserOf(known: KnownPeersFile, allow: Sequence[str], deny: Sequence[str]) -> IAuthoriser:
    """
    What the options say.

    @raise UsageError: A name is not known, or the file of known peers cannot be used.
    """
    if not allow and not deny:
        return Everyone()
    try:
        return AccessList(known, allow or None, deny)
    except (UnknownName, CannotRead) as error:
        raise UsageError(str(error)) from None
