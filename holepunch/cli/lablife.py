"""
C{holepunch lab up}, C{list}, C{down}, C{exec} and C{shell}.

Owns: what they say.
Knows nothing of: how a lab works (L{holepunch.lab.standing}).
Driven by: L{holepunch.cli.lab}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from holepunch.cli.examples import examples
from holepunch.cli.laboptions import Plan, chosenLab, columns, failing, labOption, planOptions
from holepunch.cli.notice import Notice
from holepunch.cli.options import jsonOption
from holepunch.cli.output import jsonLine, makeOutput
from holepunch.lab.serving import serviceAddresses
from holepunch.lab.standing import DEFAULT_NAME, StandingLab


@click.command(
    "up",
    epilog=examples(
        "holepunch lab up port-restricted/symmetric --rendezvous --latency 20ms",
        "holepunch lab exec alice -- holepunch check",
        "holepunch lab down",
    ),
)
@planOptions
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="What to call the lab.")
@click.option(
    "--rendezvous",
    "hasService",
    is_flag=True,
    help="Run the rendezvous service on the host of that name, for the programs in the lab.",
)
@jsonOption
def up(plan: Plan, name: str, hasService: bool, isJSON: bool) -> None:
    """
    Build a lab that stays until it is taken down.

    TOPOLOGY is a short text or a file. port-restricted/symmetric puts the hosts alice and bob
    behind a NAT each; none leaves one public, kernel is Linux's own masquerade. One name puts both
    on one LAN; a third is a carrier's NAT around the others. The names are those that holepunch
    lab behaviours lists. same-subnet:A/B gives both LANs the same addresses, with strangers who
    answer everything; dual-stack:A/B has IPv6 beside IPv4; firewalls:A/B has firewalls without NAT;
    ipv6:A/B has no IPv4; two-interfaces:A/B/C gives alice a second interface behind C.
    """
    with failing(isJSON):
        lab = StandingLab.up(
            plan.topology,
            name=name,
            text=plan.text,
            seed=plan.seed,
            isRootless=plan.isRootless,
            useOffload=plan.useOffload,
        )
        try:
            for part, path in plan.captures:
                lab.capture(part, path)
            if hasService:
                lab.startService(serviceAddresses(plan.topology))
        except BaseException:
            lab.down()
            raise
    record = lab.record
    hosts = f"hosts {_withAddresses(plan, record.hosts)}"
    nats = f"; NATs {_withAddresses(plan, record.nats)}" if record.nats else ""
    makeOutput(sys.stderr, isJSON).tell(
        Notice(event="up", text=f"the lab {name!r} is up: {hosts}{nats}", fields=_fields(lab))
    )


def _withAddresses(plan: Plan, names: Sequence[str]) -> str:
    addresses = {part.name: part.addresses for part in plan.topology.parts}
    return ", ".join(f"{name} ({', '.join(addresses[name])})" for name in names)


def _fields(lab: StandingLab, isUp: bool = True) -> dict[str, object]:
    record = lab.record
    return {
        "lab": lab.name,
        "up": isUp,
        "topology": record.text,
        "seed": record.seed,
        "hosts": record.hosts,
        "interfaces": record.interfaces,
        "nats": record.nats,
        "rendezvous": record.rendezvous or None,
        "pid": record.pid or None,
    }


@click.command("list")
@jsonOption
def listLabs(isJSON: bool) -> None:
    """
    List the labs, those that were killed as well.
    """
    with failing(isJSON):
        labs = [(lab, lab.isUp) for lab in StandingLab.all()]
    if isJSON:
        for lab, isUp in labs:
            click.echo(jsonLine(_fields(lab, isUp)), nl=False)
        return
    if not labs:
        click.echo("there are no labs", err=True)
        return
    rows = [
        (
            lab.name,
            "up" if isUp else "killed: take it down",
            lab.record.text,
            f"seed {lab.record.seed}",
            " ".join((*lab.record.hosts, *lab.record.interfaces, *lab.record.nats)),
        )
        for lab, isUp in labs
    ]
    click.echo(columns(rows))


@click.command("down")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "isAll", is_flag=True, help="All labs of this user.")
@jsonOption
def down(names: Sequence[str], isAll: bool, isJSON: bool) -> None:
    """
    Take labs down, with all programs in them.

    Without a NAME, the only one. Whatever is left of a lab that was killed is removed.
    """
    with failing(isJSON):
        labs: Sequence[StandingLab]
        if isAll:
            labs = StandingLab.all()
        else:
            labs = [chosenLab(name) for name in names or (None,)]
        for lab in labs:
            lab.down()
            makeOutput(sys.stderr, isJSON).tell(
                Notice(event="down", text=f"the lab {lab.name!r} is down", fields={"lab": lab.name})
            )


@click.command("exec", context_settings={"allow_interspersed_args": False})
@labOption
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(lab: StandingLab, host: str, command: Sequence[str]) -> None:
    """
    Run a command on a host: holepunch lab exec alice -- ip address.

    It has this terminal, this folder and this environment, and its exit status is that of the
    command. HOST may be a NAT that is the kernel's own, too.
    """
    _become(lab, host, command[1:] if command[0] == "--" else command)


@click.command("shell")
@labOption
@click.argument("host")
def shell(lab: StandingLab, host: str) -> None:
    """
    Open a shell on a host.
    """
    command = [os.environ.get("SHELL") or "/bin/sh"]
    click.echo(f"a shell on {host} in the lab {lab.name!r}; leave it with exit", err=True)
    _become(lab, host, command)


def _become(lab: StandingLab, host: str, command: Sequence[str]) -> NoReturn:
    if not command:
        raise click.UsageError("expected a command after --")
    arguments = lab.command(host, command)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(arguments[0], arguments, lab.environment(host))
