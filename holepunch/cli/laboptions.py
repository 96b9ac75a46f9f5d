"""
What the commands of C{holepunch lab} have in common.

Owns: the options for topologies and links, finding the lab that is meant, and how errors end a
command.
Knows nothing of: the commands.
Driven by: click, by way of the decorators.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import attrs
import click

from holepunch.cli.output import makeOutput
from holepunch.errors import BadTopology, HolepunchError
from holepunch.lab.quantity import parseBytes, parseRate, parseSeconds, parseShare
from holepunch.lab.standing import DEFAULT_NAME, StandingLab
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.lab.topologyfile import readTopology

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SUFFIX = ".lab"


@contextlib.contextmanager
def failing(isJSON: bool = False) -> Iterator[None]:
    """
    End the command with the right status when something in the C{with} block fails: what the person
    wrote is wrong, or the lab is.
    """
    try:
        yield
    except BadTopology as error:
        raise click.UsageError(str(error)) from None
    except HolepunchError as error:
        makeOutput(sys.stderr, isJSON).fail(error)
        sys.exit(1)


def _quantity(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """
    The type of an option.
    """

    def convert(text: str) -> Any:
        try:
            return read(text)
        except BadTopology as error:
            raise click.BadParameter(f"{error}.") from None

    return convert


_LINK_OPTIONS = {
    "latency": (parseSeconds, "TIME", "One way, as 20ms."),
    "jitter": (parseSeconds, "TIME", "At most so much more, at random; packets stay in order."),
    "loss": (parseShare, "SHARE", "Lose so many packets, as 1%."),
    "reorder": (parseShare, "SHARE", "Hold back so many packets."),
    "duplicate": (parseShare, "SHARE", "Send so many packets twice."),
    "rate": (parseRate, "RATE", "At most so many bits a second, as 10Mbit."),
    "mtu": (parseBytes, "BYTES", "Cut or refuse packets that are longer, as 1492."),
}

_LINK_FLAGS = {
    "isBlackHole": ("--black-hole", "Tell nobody of packets that are too long."),
    "losesFragments": ("--loses-fragments", "Lose IP fragments."),
}


def linkOptions(command: _Command) -> _Command:
    """
    Add the options for links; the command gets what was given of them as its keyword C{link}.
    """

    @functools.wraps(command)
    def withOptions(**values: Any) -> Any:
        given = {name: values.pop(name) for name in (*_LINK_OPTIONS, *_LINK_FLAGS)}
        # Not by equality: 0.0 is a latency.
        link = {
            name: value for name, value in given.items() if value is not None and value is not False
        }
        return command(link=link, **values)

    decorated: Any = withOptions
    for name, (flag, text) in _LINK_FLAGS.items():
        decorated = click.option(flag, name, is_flag=True, help=text)(decorated)
    for name, (read, metavar, text) in reversed(_LINK_OPTIONS.items()):
        option = click.option(f"--{name}", type=_quantity(read), metavar=metavar, help=text)
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@attrs.frozen(kw_only=True)
class Plan:
    """
    What lab is to be built.

    @ivar text: The topology, as it was written.
    @ivar captures: Of which links, into which files.
    """

    text: str
    topology: Topology
    seed: int
    isRootless: bool | None
    useOffload: bool
    captures: tuple[tuple[str, str], ...]


def planOptions(command: _Command) -> _Command:
    """
    Add the topology and the options for building; the command gets them as its keyword C{plan}.
    """

    @functools.wraps(command)
    def withOptions(
        topology: str,
        link: dict[str, Any],
        seed: int,
        isRootless: bool,
        isCut: bool,
        pcap: Sequence[str],
        **values: Any,
    ) -> Any:
        with failing():
            built = readPlan(topology, link)
            captures = tuple(_capture(built, each) for each in pcap)
        hasRate = any(part.link.rate for part in built.parts)
        plan = Plan(
            text=topology,
            topology=built,
            seed=seed,
            isRootless=isRootless or None,
            useOffload=not (isCut or hasRate or captures),
            captures=captures,
        )
        return command(plan=plan, **values)

    decorated: Any = linkOptions(withOptions)
    for option in reversed(_PLAN_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_PLAN_OPTIONS = (
    click.argument("topology"),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="All randomness of links and NATs comes from it.",
    ),
    click.option("--rootless", "isRootless", is_flag=True, help="Use no privileges."),
    click.option(
        "--pcap",
        multiple=True,
        metavar="PART=FILE",
        help="Capture the link of a host or NAT from the beginning.",
    ),
    click.option(
        "--cut-segments",
        "isCut",
        is_flag=True,
        help="Send TCP segments as they would be on a real wire: slower; --pcap and --rate do so.",
    ),
)


def readPlan(text: str, link: dict[str, Any]) -> Topology:
    """
    Read a topology: the name of a file, or a short text.

    @param link: What was said of the links.
    @raise BadTopology: It is neither.
    """
    if not text.endswith(_SUFFIX) and not os.path.isfile(text):
        return Topology.parse(text, LinkSpec(**link))
    if link:
        raise BadTopology(f"--{next(iter(link))}: {text} is a file, which says that itself")
    return readTopology(text)


def _capture(topology: Topology, text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise BadTopology(f"--pcap: expected PART=FILE, as alice=alice.pcap, not {text!r}")
    if name not in {part.name for part in topology.parts}:
        raise BadTopology(f"--pcap: there is no host or NAT {name!r}")
    return name, path


def labOption(command: _Command) -> _Command:
    """
    Add C{--lab}; the command gets the lab as its keyword C{lab}, and its errors are told.
    """

    @functools.wraps(command)
    def withLab(labName: str | None, **values: Any) -> Any:
        with failing(values.get("isJSON", False)):
            return command(lab=chosenLab(labName), **values)

    text = f"Which lab, when there are several.  [default: the only one, or {DEFAULT_NAME!r}]"
    option = click.option("--lab", "labName", metavar="NAME", help=text)
    decorated: Any = option(withLab)
    return decorated  # type: ignore[no-any-return]


def chosenLab(name: str | None) -> StandingLab:
    """
    The lab that is meant.

    @raise LabError: There is none of that name.
    """
    labs = StandingLab.all()
    if name is None and len(labs) == 1:
        return labs[0]
    return StandingLab.find(name or DEFAULT_NAME)


def columns(rows: Sequence[Sequence[object]]) -> str:
    """
    Rows of a report, one below the other.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in texts
    )
    return "\n".join(line.rstrip() for line in lines)
