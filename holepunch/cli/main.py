"""
The program C{holepunch}: the group of its commands.

Owns: the list of commands, and how a wrong command line is told to programs.
Knows nothing of: the commands; each is imported when it is called, so that C{--help} and shell
completion do not wait for Twisted.
Driven by: the console script, and C{python -m holepunch}.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import attrs
import click

from holepunch._version import __version__
from holepunch.cli.examples import examples


@attrs.frozen
class Home:
    """
    Where a command is.

    @ivar help: Its line in the list of commands.
    """

    module: str
    attribute: str
    help: str


COMMANDS = {
    "id": Home("holepunch.cli.identity", "identity", "Print this peer's ID."),
    "check": Home("holepunch.cli.check", "check", "Find out which NAT this machine is behind."),
    "listen": Home(
        "holepunch.cli.listen",
        "listen",
        "Wait for one connection and join it to standard input and output.",
    ),
    "connect": Home(
        "holepunch.cli.connect", "connect", "Connect standard input and output to a peer."
    ),
    "ping": Home(
        "holepunch.cli.ping",
        "ping",
        "Measure round trips to a peer, and tell which path they take.",
    ),
    "invite": Home(
        "holepunch.cli.invite",
        "invite",
        "Invite somebody by a short code, and connect when it is accepted.",
    ),
    "accept": Home(
        "holepunch.cli.invite", "accept", "Accept an invitation by its code, and connect."
    ),
    "peers": Home(
        "holepunch.cli.peers", "peers", "List, add and remove known peers: whom names mean."
    ),
    "passwd": Home(
        "holepunch.cli.passwd", "passwd", "Set the password of a user of a rendezvous service."
    ),
    "explain": Home(
        "holepunch.cli.explain",
        "explain",
        "Tell why a session went as it did, from its traces.",
    ),
    "demo": Home(
        "holepunch.cli.demo",
        "demo",
        "Show it all on this machine: a rendezvous service, and two peers behind NATs.",
    ),
    "lab": Home("holepunch.cli.lab", "lab", "Build networks of NATs on this machine."),
}
"""
Every command, in the order of the list that C{--help} shows.
"""


class _JSONUsageError(click.ClickException):
    """
    A wrong command line, for a program that asked for JSON.
    """

    exit_code = 2

    def show(self, file: Any = None) -> None:
        line = {"event": "failed", "reason": self.message, "error": "UsageError"}
        click.echo(json.dumps(line), file=file, err=True)


class LazyGroup(click.Group):
    """
    A group whose commands are imported when they are called.
    """

    @property
    def homes(self) -> Mapping[str, Home]:
        """
        Where they are.
        """
        return COMMANDS

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.homes)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        home = self.homes.get(name)
        if home is None:
            return None
        command: click.Command = getattr(importlib.import_module(home.module), home.attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, home.help) for name, home in self.homes.items()])

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.obj = "--json" in args
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except click.UsageError as error:
            if context.obj:
                raise _JSONUsageError(error.format_message()) from None
            raise


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "holepunch demo                    see it work, on this machine alone",
        "holepunch listen --name alice     on one machine, and on another:",
        "holepunch connect alice           what one side types, the other reads",
    ),
)
@click.version_option(__version__, prog_name="holepunch")
def main() -> None:
    """
    Direct connections between programs behind NATs.

    Two peers find each other through a rendezvous service (twistd -n holepunch, on a public host);
    their data goes from one to the other without a third machine in between.
    """
