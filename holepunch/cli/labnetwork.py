"""
The commands of C{holepunch lab} for the network while it runs.

Owns: what they say; the reports of mappings and counters.
Knows nothing of: how a lab works (L{holepunch.lab.standing}).
Driven by: L{holepunch.cli.lab}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import click

from holepunch.cli.laboptions import columns, labOption, linkOptions
from holepunch.cli.options import jsonOption
from holepunch.cli.output import jsonLine
from holepunch.errors import LabError
from holepunch.lab.standing import StandingLab
from holepunch.lab.topology import LinkSpec
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    PRESETS,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Protocol,
    Unsolicited,
)

_protocolArgument = click.argument(
    "protocol", type=click.Choice(["udp", "tcp", "icmp"]), metavar="udp|tcp|icmp"
)


@click.command("flush")
@labOption
@click.argument("nat")
def flush(lab: StandingLab, nat: str) -> None:
    """
    Let a NAT forget all its mappings, as at a reboot.
    """
    lab.flushNAT(nat)


@click.command("rebind")
@labOption
@click.argument("nat")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
def rebind(lab: StandingLab, nat: str, addresses: Sequence[str]) -> None:
    """
    Give a NAT another public address.

    Without an ADDRESS it gets the next free one, which is printed. All mappings are lost.
    """
    click.echo(" ".join(lab.rebindNAT(nat, addresses)))


@click.command("block")
@labOption
@click.argument("nat")
@_protocolArgument
def block(lab: StandingLab, nat: str, protocol: str) -> None:
    """
    Let a NAT drop all UDP, all TCP, or all ICMP.

    ICMP is pings, and the errors that routers and hosts send.
    """
    lab.blockNAT(nat, Protocol[protocol.upper()])


@click.command("unblock")
@labOption
@click.argument("nat")
@_protocolArgument
def unblock(lab: StandingLab, nat: str, protocol: str) -> None:
    """
    Let a NAT pass UDP, TCP or ICMP again.
    """
    lab.unblockNAT(nat, Protocol[protocol.upper()])


@click.command("link")
@labOption
@linkOptions
@click.argument("part")
def link(lab: StandingLab, part: str, link: dict[str, Any]) -> None:
    """
    Change the link of a host or NAT.

    What no option is given for is as on a new link: 5 ms of latency, and nothing else.
    """
    lab.setLink(part, LinkSpec(**link))


@click.command("capture")
@labOption
@click.argument("part")
@click.argument("file", type=click.Path(dir_okay=False), required=False)
@click.option("--stop", "isEnd", is_flag=True, help="Finish the capture.")
def capture(lab: StandingLab, part: str, file: str | None, isEnd: bool) -> None:
    """
    Write what crosses a link to a pcap file.

    PART is a host or a NAT; of a NAT, it is the link outside. The file can be read while the
    capture goes on. Build the lab with --cut-segments to see TCP as on a real wire.
    """
    if isEnd == (file is not None):
        raise click.UsageError("give a FILE to begin, or --stop to finish")
    if file is None:
        lab.stopCapture(part)
    else:
        lab.capture(part, file)


@click.command("mappings")
@labOption
@click.argument("nat")
@jsonOption
def mappings(lab: StandingLab, nat: str, isJSON: bool) -> None:
    """
    Show what a NAT has mapped.

    With --json, one object a line; "expires" is in seconds from now.
    """
    views = lab.mappings(nat)
    if isJSON:
        for view in views:
            line = {
                "protocol": view.protocol.name.lower(),
                "internal": view.internal,
                "external": view.external,
                "remotes": [str(remote) for remote in view.remotes],
                "expires": round(view.expiresAt, 3),
            }
            click.echo(jsonLine(line), nl=False)
        return
    if not views:
        click.echo(f"{nat} has no mappings", err=True)
        return
    rows = [
        (
            view.protocol.name.lower(),
            view.internal,
            "->",
            view.external,
            f"for {view.expiresAt:.0f} s",
            "with " + " ".join(str(remote) for remote in view.remotes),
        )
        for view in views
    ]
    click.echo(columns(rows))


@click.command("stats")
@labOption
@click.argument("parts", nargs=-1, metavar="[PART]...")
@jsonOption
def stats(lab: StandingLab, parts: Sequence[str], isJSON: bool) -> None:
    """
    Show what hosts and NATs sent, to whom, and what was lost.

    A host's flows tell which way its data really went: a direct path is a flow with the address of
    the other peer's NAT, a relayed one with that of the relay. Of a NAT, it is what it dropped, and
    why; the kernel's own does not say. With --json, one object a line.
    """
    known = (*lab.record.hosts, *lab.record.interfaces, *lab.record.nats)
    for part in parts:
        if part not in known:
            raise LabError(f"there is no host or NAT {part!r}, only {', '.join(known)}")
    for part in parts or known:
        counters, flows = lab.counters(part), lab.flows(part)
        addresses = lab.hosts(part)
        if isJSON:
            plain = [
                {**attrs.asdict(flow), "protocol": flow.protocol.name.lower()} for flow in flows
            ]
            line = {"part": part, "addresses": addresses, **counters, "flows": plain}
            click.echo(jsonLine(line), nl=False)
            continue
        link = counters["link"]
        told = ", ".join(f"{count} {name}" for name, count in link.items() if count) or "0 sent"
        click.echo(f"{part} ({', '.join(addresses)}): link {told}")
        if flows:
            rows = [
                (
                    f"  {flow.protocol.name.lower()}",
                    f"{flow.local} with {flow.remote}:",
                    f"sent {flow.sent} ({flow.sentBytes} bytes),",
                    f"received {flow.received} ({flow.receivedBytes} bytes)",
                )
                for flow in flows
            ]
            click.echo(columns(rows))
        for reason, count in counters["dropped"].items():
            click.echo(f"  dropped {count}: {reason}")


def _peculiarities(behaviour: NATBehaviour) -> Iterator[str]:
    """
    What sets a NAT apart beside its class, its ports and its times.
    """
    if behaviour.outbound:
        ports = ", ".join(f"{each.protocol.name} {each.port}" for each in behaviour.outbound)
        yield f"lets out only {ports}"
    if behaviour.blocked:
        yield f"blocks {', '.join(each.name for each in behaviour.blocked)}"
    isKept = behaviour.overloadsPorts and behaviour.ports is PortAllocation.PRESERVED
    if isKept and behaviour.mapping is not Mapping.ENDPOINT_INDEPENDENT:
        yield "one port for all while it can"
    if behaviour.isOneToOne:
        yield "an address outside for each inside"
    if behaviour.unsolicited is not Unsolicited.DROP:
        yield f"{behaviour.unsolicited.value.upper()} to the unsolicited"
    if behaviour.dropsMappingOnReset:
        yield "forgets at a reset"
    if behaviour.mappingLifetime is not None:
        yield f"mappings end after {behaviour.mappingLifetime:g} s"
    if not behaviour.hairpin:
        yield "no hairpin"


@click.command("behaviours")
def behaviours() -> None:
    """
    List the NATs that a topology can name.
    """
    rows = [
        (
            name,
            behaviour.classicName,
            f"ports {behaviour.ports.value},",
            f"UDP {behaviour.udpTimeout:g} s,",
            f"TCP {behaviour.tcpEstablishedTimeout:g} s",
            "; ".join(_peculiarities(behaviour)),
        )
        for name, behaviour in {**NAMED_BEHAVIOURS, **PRESETS}.items()
    ]
    click.echo(columns(rows))
    click.echo("none: no NAT at all. kernel: Linux's own masquerade.")
