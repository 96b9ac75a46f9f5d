"""
C{holepunch lab}: the group of the commands for networks of NATs.

Owns: the list of commands.
Knows nothing of: the commands; each is imported when it is called.
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from holepunch.cli.main import Home, LazyGroup

_LIFE = "holepunch.cli.lablife"
_NETWORK = "holepunch.cli.labnetwork"
LAB_COMMANDS = {
    "up": Home(_LIFE, "up", "Build a lab that stays until it is taken down."),
    "list": Home(_LIFE, "listLabs", "List the labs, those that were killed as well."),
    "down": Home(_LIFE, "down", "Take labs down, with all programs in them."),
    "exec": Home(_LIFE, "execute", "Run a command on a host."),
    "shell": Home(_LIFE, "shell", "Open a shell on a host."),
    "run": Home(
        "holepunch.cli.labrun", "runPrograms", "Run two programs in a lab of their own, and end it."
    ),
    "flush": Home(_NETWORK, "flush", "Let a NAT forget all its mappings, as at a reboot."),
    "rebind": Home(_NETWORK, "rebind", "Give a NAT another public address."),
    "block": Home(_NETWORK, "block", "Let a NAT drop all UDP, all TCP, or all ICMP."),
    "unblock": Home(_NETWORK, "unblock", "Let a NAT pass UDP, TCP or ICMP again."),
    "link": Home(_NETWORK, "link", "Change the link of a host or NAT."),
    "capture": Home(_NETWORK, "capture", "Write what crosses a link to a pcap file."),
    "mappings": Home(_NETWORK, "mappings", "Show what a NAT has mapped."),
    "stats": Home(_NETWORK, "stats", "Show what hosts and NATs sent, to whom, and what was lost."),
    "matrix": Home(
        "holepunch.cli.labmatrix",
        "matrix",
        "Try every pair of NATs, and show which of them can meet.",
    ),
    "behaviours": Home(_NETWORK, "behaviours", "List the NATs that a topology can name."),
}
"""
Every command, in the order of the list that C{--help} shows.
"""


class LabGroup(LazyGroup):
    """
    Imports a command when it is called.
    """

    @property
    def homes(self) -> Mapping[str, Home]:
        """
        Where they are.
        """
        return LAB_COMMANDS


@click.command(cls=LabGroup, context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """
    Build networks of NATs on this machine.

    A lab is a network of hosts and NATs, as real as one machine can make it: each host is a network
    namespace, in which any program runs. It needs Linux, and no privileges where the system allows
    user namespaces.
    """
