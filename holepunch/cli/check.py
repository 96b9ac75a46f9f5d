"""
C{holepunch check}: what NAT is this machine behind?

Owns: the command, and which servers are asked.
Knows nothing of: how it is found out (L{holepunch.peer.discovery}), and how it is told
(L{holepunch.cli.checkreport}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console

from holepunch.address import Transport, TransportAddress, joinHostPort, splitHostPort
from holepunch.cli.checkreport import (
    familiesAsJSON,
    familiesAsText,
    interfacesAsJSON,
    interfacesAsText,
)
from holepunch.cli.options import (
    jsonOption,
    readRendezvous,
    rendezvousOption,
    seconds,
    transportOption,
    verboseOption,
)
from holepunch.cli.output import jsonLine, makeOutput
from holepunch.cli.running import run
from holepunch.errors import BadAddress, TransactionTimedOut, UnknownHost, UsageError
from holepunch.peer.discovery import (
    FamilyReport,
    InterfaceReport,
    discoverEverywhere,
    discoverFamilies,
)
from holepunch.peer.discoverysocket import systemSocket
from holepunch.peer.hosts import SystemHostAddresses, chooseHosts
from holepunch.peer.resolving import checkHostName, resolveFamilies

_STUN_PORT = 3478
_LONGEST_LIFETIME = 600.0
_HINT = (
    f"; {_STUN_PORT} is only the usual assist port: if the rendezvous service named another one"
    " when it started, give --stun HOST:PORT"
)


def _hostAndPort(text: str) -> tuple[str, int]:
    try:
        host, port = splitHostPort(text, _STUN_PORT)
        checkHostName(host)
    except (BadAddress, UnknownHost) as error:
        raise click.BadParameter(f"{error}.") from None
    if port == 0:
        raise click.BadParameter(f"{text!r}: port 0 is nobody's.")
    return host, port


@click.command()
@click.option(
    "--stun",
    "servers",
    type=_hostAndPort,
    metavar="HOST[:PORT]",
    multiple=True,
    help="A STUN server, any one; two tell more.  [default: port 3478 of the rendezvous service]",
)
@rendezvousOption
@transportOption
@click.option(
    "--timeout",
    type=seconds,
    metavar="SECONDS",
    default=5.0,
    show_default=True,
    help="How long to wait for a server.",
)
@click.option(
    "--lifetime",
    "isLifetimeWanted",
    is_flag=True,
    help="Measure how long an idle mapping lives, too, up to ten minutes; this takes from three"
    " minutes to three quarters of an hour.",
)
@click.option(
    "--every-interface",
    "isEveryInterfaceWanted",
    is_flag=True,
    help="Check from each address of this machine, IPv4 and IPv6, one after the other.",
)
@jsonOption
@verboseOption
def check(
    servers: tuple[tuple[str, int], ...],
    rendezvous: str | None,
    transport: str,
    timeout: float,
    isLifetimeWanted: bool,
    isEveryInterfaceWanted: bool,
    isJSON: bool,
    verbosity: int,
) -> None:
    """
    Find out which NAT this machine is behind, and what will work.

    A server with two addresses (RFC 5780), such as a rendezvous service with two --assist
    addresses, tells most. What could not be determined is said, and why. At most 20 requests a
    protocol are made, 50 a second, and 80 more about the way, so that no home router breaks. That
    takes some four seconds, and half a minute where much is silent.
    """
    isDefault = not servers
    servers = servers or (_defaultServer(rendezvous),)
    transports = frozenset(Transport) if transport == "auto" else frozenset({Transport(transport)})
    output = makeOutput(sys.stderr, isJSON, verbosity)

    async def main(reactor: Any) -> None:
        output.step("asking " + ", ".join(joinHostPort(*server) for server in servers))
        if isLifetimeWanted:
            output.note("measuring", "measuring the lifetime of mappings: this takes minutes")
        addresses: list[TransportAddress] = []
        for host, port in servers:
            addresses += await resolveFamilies(reactor, host, port)
        families = await discoverFamilies(
            reactor,
            addresses,
            transports=transports,
            timeout=timeout,
            lifetime=_LONGEST_LIFETIME if isLifetimeWanted else None,
            openSocket=systemSocket,
        )
        _checkAnswered(families, _HINT if isDefault else "")
        interfaces: tuple[InterfaceReport, ...] | None = None
        if isEveryInterfaceWanted:
            hosts = chooseHosts(SystemHostAddresses().hostAddresses())
            interfaces = await discoverEverywhere(
                reactor,
                addresses,
                hosts,
                transports=transports,
                timeout=timeout,
                openSocket=systemSocket,
            )
        output.close()
        click.echo(_told(families, interfaces, isJSON), nl=False)

    run(main, output)


def _defaultServer(rendezvous: str | None) -> tuple[str, int]:
    if not rendezvous:
        raise click.UsageError("no STUN server: give --stun HOST, or --rendezvous HOST")
    try:
        return readRendezvous(rendezvous).host, _STUN_PORT
    except UsageError as error:
        raise click.UsageError(str(error)) from None


def _checkAnswered(families: tuple[FamilyReport, ...], hint: str) -> None:
    """
    Make sure that there is something to report.

    @param hint: What else to say where there is not.
    @raise TransactionTimedOut: No server answered.
    @raise NoLocalPort: There is no route to the first server.
    """
    if any(each.report is not None for each in families):
        return
    error = families[0].error
    if isinstance(error, TransactionTimedOut):
        raise TransactionTimedOut(f"{error}{hint}")
    if error is not None:
        raise error


def _told(
    families: tuple[FamilyReport, ...],
    interfaces: tuple[InterfaceReport, ...] | None,
    isJSON: bool,
) -> str:
    """
    Write the report down.

    @param interfaces: C{None}: nobody asked for them.
    """
    if isJSON:
        value = familiesAsJSON(families)
        if interfaces is not None:
            value["interfaces"] = interfacesAsJSON(interfaces)
        return jsonLine(value)
    console = Console(highlight=False)
    text = familiesAsText(families, console)
    return text if interfaces is None else text + interfacesAsText(interfaces, console)
