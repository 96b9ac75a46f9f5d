"""
C{holepunch check}: what NAT is this machine behind?

Owns: the command, and the two forms of its report.
Knows nothing of: how it is found out (L{holepunch.peer.discovery}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from holepunch.address import Transport, TransportAddress, splitHostPort
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
from holepunch.errors import BadAddress, UnknownHost, UsageError
from holepunch.nat.discovery import NATReport, ProtocolReport, explain
from holepunch.peer.discovery import discover
from holepunch.peer.resolving import checkHostName, resolve

_STUN_PORT = 3478


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
@jsonOption
@verboseOption
def check(
    servers: tuple[tuple[str, int], ...],
    rendezvous: str | None,
    transport: str,
    timeout: float,
    isJSON: bool,
    verbosity: int,
) -> None:
    """
    Find out which NAT this machine is behind, and what will work.

    A server with two addresses (RFC 5780), such as a rendezvous service with two --assist
    addresses, tells most.
    """
    if not servers:
        servers = (_defaultServer(rendezvous),)
    transports = frozenset(Transport) if transport == "auto" else frozenset({Transport(transport)})
    output = makeOutput(sys.stderr, isJSON, verbosity)

    async def main(reactor: Any) -> None:
        output.step("asking " + ", ".join(host for host, _ in servers))
        addresses: list[TransportAddress] = [
            await resolve(reactor, host, port) for host, port in servers
        ]
        report = await discover(reactor, addresses, transports=transports, timeout=timeout)
        output.close()
        if isJSON:
            click.echo(jsonLine(reportAsJSON(report)), nl=False)
        else:
            click.echo(reportAsText(report, Console(highlight=False)), nl=False)

    run(main, output)


def _defaultServer(rendezvous: str | None) -> tuple[str, int]:
    if not rendezvous:
        raise click.UsageError("no STUN server: give --stun HOST, or --rendezvous HOST")
    try:
        return readRendezvous(rendezvous).host, _STUN_PORT
    except UsageError as error:
        raise click.UsageError(str(error)) from None


# --- the report ---------------------------------------------------------------------------------


def reportAsJSON(report: NATReport) -> dict[str, Any]:
    """
    For programs; L{None} is "could not be determined".
    """
    return {
        "udp": _protocolAsJSON(report.udp),
        "tcp": _protocolAsJSON(report.tcp),
        "classic": report.classic,
        "meaning": explain(report),
    }


def _protocolAsJSON(report: ProtocolReport) -> dict[str, Any]:
    return {
        "blocked": report.isBlocked,
        "nat": report.isTranslated,
        "local": report.local,
        "mapped": report.mapped,
        "mapping": report.mapping,
        "filtering": report.filtering,
        "hairpin": report.isHairpinning,
        "ports": report.ports,
        "lifetime": report.lifetime,
        "problem": report.problem,
    }


_ROWS = {
    "blocked": "blocked",
    "nat": "NAT",
    "local": "local endpoint",
    "mapped": "mapped endpoint",
    "mapping": "mapping",
    "filtering": "filtering",
    "hairpin": "hairpin",
    "ports": "ports",
    "lifetime": "lifetime",
    "problem": "problem",
}


def reportAsText(report: NATReport, console: Console) -> str:
    """
    For people: a table of what is known, and what it means.

    @param console: Knows how wide the terminal is.
    """
    udp, tcp = _protocolAsJSON(report.udp), _protocolAsJSON(report.tcp)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "UDP", "TCP"):
        table.add_column(heading, overflow="fold")
    for key, label in _ROWS.items():
        if udp[key] is not None or tcp[key] is not None:
            table.add_row(label, _cell(udp[key]), _cell(tcp[key]))
    if report.classic is not None:
        table.add_row("classic name", report.classic, "")
    with console.capture() as capture:
        console.print(table)
        console.print(explain(report))
    return capture.get()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(getattr(value, "value", value))
